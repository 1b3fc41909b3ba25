"""recorded -- requests in files, as `chassis explain` and `chassis diff` take them: a body, or a whole request as JSON.

A body alone is meant for POST /v1/chat/completions. A whole request is {"method", "path", "headers", "body"}, each of them optional;
`id` names it in reports. A body that is not JSON is taken as it is: policies must cope with it, so it may be asked about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from proxy.core.body import Headers

CHAT = "/v1/chat/completions"
FIELDS = frozenset(("id", "method", "path", "headers", "body"))
MAX_BYTES = 64 * 1024 * 1024  # of one file that is one request: what the proxy itself would hold
_method = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}").fullmatch
_header_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}").fullmatch
_target = re.compile(r"\*|/[!-~\u0080-\uffff]{0,16383}").fullmatch


class WrongRequest(ValueError):
    """A request that cannot be asked about. The text says what is wrong, and what would be right."""


@dataclass(slots=True, frozen=True)
class Asked:
    """One request of the app. `name` is for reports."""

    method: bytes = b"POST"
    target: bytes = CHAT.encode()
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    name: str = ""


def asked(data: bytes, given: Headers | None = None, name: str = "") -> Asked:
    """The request that a file, or a line of one, holds; `given` are headers besides. Raises WrongRequest."""
    more = list(given or ())
    value = _parsed(data)
    if not isinstance(value, dict) or not ({"method", "path", "body"} & value.keys()) or "messages" in value or "model" in value:
        return Asked(headers=more, body=data, name=name)
    unknown = sorted(value.keys() - FIELDS)
    if unknown:
        raise WrongRequest(f"the request file has the unknown field '{_short(unknown[0])}'; it may have method, path, headers, body and id")
    method, target = value.get("method", "POST"), value.get("path", CHAT)
    if not isinstance(method, str) or not isinstance(target, str):
        raise WrongRequest("the request file: method and path are text, headers is a mapping")
    if not _method(method):
        raise WrongRequest(f"the request file: '{_short(method)}' is no HTTP method")
    if not _target(target):
        raise WrongRequest(f"the request file: '{_short(target)}' is no path; it begins with / and holds no spaces or control characters")
    body = value.get("body")
    raw = b"" if body is None else _utf8(body) if isinstance(body, str) else _dumped(body)
    headers = [*_headers({} if value.get("headers") is None else value["headers"]), *more]
    return Asked(method.encode(), _utf8(target), headers, raw, _short(str(value["id"])) if value.get("id") is not None else name)


def _parsed(data: bytes) -> Any:
    """The JSON value, None where it is none. What only the lenient parser takes (half a character, NaN) is some app's request too."""
    for parse in (orjson.loads, json.loads):
        with suppress(ValueError, RecursionError):
            return parse(data)
    return None


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode("ascii")


def _headers(value: Any) -> Iterator[tuple[bytes, bytes]]:
    if not isinstance(value, dict):
        raise WrongRequest("the request file: method and path are text, headers is a mapping")
    for name, given in value.items():
        if not _header_name(name.strip()):
            raise WrongRequest(f"the request file: '{_short(name)}' is no name of a header")
        for text in given if isinstance(given, list) else [given]:
            if isinstance(text, (dict, list)) or text is None:
                raise WrongRequest(f"the request file: header '{_short(name)}' is a text, or a list of them")
            line = str(text).strip()
            if any(c in line for c in "\r\n\0"):
                raise WrongRequest(f"the request file: header '{_short(name)}' is not one line")
            yield name.strip().encode(), _utf8(line)


def requests(path: Path) -> Iterator[Asked | WrongRequest]:
    """All requests of a JSON Lines file, or of a folder's `*.json` and `*.jsonl` in name order; what is wrong comes as a WrongRequest.

    A file of another name is read as JSON Lines when its first line is whole JSON, else as one request. Raises OSError.
    """
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix in (".json", ".jsonl", ".ndjson") and not file.name.startswith(".") and file.is_file():
                yield from _of_file(file, file.name)
    else:
        yield from _of_file(path, path.name)


def _of_file(file: Path, name: str) -> Iterator[Asked | WrongRequest]:
    if file.suffix in (".jsonl", ".ndjson") or (file.suffix != ".json" and _has_lines(file)):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _one(line.strip(), f"{name}:{number}", lines=True)
        return
    size_bytes = file.stat().st_size
    if size_bytes > MAX_BYTES:
        yield WrongRequest(f"{name}: is over {MAX_BYTES >> 20} MiB; is it a request?")
        return
    if data := file.read_bytes():
        yield _one(data, name)


def _one(data: bytes, name: str, lines: bool = False) -> Asked | WrongRequest:
    if lines and not data.startswith(b"{"):
        return WrongRequest(f"{name}: is no JSON object; each line is one request")
    try:
        return asked(data, name=name)
    except WrongRequest as wrong:
        return WrongRequest(f"{name}: {wrong}")


def _has_lines(file: Path) -> bool:
    with file.open("rb") as opened:
        first, second = opened.readline(1024 * 1024), opened.readline(1024)
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return bool(second.strip())


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _short(text: str, most: int = 80) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
