from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.journal import Entry
from proxy.core.reply import Reply
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.degrade import KIND, DegradeSpec
from proxy.kinds.patience import InTime
from proxy.kinds.prime import Prime
from proxy.policy.kind import Site
from proxy.policy.shape import unfold
from tests.scripted import DONE, JSON, RESET, ROLE, SILENT, STOP, Bugs, Ending, Received, Script, Upstream, a_call, chat, drained, error
from tests.scripted import stream as streamed

SORRY = "The assistant is unavailable right now."
HI: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
DOWN = error(503, "down", None, (b"retry-after", b"7"))
Outcome = Received | Failure | Refusal


def spec_of(written: Any) -> DegradeSpec:
    return DegradeSpec.read(unfold(DegradeSpec, written)[0])


def asked(
    written: Any, *scripts: Script, call: Call | None = None, inside: tuple[Any, ...] = ()
) -> tuple[Outcome, Reply | None, list[Entry]]:
    """What the app gets, the reply as it was returned, and what was decided."""

    async def main() -> tuple[Outcome, Reply | None, list[Entry]]:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        clock.anchor(1_800_000_000 * 10**9)
        layer = KIND.enforce(spec_of(written), Site("last", frozenset(("",)), clock))
        the_call = call or a_call(HI)
        reply: Reply | None = None
        with Upstream(openai=scripts or (RESET,)) as upstream:
            service: Service = compose([layer, *inside, InTime(clock), Prime(clock)], upstream, Bugs())
            try:
                reply = await service(the_call)
                outcome: Outcome = await drained(reply)
            except (Failure, Refusal) as exc:
                outcome = exc
        return outcome, reply, [entry for entry in the_call.journal.entries if entry.kind == "degrade"]

    return run(main())


def received(outcome: Outcome) -> Received:
    assert isinstance(outcome, Received), outcome
    return outcome


def test_a_call_that_goes_well_is_left_alone() -> None:
    outcome, reply, noted = asked(SORRY, chat("ok"))

    assert received(outcome).text == "ok"
    assert reply is not None
    assert reply.origin == "upstream"
    assert noted == []


HTML = (*chat("")[:1], b"<html>", Ending.END)


@pytest.mark.parametrize("script", [RESET, DOWN, error(429), error(500), error(429, "insufficient_quota"), HTML])
def test_what_failed_is_replaced_by_the_reply(script: Script) -> None:
    outcome, reply, noted = asked(SORRY, script)
    body = received(outcome).json

    assert reply is not None
    assert (reply.status, reply.origin, reply.fault) == (200, "static", None)
    assert (b"x-chassis-origin", b"static") in reply.headers
    assert body == {
        "id": "chatcmpl-call-1",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": SORRY, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    assert [(entry.policy, entry.acted, entry.what["status"]) for entry in noted] == [("last", True, 200)]


def test_a_stream_is_replaced_by_a_stream() -> None:
    outcome, reply, _ = asked(SORRY, streamed(ROLE, Ending.CUT), call=a_call({**HI, "stream": True}))
    data = received(outcome).data
    events = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]

    assert reply is not None
    assert reply.header(b"content-type") == b"text/event-stream; charset=utf-8"
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == SORRY
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert {event["id"] for event in events} == {"chatcmpl-call-1"}
    assert data.endswith(b"data: [DONE]\n\n")
    assert b"usage" not in data


def test_usage_is_told_in_a_stream_where_the_app_asked_for_it() -> None:
    call = a_call({**HI, "stream": True, "stream_options": {"include_usage": True}})
    outcome, _, _ = asked(SORRY, RESET, call=call)
    events = [json.loads(line[6:]) for line in received(outcome).data.split(b"\n") if line.startswith(b"data: {")]

    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_completions_have_their_own_form() -> None:
    call = a_call({"model": "davinci", "prompt": "Hi"}, path=b"/v1/completions")
    outcome, _, _ = asked(SORRY, RESET, call=call)
    body = received(outcome).json

    assert body["object"] == "text_completion"
    assert body["choices"][0]["text"] == SORRY


