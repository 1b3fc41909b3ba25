"""Where members and elements stand."""

from __future__ import annotations

import json

import pytest

from proxy.openai.scan import EXACT_BYTES, MAX_MEMBERS, STEP_BYTES, elements_at, members, members_at, repeats_no_key


def spelt(text: bytes) -> list[tuple[str, bytes]]:
    found = members(text)
    for member in found:
        assert text[member.start : member.start + 1] == b'"'
    return [(member.key, text[member.value : member.end]) for member in found]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"b":[1,{"a":2}],"c":"x"}',
        b'{"a": 1, "b": [1, {"a": 2}], "c": "x"}',
        b' {"a":1,"b":[1,{"a":2}],"c":"x"}\r\n',
        b'\t{ "a" :1 ,\n"b":[1,{"a":2}] , "c" : "x" } ',
        b'{"a":1, "b": [1,{"a":2}],"c":"x"}',
        b'{"\\u0061":1,"b":[1,{"a":2}],"c":"x"}',
    ],
)
def test_members_are_found_in_every_spelling(text: bytes) -> None:
    found = spelt(text)

    assert [key for key, _ in found] == ["a", "b", "c"]
    assert [json.loads(value) for _, value in found] == [1, [1, {"a": 2}], "x"]


@pytest.mark.parametrize(
    ("value"),
    [
        b"1.0",
        b"1e3",
        b"-0",
        b"123456789012345678901234567890",
        b"1" * 5000,
        b"NaN",
        b"-Infinity",
        b'"\\ud800"',
        b'"\\u00e9\xc3\xa9"',
        b"null",
        b"{}",
    ],
)
def test_a_value_keeps_its_spelling(value: bytes) -> None:
    assert spelt(b'{"x":%b,"y":%b}' % (value, value)) == [("x", value), ("y", value)]


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"a":2}', b'{"a":1,"b":3,"a":2}', b'{"a":1,"\\u0061":2}', b'{"a":{"zz":1,"b":2},"b":3,"a":"12345"}', b'{"a": 1,"bb":2,"a":1}'],
)
def test_repeated_keys_are_all_listed(text: bytes) -> None:
    pairs: list[list[tuple[str, object]]] = []
    json.loads(text, object_pairs_hook=lambda found: pairs.append(found) or dict(found))

    assert [(key, json.loads(value)) for key, value in spelt(text)] == pairs[-1]


def test_keys_may_be_any_text() -> None:
    keys = ["", "\u00e9", "\u65e5\u672c", 'a"b', "a\\b", "a:b", "\U0001f600", "{", "data"]

    for text in (json.dumps(dict.fromkeys(keys, 1)).encode(), json.dumps(dict.fromkeys(keys, 1), ensure_ascii=False).encode()):
        assert [key for key, _ in spelt(text)] == keys


def test_an_object_without_members_is_one() -> None:
    assert members(b"{}") == members(b" { } ") == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"[]",
        b'"x"',
        b"{",
        b'{"a"',
        b'{"a":',
        b'{"a":1',
        b'{"a":1,}',
        b'{"a":1}x',
        b'{"a":1}{}',
        b"{a:1}",
        b'{"a" 1}',
        b"{'a':1}",
        b'{"a":1 "b":2}',
        b'{"a":01}',
        b'{"a":tru}',
        b'{"a":"\x01"}',
        b'{"a":"\\x"}',
        b'{"a":1;}',
        b"{,}",
        b'{"a":[1,]}',
        b'{"a":\x0b1}',
    ],
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|char|object"):
        members(text)


def test_nesting_without_end_is_refused_and_not_followed() -> None:
    with pytest.raises(RecursionError):
        members(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_elements_are_found_by_place() -> None:
    latin = '  [ 1 , "x]" ,{"a":[2]},[]\n]'

    assert [latin[start:end] for start, end in elements_at(latin, 2)] == ["1", '"x]"', '{"a":[2]}', "[]"]
    assert list(elements_at("[ ]", 0)) == []


def test_members_inside_of_a_text_are_found_by_place() -> None:
    latin = '[{"a" : {"b":1} }]'

    assert [(member.key, latin[member.value : member.end]) for member in members_at(latin, 1)] == [("a", '{"b":1}')]


def test_an_array_that_does_not_close_is_refused() -> None:
    with pytest.raises(ValueError, match="byte 2"):
        list(elements_at("[1}", 0))


def test_members_of_a_large_text_are_found() -> None:
    big = b'"' + b"x" * (3 * STEP_BYTES + 5) + b'"'

    assert spelt(b'{"a": %b, "b": 1}' % big) == [("a", big), ("b", b"1")]
    assert spelt(b'{"a": %b,"b": 1}' % big) == [("a", big), ("b", b"1")]


def test_what_is_odd_and_long_or_has_countless_members_is_refused() -> None:
    with pytest.raises(ValueError, match="8 MiB"):
        members(b'{"a" :"%b"}' % (b"x" * EXACT_BYTES))
    with pytest.raises(ValueError, match="more than 4096 members"):
        members(b'{"a":1%b}' % (b',"a":1' * MAX_MEMBERS))


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b'{"a":1,"b":[{"a":1},{"a": 2}]}', True),
        (b'[{"a":1},{"a":1}]', True),
        (b'"a"', True),
        (b"1", True),
        (b'{"a":1,"a":1}', False),
        (b'{"a":1,"b":[{"a":1,"a":1}]}', False),
        (b'{"a" : 1}', False),
        (b"[NaN]", False),
        (b"[" * 20 + b"{}" + b"]" * 20, False),
    ],
)
def test_repeated_keys_are_ruled_out_or_left_open(text: bytes, known: bool) -> None:
    assert repeats_no_key(text) is known
