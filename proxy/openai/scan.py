"""scan -- where the members of a JSON object and the elements of an array stand in its bytes, exactly as a parser sees them.

The work is done by C: msgspec reads an object's members as raw slices, and an answer of it is used only where the slices put together
again are the text itself, byte for byte; all else (other white space, escaped or repeated keys, NaN, lone surrogates) goes through the
standard library's scanner, which takes every document that a JSON parser may take.
Cost: 1 µs a KB and 0.2 µs a member where msgspec answers, else about 3 µs a KB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import msgspec

_skip = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode  # numbers stay text: no limit on their digits
_gap = re.compile(r"[ \t\n\r]*").match
WHITE = b" \t\n\r"
STEP_BYTES = 64 * 1024
EXACT_BYTES = 8 * 1024 * 1024  # what the standard library is given: 30 ms
MAX_MEMBERS = 4096  # a request has a few dozen
_OPEN = b"{["
STYLES = ((b":", b","), (b": ", b", "))  # what SDKs write, and Python's json by default


class Member(NamedTuple):
    """One member of an object: its key's first quote, and its value from `value` up to `end`."""

    key: str
    start: int
    value: int
    end: int


def members(text: bytes) -> list[Member]:
    """All members of the object that is the whole text, in order, repeated keys too.

    Raises ValueError where the text is no JSON object, RecursionError where it is nested too deeply.
    """
    found = _members_by_slices(text)
    if found is not None:
        return found
    if len(text) > EXACT_BYTES:
        raise ValueError(f"not spelt as SDKs do, and over {EXACT_BYTES >> 20} MiB")
    latin = text.decode("latin-1")  # one character a byte, so that offsets are the same
    at = _after_gap(latin, 0)
    if latin[at : at + 1] != "{":
        raise ValueError("not an object")
    listed = list(islice(members_at(latin, at), MAX_MEMBERS + 1))
    if len(listed) > MAX_MEMBERS:
        raise ValueError(f"more than {MAX_MEMBERS} members")
    end = _after_gap(latin, _close(latin, listed[-1].end if listed else at + 1))
    if end != len(latin):
        raise ValueError(f"more after its end, at byte {end}")
    return listed


@lru_cache(maxsize=1)
def _slicers() -> tuple[Callable[[bytes], dict[str, msgspec.Raw]], Callable[[bytes], list[msgspec.Raw]]]:
    """msgspec's readers of members and of elements; 1.3 MB that a process whose apps all write compact JSON never needs."""
    import msgspec

    return msgspec.json.Decoder(dict[str, msgspec.Raw]).decode, msgspec.json.Decoder(list[msgspec.Raw]).decode


def _members_by_slices(text: bytes) -> list[Member] | None:
    try:
        slices = _slicers()[0](text)
    except ValueError:  # msgspec's DecodeError is one, and UnicodeDecodeError
        return None
    begin, end = _bounds(text)
    for colon, comma in STYLES:
        listed = _placed(text, begin, slices, colon, comma)
        if listed is not None:
            last = listed[-1].end if listed else begin + 1
            return listed if last + 1 == end else None
    return None


def _placed(text: bytes, begin: int, slices: dict[str, msgspec.Raw], colon: bytes, comma: bytes) -> list[Member] | None:
    """The members at the places where a writer of this style puts them, None where other bytes stand there."""
    listed: list[Member] = []
    at = begin
    before = b"{"
    for key, raw in slices.items():
        head = b'%b"%b"%b' % (before, key.encode(), colon)
        value = at + len(head)
        view = memoryview(raw)
        end = value + len(view)
        if not (text.startswith(head, at) and _stands(text, value, view)):
            return None
        listed.append(Member(key, at + len(before), value, end))
        at, before = end, comma
    return listed


def _stands(text: bytes, at: int, view: memoryview) -> bool:
    """Whether the text goes on with these bytes. In steps, so that no large copy is made."""
    if len(view) <= STEP_BYTES:
        return text.startswith(bytes(view), at)
    steps = range(0, len(view), STEP_BYTES)
    return all(text.startswith(bytes(view[step : step + STEP_BYTES]), at + step) for step in steps)


def _bounds(text: bytes) -> tuple[int, int]:
    """Where the text starts and ends without the white space around it. C strips, and copies only where there is some."""
    begin = len(text) - len(text.lstrip(WHITE))
    return begin, len(text.rstrip(WHITE))


def repeats_no_key(text: bytes, depth: int = 8) -> bool:
    """Whether no object in a value, at any depth, has a key twice. False also where slices cannot tell, so ask another way then.

    Raises RecursionError where it is nested too deeply.
    """
    if depth == 0:
        return False
    if text.startswith(b"{"):
        listed = _members_by_slices(text)
        if listed is None:
            return False
        inner = [text[member.value : member.end] for member in listed if text[member.value] in _OPEN]
    elif text.startswith(b"["):
        try:
            inner = [data for raw in _slicers()[1](text) if (data := bytes(raw))[0] in _OPEN]
        except ValueError:
            return False
    else:
        return True
    return all(repeats_no_key(data, depth - 1) for data in inner)


def members_at(latin: str, at: int) -> Iterator[Member]:
    """The members of the object that begins at `at`, in a text decoded as Latin-1. Raises ValueError, RecursionError."""
    at = _after_gap(latin, at + 1)
    if latin[at : at + 1] == "}":
        return
    while True:
        if latin[at : at + 1] != '"':
            raise ValueError(f"a key should stand at byte {at}")
        key, after = _skip(latin, at)
        if not latin[at:after].isascii():
            key = json.loads(latin[at:after].encode("latin-1").decode())
        colon = _after_gap(latin, after)
        if latin[colon : colon + 1] != ":":
            raise ValueError(f"a colon should stand at byte {colon}")
        value = _after_gap(latin, colon + 1)
        _, end = _skip(latin, value)
        yield Member(key, at, value, end)
        comma = _after_gap(latin, end)
        if latin[comma : comma + 1] != ",":
            _close(latin, comma)
            return
        at = _after_gap(latin, comma + 1)


def elements_at(latin: str, at: int) -> Iterator[tuple[int, int]]:
    """Where each element of the array that begins at `at` starts and ends, in a text decoded as Latin-1. Raises as `members_at`."""
    at = _after_gap(latin, at + 1)
    if latin[at : at + 1] == "]":
        return
    while True:
        _, end = _skip(latin, at)
        yield at, end
        comma = _after_gap(latin, end)
        if latin[comma : comma + 1] != ",":
            _close(latin, comma, "]")
            return
        at = _after_gap(latin, comma + 1)


def _after_gap(latin: str, at: int) -> int:
    if latin[at : at + 1] > " ":
        return at
    gap = _gap(latin, at)
    return gap.end() if gap is not None else at


def _close(latin: str, at: int, bracket: str = "}") -> int:
    at = _after_gap(latin, at)
    if latin[at : at + 1] != bracket:
        raise ValueError(f"'{bracket}' or a comma should stand at byte {at}")
    return at + 1
