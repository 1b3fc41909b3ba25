from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Refusal
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.prime import Prime
from proxy.kinds.race import KIND, Race
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
THREE = [{"model": "gpt-4o"}, {"upstream": "groq", "model": "llama"}, {"upstream": "local"}]


class Proxy:
    """A race over played upstreams."""

    def __init__(self, upstream: Upstream, targets: list[dict[str, str]] = THREE, **spec: Any) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        self.layer = Race(KIND.spec.read({"targets": targets, **spec}), Site("p", frozenset(("",)), self.clock))
        self.service: Service = compose([self.layer, Prime(self.clock)], upstream, Bugs())

    async def ask(self, call: Call | None = None) -> Received | Failure | Refusal:
        try:
            reply = await self.service(call or a_call(BODY))
        except (Failure, Refusal) as exc:
            return exc
        await asyncio.sleep(0)  # the losers' turn to stop
        return await drained(reply)


def noted(call: Call) -> list[tuple[bool, dict[str, object]]]:
    return [(entry.acted, entry.what) for entry in call.journal.entries if entry.kind == "race"]


def after(delay_s: float, script: Script) -> Script:
    return (delay_s, *script)


@pytest.mark.parametrize("body", [BODY, STREAM])
def test_all_are_asked_at_once_and_the_first_good_answer_wins(body: dict[str, Any]) -> None:
    async def main() -> None:
        answer = chat("groq") if body is BODY else chat_stream("gr", "oq", gap_s=0.1)
        with Upstream(openai=[after(5.0, answer)], groq=[after(1.0, answer)], local=[SILENT]) as upstream:
            call = a_call(body)
            began = asyncio.get_running_loop().time()
            got = await Proxy(upstream).ask(call)

            assert isinstance(got, Received)
            assert got.text == "groq"
            assert asyncio.get_running_loop().time() - began < 1.5
            assert [each.target.upstream for each in upstream.asked] == ["openai", "groq", "local"]
            assert call.allowance.spent == 3
            names = ["openai gpt-4o", "groq llama", "local gpt-4o"]
            assert noted(call)[0] == (True, {"asked": names})
            assert noted(call)[1][1]["won"] == "groq llama"

    run(main())


def test_what_fails_quickly_does_not_win() -> None:
    async def main() -> None:
        with Upstream(openai=[RESET], groq=[error(500)], local=[after(3.0, chat("local"))]) as upstream:
            got = await Proxy(upstream).ask()

            assert isinstance(got, Received)
            assert got.text == "local"

    run(main())


def test_where_all_fail_the_app_gets_what_the_first_said() -> None:
    async def main() -> None:
        with Upstream(openai=[after(2.0, error(503))], groq=[error(500)], local=[RESET]) as upstream:
            call = a_call(BODY)
            got = await Proxy(upstream).ask(call)

            assert isinstance(got, Received)
            assert got.status == 503
            assert noted(call)[-1][1]["won"] == "nobody"

    run(main())


def test_as_many_as_the_allowance_has() -> None:
    async def main() -> None:
        with Upstream(openai=[after(1.0, chat("Hi"))], groq=[SILENT], local=[SILENT]) as upstream:
            call = a_call(BODY, exchanges=3).derive(reserved=1)
            await Proxy(upstream).ask(call)

            assert len(upstream.asked) == 2
            assert noted(call)[0] == (False, {"skipped": "no exchange left", "upstream": "local"})

    run(main())


def test_a_share_of_the_calls_is_raced_and_the_others_have_the_first_target_alone() -> None:
    async def main() -> None:
        with Upstream(openai=[after(0.1, chat("Hi"))], groq=[SILENT], local=[SILENT]) as upstream:
            proxy = Proxy(upstream, share="25%")
            for _ in range(20):
                await proxy.ask()

            assert len(upstream.asked) == 20 + 2 * 5

    run(main())


@pytest.mark.parametrize(
    ("body", "path"),
    [({**BODY, "store": True}, b"/v1/chat/completions"), ({"model": "m", "input": "x", "background": True}, b"/v1/responses")],
)
def test_what_has_state_stays_where_it_is(body: dict[str, Any], path: bytes) -> None:
    async def main() -> None:
        with Upstream(openai=[chat("Hi")], groq=[SILENT], local=[SILENT]) as upstream:
            call = a_call(body, path=path)
            await Proxy(upstream, [{"upstream": "groq"}, {"upstream": "local"}]).ask(call)

            assert [each.target.upstream for each in upstream.asked] == ["openai"]
            assert noted(call) == [(False, {"skipped": "it refers to state on its upstream"})]

    run(main())


def test_what_is_not_held_goes_its_own_way() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("Hi")]) as upstream:
            call = a_call(BODY, held=False)
            await Proxy(upstream).ask(call)

            assert len(upstream.asked) == 1
            assert call.journal.kinds() == ["not_replayable"]

    run(main())


def test_a_path_outside_of_the_api_is_raced_at_home_only() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("Hi")]) as upstream:
            await Proxy(upstream, [*THREE, {"model": "mini"}]).ask(a_call(BODY, path=b"/other/chat/completions"))

            assert [each.target.model for each in upstream.asked] == ["gpt-4o", "mini"]

    run(main())


def test_one_of_them_is_the_last_target_standing() -> None:
    async def main() -> None:
        seen: list[bool | None] = []

        async def inner(call: Call) -> Any:
            seen.append(call.lone)
            return await upstream(call)

        with Upstream(openai=[chat("Hi")], groq=[SILENT], local=[SILENT]) as upstream:
            await drained(await Proxy(upstream).layer(a_call(BODY), inner))
            await asyncio.sleep(0)

            assert seen == [False, False, None]

    run(main())


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_nothing_is_left_open(seed: int) -> None:
    draw = random.Random(seed)

    def script() -> Script:
        ends: list[Script] = [
            *(chat("Hi"), RESET, error(500), error(404), SILENT),
            stream(ROLE, 0.2, "a", draw.random(), "b", STOP, DONE, Ending.END),
            stream(ROLE, 0.1, "a", draw.random(), Ending.CUT),
        ]
        return after(draw.choice([0.0, 0.1, 0.5, draw.random()]), draw.choice(ends))

    async def main() -> None:
        with Upstream(**{name: [script() for _ in range(6)] for name in ("openai", "groq", "local")}) as upstream:
            proxy = Proxy(upstream)
            for _ in range(6):
                call = a_call(draw.choice([BODY, STREAM]), exchanges=draw.choice([1, 2, 6]))
                task = asyncio.get_running_loop().create_task(proxy.ask(call))
                asyncio.get_running_loop().call_later(draw.choice([0.0, 0.3, draw.random(), 30.0]), task.cancel)
                with suppress(asyncio.CancelledError):
                    await task
                assert call.allowance.spent <= 6
            await asyncio.sleep(0.01)

            assert len(asyncio.all_tasks()) == 1

    run(main())


@pytest.mark.parametrize("targets", [[], [{"model": "a"}], [{"model": "a"}] * 6, [{}, {"model": "a"}]])
def test_a_race_has_two_to_five(targets: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError):
        KIND.spec.read({"targets": targets})
