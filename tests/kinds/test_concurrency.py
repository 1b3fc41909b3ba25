from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call, Target
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.concurrency import EXCHANGE, KIND, Concurrency
from proxy.kinds.prime import Prime
from proxy.policy.kind import Site
from tests.scripted import (
    DONE,
    RESET,
    ROLE,
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
SLOW: Script = (1.0, *chat("Hi"))


class Proxy:
    """A limit over a played upstream."""

    def __init__(self, upstream: Upstream, **spec: Any) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        read = KIND.spec.read(spec)
        kind = KIND if read.per == "policy" else EXCHANGE
        layer = kind.enforce(read, Site("p", frozenset(("",)), self.clock))
        assert isinstance(layer, Concurrency)
        self.layer = layer
        self.service: Service = compose([layer, Prime(self.clock)], upstream, Bugs())

    def begin(self, call: Call | None = None) -> asyncio.Task[Received | Failure | Refusal]:
        return asyncio.get_running_loop().create_task(got(self.service, call or a_call(BODY)))

    def full(self, upstream: str = "") -> tuple[object, ...]:
        for shown in self.layer.shown():
            if shown.labels["upstream"] == upstream:
                return tuple(shown.what[name] for name in ("in_flight", "queued", "limit"))
        return ()


async def got(service: Service, call: Call) -> Received | Failure | Refusal:
    try:
        reply = await service(call)
    except (Failure, Refusal) as exc:
        return exc
    return await drained(reply)


def playing(*scripts: Script) -> Upstream:
    return Upstream(openai=scripts, groq=scripts)


per_each = pytest.mark.parametrize("per", ["policy", "upstream"])


@per_each
def test_no_more_than_the_limit_run_at_once_and_the_others_wait_in_order(per: str) -> None:
    async def main() -> None:
        with playing(SLOW) as upstream:
            proxy = Proxy(upstream, limit=2, wait="10s", per=per)
            calls = [a_call(BODY) for _ in range(5)]
            tasks = [proxy.begin(call) for call in calls]
            await asyncio.sleep(0.5)
            assert len(upstream.asked) == 2
            assert proxy.full("openai" if per == "upstream" else "") == (2, 3, 2)
            outcomes = await asyncio.gather(*tasks)

            assert all(isinstance(outcome, Received) for outcome in outcomes)
            waits = [[entry.what["waited_ms"] for entry in call.journal.entries if entry.kind == "queued"] for call in calls]
            assert waits == [[], [], [1000], [1000], [2000]]
            assert proxy.full("openai" if per == "upstream" else "") == (0, 0, 2)

    run(main())


def test_with_a_full_queue_a_call_is_shed_at_once_and_sends_nothing() -> None:
    async def main() -> None:
        with playing(SLOW) as upstream:
            proxy = Proxy(upstream, limit=1, queue=1, wait="10s")
            tasks = [proxy.begin(), proxy.begin()]
            await asyncio.sleep(0.5)
            call = a_call(BODY)
            outcome = await got(proxy.service, call)

            assert isinstance(outcome, Refusal)
            assert (outcome.status, outcome.code, outcome.retry_after_s) == (429, "overloaded", 1.0)
            assert call.allowance.spent == 0
            (entry,) = call.journal.entries
            what = {"why": "the queue is full", "limit": 1, "in_flight": 1, "queued": 1, "waited_ms": 0}
            assert (entry.kind, entry.acted, entry.what) == ("shed", True, what)
            await asyncio.gather(*tasks)

    run(main())


def test_a_wait_has_an_end() -> None:
    async def main() -> None:
        with playing((60.0, *chat("Hi"))) as upstream:
            proxy = Proxy(upstream, limit=1, wait="2s")
            first = proxy.begin()
            await asyncio.sleep(0.1)
            began = proxy.clock.now()
            outcome = await proxy.begin()

            assert isinstance(outcome, Refusal)
            assert "waited too long" in outcome.message
            assert proxy.clock.now() - began == pytest.approx(2.0, abs=0.03)
            assert proxy.full() == (1, 0, 1)
            await first
            assert proxy.full() == (0, 0, 1)

    run(main())


def test_nobody_waits_past_the_patience_of_the_app() -> None:
    async def main() -> None:
        with playing((60.0, *chat("Hi"))) as upstream:
            proxy = Proxy(upstream, limit=1, wait="20s")
            first = proxy.begin()
            await asyncio.sleep(0.1)
            began = proxy.clock.now()
            outcome = await proxy.begin(a_call(BODY).derive(answer_by=began + 1.0))

            assert isinstance(outcome, Refusal)
            assert proxy.clock.now() - began < 1.1
            await first

    run(main())


def test_an_exchange_sheds_to_another_target_where_one_stands_by() -> None:
    async def main() -> None:
        with playing(SLOW) as upstream:
            proxy = Proxy(upstream, limit=1, queue=0, per="upstream")
            first = proxy.begin()
            await asyncio.sleep(0.1)
            outcome = await got(proxy.service, a_call(BODY).derive(reserved=1))
            alone = await got(proxy.service, a_call(BODY).derive(reserved=1, lone=True))
            elsewhere = await got(proxy.service, a_call(BODY).derive(target=Target("groq")))
            await first

            assert isinstance(outcome, Failure)
            assert outcome.fault is Fault.BREAKER_OPEN
            assert isinstance(alone, Refusal)
            assert isinstance(elsewhere, Received)

    run(main())


def test_the_slot_of_an_exchange_is_free_when_the_upstream_has_sent_all() -> None:
    async def main() -> None:
        with playing(stream(ROLE, "Hel", 1.0, "lo", STOP, DONE, Ending.END)) as upstream:
            proxy = Proxy(upstream, limit=1, per="upstream")
            reply = await proxy.service(a_call(STREAM))
            before = proxy.full("openai")
            await asyncio.sleep(2)

            assert before == (1, 0, 1)
            assert proxy.full("openai") == (0, 0, 1), "the app has read nothing yet"
            await drained(reply)

    run(main())


def test_the_slot_of_a_call_is_free_when_the_app_has_all() -> None:
    async def main() -> None:
        with playing(chat_stream("Hello")) as upstream:
            proxy = Proxy(upstream, limit=1)
            reply = await proxy.service(a_call(STREAM))
            await asyncio.sleep(2)
            before = proxy.full()
            await drained(reply)

            assert (before, proxy.full()) == ((1, 0, 1), (0, 0, 1))

    run(main())


@per_each
@pytest.mark.parametrize("script", [RESET, error(500), chat("Hi"), chat_stream("Hi"), stream(ROLE, "H", 1.0, Ending.CUT), ()])
def test_a_slot_is_given_back_however_the_call_ends(per: str, script: Script) -> None:
    async def main(leaves_after_s: float | None, unread: bool) -> None:
        with playing(script) as upstream:
            proxy = Proxy(upstream, limit=1, per=per)

            async def one() -> None:
                with suppress(Failure):
                    reply = await proxy.service(a_call(STREAM))
                    reply.close() if unread else await drained(reply)

            task = asyncio.get_running_loop().create_task(one())
            if leaves_after_s is not None:
                await asyncio.sleep(leaves_after_s)
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task

            assert proxy.full("openai" if per == "upstream" else "")[:2] == (0, 0)

    for leaves_after_s in (0.0, 0.5, *((None,) if script else ())):
        for unread in (False, True):
            run(main(leaves_after_s, unread))


@per_each
@pytest.mark.parametrize("seed", range(15))
def test_whatever_happens_slots_come_back_and_the_limit_holds(per: str, seed: int) -> None:
    draw = random.Random(seed)
    scripts: list[Script] = [
        *(SLOW, RESET, error(429), (0.4, Ending.RESET), ()),
        (draw.random(), *chat_stream("a", "b", gap_s=0.2)),
        stream(ROLE, "H", 0.3, Ending.CUT),
    ]

    async def main() -> None:
        with Upstream(openai=[draw.choice(scripts) for _ in range(300)]) as upstream:
            proxy = Proxy(upstream, limit=3, queue=4, wait="500ms", per=per)
            tasks = []
            for _ in range(150):
                tasks.append(proxy.begin(a_call(STREAM)))
                await asyncio.sleep(draw.choice([0.0, 0.01, 0.2]))
                if draw.random() < 0.4:
                    draw.choice(tasks).cancel()
                assert proxy.full("openai" if per == "upstream" else "")[0] <= 3  # type: ignore[operator]
            await asyncio.sleep(30)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

            assert proxy.full("openai" if per == "upstream" else "")[:2] == (0, 0)

    run(main())


def test_when_to_come_again_follows_from_how_long_slots_are_taken() -> None:
    async def main() -> None:
        with playing((100.0, *chat("Hi"))) as upstream:
            proxy = Proxy(upstream, limit=1, queue=0)
            for _ in range(3):
                await proxy.begin()
            busy = proxy.begin()
            await asyncio.sleep(1)
            outcome = await proxy.begin()
            await busy

            assert isinstance(outcome, Refusal)
            assert outcome.retry_after_s == pytest.approx(27.1, abs=0.1)

    run(main())


def test_an_adaptive_limit_moves_with_the_latency() -> None:
    async def main() -> None:
        with playing((0.1, *chat("Hi"))) as upstream:
            proxy = Proxy(upstream, adaptive={"min": 2, "max": 50}, queue=1000, wait="600s")
            await asyncio.gather(*(proxy.begin() for _ in range(900)))
            limit = proxy.full()[2]

            assert isinstance(limit, int)
            assert limit > 10
            assert next(iter(proxy.layer.shown())).what["best_latency_ms"] == pytest.approx(100.0, abs=1.0)

    run(main())


def test_a_layer_stands_only_where_its_limit_is() -> None:
    policy, upstream = KIND.spec.read({"limit": 1}), KIND.spec.read({"limit": 1, "per": "upstream"})

    assert (KIND.acts(policy), KIND.acts(upstream)) == (True, False)
    assert (EXCHANGE.acts(policy), EXCHANGE.acts(upstream)) == (False, True)
    assert not KIND.primes(policy)
    assert KIND.primes(KIND.spec.read({"adaptive": {}}))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "needs `limit` or `adaptive`"),
        ({"queue": 1}, "needs `limit`"),
        ({"adaptive": {"min": 9, "max": 3}}, "above `max`"),
        ({"limit": 0}, "greater than or equal to 1"),
    ],
)
def test_a_spec_that_limits_nothing_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        KIND.spec.read(spec)
