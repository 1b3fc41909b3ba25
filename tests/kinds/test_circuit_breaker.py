from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call, Target
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.circuit_breaker import KIND, TARGETS, CircuitBreaker
from proxy.kinds.prime import Prime
from proxy.policy.kind import Site
from tests.scripted import (
    DONE,
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
    stream,
)

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**BODY, "stream": True}


class Proxy:
    """A breaker over a played upstream."""

    def __init__(self, upstream: Upstream, **spec: Any) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        self.layer = CircuitBreaker(KIND.spec.read(spec), Site("p", frozenset(("",)), self.clock))
        self.service: Service = compose([self.layer, Prime(self.clock)], upstream, Bugs())

    async def ask(self, body: dict[str, Any] = BODY, **derived: Any) -> Received | Failure | Refusal:
        return await got(self.service, a_call(body).derive(**derived))

    @property
    def states(self) -> dict[tuple[str, str], object]:
        return {(shown.labels["upstream"], shown.labels["model"]): shown.what["state"] for shown in self.layer.shown()}

    @property
    def state(self) -> object:
        (only,) = self.states.values()
        return only


async def got(service: Service, call: Call) -> Received | Failure | Refusal:
    try:
        reply = await service(call)
    except (Failure, Refusal) as exc:
        return exc
    return await drained(reply)


def fault(outcome: object) -> Fault:
    assert isinstance(outcome, Failure), outcome
    return outcome.fault


def playing(*scripts: Script) -> Upstream:
    return Upstream(openai=scripts)


CUT: Script = stream(ROLE, "Hel", 1.0, Ending.CUT)
LONG: Script = stream(ROLE, "Hel", 5.0, "lo", STOP, DONE, Ending.END)


@pytest.mark.parametrize(
    ("script", "body", "opens"),
    [
        (RESET, BODY, True),
        (error(500), BODY, True),
        (error(503), BODY, True),
        (error(504), BODY, True),
        ((*chat("Hi")[:1], b"<html>", Ending.END), BODY, True),
        (stream(Ending.END), STREAM, True),
        (CUT, STREAM, True),
        (error(429), BODY, False),
        (error(400), BODY, False),
        (error(401), BODY, False),
        (error(404), BODY, False),
        (error(409), BODY, False),
        (chat("Hi"), BODY, False),
        (chat_stream("Hi"), STREAM, False),
    ],
)
def test_what_the_target_did_wrong_opens_it_and_nothing_else(script: Script, body: dict[str, Any], opens: bool) -> None:
    async def main() -> None:
        with playing(script) as upstream:
            proxy = Proxy(upstream, consecutive=2)
            for _ in range(2):
                await proxy.ask(body)

            assert proxy.state == ("open" if opens else "closed")

    run(main())


def test_open_it_sends_nothing_where_another_target_stands_by() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=2)
            await proxy.ask()
            await proxy.ask()
            call = a_call(BODY).derive(reserved=1)
            outcome = await got(proxy.service, call)

            assert fault(outcome) is Fault.BREAKER_OPEN
            assert isinstance(outcome, Failure)
            assert outcome.retry_after_s == 30.0
            assert (len(upstream.asked), call.allowance.spent) == (2, 0)
            assert [(entry.kind, entry.acted, entry.what["refused"]) for entry in call.journal.entries] == [("breaker", True, True)]

    run(main())


def test_it_closes_again_when_a_probe_goes_well() -> None:
    async def main() -> list[object]:
        with playing(RESET, RESET, chat("Hi")) as upstream:
            proxy = Proxy(upstream, consecutive=2, open_for="10s")
            seen = []
            for wait_s in (0.0, 0.0, 9.9, 0.2, 0.0):
                await asyncio.sleep(wait_s)
                await proxy.ask(reserved=1)
                seen.append(proxy.state)
            assert len(upstream.asked) == 4
            return seen

    assert run(main()) == ["closed", "open", "open", "closed", "closed"]


