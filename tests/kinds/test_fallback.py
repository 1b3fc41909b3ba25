from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.assembly.load import load_text
from proxy.assembly.stack import STACK
from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.journal import Entry
from proxy.core.reply import Reply
from proxy.core.service import Layer, Service, compose
from proxy.core.virtual import run
from proxy.kinds import retry, timeouts
from proxy.kinds.fallback import KIND, FallbackSpec
from proxy.kinds.patience import InTime
from proxy.kinds.prime import Prime
from proxy.policy.kind import Place, Site
from proxy.policy.retry_spec import RetrySpec
from proxy.policy.shape import unfold
from proxy.policy.timeouts_spec import TriesSpec
from tests.assembly.engines import UPSTREAMS
from tests.scripted import (
    DONE,
    JSON,
    RESET,
    ROLE,
    SILENT,
    STOP,
    Bugs,
    Ending,
    Received,
    Script,
    Upstream,
    a_call,
    chat,
    chat_stream,
    drained,
    error,
    head,
    stream,
)

HI: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
MINI = {"model": "gpt-4o-mini"}
GROQ = {"upstream": "groq", "model": "llama"}
DOWN = error(503, "down")


def built(place: Place, spec: Any, site: Site) -> Layer:
    return next(kind for kind in STACK if kind.place == place).enforce(spec, site)


def spec_of(written: Any) -> FallbackSpec:
    unfolded, found = unfold(FallbackSpec, written)
    assert not found
    return FallbackSpec.read(unfolded)


def service_of(written: Any, upstream: Upstream, *inside: Any) -> Service:
    clock = LoopClock(asyncio.get_running_loop())
    layer = KIND.enforce(spec_of(written), Site("safe", frozenset(("",)), clock, built))
    return compose([layer, *inside, InTime(clock), Prime(clock)], upstream, Bugs())


async def got(service: Service, call: Call) -> Received | Failure | Refusal:
    try:
        return await drained(await service(call))
    except (Failure, Refusal) as exc:
        return exc


def asked(written: Any, call: Call | None = None, **scripts: list[Script]) -> tuple[Received | Failure | Refusal, Upstream, list[Entry]]:
    """What the app gets, what was asked, and what was decided."""

    async def main() -> tuple[Received | Failure | Refusal, Upstream, list[Entry]]:
        the_call = call or a_call(HI)
        with Upstream(**scripts) as upstream:
            outcome = await got(service_of(written, upstream), the_call)
            return outcome, upstream, [entry for entry in the_call.journal.entries if entry.kind in ("fallback", "too_late")]

    return run(main())


def targets(upstream: Upstream) -> list[str]:
    return [f"{each.target.upstream} {each.target.model}" for each in upstream.asked]


def text_of(outcome: Received | Failure | Refusal) -> str:
    assert isinstance(outcome, Received), outcome
    return outcome.text


# The chain


