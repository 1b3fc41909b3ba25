"""Values out of their bytes."""

from __future__ import annotations

import json
import math

import pytest

from proxy.openai import reading
from proxy.openai.reading import COUNTED_BYTES, MAX_OBJECTS, MAX_VALUES, check_count, check_unique, read_json
from proxy.openai.unread import Unread


@pytest.mark.parametrize(
    "text", ["1", "-0.5", '"x"', "null", '{"a":[true,{}]}', "12345678901234567890123", "1" * 400, '"\\ud800"', "[1e400]"]
)
def test_a_value_is_read_as_the_standard_library_does(text: str) -> None:
    assert read_json(text.encode()) == json.loads(text)


def test_numbers_without_limit_are_read() -> None:
    assert read_json(b"1" * 5000) == math.inf
    assert math.isnan(read_json(b"NaN"))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [b"", b"tru", b"[1,]", b"01", b"1 2", b'"', b"nan"])
def test_what_is_no_json_is_not_read(text: bytes) -> None:
    with pytest.raises(Unread, match="not JSON"):
        read_json(text)


def test_what_is_no_text_is_not_read() -> None:
    with pytest.raises(Unread, match="not UTF-8"):
        read_json(b'"\xed\xa0\x80"')


def test_nesting_without_end_is_not_read() -> None:
    with pytest.raises(Unread, match="nested too deeply"):
        read_json(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("mark", [b'"', b"[", b"{", b","])
def test_too_many_values_are_not_read(mark: bytes) -> None:
    check_count(mark * COUNTED_BYTES, b'"[{,')
    check_count(b"x" * (COUNTED_BYTES * 2) + mark * (MAX_VALUES - 1), b'"[{,')
    with pytest.raises(Unread, match="more than 1000000 values"):
        check_count(mark * (COUNTED_BYTES + 1), b'"[{,')


@pytest.mark.parametrize("filler", ["", "long " * 5000])
@pytest.mark.parametrize(
    "value",
    [
        '[{"a":1,"a":2%s}]',
        '[{"b":{"a":1,"\\u0061":2}%s}]',
        '{"a" : 1 , "b":[[[{"x":1, "x":1}]]]%s}',
        '[[[[[[[[[[[[{"a":1,"a":1%s}]]]]]]]]]]]]',
        '[{"a":{"zz":1,"b":2},"b":3,"a":"12345"%s}]',
    ],
)
def test_a_key_that_is_there_twice_is_found_at_any_depth(value: str, filler: str) -> None:
    text = value % (f',"filler":"{filler}"' if filler else "")

    with pytest.raises(Unread, match="is there twice"):
        check_unique("messages", text.encode())


@pytest.mark.parametrize("filler", ["", "long " * 5000])
@pytest.mark.parametrize(
    "value",
    [
        '[{"a":1,"b":{"a":2}%s},{"a":1}]',
        '{"a" : 1 , "b":[[[{"x":1}]]]%s}',
        '[{"a":NaN,"b":"\\ud800"%s}]',
        "[1,2]",
        '"{"',
        "[[[[[[[[[[[[{}]]]]]]]]]]]]",
    ],
)
def test_keys_that_are_there_once_are_fine(value: str, filler: str) -> None:
    text = value % f',"filler":"{filler}"' if "%" in value else value

    assert check_unique("messages", text.encode()) is None


def test_what_cannot_be_looked_through_in_time_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unread, match="too long to look through"):
        check_unique("messages", b"[" + b"{}," * MAX_OBJECTS + b"{}]")
    monkeypatch.setattr(reading, "EXACT_BYTES", 100)
    with pytest.raises(Unread, match="too long to look through"):
        check_unique("messages", b'[{"a" :"%b"}]' % (b"x" * 100))
