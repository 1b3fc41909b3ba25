"""reading -- one JSON value out of its bytes, as a parser sees it, within limits that keep the loop alive.

orjson reads what it takes; the standard library reads what only some parsers take (NaN, lone surrogates, numbers without limit), and what
must be looked through for repeated keys.
Cost: 0.4 µs a KB; five times that in the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson

from proxy.openai.scan import EXACT_BYTES, repeats_no_key
from proxy.openai.unread import Unread

MAX_VALUES = 1_000_000  # quotes, brackets and commas: 30 ms of parsing, and twice what a million tokens of JSON have
COUNTED_BYTES = 2 * 1024 * 1024  # a shorter text is not counted: it is read in 20 ms whatever it holds
SPARSE_BYTES = 4096  # a byte count for each object from which on slices are quicker than the standard library
MAX_OBJECTS = 20_000  # looked through one by one, where a body is not spelt plainly
_NUMBER = frozenset(b"-0123456789"[i : i + 1] for i in range(11))
_EXACT_DIGITS = 17  # orjson reads a longer integer as a float
_MAX_DIGITS = 4300  # Python's own limit for reading an integer


def check_count(text: bytes, marks: bytes) -> None:
    """Unread for a text of so many values that reading it would hold up the loop. Counts in steps, as a hostile one is all marks."""
    if len(text) <= COUNTED_BYTES:
        return
    left = MAX_VALUES
    for step in range(0, len(text), COUNTED_BYTES):
        part = text[step : step + COUNTED_BYTES]
        left -= sum(part.count(mark) for mark in marks)
        if left < 0:
            raise Unread(f"more than {MAX_VALUES} values")


def read_json(data: bytes) -> object:
    """A JSON value; what orjson refuses (NaN, lone surrogates, numbers without limit) is read by the standard library. Raises Unread."""
    try:
        if data[:1] not in _NUMBER or len(data) < _EXACT_DIGITS:
            return orjson.loads(data)
    except orjson.JSONDecodeError:
        if len(data) > EXACT_BYTES:
            raise Unread(f"over {EXACT_BYTES >> 20} MiB and not JSON that is read quickly") from None
    return _parsed(_read_odd, data)


def _parsed(read: Callable[[str], object], data: bytes) -> object:
    try:
        return read(data.decode())
    except UnicodeDecodeError as error:
        raise Unread("not UTF-8") from error
    except RecursionError as error:
        raise Unread("nested too deeply") from error
    except ValueError as error:
        raise Unread(f"not JSON: {error}") from error


def check_unique(key: str, text: bytes) -> None:
    """Unread where an object anywhere in the value of `key` has a key twice, or where that cannot be found out in time."""
    count = text.count(b"{")
    if not count or (len(text) > SPARSE_BYTES * count and _repeats_no_key(text)):
        return
    if len(text) > EXACT_BYTES or count > MAX_OBJECTS:
        raise Unread(f"'{key}' is not spelt as SDKs do, and too long to look through")
    _parsed(_read_unique, text)


def _repeats_no_key(text: bytes) -> bool:
    try:
        return repeats_no_key(text)
    except RecursionError:
        return False


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Unread(f"key '{twice[:60]}' is there twice")
    return found


_read_odd = json.JSONDecoder(parse_int=_integer).decode
_read_unique = json.JSONDecoder(parse_int=_integer, object_pairs_hook=_unique).decode