def test_a_call_that_goes_well_is_nobody_elses() -> None:
    outcome, upstream, noted = asked([MINI, GROQ], openai=[chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None"]
    assert noted == []


def test_the_next_target_answers_where_the_first_fails() -> None:
    outcome, upstream, noted = asked([MINI], openai=[DOWN, chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", "openai gpt-4o-mini"]
    assert [(entry.policy, entry.acted, entry.what) for entry in noted] == [
        ("safe", True, {"why": "overloaded", "upstream": "openai", "model": "gpt-4o-mini"})
    ]


def test_targets_are_asked_in_their_order_until_one_answers() -> None:
    outcome, upstream, _ = asked([MINI, GROQ, {"upstream": "local", "model": "m"}], openai=[RESET, error(500)], groq=[chat("from groq")])

    assert text_of(outcome) == "from groq"
    assert targets(upstream) == ["openai None", "openai gpt-4o-mini", "groq llama"]


def test_a_text_is_a_model_and_one_target_needs_no_list() -> None:
    assert spec_of("gpt-4o-mini") == spec_of(["gpt-4o-mini"]) == spec_of(MINI) == spec_of([MINI]) == spec_of({"chain": [MINI]})
    assert spec_of({"when": "auth", **MINI}) == spec_of([{"when": "auth", **MINI}])


def test_an_upstream_alone_is_asked_for_the_same_model() -> None:
    outcome, upstream, _ = asked([{"upstream": "groq"}], openai=[DOWN], groq=[chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", "groq None"]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (RESET, "connect"),
        (error(408), "timeout"),
        (error(429), "rate_limited"),
        (error(429, "You exceeded your current quota", "insufficient_quota"), "quota"),
        (error(500), "server_error"),
        (error(529), "overloaded"),
        ((head(200, [(b"Content-Type", b"text/html")]), b"<html>", Ending.END), "bad_reply"),
        ((head(200, JSON), b'{"id": "chatcmpl-1", "cho', Ending.CUT), "truncated"),
        ((head(200, JSON), b"", Ending.END), "bad_reply"),
    ],
)
def test_each_fault_of_the_default_leads_on(script: Script, fault: str) -> None:
    outcome, _, noted = asked([MINI], openai=[script, chat("ok")])

    assert text_of(outcome) == "ok"
    assert noted[0].what["why"] == fault


@pytest.mark.parametrize("script", [error(400, "bad"), error(401), error(404, "no such thing"), error(409), error(422)])
def test_what_is_no_fault_or_not_named_passes_as_it_came(script: Script) -> None:
    outcome, upstream, noted = asked([MINI], openai=[script, chat("ok")])

    assert isinstance(outcome, Received)
    assert outcome.status >= 400
    assert outcome.headers == JSON
    assert len(upstream.asked) == 1
    assert noted == []


def test_an_entry_whose_faults_lack_this_one_is_passed_over() -> None:
    chain = [{"when": "context_window", "model": "gpt-4.1"}, GROQ]
    outcome, upstream, noted = asked(chain, openai=[DOWN], groq=[chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", "groq llama"]
    skipped = "its `when` does not name this fault"
    assert noted[0].what == {"why": "overloaded", "skipped": skipped, "upstream": "openai", "model": "gpt-4.1"}
    assert not noted[0].acted


def test_an_entry_may_name_what_the_default_does_not() -> None:
    chain = [MINI, {"when": ["context_window"], "model": "gpt-4.1"}]
    too_long = error(400, "This model's maximum context length is 8192 tokens", "context_length_exceeded")
    outcome, upstream, _ = asked(chain, openai=[too_long, chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", "openai gpt-4.1"]


def test_the_fault_of_the_target_before_decides_not_that_of_the_first() -> None:
    chain = [MINI, GROQ, {"when": ["auth"], "model": "gpt-4.1"}]
    outcome, upstream, _ = asked(chain, openai=[DOWN, error(401), chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", "openai gpt-4o-mini", "openai gpt-4.1"]


def test_the_chain_may_have_faults_of_its_own() -> None:
    written = {"when": ["auth"], "chain": [MINI]}
    good, _, _ = asked(written, openai=[error(401), chat("ok")])
    bad, upstream, _ = asked(written, openai=[DOWN, chat("ok")])

    assert text_of(good) == "ok"
    assert isinstance(bad, Received)
    assert bad.status == 503
    assert len(upstream.asked) == 1


def test_a_refusal_of_a_policy_inside_is_final() -> None:
    async def no(call: Call, inner: Service) -> Reply:
        raise Refusal(403, "policy_refused", "no")

    async def main() -> None:
        outcome = await got(service_of([MINI], Upstream(openai=[chat("ok")]), no), a_call(HI))

        assert isinstance(outcome, Refusal)

    run(main())


# Streams


@pytest.mark.parametrize(
    "script",
    [
        RESET,
        stream(ROLE, Ending.CUT),
        stream(ROLE, b'data: {"error": {"message": "overloaded"}}\n\n', Ending.END),
        stream(Ending.END),
        chat("plain JSON, where a stream was asked"),
        (head(200, [(b"Content-Type", b"text/html")]), b"<html>", Ending.END),
    ],
)
def test_a_stream_that_fails_before_its_first_content_falls_back_as_any_other(script: Script) -> None:
    outcome, upstream, _ = asked([MINI], a_call({**HI, "stream": True}), openai=[script, chat_stream("Hel", "lo")])

    assert text_of(outcome) == "Hello"
    assert len(upstream.asked) == 2


def test_after_its_first_content_a_stream_is_the_apps() -> None:
    begun = stream(ROLE, "Hel", 0.01, Ending.CUT)
    outcome, upstream, noted = asked([MINI], a_call({**HI, "stream": True}), openai=[begun, chat_stream("never")])

    assert isinstance(outcome, Received)
    assert outcome.failure is not None
    assert outcome.text == "Hel"
    assert len(upstream.asked) == 1
    assert [(entry.kind, entry.acted, entry.what) for entry in noted] == [("too_late", False, {"why": "truncated"})]


# When all have failed


def test_the_last_reply_goes_to_the_app_and_tells_the_sdk_not_to_try_on() -> None:
    last = error(429, "slow down", None, (b"Retry-After", b"7"), (b"x-should-retry", b"true"))
    outcome, upstream, _ = asked([GROQ], openai=[DOWN], groq=[last])

    assert isinstance(outcome, Received)
    assert outcome.status == 429
    assert outcome.headers == [*JSON, (b"Retry-After", b"7"), (b"x-should-retry", b"false")]
    assert upstream.replies[0].body.closed


def test_a_failure_at_the_end_says_what_was_tried() -> None:
    outcome, _, _ = asked([MINI, GROQ], openai=[DOWN, error(500)], groq=[RESET])

    assert isinstance(outcome, Failure)
    assert outcome.fault is Fault.CONNECT
    assert outcome.spent
    assert outcome.detail.endswith("(tried: openai gpt-4o: overloaded; openai gpt-4o-mini: server_error; groq llama: connect)")


def test_a_200_that_is_no_answer_is_an_error_when_nobody_is_left_to_ask() -> None:
    html = (head(200, [(b"Content-Type", b"text/html")]), b"<html>", Ending.END)
    outcome, _, _ = asked([GROQ], openai=[DOWN], groq=[html])

    assert isinstance(outcome, Failure)
    assert outcome.fault is Fault.BAD_REPLY
    assert "groq answered 200 with what is no answer" in outcome.detail


def test_a_reply_that_nobody_may_better_is_given_as_it_came() -> None:
    outcome, _, _ = asked([{"when": ["context_window"], **MINI}], openai=[DOWN])

    assert isinstance(outcome, Received)
    assert outcome.headers == JSON


def test_where_nothing_was_sent_the_reply_before_is_the_last_word() -> None:
    async def breaker(call: Call, inner: Service) -> Reply:
        if call.target.upstream == "groq":
            raise Failure(Fault.BREAKER_OPEN, "groq", "the breaker is open")
        return await inner(call)

    async def main() -> None:
        call = a_call(HI)
        with Upstream(openai=[error(429, "slow down", None, (b"Retry-After", b"7"))]) as upstream:
            outcome = await got(service_of([GROQ, {**GROQ, "model": "other"}], upstream, breaker), call)

            assert isinstance(outcome, Received)
            assert outcome.status == 429
            assert (b"Retry-After", b"7") in outcome.headers
            assert call.allowance.spent == 1

    run(main())


def test_a_target_whose_breaker_is_open_is_passed_over_at_once() -> None:
    async def breaker(call: Call, inner: Service) -> Reply:
        if call.target.model == "gpt-4o-mini":
            raise Failure(Fault.BREAKER_OPEN, "openai", "the breaker is open")
        return await inner(call)

    async def main() -> None:
        with Upstream(openai=[RESET], groq=[chat("ok")]) as upstream:
            outcome = await got(service_of([MINI, GROQ], upstream, breaker), a_call(HI))

            assert text_of(outcome) == "ok"
            assert targets(upstream) == ["openai None", "groq llama"]

    run(main())


# What bounds it


def test_the_allowance_ends_it_and_the_last_reply_is_given() -> None:
    outcome, upstream, noted = asked([MINI, GROQ, "gpt-4.1"], a_call(HI, exchanges=2), openai=[DOWN, error(500)], groq=[chat("never")])

    assert isinstance(outcome, Received)
    assert outcome.status == 500
    assert (b"x-should-retry", b"false") in outcome.headers
    assert len(upstream.asked) == 2
    assert noted[-1].what["skipped"] == "no exchange left (2 were made)"


def test_what_outer_layers_have_promised_to_others_is_left() -> None:
    call = a_call(HI, exchanges=3).derive(reserved=1)
    _, upstream, _ = asked([MINI, GROQ], call, openai=[DOWN], groq=[chat("never")])

    assert targets(upstream) == ["openai None", "openai gpt-4o-mini"]


def test_the_inside_is_told_how_many_targets_are_to_come_and_that_each_has_one_try() -> None:
    seen: list[tuple[int, int | None]] = []

    async def peek(call: Call, inner: Service) -> Reply:
        seen.append((call.reserved, call.tries))
        return await inner(call)

    async def main() -> None:
        with Upstream(openai=[DOWN], groq=[DOWN]) as upstream:
            await got(service_of([MINI, GROQ], upstream, peek), a_call(HI))

    run(main())

    assert seen == [(2, None), (1, 1), (0, 1)]


@pytest.mark.parametrize(("patience_s", "took_s"), [(3.0, 1.5), (600.0, 570.0)])
def test_a_stalled_target_leaves_time_for_the_next(patience_s: float, took_s: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        call = a_call(HI).derive(answer_by=loop.time() + patience_s)
        begun = loop.time()
        with Upstream(openai=[SILENT], groq=[chat("ok")]) as upstream:
            outcome = await got(service_of([GROQ], upstream), call)

            assert text_of(outcome) == "ok"
            assert loop.time() - begun == pytest.approx(took_s, abs=0.05)

    run(main())


def test_without_a_limit_a_silent_target_is_the_apps_to_leave() -> None:
    async def main() -> None:
        with Upstream(openai=[SILENT], groq=[chat("never")]) as upstream:
            task = asyncio.get_running_loop().create_task(got(service_of([GROQ], upstream), a_call(HI)))
            await asyncio.sleep(3600)
            task.cancel()

            assert len(upstream.asked) == 1
            await asyncio.wait((task,))

    run(main())


def test_after_the_last_moment_nothing_more_is_asked() -> None:
    async def main() -> None:
        call = a_call(HI).derive(deadline=asyncio.get_running_loop().time() - 1)
        with Upstream(openai=[DOWN], groq=[chat("never")]) as upstream:
            outcome = await got(service_of([GROQ], upstream), call)

            assert isinstance(outcome, Received)
            assert outcome.status == 503
            assert (b"x-should-retry", b"false") in outcome.headers
            assert call.journal.entries[-1].what["skipped"] == "no time left"

    run(main())


def test_a_target_may_have_tries_of_its_own() -> None:
    outcome, upstream, _ = asked([{**MINI, "retry": 3}, GROQ], openai=[DOWN, error(500), error(500), chat("ok")], groq=[chat("never")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", *["openai gpt-4o-mini"] * 3]


def test_tries_of_its_own_leave_the_later_targets_their_exchange() -> None:
    call = a_call(HI, exchanges=4)
    outcome, upstream, _ = asked([{**MINI, "retry": 9}, GROQ], call, openai=[DOWN], groq=[chat("ok")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", *["openai gpt-4o-mini"] * 2, "groq llama"]


def test_they_stand_in_the_place_of_a_retry_policys() -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        policy = retry.KIND.enforce(RetrySpec.read({"max_attempts": 2}), Site("again", frozenset(("",)), clock))
        with Upstream(openai=[DOWN], groq=[chat("ok")]) as upstream:
            outcome = await got(service_of([{**MINI, "retry": 3}, "gpt-4.1", GROQ], upstream, policy), a_call(HI, exchanges=20))

            assert text_of(outcome) == "ok"
            assert targets(upstream) == ["openai None"] * 2 + ["openai gpt-4o-mini"] * 3 + ["openai gpt-4.1", "groq llama"]

    run(main())


@pytest.mark.parametrize("policy_s", ["1s", "60s"])
def test_a_target_may_have_limits_of_its_own_shorter_or_longer_than_the_policys(policy_s: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        policy = timeouts.EXCHANGE.enforce(TriesSpec.read({"per_try": policy_s}), Site("slow", frozenset(("",)), clock))
        chain = [{**MINI, "timeouts": {"per_try": "10s"}}, {**GROQ, "timeouts": {"per_try": "30s"}}]
        with Upstream(openai=[DOWN, SILENT], groq=[(20.0, *chat("ok"))]) as upstream:
            begun = loop.time()
            outcome = await got(service_of(chain, upstream, policy), a_call(HI))

            assert text_of(outcome) == "ok"
            assert loop.time() - begun == pytest.approx(30, abs=0.1)

    run(main())


# What stays, and what cannot be sent twice


FILE = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]


@pytest.mark.parametrize("body", [{"store": True}, {"messages": FILE}])
def test_a_request_with_state_is_never_moved_but_may_have_another_model(body: dict[str, Any]) -> None:
    outcome, upstream, noted = asked([GROQ, MINI], a_call({**HI, **body}), openai=[DOWN, chat("ok")], groq=[chat("never")])

    assert text_of(outcome) == "ok"
    assert targets(upstream) == ["openai None", "openai gpt-4o-mini"]
    assert noted[0].what["skipped"] == "stays"
    assert noted[0].what["upstream"] == "groq"


def test_of_a_request_with_state_nothing_is_promised_to_those_that_it_cannot_use() -> None:
    seen: list[int] = []

    async def peek(call: Call, inner: Service) -> Reply:
        seen.append(call.reserved)
        return await inner(call)

    async def main() -> None:
        with Upstream(openai=[chat("ok")]) as upstream:
            await got(service_of([GROQ], upstream, peek), a_call({**HI, "store": True}))

    run(main())

    assert seen == [0]


def test_a_body_that_is_not_held_is_not_sent_twice() -> None:
    outcome, upstream, noted = asked([MINI], a_call(HI, held=False), openai=[DOWN, chat("never")])

    assert isinstance(outcome, Received)
    assert outcome.status == 503
    assert len(upstream.asked) == 1
    assert noted[0].what == {"why": "overloaded", "skipped": "not_replayable"}


def test_a_target_that_was_asked_already_is_not_asked_again() -> None:
    chain = ["gpt-4o", {"upstream": "openai"}, MINI, MINI]
    _, upstream, noted = asked(chain, openai=[DOWN])

    assert targets(upstream) == ["openai None", "openai gpt-4o-mini"]
    assert [entry.what.get("skipped") for entry in noted] == ["same_target", "same_target", "same_target", None]


def test_the_same_model_with_other_parameters_is_another_target() -> None:
    chain = [{"model": "gpt-4o", "params": {"remove": ["tools"]}}]
    outcome, upstream, _ = asked(chain, a_call({**HI, "tools": []}), openai=[DOWN, chat("ok")])

    assert text_of(outcome) == "ok"
    assert "tools" not in upstream.asked[1].json


def test_a_list_of_models_has_no_body_and_may_be_asked_elsewhere() -> None:
    call = a_call(method=b"GET", path=b"/v1/models")
    _, upstream, noted = asked([MINI, GROQ], call, openai=[DOWN], groq=[error(404, "none")])

    assert [each.target.upstream for each in upstream.asked] == ["openai", "groq"]
    assert noted[0].what["skipped"] == "same_target"


# What the next model cannot take


def test_what_the_next_model_would_refuse_is_taken_out_and_told() -> None:
    call = a_call({**HI, "temperature": 0.2, "max_tokens": 5, "seed": 7})
    _, upstream, noted = asked(["gpt-5"], call, openai=[DOWN, chat("ok")])

    assert upstream.asked[0].json["temperature"] == 0.2
    assert upstream.asked[1].json == {**HI, "seed": 7, "max_completion_tokens": 5}
    assert noted[0].what["removed"] == ["temperature"]
    assert noted[0].what["renamed"] == ["max_tokens to max_completion_tokens"]


def test_settings_of_the_account_do_not_follow_to_another_upstream() -> None:
    call = a_call({**HI, "service_tier": "flex", "metadata": {"a": "b"}})
    _, upstream, noted = asked([MINI, GROQ], call, openai=[DOWN], groq=[chat("ok")])

    assert upstream.asked[1].json["service_tier"] == "flex"
    assert "service_tier" not in upstream.asked[2].json
    assert noted[1].what["removed"] == ["metadata", "service_tier"]


def test_a_targets_own_parameters_are_set_last() -> None:
    target = {**GROQ, "params": {"overrides": {"temperature": 0}, "defaults": {"service_tier": "on_demand"}, "remove": ["seed"]}}
    _, upstream, noted = asked([target], a_call({**HI, "service_tier": "flex", "seed": 7}), openai=[DOWN], groq=[chat("ok")])

    assert upstream.asked[1].json == {**HI, "temperature": 0, "service_tier": "on_demand"}
    assert noted[0].what["removed"] == ["service_tier", "seed"]
    assert noted[0].what["set"] == ["temperature", "service_tier"]


def test_a_body_that_cannot_be_read_goes_on_as_it_is() -> None:
    outcome, upstream, noted = asked([MINI], a_call(b"{not json"), openai=[DOWN, chat("ok")])

    assert text_of(outcome) == "ok"
    assert upstream.asked[1].body == b"{not json"
    assert "unread" in noted[0].what


# Equals


def test_equals_are_asked_in_an_order_drawn_by_weight_and_each_of_them_once() -> None:
    chain = [{"model": "a", "weight": 3}, {"model": "b", "weight": 1}, {"model": "last"}]
    orders: Counter[tuple[str | None, ...]] = Counter()

    async def main() -> None:
        for number in range(400):
            call = a_call(HI)
            call.id = f"call-{number}"
            with Upstream(openai=[DOWN]) as upstream:
                await got(service_of(chain, upstream), call)
                orders[tuple(each.target.model for each in upstream.asked[1:])] += 1

    run(main())

    assert set(orders) == {("a", "b", "last"), ("b", "a", "last")}
    assert orders["a", "b", "last"] == pytest.approx(300, abs=30)


def test_the_same_call_draws_the_same() -> None:
    chain = [{"model": str(n), "weight": 1} for n in range(5)]
    first, second = (targets(asked(chain, openai=[DOWN])[1]) for _ in range(2))

    assert first == second
    assert len(set(first)) == 6


# What YAML may say


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ([], "at least 1"),
        ([{}], "needs `model` or `upstream`"),
        ([{"when": "connect"}], "needs `model` or `upstream`"),
        ([{"model": "a", "when": "sometimes"}], "Input should be"),
        ([{"model": "a", "when": []}], "at least 1"),
        ([{"model": "a", "weight": 0}], "greater than or equal to 1"),
        ([{"model": "a", "convert": "magic"}], "Input should be"),
        ([{"model": "a", "params": {"overrides": {"model": "b"}}}], "is not a parameter"),
        ({"chain": ["a"], "when": []}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(written: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec_of(written)


@pytest.mark.parametrize(
    ("match", "chain", "says"),
    [
        ("{model: gpt-4o}", "[gpt-4o]", "asks for 'gpt-4o', which every call that the policy matches has asked for already"),
        ("{}", "[a, {upstream: openai, model: a}]", "asks the same as entry 1 of the chain"),
        ("{}", "[a, {when: breaker_open, model: b}]", "no policy has a `circuit_breaker`"),
        ("{}", "[a, b, c]", "a call has 3 exchanges, and those before it take them all"),
        ("{endpoint: files}", "[a]", "`fallback` does nothing on files"),
        ("{}", "[groq]", "asks home for a model named 'groq', which is an upstream"),
        ("{}", "[{model: a, params: {remove: [temprature]}}]", "did you mean 'temperature'?"),
    ],
)
def test_what_is_surely_not_meant_is_told(match: str, chain: str, says: str) -> None:
    found = warnings(match, chain)

    assert len(found) == 1
    assert says in found[0]


@pytest.mark.parametrize(
    ("match", "chain"),
    [
        ('{model: "gpt-4*"}', "[gpt-4o]"),
        ("{}", "[{model: a, params: {remove: [tools]}}, a]"),
        ("{}", "[{when: auth, model: a}, b, c]"),
        ("{}", "[{upstream: groq}, {upstream: local}]"),
    ],
)
def test_what_may_be_meant_is_not(match: str, chain: str) -> None:
    assert warnings(match, chain) == []


def warnings(match: str, chain: str) -> list[str]:
    text = f"version: 1\nlimits: {{exchanges: 3}}\n{UPSTREAMS}\npolicies: [{{name: p, match: {match}, apply: {{fallback: {chain}}}}}]\n"
    return [str(each) for each in load_text(text, "p.yaml", {}).warnings if "no policy sends calls" not in str(each)]


def test_the_upstreams_that_it_names_are_known_with_their_places() -> None:
    assert list(spec_of([MINI, GROQ]).upstreams()) == [(("chain", 1, "upstream"), "groq")]


def test_an_app_that_leaves_ends_the_exchange_under_way() -> None:
    async def main() -> None:
        with Upstream(openai=[DOWN], groq=[SILENT]) as upstream:
            task = asyncio.get_running_loop().create_task(got(service_of([GROQ], upstream), a_call(HI)))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait((task,))

            assert len(upstream.asked) == 2

    run(main())


def test_a_stream_that_goes_well_is_whole_and_unchanged() -> None:
    script = stream(ROLE, "Hel", 0.01, "lo", STOP, DONE, Ending.END)
    outcome, _, _ = asked([MINI], a_call({**HI, "stream": True}), openai=[script])

    assert isinstance(outcome, Received)
    assert outcome.failure is None
    assert outcome.data.endswith(b"data: [DONE]\n\n")
