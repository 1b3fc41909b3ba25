from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.core.body import Body
from proxy.core.call import Call, Target
from proxy.core.clock import LoopClock
from proxy.core.contest import Contest
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.virtual import run
from tests.scripted import a_call


@dataclass(frozen=True)
class Play:
    """What one entrant does: after `delay_s` it is this status, or raises that. `last_s`: it takes so long to be stopped."""

    delay_s: float
    end: int | Exception = 200
    last_s: float = 0.0
    limit_s: float | None = None  # a limit of its own, as `timeouts` has one
    stubborn: bool = False  # it answers although it was stopped


@dataclass
class Field:
    """The service: plays by target, and keeps what it gave."""

    plays: list[Play]
    replies: list[Reply] = field(default_factory=list)
    running: int = 0

    async def __call__(self, call: Call) -> Reply:
        play = self.plays[int(call.target.upstream)]
        clock = LoopClock(asyncio.get_running_loop())
        self.running += 1
        try:
            if play.limit_s is None:
                return await self._play(play)
            try:
                with clock.limit(clock.now() + play.limit_s):
                    return await self._play(play)
            except TimeoutError:
                raise Failure(Fault.TIMEOUT, "field", "too slow") from None
        finally:
            self.running -= 1

    async def _play(self, play: Play) -> Reply:
        try:
            await asyncio.sleep(play.delay_s)
        except asyncio.CancelledError:
            if play.stubborn:
                return self._reply(200)
            if play.last_s:
                await asyncio.sleep(play.last_s)
            raise
        if isinstance(play.end, Exception):
            raise play.end
        return self._reply(play.end)

    def _reply(self, status: int) -> Reply:
        body = Body()
        body.feed(b"begun")
        reply = Reply(status, b"", [], Framing.CHUNKED, body)
        self.replies.append(reply)
        return reply

    def open(self) -> list[Reply]:
        return [reply for reply in self.replies if not reply.body.closed]


def call_to(number: int) -> Call:
    return a_call({"model": "m"}).derive(target=Target(str(number)))


def failure(fault: Fault = Fault.CONNECT) -> Failure:
    return Failure(fault, "field", "no")


async def contest(plays: list[Play], starts_s: list[float], service: Field | None = None) -> tuple[Reply, int | None]:
    """The first and its rivals, each let in after a while."""
    loop = asyncio.get_running_loop()
    it = Contest(service or Field(plays))
    timers = []
    for number, start_s in enumerate(starts_s, 1):
        if start_s:
            timers.append(loop.call_later(start_s, it.let_in, call_to(number)))
        else:
            it.let_in(call_to(number))
    try:
        reply = await it.run(call_to(0))
    finally:
        for timer in timers:
            timer.cancel()
    return reply, it.winner


