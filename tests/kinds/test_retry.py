from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.prime import Prime
from proxy.kinds.retry import KIND, Retry, Traffic
from proxy.policy.kind import Site
from proxy.policy.retry_spec import RetrySpec
from tests.scripted import (
    RESET,
    ROLE,
    SILENT,
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

HI = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
WALL_S = 1_772_539_200.0  # 2026-03-03 12:00 UTC
OK = chat("ok")
DOWN = error(500, "down")


def retry(draw: float = 1.0, **given: Any) -> Retry:
    """The layer; `draw` is what its jitter draws: 1 is the whole bound."""
    clock = LoopClock(asyncio.get_running_loop())
    clock.anchor(int(WALL_S * 1e9))
    spec = RetrySpec.read(given)
    return Retry(spec, Site("again", KIND.fields(spec), clock), lambda: draw)


def primed(layer: Retry, upstream: Upstream) -> Service:
    return compose([layer, Prime(LoopClock(asyncio.get_running_loop()))], upstream, Bugs())


class Got:
    """What the app got of a call, after how long and how many exchanges."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.received: Received | None = None
        self.failure: Failure | None = None
        self.took_s = 0.0
        self.exchanges = 0

    def header(self, name: bytes) -> bytes | None:
        assert self.received is not None
        return dict(self.received.headers).get(name)

    def whats(self, kind: str) -> list[dict[str, object]]:
        return [entry.what for entry in self.call.journal.entries if entry.kind == kind]


async def asked(service: Service, upstream: Upstream, call: Call) -> Got:
    got, loop = Got(call), asyncio.get_running_loop()
    begun = loop.time()
    try:
        got.received = await drained(await service(call))
    except Failure as failure:
        got.failure = failure.bare()
    got.took_s = loop.time() - begun
    got.exchanges = len(upstream.asked)
    return got


def played(scripts: Sequence[Script], *, draw: float = 1.0, call: Call | None = None, streams: bool = False, **given: Any) -> Got:
    """One call in virtual time; a reply left open fails."""

    async def main() -> Got:
        mine = call or a_call({**HI, "stream": True} if streams else HI)
        with Upstream(openai=scripts) as upstream:
            return await asked(primed(retry(draw, **given), upstream), upstream, mine)

    return run(main())


def limited(**headers: str) -> Script:
    return error(429, "slow down", None, *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()))


@pytest.mark.parametrize("streams", [False, True])
def test_a_target_that_recovers_is_asked_again_and_the_app_sees_nothing_of_it(streams: bool) -> None:
    good = chat_stream("Hel", "lo") if streams else chat("Hello")
    got = played([RESET, DOWN, good], streams=streams)

    assert got.received is not None
    assert got.received.text == "Hello"
    assert got.header(b"x-should-retry") is None
    assert got.exchanges == 3
    assert got.whats("retry") == [
        {"why": "connect", "attempt": 2, "wait_ms": 200, "upstream": "openai"},
        {"why": "server_error", "attempt": 3, "wait_ms": 400, "upstream": "openai"},
    ]
    assert got.took_s == pytest.approx(0.6)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("most", [1, 2, 3, 6])
def test_an_upstream_that_always_fails_sees_exactly_the_tries_that_are_named(most: int, streams: bool) -> None:
    got = played([DOWN], max_attempts=most, streams=streams)

    assert got.exchanges == most
    assert got.received is not None
    assert (got.received.status, got.header(b"x-should-retry")) == (500, b"false")
    assert got.received.json["error"]["message"] == "down", "the last reply is returned as it came"
    assert got.whats("tries_spent") == [{"why": "server_error", "tries": most, "stop": "max_attempts", "upstream": "openai"}]


def test_a_failure_says_how_often_it_was_tried_and_that_it_is_the_last_word() -> None:
    got = played([RESET])

    assert got.failure is not None
    assert (got.failure.fault, got.failure.spent) == (Fault.CONNECT, True)
    assert got.failure.detail.endswith("; 3 tries")


@pytest.mark.parametrize(
    "script",
    [
        stream(Ending.CUT),
        stream(ROLE, Ending.CUT),
        stream(b'data: {"error": {"message": "overheated", "type": "server_error"}}\n\n', Ending.END),
        stream(Ending.END),
        (head(200, [(b"Content-Type", b"text/html")]), b"<html>oh</html>", Ending.END),
        chat("plain"),
    ],
    ids=["cut at once", "cut after the role", "an error first", "empty", "a page", "JSON"],
)
def test_a_stream_that_goes_wrong_before_its_content_is_asked_for_again(script: Script) -> None:
    got = played([script, chat_stream("Hello")], streams=True)

    assert got.received is not None
    assert got.received.text == "Hello"
    assert got.exchanges == 2


def test_a_stream_that_breaks_after_its_content_is_too_late() -> None:
    got = played([stream(ROLE, "Hel", 1.0, Ending.CUT), chat_stream("Hello")], streams=True)

    assert got.received is not None
    assert got.received.failure is not None
    assert got.exchanges == 1
    assert got.whats("too_late") == [{"why": "truncated"}]
    assert got.call.journal.acted() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_what_is_the_apps_own_to_deal_with_passes_as_it_came(status: int) -> None:
    got = played([error(status, "no"), OK])

    assert (got.exchanges, got.header(b"x-should-retry"), got.call.journal.entries) == (1, None, [])


def test_only_the_faults_that_are_named_are_tried_again() -> None:
    named, other = played([RESET, OK], when=["connect"]), played([DOWN, OK], when=["connect"])
    auth = played([error(401), OK], when=["auth"])

    assert (named.exchanges, other.exchanges, auth.exchanges) == (2, 1, 2)
    assert other.header(b"x-should-retry") is None, "the policy has nothing to say of it"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": " 3 "}, 3.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "1.5", "retry_after": "4"}, 0.0015),
        ({"retry_after_ms": "soon", "retry_after": "4"}, 4.0),
        ({"retry_after": formatdate(WALL_S + 4, usegmt=True)}, 4.0),
        ({"retry_after": "5"}, 5.0),
        *(({"retry_after": value}, 0.2) for value in ("0", "-5", "soon", "", "NaN", "inf", "1,5", "0x10", "\xb2", "1_0", "5 s")),
        ({"retry_after": formatdate(WALL_S - 3600, usegmt=True)}, 0.2),
        ({"retry_after": "Tue, 99 Foo 99999 99:99:99 GMT"}, 0.2),
        ({"retry_after_ms": "-1", "retry_after": "3"}, 0.2),
    ],
)
def test_the_wait_is_what_the_upstream_asks_for_where_that_can_be_understood(headers: dict[str, str], wait_s: float) -> None:
    encoded = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    got = played([error(429, "slow down", None, *encoded), OK])

    assert got.took_s == pytest.approx(wait_s, abs=0.001)
    assert got.exchanges == 2


@pytest.mark.parametrize(
    "value",
    [
        "5.001",
        "1000000000",
        "1e9",
        "9" * 300,
        "1" * 500,
        "9" * 399 + "e99",
        formatdate(WALL_S + 60, usegmt=True),
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ],
)
def test_an_upstream_that_asks_for_more_than_the_longest_wait_is_left_at_once(value: str) -> None:
    got = played([limited(retry_after=value), OK])

    assert (got.exchanges, got.took_s) == (1, 0.0)
    assert (got.header(b"retry-after"), got.header(b"x-should-retry")) == (value.encode(), b"false")
    assert got.whats("tries_spent")[0]["stop"] == "retry_after"


def test_an_upstream_that_says_so_is_not_asked_again_and_one_that_asks_for_it_is() -> None:
    no = played([limited(x_should_retry="false"), OK])
    yes = played([error(409, "locked", None, (b"X-Should-Retry", b"true")), OK])
    always = played([error(409, "locked", None, (b"X-Should-Retry", b"true"))])
    odd = played([error(409, "locked", None, (b"x-should-retry", b"maybe")), OK])

    assert (no.exchanges, no.header(b"x-should-retry")) == (1, b"false")
    assert yes.exchanges == 2
    assert always.exchanges == 3
    assert always.received is not None
    assert [value for name, value in always.received.headers if name.lower() == b"x-should-retry"] == [b"false"]
    assert odd.exchanges == 1


def test_the_waits_grow_to_their_bound_and_jitter_is_full() -> None:
    whole = played([DOWN], max_attempts=6, backoff={"initial": "1s", "max": "3s", "multiplier": 2})
    none = played([DOWN], draw=0.0)

    assert [what["wait_ms"] for what in whole.whats("retry")] == [1000, 2000, 3000, 3000, 3000]
    assert none.took_s == 0.0


def test_no_exchange_is_made_that_others_were_promised() -> None:
    call = a_call(HI, exchanges=4)
    call.reserved = 2
    got = played([DOWN], call=call, max_attempts=5)

    assert (got.exchanges, call.allowance.left) == (2, 2)
    assert got.whats("tries_spent")[0]["stop"] == "allowance"


def test_a_bound_of_the_tries_comes_before_the_policys() -> None:
    fewer, more = a_call(HI), a_call(HI)
    fewer.tries, more.tries = 1, 4

    assert played([DOWN], call=fewer).exchanges == 1
    assert played([DOWN], call=more).exchanges == 4


@pytest.mark.parametrize(("deadline", "answer_by"), [(1002.5, None), (None, 1002.5), (1900.0, 1002.5)])
def test_a_wait_that_would_pass_the_latest_is_not_begun(deadline: float | None, answer_by: float | None) -> None:
    call = a_call(HI)
    call.deadline, call.answer_by = deadline, answer_by
    got = played([limited(retry_after="2"), limited(retry_after="2"), OK], call=call)

    assert (got.exchanges, got.took_s) == (2, 2.0)
    assert got.whats("tries_spent")[0]["stop"] == "time"
    assert got.header(b"x-should-retry") == b"false"


def test_what_cannot_be_sent_twice_is_not_and_the_sdk_may() -> None:
    call = a_call(HI, held=False)
    got = played([DOWN, OK], call=call)

    assert (got.exchanges, got.header(b"x-should-retry")) == (1, None)
    assert got.whats("not_replayable") == [{"why": "server_error"}]


def test_a_request_without_a_body_can_be_sent_twice() -> None:
    got = played([DOWN, OK], call=a_call(method=b"GET", path=b"/v1/models"))

    assert got.exchanges == 2


def test_a_breaker_that_opens_meanwhile_leaves_the_word_to_what_was_said_before() -> None:
    async def main() -> Got:
        with Upstream(openai=[DOWN]) as upstream:

            async def inner(call: Call) -> Reply:
                if upstream.asked:
                    raise Failure(Fault.BREAKER_OPEN, "openai", "its circuit is open")
                return await upstream(call)

            return await asked(compose([retry(), Prime(LoopClock(asyncio.get_running_loop()))], inner, Bugs()), upstream, a_call(HI))

    got = run(main())

    assert got.received is not None
    assert (got.received.status, got.exchanges) == (500, 1)


async def test_a_refusal_is_never_tried_again() -> None:
    calls: list[Call] = []

    async def inner(call: Call) -> Reply:
        calls.append(call)
        raise Refusal(429, "overloaded", "busy")

    with pytest.raises(Refusal):
        await retry()(a_call(HI), inner)

    assert len(calls) == 1


def test_a_storm_is_held_to_its_share_and_every_call_has_its_first_try() -> None:
    async def main() -> tuple[int, list[Call]]:
        layer, exchanges = retry(0.0, max_attempts=5), 0

        async def inner(call: Call) -> Reply:
            nonlocal exchanges
            call.allowance.spend()
            exchanges += 1
            await asyncio.sleep(0.001)
            raise Failure(Fault.CONNECT, "openai", "refused")

        calls = [a_call(HI) for _ in range(10_000)]
        for at in range(0, len(calls), 100):
            results = await asyncio.gather(*(layer(call, inner) for call in calls[at : at + 100]), return_exceptions=True)
            assert all(isinstance(each, Failure) and each.spent for each in results)
        return exchanges, calls

    exchanges, calls = run(main())

    assert 10_000 + 2_000 <= exchanges <= 10_000 + 2_000 + 100
    assert any(entry.kind == "retry_budget" for entry in calls[-1].journal.entries)


def test_a_quiet_service_is_never_held_to_a_share() -> None:
    async def main() -> int:
        layer = retry(0.0)
        with Upstream(openai=[DOWN]) as upstream:
            for _ in range(50):
                await drained(await primed(layer, upstream)(a_call(HI)))
            return len(upstream.asked)

    assert run(main()) == 150


def test_targets_have_budgets_of_their_own() -> None:
    async def main() -> list[int]:
        layer = retry(0.0, retry_budget={"share": "0%", "at_least": 3})
        counts = []
        with Upstream(openai=[DOWN], groq=[DOWN]) as upstream:
            for name in ("openai", "openai", "groq"):
                before = len(upstream.asked)
                await drained(await primed(layer, upstream)(a_call(HI, upstream=name)))
                counts.append(len(upstream.asked) - before)
        return counts

    assert run(main()) == [3, 2, 3]


def test_what_leaves_the_window_is_forgotten() -> None:
    traffic = Traffic(10.0)
    for _ in range(100):
        traffic.called(1000.0)

    assert [traffic.take(1000.5, 0.02, 0) for _ in range(3)] == [True, True, False]
    assert not traffic.take(1009.9, 0.02, 0)
    assert not traffic.take(1011.0, 0.02, 0), "neither its calls nor its retries count any more"
    assert traffic.take(1011.0, 0.02, 1)
    assert traffic.take(99_999.0, 0.0, 1)


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("scripts", [[SILENT], [DOWN, SILENT], [RESET], [limited(retry_after="4")], [stream(ROLE), SILENT]])
def test_an_app_that_leaves_ends_every_wait(scripts: list[Script], after_s: float) -> None:
    async def main() -> None:
        with Upstream(openai=scripts) as upstream:

            async def ask() -> None:
                with suppress(Failure):
                    await drained(await primed(retry(max_attempts=10), upstream)(a_call({**HI, "stream": True}, exchanges=20)))

            task = asyncio.get_running_loop().create_task(ask())
            await asyncio.sleep(after_s)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            made = len(upstream.asked)
            await asyncio.sleep(100)

            assert len(upstream.asked) == made

    run(main())


class Record:
    """What can be told to be gone."""


def test_a_call_that_was_tried_again_is_freed_at_once() -> None:
    async def refused(call: Call) -> Reply:
        await asyncio.sleep(0)
        raise Failure(Fault.CONNECT, "openai", "refused")

    async def kept(*scripts: Script) -> object:
        inner: Service = Upstream(openai=scripts) if scripts else refused
        call = a_call(HI)
        call.trace = Record()
        record = weakref.ref(call.trace)
        with suppress(Failure):
            await drained(await compose([retry(0.0), Prime(LoopClock(asyncio.get_running_loop()))], inner, Bugs())(call))
        del call, inner
        return record()

    async def main() -> list[object]:
        return [await kept(), await kept(DOWN), await kept(DOWN, OK)]

    gc.collect()
    gc.disable()
    try:
        assert run(main()) == [None, None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "given",
    [
        {"max_attempts": 0},
        {"max_attempts": 11},
        {"max_attempts": "3"},
        {"when": []},
        {"when": ["always"]},
        {"backoff": {"initial": "10s", "max": "5s"}},
        {"backoff": {"multiplier": 0.5}},
        {"retry_budget": {"share": "120%"}},
        {"retry_budget": {"share": 0.2}},
        {"attempts": 3},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RetrySpec.read(given)