def test_so_has_responses_plain_and_streamed() -> None:
    plain = a_call({"model": "gpt-4o", "input": "Hi"}, path=b"/v1/responses")
    stream = a_call({"model": "gpt-4o", "input": "Hi", "stream": True}, path=b"/v1/responses")
    body = received(asked(SORRY, RESET, call=plain)[0]).json
    data = received(asked(SORRY, RESET, call=stream)[0]).data
    events = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]

    assert body["output"][0]["content"][0]["text"] == SORRY
    assert (body["status"], body["usage"]["total_tokens"]) == ("completed", 0)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == SORRY


def test_the_answer_comes_just_before_the_app_gives_up() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        layer = KIND.enforce(spec_of(SORRY), Site("last", frozenset(("",)), clock))
        with Upstream(openai=[SILENT]) as upstream:
            begun = loop.time()
            call = a_call(HI).derive(answer_by=begun + 2.9)
            outcome = await drained(await compose([layer, InTime(clock), Prime(clock)], upstream, Bugs())(call))

            assert outcome.text == SORRY
            assert loop.time() - begun < 3.0

    run(main())


# Where it may not stand in


@pytest.mark.parametrize("script", [error(400), error(401), error(404), error(422), error(400, "context_length_exceeded")])
def test_what_is_no_fault_or_not_named_passes_as_it_came(script: Script) -> None:
    outcome, _, noted = asked({"reply": SORRY, "retry_after": "30s"}, script)

    assert received(outcome).status >= 400
    assert received(outcome).headers == JSON
    assert noted == []


SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (SCHEMA, "the app wants JSON"),
        ({"response_format": {"type": "json_object"}}, "the app wants JSON"),
        ({"tools": [{}], "tool_choice": "required"}, "the app wants a tool call"),
        ({"n": 2}, "the app wants several choices"),
        ({"modalities": ["text", "audio"]}, "the app wants sound"),
    ],
)
def test_where_a_text_would_break_the_app_the_error_stays_one(body: dict[str, Any], why: str) -> None:
    outcome, _, noted = asked(SORRY, DOWN, call=a_call({**HI, **body}))

    assert received(outcome).status == 503
    assert (b"retry-after", b"7") in received(outcome).headers
    assert [(entry.acted, entry.what) for entry in noted] == [(False, {"why": "overloaded", "skipped": why})]


def test_a_reply_that_is_json_may_be_given_where_json_is_wanted() -> None:
    outcome, _, _ = asked('{"sorry": true}', RESET, call=a_call({**HI, "response_format": {"type": "json_object"}}))

    assert received(outcome).text == '{"sorry": true}'


@pytest.mark.parametrize("more", [{"previous_response_id": "resp_1"}, {"background": True}, {"store": True}])
def test_an_app_that_goes_on_from_what_its_upstream_keeps_gets_no_id_that_is_unknown_there(more: dict[str, Any]) -> None:
    call = a_call({"model": "gpt-4o", "input": "Hi", **more}, path=b"/v1/responses")
    outcome, _, noted = asked(SORRY, DOWN, call=call)

    assert received(outcome).status == 503
    assert noted[0].what["skipped"] == "the app goes on from what its upstream keeps"


@pytest.mark.parametrize(
    "call",
    [
        a_call({"model": "e", "input": "x"}, path=b"/v1/embeddings"),
        a_call(method=b"GET", path=b"/v1/models"),
        a_call({"prompt": ["a", "b"]}, path=b"/v1/completions"),
        a_call(b"{not json"),
        a_call(HI, held=False),
    ],
    ids=["embeddings", "models", "several-prompts", "unreadable", "not-held"],
)
def test_where_there_is_no_form_for_a_text_the_error_stays_one(call: Call) -> None:
    outcome, _, noted = asked(SORRY, DOWN, call=call)

    assert received(outcome).status == 503
    assert noted[0].what["skipped"]


