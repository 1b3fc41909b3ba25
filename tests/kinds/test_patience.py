from __future__ import annotations

import asyncio

import pytest

from proxy.core.body import Body, Headers
from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.service import Service
from proxy.core.virtual import START_S, run
from proxy.kinds.patience import InTime, Patience
from tests.scripted import SILENT, Upstream, a_call, chat, drained

HI = {"model": "gpt-4o", "messages": []}
PYTHON, NODE = b"x-stainless-read-timeout", b"x-stainless-timeout"


class Seen:
    """The service inside, which keeps the call that it got."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        return Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))


def read(call: Call) -> Call:
    """The call as what is inside gets it."""

    async def main() -> Call:
        seen = Seen()
        (await Patience(LoopClock(asyncio.get_running_loop()))(call, seen)).close()
        return seen.calls[0]

    return run(main())


def of(*headers: tuple[bytes, bytes], held: bool = True, exchanges: int = 6) -> Call:
    pairs: Headers = [(b"Content-Type", b"application/json"), *headers]
    return a_call(HI, headers=pairs, held=held, exchanges=exchanges)


def test_what_the_sdk_says_becomes_the_moment_of_the_first_byte() -> None:
    late = of((NODE, b"10"))
    late.request.received = START_S - 4

    assert read(of((PYTHON, b"3"))).answer_by == pytest.approx(START_S + 2.85)
    assert read(late).answer_by == pytest.approx(START_S - 4 + 9.5)
    assert read(of()).answer_by is None


def test_an_sdk_that_has_tried_before_has_fewer_exchanges_and_the_journal_says_so() -> None:
    first, third = of((b"x-stainless-retry-count", b"0")), of((b"x-stainless-retry-count", b"2"))

    assert read(first).allowance.left == 6
    assert first.journal.entries == []
    assert read(third).allowance.left == 2
    assert [(entry.kind, entry.acted, entry.what) for entry in third.journal.entries] == [
        ("patience", False, {"sdk_retry": 2, "exchanges": 2})
    ]


def test_a_body_that_is_still_on_its_way_is_nobodys_delay() -> None:
    coming, here = of((PYTHON, b"3"), held=False), of((PYTHON, b"3"), held=False)
    coming.request.body = Body()

    assert read(coming).answer_by is None
    assert read(here).answer_by == pytest.approx(START_S + 2.85)


def test_a_try_ends_when_the_app_would_leave() -> None:
    async def main() -> tuple[Failure, float, Call]:
        loop, call = asyncio.get_running_loop(), of()
        call.answer_by = loop.time() + 2.85
        begun = loop.time()
        with Upstream(openai=[SILENT]) as upstream:
            with pytest.raises(Failure) as caught:
                await InTime(LoopClock(loop))(call, upstream)
            return caught.value.bare(), loop.time() - begun, call

    failure, took_s, call = run(main())

    assert failure.fault is Fault.TIMEOUT
    assert failure.told == "openai: no answer within 2.85 s, and the app waits no longer"
    assert 2.85 <= took_s < 2.9
    assert call.journal.entries[0].what == {"which": "patience", "after_ms": 2850, "upstream": "openai"}


def test_an_answer_in_time_is_left_alone_and_so_is_an_app_that_does_not_say() -> None:
    async def main(answer_by: float | None) -> list[str]:
        call = of()
        call.answer_by = answer_by
        with Upstream(openai=[(2.0, *chat("late"))]) as upstream:
            await drained(await InTime(LoopClock(asyncio.get_running_loop()))(call, upstream))
        return call.journal.kinds()

    assert run(main(START_S + 3)) == []
    assert run(main(None)) == []


def test_nothing_is_sent_for_an_app_that_has_given_up() -> None:
    async def main() -> int:
        call, seen = of(), Seen()
        call.answer_by = START_S - 1
        inner: Service = seen
        with pytest.raises(Failure, match="the app waits no longer"):
            await InTime(LoopClock(asyncio.get_running_loop()))(call, inner)
        return len(seen.calls)

    assert run(main()) == 0
