"""A body as it is read: what a standard parser would see, or nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from time import process_time

import pytest

from proxy.openai.document import LONG_BYTES, MAX_RUNS, VALUE_BYTES, WHOLE_BYTES, Document
from proxy.openai.unread import MISSING, Unread

BASE64 = b"QUJD" * (WHOLE_BYTES // 4)


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"b":"x"}', b'{"a": 1, "b": "x"}', b'\xef\xbb\xbf{"a":1,"b":"x"}', b' {"b":"\\u0078","a":1e0}\n', b'{"a":1,"c":NaN,"b":"x"}'],
)
def test_values_are_read_in_every_spelling(text: bytes) -> None:
    document = Document(text)

    assert (document.value("a"), document.value("b"), document.value("z")) == (1, "x", MISSING)


@pytest.mark.parametrize(
    ("spelt", "value"), [(b"12345678901234567890123", 12345678901234567890123), (b"-12345678901234567890", -(12345678901234567890))]
)
def test_large_integers_are_exact(spelt: bytes, value: int) -> None:
    assert Document(b'{"seed":%b}' % spelt).value("seed") == value


@pytest.mark.parametrize("spelt", [b"1" * 5000, b"1e400", b"NaN", b"-Infinity", b'"\\ud800"', b'"\\ude00\\ud83d"'])
def test_what_only_some_parsers_take_is_read_all_the_same(spelt: bytes) -> None:
    document = Document(b'{"model":"m","x":%b}' % spelt)

    assert document.value("model") == "m"
    assert document.value("x") is not MISSING


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":1,"\\u0061":2}',
        b'{"\\u0061":1,"a":2}',
        b'{"a":null,"a":null}',
        b'{"a": NaN, "a":1}',
    ],
)
def test_a_key_that_is_there_twice_cannot_be_read_but_others_can(text: bytes) -> None:
    document = Document(text[:-1] + b',"model":"m"}')

    assert document.value("model") == "m"
    with pytest.raises(Unread, match="key 'a' is there twice"):
        document.value("a")
    with pytest.raises(Unread, match="twice"):
        document.member("a")


def test_a_key_that_is_there_twice_deep_inside_cannot_be_trusted() -> None:
    document = Document(b'{"messages":[{"role":"user","content":"nice","content":"evil"}],"tools":[{"a":1}]}')

    with pytest.raises(Unread, match="'content' is there twice"):
        document.once("messages")
    assert document.once("tools") == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a":', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"\xff":1}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        ('{"a":1}'.encode("utf-16"), "not"),
        (b"--boundary\r\nContent-Disposition: form-data", "not JSON"),
    ],
)
def test_what_is_no_json_object_is_not_read(text: bytes, why: str) -> None:
    with pytest.raises(Unread, match=why):
        Document(text)


def test_nesting_of_several_hundred_levels_is_read() -> None:
    deep = b"[" * 800 + b"]" * 800

    assert Document(b'{"model":"m","x":%b}' % deep).value("model") == "m"
    assert Document(b'{"model": "m", "x" :%b}' % deep).value("model") == "m"


def test_a_member_is_found_where_it_stands() -> None:
    for text in (b'{"a":[1,2],"model":"m","z":{}}', b'{ "a":[1,2] ,"model" : "m" , "z":{} }'):
        member = Document(text).member("model")

        assert member is not None
        assert text[member.start : member.value].strip(b" :") == b'"model"'
        assert text[member.value : member.end] == b'"m"'


@pytest.mark.parametrize(
    ("text", "tail"), [(b"{}", (1, False)), (b"{ }", (1, False)), (b'{"a":1}', (6, True)), (b'{"a":1 \n}\n', (6, True))]
)
def test_a_new_member_goes_after_the_last_one(text: bytes, tail: tuple[int, bool]) -> None:
    assert Document(text).tail == tail


def image(url: bytes) -> bytes:
    return b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"%b"}}]}],"model":"m"}' % url


@pytest.mark.parametrize(
    "raw",
    [
        image(b"data:image/png;base64," + BASE64),
        image(b"data:image\\/png;base64," + BASE64),
        b'{"audio":{"data":"%b","format":"wav"},"model":"m"}' % BASE64,
        b'{"audio": {"data": "%b", "format": "wav"}, "model": "m"}' % BASE64,
        b'\xef\xbb\xbf{"a":"data:%b","b":"data:%b","model":"m"}' % (BASE64, BASE64),
    ],
)
def test_long_base64_is_not_parsed_and_places_are_those_of_the_original(raw: bytes) -> None:
    document = Document(raw)
    member = document.member("model")

    assert len(document.text) < 1000
    assert document.value("model") == "m"
    assert member is not None
    assert raw[document.at(member.value) : document.at(member.end)] == b'"m"'
    assert raw[document.at(member.start) :].startswith(b'"model"')


def test_a_text_that_looks_like_base64_is_given_as_it_was_written() -> None:
    text = "data:text/plain, " + 'the whole \\ "story" \u00e9 ' * 2000
    document = Document(json.dumps({"input": text, "model": "m"}).encode())

    assert document.value("input") == text


def test_a_stand_in_is_restored_wherever_a_text_is_read() -> None:
    raw = b'{"messages":[{"role":"user","content":"data:%b"}]}' % BASE64
    document = Document(raw)
    messages = document.value("messages")

    assert isinstance(messages, list)
    assert document.restored(messages[0]["content"]) == "data:" + BASE64.decode()
    assert document.restored("data:other") == "data:other"


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"say \\"data:%b"}' % BASE64,
        b'{"say \\"data":"%b"}' % BASE64,
        b'{"a":"\\\\","data":"%b\\\\"}' % BASE64,
        b'{"a":"data:%b\\"more","b":1}' % BASE64,
    ],
)
def test_quotes_inside_of_texts_do_not_mislead_the_cut(text: bytes) -> None:
    document = Document(text)

    for key, value in json.loads(text).items():
        assert document.value(key) == value


def test_base64_without_an_end_is_no_json() -> None:
    with pytest.raises(Unread, match="not JSON"):
        Document(b'{"a":"data:' + BASE64 * 3)


def test_a_value_that_is_too_long_is_not_read_but_others_are() -> None:
    document = Document(b'{"a":"%b","model":"m"}' % (b"x y" * (VALUE_BYTES // 3 + 10)))

    assert document.value("model") == "m"
    with pytest.raises(Unread, match="over 16 MiB"):
        document.value("a")


def test_only_so_many_runs_get_a_stand_in() -> None:
    run = b'"data:%b"' % (b"QUJD" * (LONG_BYTES // 3))
    raw = b'{"a":[' + b",".join([run] * (MAX_RUNS + 5)) + b'],"model":"m"}'
    document = Document(raw)
    member = document.member("model")

    assert member is not None
    assert len(document.text) > 5 * len(run)
    assert raw[document.at(member.value) :] == b'"m"}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"data:' + b"A" * 20_000 + b'\\"' * 2_000_000 + b'"}',
        b'{"a":"data:' + b"\\\\" * 2_000_000 + b'"}',
        b" " * 4_000_000 + b'{"a":1}' + b"\n" * 4_000_000,
        b'{"a":1' + b" " * 4_000_000 + b"}",
        b"{" + b'"a":1,' * 700_000 + b'"b":1}',
        b'{"b":1,"a":' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}",
        b'{"b":1,"a":[' + b"[]," * 1_500_000 + b"1]}",
    ],
    ids=["quotes", "backslashes", "white space around", "white space inside", "members", "nesting", "lists"],
)
def test_no_body_holds_up_the_loop_for_long(raw: bytes) -> None:
    started = process_time()
    with suppress(Unread):
        document = Document(raw)
        with suppress(Unread):
            document.value("a")
        assert document.tail

    assert process_time() - started < 1.5  # seconds; each takes under 0.1 on a quiet machine


@pytest.mark.parametrize(
    "text",
    [
        b'{"messages":[{"model":"a"}],"model":"a"}',
        b'{"x\\"model":"a","model":"a"}',
        b'{"n":12,"model":"a","m":{"n":1},"n2":1}',
        b'{"t":"\\"model\\":\\"a\\"","model":"a"}',
        b'{"user":null,"model":"a","metadata":{"user":null}}',
    ],
)
def test_a_member_that_is_spelt_like_another_place_is_found_where_it_stands(text: bytes) -> None:
    document = Document(text)

    assert document.spelt_plainly
    for key, value in json.loads(text).items():
        member = document.member(key)
        assert member is not None
        assert json.loads(text[member.value : member.end]) == value
        assert json.loads(text[member.start : member.value - 1]) == key
    assert [document.member(each.key) for each in document.members] == document.members


RUN = "iVBORw0KGgo" * 60_000  # long enough for the body to be read with stand-ins


def url_of(document: Document) -> str:
    value = document.value("messages")
    assert isinstance(value, list)
    url = value[0]["data"]
    assert isinstance(url, str)
    return url


def test_the_ends_of_a_run_of_base64_are_told_without_reading_it_whole() -> None:
    document = Document(json.dumps({"messages": [{"data": RUN}], "more": "x"}).encode())
    stand_in = url_of(document)

    assert stand_in != RUN
    assert document.ends(stand_in, 1000) == f"{len(RUN)}:{RUN[:500]}:{RUN[-500:]}"
    assert document.ends(stand_in, len(RUN)) == RUN
    assert document.ends(stand_in, 1000) == Document(b"{}").ends(RUN, 1000)


def test_the_ends_of_a_run_with_escapes_are_those_of_its_text() -> None:
    text = RUN + "\n" + RUN
    document = Document(json.dumps({"messages": [{"data": text}]}).encode())

    assert document.ends(url_of(document), 1000) == f"{len(text)}:{text[:500]}:{text[-500:]}"


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("abc", "abc"), ("abcd", "abcd"), ("abcde", "5:ab:de")])
def test_a_short_text_has_no_ends(text: str, expected: str) -> None:
    assert Document(b"{}").ends(text, 4) == expected


def test_a_large_text_is_read_in_little_time_and_its_quotes_decide_nothing() -> None:
    few = json.dumps({"model": "m", "messages": [{"role": "user", "content": "plain words " * 200_000}]}).encode()
    quoted = [{"role": "user", "content": '"quoted" ' * 60_000}]
    many = json.dumps({"model": "m", "messages": quoted, "data": "x" * LONG_BYTES * 2}).encode()

    for body in (few, many):
        document = Document(body)
        assert document.value("model") == "m"
        assert document.value("messages") == json.loads(body)["messages"]


def test_a_body_full_of_places_that_look_like_data_is_still_read_quickly() -> None:
    body = b'{"model":"m","x":[' + b",".join([b'{"data":"x"}'] * 80_000) + b"]}"
    began = process_time()
    document = Document(body)

    assert document.value("model") == "m"
    assert process_time() - began < 1.0
