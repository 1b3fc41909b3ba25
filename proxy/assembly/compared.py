"""compared -- an expected value beside the one that was seen: what differs, and where. The language is `proxy.policy.expect_spec`'s.

Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.policy.expect_spec import ReplySpec, SentSpec
from proxy.policy.globs import matcher

ABSENT: Any = object()  # what is not there, as null is
SHOWN_CHARS = 200


@dataclass(slots=True, frozen=True)
class Miss:
    """One thing that is not as expected. `path` leads to it from the case's `expect`; the texts are for people."""

    path: tuple[str | int, ...]
    expected: str
    seen: str
    note: str = ""


Path = tuple[str | int, ...]


def differences(expected: Any, seen: Any, path: Path = (), exactly: bool = False) -> Iterator[Miss]:
    """Where `seen` is not as `expected`. `exactly`: keys that are not expected are differences too, and words mean themselves."""
    if not exactly:
        if expected == "absent":
            if seen is not ABSENT:
                yield Miss(path, "absent", shown(seen))
            return
        if expected == "present":
            if seen is ABSENT:
                yield Miss(path, "present", "absent")
            return
        if isinstance(expected, dict) and any(key.startswith("$") for key in expected):
            yield from _words(expected, seen, path)
            return
    if seen is ABSENT:
        yield Miss(path, shown(expected), "absent")
    elif isinstance(expected, dict) and isinstance(seen, dict):
        for key, value in expected.items():
            yield from differences(value, seen.get(key, ABSENT), (*path, key), exactly)
        if exactly:
            for key in seen.keys() - expected.keys():
                yield Miss((*path, key), "absent", shown(seen[key]))
    elif isinstance(expected, list) and isinstance(seen, list):
        for place, (one, other) in enumerate(zip(expected, seen, strict=False)):
            yield from differences(one, other, (*path, place), exactly)
        if len(expected) != len(seen):
            yield Miss(path, f"{len(expected)} items", f"{len(seen)}: {shown(seen)}")
    elif not _equal(expected, seen):
        yield Miss(path, shown(expected), shown(seen))


def _words(expected: dict[str, Any], seen: Any, path: Path) -> Iterator[Miss]:
    for word, value in expected.items():
        if word == "$is":
            yield from differences(value, seen, path, exactly=True)
        elif word in ("$first", "$last"):
            is_list = isinstance(seen, list) and seen
            yield from differences(value, seen[0 if word == "$first" else -1] if is_list else ABSENT, (*path, word))
        elif word == "$some":
            if not isinstance(seen, list) or all(any(differences(value, item)) for item in seen):
                yield Miss((*path, word), shown(value), shown(seen))
        elif not _holds(word, value, seen):
            yield Miss(path, f"{word} {shown(value)}", shown(seen))


def _holds(word: str, value: Any, seen: Any) -> bool:
    if word == "$contains":
        return isinstance(seen, str) and value in seen
    if word == "$glob":
        return isinstance(seen, str) and like(value, seen)
    if word == "$length":
        return isinstance(seen, (str, list, dict)) and len(seen) == value
    is_number = isinstance(seen, (int, float)) and not isinstance(seen, bool)
    return is_number and (seen < value if word == "$below" else seen >= value)


def _equal(expected: Any, seen: Any) -> bool:
    if isinstance(expected, bool) or isinstance(seen, bool):
        return expected is seen
    return bool(expected == seen)


def header_differences(wanted: dict[str, str] | None, seen: Callable[[str], str | None], path: Path) -> Iterator[Miss]:
    for name, expected in (wanted or {}).items():
        value = seen(name)
        if expected == "absent":
            if value is not None:
                yield Miss((*path, "headers", name), "absent", value)
        elif value is None or not (expected == "present" or like(expected, value)):
            yield Miss((*path, "headers", name), expected, value if value is not None else "absent")


def body_differences(wanted: SentSpec | ReplySpec, data: bytes, path: Path) -> Iterator[Miss]:
    for name, exactly in (("body", False), ("body_exactly", True)):
        if name not in wanted.model_fields_set:
            continue
        expected = getattr(wanted, name)
        if isinstance(expected, str) and (exactly or expected not in ("absent", "present")):
            seen: Any = data.decode("utf-8", "backslashreplace")
        else:
            seen = json_of(data)
            if seen is ABSENT and data:
                yield Miss((*path, name), shown(expected), f"not JSON: {shown(data)}")
                continue
        yield from differences(expected, seen, (*path, name), exactly)


def json_of(data: bytes) -> Any:
    """The standard library reads what others refuse: NaN, large numbers, lone surrogates."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return ABSENT


def like(glob: str, text: str) -> bool:
    """Whether `text` is of the form `glob`, where * is any run and ? any character."""
    return matcher((glob,))(text)


def shown(value: Any) -> str:
    """A value on one line, the end of long ones left out."""
    if value is ABSENT:
        return "absent"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    try:
        text = value if isinstance(value, str) and value and value.isprintable() else orjson.dumps(value, default=str).decode()
    except (orjson.JSONEncodeError, ValueError):
        text = ascii(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text):,} characters)"