def test_after_the_first_content_a_broken_stream_is_not_replaced() -> None:
    outcome, _, noted = asked(SORRY, streamed(ROLE, "Hel", 0.01, Ending.CUT), call=a_call({**HI, "stream": True}))

    assert received(outcome).failure is not None
    assert SORRY.encode() not in received(outcome).data
    assert noted == []


@pytest.mark.parametrize(("code", "replaced"), [("overloaded", True), ("policy_refused", False), ("budget_exceeded", False)])
def test_of_our_own_refusals_only_that_we_are_busy_is_replaced(code: str, replaced: bool) -> None:
    async def refuses(call: Call, inner: Service) -> Reply:
        raise Refusal(429, code, "no")

    outcome, _, _ = asked(SORRY, chat("never"), inside=(refuses,))

    assert isinstance(outcome, Received) is replaced


# An honest error


def test_it_may_be_an_error_which_says_when_the_last_upstream_may_be_asked_again() -> None:
    outcome, _, noted = asked({"reply": SORRY, "status": 503, "retry_after": "30s"}, DOWN)
    reply = received(outcome)

    assert reply.status == 503
    assert reply.json["error"] == {"message": SORRY, "type": "chassis_error", "param": None, "code": "upstream_unavailable"}
    assert (b"retry-after", b"7") in reply.headers
    assert (b"x-should-retry", b"false") in reply.headers
    assert noted[0].what == {"why": "overloaded", "status": 503}


def test_or_when_the_policy_says_so() -> None:
    outcome, _, _ = asked({"reply": SORRY, "status": 503, "retry_after": "1500ms"}, RESET)

    assert (b"Retry-After", b"2") in received(outcome).headers


def test_or_when_a_breaker_does() -> None:
    async def breaker(call: Call, inner: Service) -> Reply:
        failure = Failure(Fault.BREAKER_OPEN, "openai", "the breaker is open")
        failure.retry_after_s = 11.2
        raise failure

    outcome, _, _ = asked({"reply": SORRY, "status": 503, "retry_after": "30s"}, chat("never"), inside=(breaker,))

    assert (b"Retry-After", b"12") in received(outcome).headers


def test_an_error_is_one_on_every_endpoint() -> None:
    call = a_call({"model": "e", "input": "x"}, path=b"/v1/embeddings")

    assert received(asked({"reply": SORRY, "status": 503}, RESET, call=call)[0]).json["error"]["message"] == SORRY


def test_an_error_that_stays_says_when_to_come_again_where_nobody_else_does() -> None:
    wants_json = a_call({**HI, **SCHEMA})
    reply = received(asked({"reply": SORRY, "retry_after": "30s"}, error(500), call=wants_json)[0])
    failure = asked({"reply": SORRY, "retry_after": "30s"}, RESET, call=a_call({**HI, **SCHEMA}))[0]

    assert (b"Retry-After", b"30") in reply.headers
    assert isinstance(failure, Failure)
    assert failure.retry_after_s == 30


# What YAML may say


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "at least 1"),
        ({}, "Field required"),
        ({"reply": "x", "status": 404}, "200, or an error from 500"),
        ({"reply": "x", "status": 204}, "200, or an error from 500"),
        ({"reply": "x", "status": 600}, "less than or equal to 599"),
        ({"reply": "x", "stale": "1h"}, "Extra inputs"),
        ({"reply": "x", "retry_after": "0s"}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(written: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec_of(written)


def test_a_good_stream_is_whole_and_unchanged() -> None:
    outcome, _, noted = asked(SORRY, streamed(ROLE, "Hel", "lo", STOP, DONE, Ending.END), call=a_call({**HI, "stream": True}))

    assert received(outcome).text == "Hello"
    assert noted == []
