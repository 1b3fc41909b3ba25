"""What differs is shown; what the app said is not."""

from __future__ import annotations

import json

import pytest

from proxy.assembly.changes import Change, Header, body_changes, header_changes, shown, shown_target, text_of
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import MISSING, Payload


def payload(**more: object) -> Payload:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "canary"}], **more}
    return Payload(json.dumps(body).encode(), Endpoint.CHAT)


def test_an_unedited_body_has_no_changes() -> None:
    found = body_changes(payload())

    assert (found.fields, found.spans, found.came) == ((), (), found.leaves)


def test_fields_and_spans_of_an_edited_body() -> None:
    before = payload(temperature=1)
    found = body_changes(before.set("temperature", 0).remove("model").set("seed", 7).instruct("Be brief.", None))
    span = next(span for span in found.spans if before.raw[span.start : span.end] == b"1")

    assert set(found.fields) == {
        Change("temperature", 1, 0),
        Change("model", "gpt-4o", MISSING),
        Change("seed", MISSING, 7),
        *(change for change in found.fields if change.new == "Be brief."),
    }
    assert len(found.fields) == 4
    assert span.put == 1
    assert found.leaves - found.came == sum(span.put - (span.end - span.start) for span in found.spans)


def test_a_body_that_cannot_be_read_has_none() -> None:
    found = body_changes(Payload(b"{", Endpoint.CHAT))

    assert (found.came, found.leaves, found.fields) == (1, 1, ())


@pytest.mark.parametrize(
    ("value", "key", "is_shown"),
    [
        ("gpt-4o", "model", "gpt-4o"),
        ("x" * 1000, "model", "x" * 255 + "…"),
        ("canary", "user", "(6 characters)"),
        ("canary " * 1000, "stop", "(7,000 characters)"),
        (3, "n", 3),
        (True, "store", True),
        (None, "seed", None),
        (MISSING, "seed", MISSING),
        ({"effort": "high", "note": "canary"}, "reasoning", {"effort": "high", "note": "(6 characters)"}),
        ([{"type": "function", "name": "canary"}], "tools", [{"type": "function", "name": "(6 characters)"}]),
        (["canary"] * 9, "stop", "(list of 9)"),
        ({str(number): number for number in range(9)}, "logit_bias", "(object of 9)"),
        ([[[[["canary"]]]]], "x", [[[["(list of 1)"]]]]),
    ],
)
def test_of_the_apps_values_only_numbers_and_known_words_are_shown(value: object, key: str, is_shown: object) -> None:
    assert shown(value, key) == is_shown


def test_headers_that_stay_come_and_go() -> None:
    came = [(b"A", b"1"), (b"B", b"2"), (b"B", b"2"), (b"Authorization", b"Bearer app")]
    leaves = [(b"a", b"1"), (b"B", b"2"), (b"Authorization", b"Bearer ours"), (b"X-T", b"secret"), (b"bad", b"\x1b[2J\xff")]

    assert header_changes(came, leaves, frozenset((b"x-t",))) == (
        Header(" ", "a", "1"),
        Header(" ", "B", "2"),
        Header("+", "Authorization", "Bearer ***"),
        Header("+", "X-T", "***"),
        Header("+", "bad", "?[2Jÿ"),
        Header("-", "B", "2"),
        Header("-", "Authorization", "Bearer ***"),
    )


@pytest.mark.parametrize(
    ("target", "is_shown"),
    [
        (b"/v1/x", "/v1/x"),
        (b"/v1/x?after=3&api-key=sk", "/v1/x?after=3&api-key=***"),
        (b"/v1/x?%61pi-key=sk&flag", "/v1/x?%61pi-key=***&flag"),
        (b"/v1/\x00", "/v1/?"),
    ],
)
def test_a_query_is_shown_but_for_what_sounds_secret(target: bytes, is_shown: str) -> None:
    assert shown_target(target, None) == is_shown


def test_bytes_of_a_head_are_text_in_any_case() -> None:
    assert text_of("é".encode()) == "é"
    assert text_of(b"\xe9\r\n") == "é??"
