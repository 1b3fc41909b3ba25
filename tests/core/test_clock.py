from __future__ import annotations

import asyncio
import gc
import time
import weakref
from contextlib import suppress

import pytest

from proxy.core.clock import TICK_S, LoopClock


def clock_of_now() -> LoopClock:
    return LoopClock(asyncio.get_running_loop())


class Timers:
    """Counts the timers that a clock asks of its loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.live: list[asyncio.TimerHandle] = []
        call_at = loop.call_at

        def counted(when: float, callback: object, *args: object, context: object = None) -> asyncio.TimerHandle:
            handle = call_at(when, callback, *args)  # type: ignore[arg-type]
            self.live.append(handle)
            return handle

        monkeypatch.setattr(loop, "call_at", counted)

    def pending(self) -> int:
        now = asyncio.get_running_loop().time()
        return sum(1 for handle in self.live if not handle.cancelled() and handle.when() > now)


async def test_an_alarm_rings_not_before_its_time_and_at_most_one_tick_late() -> None:
    clock = clock_of_now()
    start = clock.now()
    rung: list[float] = []
    whens = [start + 0.001, start + TICK_S, start + 0.5, start + 0.505, start + 7.7777]
    for when in whens:
        clock.at(when, lambda: rung.append(clock.now()))
    await clock.sleep(10)

    assert len(rung) == len(whens)
    for when, at in zip(whens, rung, strict=True):
        assert when <= at <= when + TICK_S + 1e-6


async def test_alarms_ring_in_the_order_of_their_times() -> None:
    clock = clock_of_now()
    rung: list[int] = []
    for wait_s in (3, 1, 2):
        clock.at(clock.now() + wait_s, lambda wait_s=wait_s: rung.append(wait_s))  # type: ignore[misc]
    await clock.sleep(4)

    assert rung == [1, 2, 3]


async def test_an_alarm_in_the_past_rings_within_a_tick() -> None:
    clock = clock_of_now()
    start = clock.now()
    rung: list[float] = []
    clock.at(start - 100, lambda: rung.append(clock.now()))
    await clock.sleep(1)

    assert len(rung) == 1
    assert rung[0] - start <= TICK_S


async def test_a_cancelled_alarm_does_not_ring() -> None:
    clock = clock_of_now()
    rung: list[str] = []
    alarm = clock.at(clock.now() + 1, lambda: rung.append("cancelled"))
    clock.at(clock.now() + 1, lambda: rung.append("other"))
    alarm.cancel()
    alarm.cancel()
    await clock.sleep(2)

    assert rung == ["other"]


async def test_an_alarm_may_cancel_another_of_its_tick() -> None:
    clock = clock_of_now()
    rung: list[str] = []
    when = clock.now() + 1
    clock.at(when, lambda: second.cancel())
    second = clock.at(when, lambda: rung.append("second"))
    await clock.sleep(2)

    assert rung == []


async def test_an_alarm_may_be_cancelled_after_it_rang() -> None:
    clock = clock_of_now()
    rung: list[str] = []
    alarm = clock.at(clock.now() + 1, lambda: rung.append("x"))
    await clock.sleep(2)
    alarm.cancel()

    assert rung == ["x"]


async def test_an_alarm_may_set_the_next_one() -> None:
    clock = clock_of_now()
    rung: list[float] = []

    def again() -> None:
        rung.append(clock.now())
        if len(rung) < 5:
            clock.at(clock.now() + 1, again)

    clock.at(clock.now() + 1, again)
    await clock.sleep(20)

    assert len(rung) == 5


async def test_an_alarm_that_breaks_does_not_silence_the_others() -> None:
    clock = clock_of_now()
    rung: list[str] = []
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    def breaks() -> None:
        raise ZeroDivisionError

    when = clock.now() + 1
    clock.at(when, breaks)
    clock.at(when, lambda: rung.append("same tick"))
    clock.at(when + 5, lambda: rung.append("set before"))
    await clock.sleep(2)
    clock.at(clock.now() + 9, lambda: rung.append("set afterwards"))
    await clock.sleep(20)

    assert rung == ["same tick", "set before", "set afterwards"]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_alarms_of_one_tick_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    clock = clock_of_now()
    rung: list[int] = []
    for i in range(1000):
        clock.at(clock.now() + 1.001, lambda i=i: rung.append(i))  # type: ignore[misc]

    assert timers.pending() == 1
    await clock.sleep(2)
    assert rung == list(range(1000))


async def test_there_is_never_more_than_one_timer_however_alarms_come(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    clock = clock_of_now()
    clock.at(clock.now() + 1000, lambda: None)
    counts = []
    for i in range(50):
        clock.at(clock.now() + 30, lambda: None)
        clock.at(clock.now() + 0.5 + i % 3, lambda: None).cancel()
        clock.at(clock.now() + 0.1, lambda: None)
        await asyncio.sleep(1)
        counts.append(timers.pending())

    assert set(counts) == {1}


async def test_cancelled_alarms_are_forgotten() -> None:
    clock = clock_of_now()
    clock.at(clock.now() + 2, lambda: None)
    for i in range(100):
        clock.at(clock.now() + 3 + i, lambda: None).cancel()
    await clock.sleep(2.5)

    assert clock._buckets == {}


async def test_an_alarm_that_rang_leaves_no_cycle() -> None:
    class Owner:
        def __init__(self) -> None:
            self.alarm = clock.at(clock.now() + 1, self.ring)

        def ring(self) -> None:
            pass

    clock = clock_of_now()
    gc.disable()
    try:
        owner = Owner()
        gone = weakref.ref(owner)
        del owner
        await clock.sleep(2)

        assert gone() is None
    finally:
        gc.enable()


async def test_wall_time_goes_with_the_loops_time() -> None:
    clock = clock_of_now()
    first = clock.wall_ns()
    assert abs(first - time.time_ns()) < 5e9
    await clock.sleep(60)

    assert abs(clock.wall_ns() - first - 60e9) < 1e6
    assert clock.wall_of_ns(clock.now()) == clock.wall_ns()


async def test_wall_time_is_taken_anew_at_an_anchor() -> None:
    clock = clock_of_now()
    await clock.sleep(3600)
    clock.anchor()

    assert abs(clock.wall_ns() - time.time_ns()) < 5e9


# Limit


async def test_a_limit_ends_what_takes_too_long() -> None:
    clock = clock_of_now()
    start = clock.now()
    with pytest.raises(TimeoutError), clock.limit(start + 5):
        await clock.sleep(100)

    assert 5 <= clock.now() - start <= 5 + TICK_S + 1e-6


async def test_a_limit_lets_what_is_quick_pass_and_rings_no_more() -> None:
    clock = clock_of_now()
    with clock.limit(clock.now() + 5):
        await clock.sleep(1)
    await clock.sleep(100)

    assert asyncio.current_task() is not None
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_limit_that_has_passed_already_ends_the_first_wait() -> None:
    clock = clock_of_now()
    with pytest.raises(TimeoutError), clock.limit(clock.now() - 1):
        await clock.sleep(1)


async def test_a_task_may_go_on_after_a_limit() -> None:
    clock = clock_of_now()
    task = asyncio.current_task()
    for _ in range(3):
        with pytest.raises(TimeoutError), clock.limit(clock.now() + 1):
            await clock.sleep(100)
        await clock.sleep(1)

    assert task is not None
    assert task.cancelling() == 0


async def test_another_cancellation_stays_one() -> None:
    clock = clock_of_now()

    async def work() -> None:
        with clock.limit(clock.now() + 5):
            await clock.sleep(100)

    task = asyncio.get_running_loop().create_task(work())
    await clock.sleep(1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_the_same_tick_wins_over_the_limit() -> None:
    clock = clock_of_now()

    async def work() -> None:
        with clock.limit(when):
            await clock.sleep(100)

    def cancel() -> None:
        task.cancel()

    when = clock.now() + 5
    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    clock.at(when, cancel)

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_exception_of_the_work_passes_although_the_limit_rang() -> None:
    clock = clock_of_now()

    async def work() -> None:
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError), clock.limit(clock.now() + 1):
        await work()


@pytest.mark.parametrize(("inner_s", "outer_s", "caught"), [(1, 5, "inner"), (5, 1, "outer"), (3, 3, "outer")])
async def test_of_nested_limits_the_one_that_rang_is_the_one_that_raises(inner_s: float, outer_s: float, caught: str) -> None:
    clock = clock_of_now()
    start = clock.now()
    by = ""
    try:
        with clock.limit(start + outer_s):
            try:
                with clock.limit(start + inner_s):
                    await clock.sleep(100)
            except TimeoutError:
                by = "inner"
    except TimeoutError:
        by = "outer"

    assert by == caught
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_limit_inside_a_task_that_swallowed_a_cancellation_still_raises() -> None:
    clock = clock_of_now()

    async def work() -> str:
        with suppress(asyncio.CancelledError):
            await clock.sleep(100)
        try:
            with clock.limit(clock.now() + 1):
                await clock.sleep(100)
        except TimeoutError:
            return "timed out"
        return "done"

    task = asyncio.get_running_loop().create_task(work())
    await clock.sleep(1)
    task.cancel()

    assert await task == "timed out"


def test_a_limit_stands_inside_a_task() -> None:
    loop = asyncio.new_event_loop()
    try:
        limit = LoopClock(loop).limit(0)
        with pytest.raises(RuntimeError), limit:
            pass
    finally:
        loop.close()


def test_uvloops_time_is_told_finer_than_its_whole_milliseconds() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        fine = [clock.now() for _ in range(100)]
        return max(abs(when * 1e3 - round(when * 1e3)) for when in fine), clock.now() - loop.time()

    uvloop = pytest.importorskip("uvloop")
    fraction_ms, apart_s = uvloop.run(main())

    assert fraction_ms > 1e-3
    assert abs(apart_s) < 0.1  # the same base: a deadline made of one holds for the other


async def test_the_wall_clock_of_a_test_can_be_set_to_a_time() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    clock.anchor(1_772_539_200 * 10**9)

    assert 0 <= clock.wall_ns() - 1_772_539_200 * 10**9 < 60 * 10**9
