from __future__ import annotations

import pytest

from proxy.core.faults import Fault
from proxy.openai.endpoints import Endpoint
from proxy.openai.whole import PARSED_BYTES, begins_events, judged

LONG = b'"x":"' + b"x" * PARSED_BYTES + b'"'


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'{"choices": []}', None),
        (b' \r\n\xef\xbb\xbf{"choices": []}', Fault.BAD_REPLY),
        (b'\xef\xbb\xbf \r\n{"choices": []} \n', None),
        (b'{"a": NaN, "b": "\\ud800", "c": 1e999}', None),
        (b'{"error": null, "choices": []}', None),
        (b'{"error": {"message": "no"}}', Fault.BAD_REPLY),
        (b'{"error": "no"}', Fault.BAD_REPLY),
        (b'{"object": "error", "message": "no"}', Fault.BAD_REPLY),
        (b"[]", Fault.BAD_REPLY),
        (b'[{"error": {"code": 429}}]', Fault.BAD_REPLY),
        (b"", Fault.BAD_REPLY),
        (b" \n ", Fault.BAD_REPLY),
        (b"<!DOCTYPE html><html></html>", Fault.BAD_REPLY),
        (b"upstream connect error", Fault.BAD_REPLY),
        (b"null", Fault.BAD_REPLY),
        (b'"text"', Fault.BAD_REPLY),
        (b"\x00\xff\x1f\x8b", Fault.BAD_REPLY),
        (b'data: {"choices": []}\n\n', Fault.BAD_REPLY),
        (b'{"choices": [}', Fault.BAD_REPLY),
        (b'{"a": 1}{"b": 2}', Fault.BAD_REPLY),
        (b'{"choices": [', Fault.TRUNCATED),
        (b'{"choices": "a\\', Fault.TRUNCATED),
        (b"{", Fault.TRUNCATED),
        (b"[" * 2000, Fault.TRUNCATED),
        (b"{" + LONG + b"}", None),
        (b"{" + LONG, Fault.TRUNCATED),
        (b'{ "error" : {' + LONG + b"}}", Fault.BAD_REPLY),
        (b'{"error":null,' + LONG + b"}", None),
    ],
    ids=repr,
)
def test_what_a_plain_reply_is_found_to_be(data: bytes, fault: Fault | None) -> None:
    assert judged(data, Endpoint.CHAT).fault is fault


def test_a_list_of_models_may_come_without_its_wrapper() -> None:
    assert judged(b'[{"id": "m"}]', Endpoint.MODELS).fault is None
    assert judged(b'[{"id": "m"}]', Endpoint.EMBEDDINGS).fault is Fault.BAD_REPLY


def test_json_is_parsed_once_for_all_who_ask() -> None:
    assert judged(b'{"model": "m"}', Endpoint.CHAT).value == {"model": "m"}
    assert judged(b"{" + LONG + b"}", Endpoint.CHAT).value is None


@pytest.mark.parametrize("data", [b"data: x", b"\xef\xbb\xbfdata:x", b": hi", b"\n\nevent: x", b"id: 1\ndata: x", b"retry: 5"])
def test_events_are_known_by_how_they_begin(data: bytes) -> None:
    assert begins_events(data)


@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b"dat", b"database: x", b"no: x", b'"data": 1', b"\xff" * 100])
def test_all_else_is_no_events(data: bytes) -> None:
    assert not begins_events(data)
