from __future__ import annotations

from typing import Any

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.policy.edits import Edits, ParamsSpec, slips


def edits(fields: frozenset[str] | None = None, **given: Any) -> Edits:
    return Edits(ParamsSpec.read(given), fields)


def payload(body: bytes) -> Payload:
    return Payload(body, Endpoint.CHAT)


def test_all_of_a_spec_is_done_and_told_by_what_was_done() -> None:
    all_four = edits(overrides={"a": 1}, defaults={"b": 2, "e": 3}, remove=["c", "x"], max={"d": 4})
    out, done, unread = all_four.apply(payload(b'{"a":0,"c":9,"d":5,"e":null}'))

    assert b"".join(out.pieces()) == b'{"a":1,"d":4,"e":null,"b":2}'
    assert done == {"set": ["a", "b"], "removed": ["c"], "capped": ["d"]}
    assert unread == []


def test_where_nothing_changes_the_payload_is_the_same() -> None:
    asked = payload(b'{"a": 1}')

    assert edits(overrides={"a": 1}, remove=["b"]).apply(asked) == (asked, {}, [])


def test_fields_that_others_have_won_are_left() -> None:
    out, done, _ = edits(frozenset(("a",)), overrides={"a": 1, "b": 1}).apply(payload(b"{}"))

    assert b"".join(out.pieces()) == b'{"a":1}'
    assert done == {"set": ["a"]}


def test_what_cannot_be_read_hides_nothing_else() -> None:
    out, done, unread = edits(remove=["a", "b"]).apply(payload(b'{"a":1,"a":2,"b":3}'))

    assert b"".join(out.pieces()) == b'{"a":1,"a":2}'
    assert done == {"removed": ["b"]}
    assert len(unread) == 1
    assert "a" in unread[0]


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"defaults": {"max_tokens": 10}, "max": {"max_tokens": 5}}, ("defaults", "max_tokens")),
        ({"overrides": {"temprature": 1}}, ("overrides", "temprature")),
        ({"remove": ["seed", "logprob"]}, ("remove", 1)),
    ],
)
def test_slips_are_told_with_their_place(given: dict[str, Any], at: tuple[str | int, ...]) -> None:
    assert [warned.path for warned in slips(ParamsSpec.read(given))] == [at]


def test_what_is_meant_is_no_slip() -> None:
    assert list(slips(ParamsSpec.read({"overrides": {"repetition_penalty": 1.1}, "max": {"max_tokens": 5}}))) == []
