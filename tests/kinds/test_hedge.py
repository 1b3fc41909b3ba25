from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.hedge import KIND, TARGETS, Hedge
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
    """A hedge over a played upstream."""

    def __init__(self, upstream: Upstream, **spec: Any) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), tick_s=0.001)
        self.layer = Hedge(KIND.spec.read(spec), Site("p", frozenset(("",)), self.clock))
        self.service: Service = compose([self.layer, Prime(self.clock)], upstream, Bugs())

    async def ask(self, call: Call | None = None) -> Received | Failure | Refusal:
        try:
            reply = await self.service(call or a_call(BODY))
        except (Failure, Refusal) as exc:
            return exc
        await asyncio.sleep(0)  # the losers' turn to stop
        return await drained(reply)


def noted(call: Call) -> list[tuple[bool, dict[str, object]]]:
    return [(entry.acted, entry.what) for entry in call.journal.entries if entry.kind == "hedge"]


def after(delay_s: float, script: Script) -> Script:
    return (delay_s, *script)


def test_a_quick_answer_is_asked_for_once() -> None:
    async def main() -> None:
        with Upstream(openai=[after(0.5, chat("Hi"))]) as upstream:
            call = a_call(BODY)
            got = await Proxy(upstream, after="800ms").ask(call)
            await asyncio.sleep(10)

            assert isinstance(got, Received)
            assert len(upstream.asked) == 1
            assert noted(call) == []

    run(main())


def test_a_slow_one_is_asked_again_and_the_loser_is_stopped_at_once() -> None:
    async def main() -> None:
        with Upstream(openai=[SILENT, chat("second")]) as upstream:
            call = a_call(BODY)
            began = asyncio.get_running_loop().time()
            got = await Proxy(upstream, after="800ms").ask(call)

            assert isinstance(got, Received)
            assert got.text == "second"
            assert asyncio.get_running_loop().time() - began == pytest.approx(0.8, abs=0.01)
            assert upstream.exchanges[0].let_go_at == pytest.approx(began + 0.8, abs=0.01)
            assert call.allowance.spent == 2
            assert noted(call) == [(True, {"after_ms": 800, "asked": "openai gpt-4o"}), (False, {"won": "second"})]
            assert [each.body for each in upstream.asked] == [call.payload.raw] * 2

    run(main())


def test_the_first_may_still_win_and_the_second_is_stopped() -> None:
    async def main() -> None:
        with Upstream(openai=[after(1.0, chat("first")), SILENT]) as upstream:
            call = a_call(BODY)
            got = await Proxy(upstream, after="800ms").ask(call)

            assert isinstance(got, Received)
            assert got.text == "first"
            assert upstream.exchanges[1].over
            assert noted(call)[-1] == (False, {"won": "first"})

    run(main())


def test_of_streams_the_first_content_counts() -> None:
    async def main() -> None:
        keepalives: Sequence[Any] = (ROLE, *(step for _ in range(30) for step in (0.1, b": wait\n\n")), "late", STOP, DONE, Ending.END)
        with Upstream(openai=[stream(*keepalives), chat_stream("sec", "ond", gap_s=0.2)]) as upstream:
            got = await Proxy(upstream, after="500ms").ask(a_call(STREAM))

            assert isinstance(got, Received)
            assert got.text == "second"
            assert got.failure is None

    run(main())


@pytest.mark.parametrize("fails", [RESET, error(500), error(429), (chat("x")[0], b"<html>", Ending.END)])
def test_a_fault_of_one_lets_the_other_go_on(fails: Script) -> None:
    async def main(first: Script, second: Script) -> None:
        with Upstream(openai=[first, second]) as upstream:
            got = await Proxy(upstream, after="800ms").ask()

            assert isinstance(got, Received)
            assert got.text == "good"

    run(main(after(1.0, fails), after(2.0, chat("good"))))
    run(main(after(3.0, chat("good")), after(0.5, fails)))


def test_a_first_that_fails_before_its_time_is_for_retry() -> None:
    async def main() -> None:
        with Upstream(openai=[after(0.2, RESET)]) as upstream:
            got = await Proxy(upstream, after="800ms").ask()
            await asyncio.sleep(5)

            assert isinstance(got, Failure)
            assert len(upstream.asked) == 1

    run(main())


def test_both_failed_it_is_what_the_first_said() -> None:
    async def main() -> None:
        with Upstream(openai=[after(1.0, error(503)), after(1.0, error(500))]) as upstream:
            got = await Proxy(upstream, after="800ms").ask()

            assert isinstance(got, Received)
            assert got.status == 503

    run(main())


def test_the_second_may_go_elsewhere_as_that_takes_it() -> None:
    async def main() -> None:
        with Upstream(openai=[SILENT], groq=[chat("Hi")]) as upstream:
            call = a_call({**BODY, "service_tier": "auto"})
            await Proxy(upstream, after="1s", to={"upstream": "groq", "model": "llama"}).ask(call)

            assert upstream.asked[1].target.upstream == "groq"
            assert "service_tier" not in upstream.asked[1].json
            assert noted(call)[0] == (True, {"after_ms": 1000, "asked": "groq llama", "removed": ["service_tier"]})

    run(main())


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: a_call({**BODY, "store": True}), "it refers to state on its upstream"),
        (lambda: a_call(BODY, exchanges=1), "no exchange left (1 were made)"),
        (lambda: a_call(BODY, exchanges=2).derive(reserved=1), "no exchange left (1 were made)"),
        (lambda: a_call(BODY).derive(answer_by=1000.5), "no time left"),
        (lambda: a_call(b"{not json"), "its body cannot be read"),
    ],
)
def test_where_a_second_may_not_be_the_first_goes_on_alone(call: Any, why: str) -> None:
    async def main() -> None:
        with Upstream(openai=[after(3.0, chat("Hi"))]) as upstream:
            asked = call()
            await Proxy(upstream, after="1s").ask(asked)

            assert len(upstream.asked) == 1
            ((acted, what),) = noted(asked)
            assert not acted
            assert str(what["skipped"]).startswith(why)

    run(main())