def played(plays: list[Play], starts_s: list[float], check: Callable[[Field, Reply, int | None, float], None] = lambda *_: None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        service = Field(plays)
        began = loop.time()
        reply, winner = await contest(plays, starts_s, service)
        took = loop.time() - began
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "its own cancellation is left on the task"
        check(service, reply, winner, round(took, 3))
        reply.close()
        await asyncio.sleep(max([0.0, *(play.last_s for play in plays)]) + 0.01)
        assert service.open() == []
        assert service.running == 0
        assert len(asyncio.all_tasks()) == 1

    run(main())


def wins(number: int | None, after_s: float, status: int = 200) -> Callable[[Field, Reply, int | None, float], None]:
    def check(service: Field, reply: Reply, winner: int | None, took_s: float) -> None:
        assert (winner, took_s, reply.status) == (number, after_s, status)
        assert not reply.body.closed

    return check


def test_the_first_good_reply_wins() -> None:
    played([Play(1.0), Play(5.0)], [0.5], wins(0, 1.0))
    played([Play(9.0), Play(1.0)], [0.5], wins(1, 1.5))
    played([Play(9.0), Play(3.0), Play(2.0)], [0.0, 0.0], wins(2, 2.0))


def test_a_rival_that_was_not_let_in_in_time_never_runs() -> None:
    played([Play(1.0), Play(1.0)], [3.0], wins(0, 1.0))


@pytest.mark.parametrize("end", [failure(), Refusal(429, "overloaded", "no"), 500, 429, 400 + 4])
def test_what_fails_lets_the_others_go_on(end: int | Exception) -> None:
    fails = end if end != 404 else 503
    played([Play(1.0, fails), Play(3.0)], [0.5], wins(1, 3.5))
    played([Play(3.0), Play(1.0, fails)], [0.5], wins(0, 3.0))
    played([Play(3.0, fails), Play(1.0, fails), Play(5.0)], [0.0, 0.0], wins(2, 5.0))


def test_an_answer_that_is_the_apps_own_to_deal_with_is_a_good_one() -> None:
    played([Play(9.0), Play(1.0, 409)], [0.5], wins(1, 1.5, 409))


def test_a_bug_in_a_rival_lets_the_others_go_on() -> None:
    played([Play(3.0), Play(1.0, ZeroDivisionError())], [0.5], wins(0, 3.0))


def test_where_nobody_wins_it_is_what_the_first_came_to() -> None:
    played([Play(1.0, 503), Play(1.0, 500)], [0.5], wins(None, 1.5, 503))
    played([Play(4.0, 503), Play(1.0, failure())], [0.5], wins(None, 4.0, 503))
    with pytest.raises(Failure, match="no"):
        played([Play(4.0, failure()), Play(1.0, 500)], [0.5])
    with pytest.raises(Refusal):
        played([Play(4.0, Refusal(403, "policy_refused", "no")), Play(1.0, 500)], [0.5])


def test_a_bug_of_the_first_is_told_and_stops_the_others() -> None:
    async def main() -> None:
        service = Field([Play(1.0, ZeroDivisionError()), Play(9.0)])
        with pytest.raises(ZeroDivisionError):
            await contest([], [0.5], service)
        await asyncio.sleep(0)

        assert service.running == 0

    run(main())


def test_the_first_is_interrupted_even_where_it_takes_its_time_to_stop() -> None:
    played([Play(9.0, last_s=0.5), Play(1.0)], [0.5], wins(1, 2.0))


def test_a_loser_that_answers_although_it_was_stopped_is_closed() -> None:
    played([Play(9.0, stubborn=True), Play(1.0)], [0.5], wins(1, 1.5))
    played([Play(2.0), Play(9.0, stubborn=True)], [0.5], wins(0, 2.0))


def test_a_limit_inside_of_the_first_is_its_own_affair() -> None:
    played([Play(9.0, limit_s=1.0), Play(3.0)], [0.5], wins(1, 3.5))
    played([Play(9.0, limit_s=1.5), Play(1.0)], [0.5], lambda service, reply, winner, took_s: None)


def test_all_at_one_moment() -> None:
    for delays in ([1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]):
        played([Play(delay_s) for delay_s in delays], [0.0, 0.0])


def drawn_play(draw: random.Random) -> Play:
    end: Any = draw.choice([200, 200, 200, 500, 429, 404, failure(), Refusal(429, "overloaded", "no"), KeyError("bug")])
    delay_s = draw.choice([0.0, 0.1, 0.5, 0.5, 1.0, draw.random()])
    return Play(delay_s, end, draw.choice([0.0, 0.0, 0.2]), draw.choice([None, None, 0.3, 0.5]), draw.random() < 0.1)


@pytest.mark.parametrize("seed", range(400))
def test_whatever_happens_nothing_is_left_open(seed: int) -> None:
    draw = random.Random(seed)
    plays = [drawn_play(draw) for _ in range(draw.randint(1, 4))]
    starts_s = [draw.choice([0.0, 0.1, 0.5, draw.random()]) for _ in plays[1:]]
    leaves_s = draw.choice([None, None, 0.0, 0.1, 0.5, draw.random()])
    limit_s = draw.choice([None, None, 0.3, 0.5])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop, tick_s=0.001)
        service = Field(plays)
        given: list[Reply] = []

        async def app() -> None:
            task = asyncio.current_task()
            assert task is not None
            with suppress(Failure, Refusal, KeyError, TimeoutError):
                if limit_s is None:
                    reply, _ = await contest(plays, starts_s, service)
                else:
                    with clock.limit(loop.time() + limit_s):
                        reply, _ = await contest(plays, starts_s, service)
                given.append(reply)
                assert not reply.body.closed, "what was given was closed"
            assert task.cancelling() <= (leaves_s is not None), "a cancellation of its own was left on the task"

        task = loop.create_task(app())
        if leaves_s is not None:
            loop.call_later(leaves_s, task.cancel)
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(1.0)

        assert len(given) <= 1
        assert [reply for reply in service.open() if reply not in given] == []
        assert service.running == 0
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_a_contest_leaves_no_cycles() -> None:
    async def main(plays: list[Play]) -> int:
        for _ in range(3):
            with suppress(Failure):
                (await contest(plays, [0.5]))[0].close()
        await asyncio.sleep(20)
        gc.collect()
        gc.disable()
        try:
            with suppress(Failure):
                (await contest(plays, [0.5]))[0].close()
            await asyncio.sleep(20)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = [each for each in gc.garbage if isinstance(each, (Contest, Call, Reply, Body, Failure))]
            gc.garbage.clear()
            return len(found)
        finally:
            gc.set_debug(0)
            gc.enable()

    for plays in ([Play(1.0), Play(5.0)], [Play(9.0), Play(1.0)], [Play(0.1), Play(1.0)]):
        assert run(main(plays)) == 0
