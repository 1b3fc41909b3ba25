"""A body as it is read: what a standard parser would see, or nothing."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from proxy.openai.document import DECODED_BYTES, LONG_BYTES, VALUE_BYTES, Document, decoded, read_json
from proxy.openai.unread import MISSING, Unread

BASE64 = b"QUJD" * (LONG_BYTES // 2)


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


BODY = b'{"model":"m"}'
BARE = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (gzip.compress(BODY), b"gzip"),
        (gzip.compress(BODY), b" X-GZip"),
        (gzip.compress(BODY[:5]) + gzip.compress(BODY[5:]), b"gzip"),
        (zlib.compress(BODY), b"deflate"),
        (BARE.compress(BODY) + BARE.flush(), b"deflate"),
        (BODY, b"identity"),
        (BODY, b""),
    ],
)
def test_encoded_bodies_are_read(raw: bytes, encoding: bytes) -> None:
    assert decoded(raw, encoding) == BODY


@pytest.mark.parametrize(
    ("raw", "encoding", "why"),
    [
        (BODY, b"br", "unknown encoding br"),
        (BODY, b"gzip, br", "unknown encoding gzip, br"),
        (BODY, b"gzip", "not gzip data"),
        (gzip.compress(BODY)[:-4], b"gzip", "cut"),
        (gzip.compress(BODY) + b"trailer", b"gzip", "not gzip data"),
        (zlib.compress(BODY) + b"x", b"deflate", "more after the end"),
    ],
)
def test_encodings_that_cannot_be_read_say_why(raw: bytes, encoding: bytes, why: str) -> None:
    with pytest.raises(Unread, match=why):
        decoded(raw, encoding)


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(DECODED_BYTES // (1024 * 1024) + 1)) + packer.flush()

    with pytest.raises(Unread, match="over 64 MiB"):
        decoded(bomb, b"gzip")


def test_a_value_that_is_no_json_is_not_read() -> None:
    with pytest.raises(Unread, match="not JSON"):
        read_json(b"tru")