def test_what_is_not_held_is_not_sent_twice() -> None:
    async def main() -> None:
        with Upstream(openai=[after(3.0, chat("Hi"))]) as upstream:
            call = a_call(BODY, held=False)
            await Proxy(upstream, after="1s").ask(call)

            assert len(upstream.asked) == 1
            assert "not_replayable" in call.journal.kinds()

    run(main())


def test_images_are_made_once() -> None:
    async def main() -> None:
        with Upstream(openai=[after(3.0, chat("Hi"))]) as upstream:
            await Proxy(upstream, after="1s").ask(a_call({"prompt": "x"}, path=b"/v1/images/generations"))

            assert len(upstream.asked) == 1

    run(main())


def test_second_tries_are_a_share_of_the_traffic() -> None:
    async def main() -> None:
        slow = after(0.3, chat("Hi"))
        with Upstream(openai=[slow]) as upstream:
            proxy = Proxy(upstream, after="100ms", max_share="10%")
            calls = [a_call(BODY) for _ in range(100)]
            for call in calls:
                await proxy.ask(call)

            extra = len(upstream.asked) - 100
            assert 9 <= extra <= 10
            assert sum("max_share" in what.values() for call in calls for _, what in noted(call)) == 100 - extra
            assert next(proxy.layer.shown()).what == {"calls": 100, "extra": extra, "over_s": 60.0}

    run(main())


def test_nothing_is_asked_twice_before_the_latency_is_known() -> None:
    async def main() -> None:
        with Upstream(openai=[after(0.1 * (1 + i % 7), chat("Hi")) for i in range(20)]) as upstream:
            proxy = Proxy(upstream, max_share="100%")
            for _ in range(20):
                await proxy.ask()

            assert len(upstream.asked) == 20
            assert [shown.what for shown in proxy.layer.shown() if shown.labels["model"] == "gpt-4o"] == [{"after_ms": 700}]

    run(main())


def test_the_live_quantile_is_the_delay_of_its_target() -> None:
    async def main() -> None:
        quick = [after(0.1 + 0.002 * (i if i < 20 else 0), chat("Hi")) for i in range(40)]
        with Upstream(openai=[*quick, SILENT, chat("second"), after(0.5, chat("other"))]) as upstream:
            proxy = Proxy(upstream, max_share="100%")
            for _ in range(40):
                await proxy.ask()
            asked = len(upstream.asked)
            began = proxy.clock.now()
            got = await proxy.ask()
            took = proxy.clock.now() - began
            await proxy.ask(a_call({**BODY, "model": "another"}))

            assert isinstance(got, Received)
            assert got.text == "second"
            assert asked == 40
            assert 0.13 < took < 0.14
            assert len(upstream.asked) == 43, "of another model nothing is known"

    run(main())


def test_models_that_an_app_makes_up_do_not_fill_the_memory() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("Hi")]) as upstream:
            proxy = Proxy(upstream)
            for i in range(TARGETS + 20):
                await proxy.ask(a_call({**BODY, "model": f"m{i}"}))

            assert len(proxy.layer._times) == TARGETS

    run(main())


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_nothing_is_left_open(seed: int) -> None:
    draw = random.Random(seed)

    def script() -> Script:
        ends: list[Script] = [
            *(chat("Hi"), RESET, error(500), error(429), error(404), SILENT),
            stream(ROLE, 0.2, "a", draw.random(), "b", STOP, DONE, Ending.END),
            stream(ROLE, 0.1, "a", draw.random(), Ending.CUT),
            stream(ROLE, 0.3, Ending.END),
        ]
        return after(draw.choice([0.0, 0.1, 0.5, draw.random()]), draw.choice(ends))

    async def main() -> None:
        with Upstream(openai=[script() for _ in range(12)], groq=[script() for _ in range(6)]) as upstream:
            proxy = Proxy(upstream, after="300ms", max_share="100%", **draw.choice([{}, {"to": {"upstream": "groq"}}]))
            tasks = []
            for _ in range(12):
                call = a_call(draw.choice([BODY, STREAM]), exchanges=draw.choice([1, 2, 6]))
                task = asyncio.get_running_loop().create_task(proxy.ask(call))
                asyncio.get_running_loop().call_later(draw.choice([0.0, 0.3, draw.random(), 2 * draw.random(), 30.0]), task.cancel)
                tasks.append(task)
                await asyncio.sleep(draw.choice([0.0, draw.random()]))
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await asyncio.sleep(0.01)

            assert len(asyncio.all_tasks()) == 1

    run(main())


@pytest.mark.parametrize(
    ("value", "says"),
    [("5", "a duration such as"), ("p10", "a duration"), ("p100", "a duration"), ("0ms", "from 1ms"), ("2d", "from 1ms")],
)
def test_a_wrong_delay_is_told(value: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        KIND.spec.read({"after": value})


def test_a_breaker_that_is_open_stops_the_second_alone() -> None:
    async def main() -> None:
        with Upstream(openai=[after(3.0, chat("first"))]) as upstream:
            proxy = Proxy(upstream, after="1s")
            seen: list[bool | None] = []

            async def breaker(call: Call) -> Any:
                seen.append(call.lone)
                if len(seen) > 1:
                    raise Failure(Fault.BREAKER_OPEN, "openai", "open")
                return await upstream(call)

            reply = await proxy.layer(a_call(BODY), breaker)
            got = await drained(reply)

            assert got.text == "first"
            assert seen == [None, False]

    run(main())