def test_a_stream_counts_at_its_end() -> None:
    async def main() -> None:
        with playing(RESET, RESET, LONG) as upstream:
            proxy = Proxy(upstream, consecutive=2)
            await proxy.ask()
            await proxy.ask()
            await asyncio.sleep(31)
            reply = await proxy.service(a_call(STREAM).derive(reserved=1))
            while_it_runs = proxy.state
            second = await proxy.ask(reserved=1)
            await drained(reply)

            assert while_it_runs == "half_open"
            assert fault(second) is Fault.BREAKER_OPEN
            assert proxy.state == "closed"

    run(main())


def test_an_app_that_leaves_says_nothing_of_the_target() -> None:
    async def main() -> None:
        with playing(SILENT, LONG) as upstream:
            proxy = Proxy(upstream, consecutive=1)
            task = asyncio.get_running_loop().create_task(proxy.ask())
            await asyncio.sleep(100)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            reply = await proxy.service(a_call(STREAM))
            reply.close()

            assert proxy.state == "closed"
            assert next(iter(proxy.layer.shown())).what["failures_in_a_row"] == 0

    run(main())


def test_an_app_that_waited_as_long_as_it_could_does() -> None:
    async def main() -> None:
        with playing(SILENT) as upstream:
            proxy = Proxy(upstream, consecutive=1)
            until = proxy.clock.now() + 3.0
            with suppress(TimeoutError), proxy.clock.limit(until):
                await proxy.ask(answer_by=until)

            assert proxy.state == "open"

    run(main())


def test_a_stream_that_the_total_limit_ends_says_nothing() -> None:
    async def main() -> None:
        with playing(LONG) as upstream:
            proxy = Proxy(upstream, consecutive=1)
            reply = await proxy.service(a_call(STREAM))
            failure = Failure(Fault.TIMEOUT, "openai", "not all of the answer in time")
            failure.spent = True
            reply.body.fail(failure)
            await drained(reply)

            assert proxy.state == "closed"

    run(main())


def test_a_refusal_from_within_says_nothing() -> None:
    async def refuses(call: Call) -> Reply:
        raise Refusal(429, "overloaded", "no")

    async def main() -> None:
        proxy = Proxy(playing(RESET), consecutive=1)
        with pytest.raises(Refusal):
            await proxy.layer(a_call(BODY), refuses)

        assert proxy.state == "closed"

    run(main())


def test_an_allowance_that_is_spent_says_nothing() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=1)

            assert fault(await got(proxy.service, a_call(BODY, exchanges=0))) is Fault.BREAKER_OPEN
            assert proxy.state == "closed"

    run(main())


@pytest.mark.parametrize("derived", [{}, {"reserved": 1, "lone": True}, {"reserved": 0, "lone": None}])
def test_the_last_target_is_asked_all_the_same_at_a_slower_pace(derived: dict[str, Any]) -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=2, alone="2s")
            loop = asyncio.get_running_loop()
            began, times = loop.time(), []
            for _ in range(5):
                assert fault(await proxy.ask(**derived)) is Fault.CONNECT
                times.append(round(loop.time() - began, 1))

            assert times == [0.0, 0.0, 0.0, 2.0, 4.0]
            assert len(upstream.asked) == 5

    run(main())


def test_only_a_few_wait_for_their_turn_and_the_others_are_told_when_to_come() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=2)
            await proxy.ask()
            await proxy.ask()
            calls = [a_call(BODY) for _ in range(20)]
            outcomes = await asyncio.gather(*(got(proxy.service, call) for call in calls))
            faults = [fault(outcome) for outcome in outcomes]

            assert faults == [Fault.CONNECT] * 6 + [Fault.BREAKER_OPEN] * 14
            assert isinstance(outcomes[-1], Failure)
            assert outcomes[-1].retry_after_s == 6.0

    run(main())


