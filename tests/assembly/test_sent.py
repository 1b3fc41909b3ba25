"""What an upstream received is named shortly, and told apart from what the app sent."""

from __future__ import annotations

from proxy.adapters.played import Exchange
from proxy.assembly.asking import asked
from proxy.assembly.heard import Heard
from proxy.assembly.sent import exchange_differences, model_of, sent_as
from proxy.policy.case_spec import RequestSpec
from proxy.policy.expect_spec import ExpectSpec
from proxy.policy.play_spec import PlaySpec


def exchange(body: bytes = b'{"model": "m"}', upstream: str = "openai") -> Exchange:
    made = Exchange(upstream, 0.0, PlaySpec.read({}), b"POST", b"/v1/chat/completions", body=body)
    made.received = True
    return made


def heard() -> Heard:
    spec = RequestSpec.read({"body": {"model": "m"}, "headers": {"x-a": ["1"]}})
    return Heard(asked(spec), spec)


def test_an_exchange_is_named_by_upstream_and_model() -> None:
    assert sent_as(exchange()) == "openai m"
    assert sent_as(exchange(b"")) == "openai"
    assert model_of(exchange(b"[1]")) is None
    assert model_of(exchange(b'{"model": 1}')) is None


def test_headers_of_one_hop_and_host_are_no_change() -> None:
    call = heard()
    sent = exchange(call.asked.body)
    sent.headers = [(b"Host", b"elsewhere"), *call.asked.headers[1:], (b"Connection", b"close")]
    untouched = ExpectSpec.read({"upstream": {"untouched": True}})

    assert list(exchange_differences(untouched, [sent], call)) == []


def test_what_was_taken_out_added_and_changed_is_told() -> None:
    call = heard()
    sent = exchange(b'{"model":"n"}')
    sent.headers = [pair for pair in call.asked.headers if pair[0] != b"x-a"] + [(b"x-b", b"2")]
    (miss,) = exchange_differences(ExpectSpec.read({"upstream": {"untouched": True}}), [sent], call)

    assert miss.seen == 'headers without x-a and with another x-b; body from byte 10 on: m"} became n"}'


def test_an_exchange_of_several_is_compared_in_its_place() -> None:
    expect = ExpectSpec.read({"exchanges": [{"to": "openai m"}, {"to": "groq *", "body": {"model": "m"}}]})
    seen = [exchange(), exchange(b'{"model": "n"}', "groq")]

    assert [miss.path for miss in exchange_differences(expect, seen, None)] == [("exchanges", 1, "body", "model")]