def test_a_lone_target_that_is_well_again_is_asked_as_ever_at_once() -> None:
    async def main() -> None:
        with playing(RESET, RESET, chat("Hi")) as upstream:
            proxy = Proxy(upstream, consecutive=2)
            for _ in range(10):
                await proxy.ask()

            assert proxy.state == "closed"
            assert len(upstream.asked) == 10
            assert asyncio.get_running_loop().time() == 1000.0

    run(main())


def test_nobody_waits_past_the_patience_of_the_app() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=1, alone="5s")
            await proxy.ask()
            await proxy.ask()
            now = proxy.clock.now()

            assert fault(await proxy.ask(answer_by=now + 2.0)) is Fault.BREAKER_OPEN
            assert proxy.clock.now() == now
            assert len(upstream.asked) == 2

    run(main())


def test_each_model_of_an_upstream_has_its_own() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=1)
            await proxy.ask()
            await proxy.ask({**BODY, "model": "other"}, target=Target("openai", "mini"))

            assert proxy.states == {("openai", "gpt-4o"): "open", ("openai", "mini"): "open"}

    run(main())


def test_or_the_upstream_has_one() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=1, per="upstream")
            await proxy.ask()

            assert fault(await proxy.ask({**BODY, "model": "other"}, reserved=1)) is Fault.BREAKER_OPEN
            assert proxy.states == {("openai", ""): "open"}
            assert not KIND.reads_body(KIND.spec.read({"per": "upstream"}))

    run(main())


def test_models_that_an_app_makes_up_do_not_fill_the_memory_nor_forget_what_is_open() -> None:
    async def main() -> None:
        with Upstream(openai=[RESET, chat("Hi")]) as upstream:
            proxy = Proxy(upstream, consecutive=1)
            await proxy.ask()
            for i in range(TARGETS + 50):
                await proxy.ask({**BODY, "model": f"made-up-{i}"})
            await proxy.ask({**BODY, "model": "x" * 5000})

            assert len(proxy.states) == TARGETS
            assert proxy.states["openai", "gpt-4o"] == "open"

    run(main())


def test_an_open_state_is_told_with_its_time_and_its_metric() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, consecutive=1, open_for="20s")
            await proxy.ask()
            await asyncio.sleep(5)
            (shown,) = proxy.layer.shown()

            assert shown.labels == {"policy": "p", "upstream": "openai", "model": "gpt-4o"}
            assert shown.what == {"state": "open", "failures_in_a_row": 1, "open_for_s": 15.0}
            assert shown.gauges == {"chassis_breaker_state": 2}
            assert shown.is_news

    run(main())


def test_changes_are_in_the_journal_of_the_call_that_made_them() -> None:
    async def main() -> list[Sequence[object]]:
        with playing(error(500), chat("Hi")) as upstream:
            proxy = Proxy(upstream, consecutive=1, open_for="1s")
            noted = []
            for _ in range(2):
                call = a_call(BODY)
                await got(proxy.service, call)
                noted += [(entry.what["to"], entry.what["why"], entry.acted) for entry in call.journal.entries]
                await asyncio.sleep(2)
            return noted

    assert run(main()) == [
        ("open", "server_error", False),
        ("half_open", "its time is over", False),
        ("closed", "it answers again", False),
    ]


@pytest.mark.parametrize("word", ["breaker_open", "invalid"])
def test_what_is_no_fault_of_an_exchange_is_refused(word: str) -> None:
    with pytest.raises(ValidationError, match="no fault of an exchange"):
        KIND.spec.read({"when": ["connect", word]})


def test_a_rate_alone_has_no_row() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream, rate={"failures": "50%", "of_at_least": 20})
            for _ in range(19):
                await proxy.ask()
            before = proxy.state
            await proxy.ask()

            assert (before, proxy.state) == ("closed", "open")

    run(main())


def test_by_default_five_in_a_row_open_it() -> None:
    async def main() -> None:
        with playing(RESET) as upstream:
            proxy = Proxy(upstream)
            states = []
            for _ in range(5):
                await proxy.ask()
                states.append(proxy.state)

            assert states == ["closed"] * 4 + ["open"]

    run(main())
