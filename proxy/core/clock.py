"""clock -- time, for everything that waits or limits.

Alarms are coarse: one loop timer serves all that fall into one tick, as a loop timer each costs microseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

TICK_S = 0.02  # of alarms: far below any timeout that a policy may name, far above the cost of a wake-up
_NEVER = 1 << 60


class Clock(Protocol):
    """What layers need of time."""

    def now(self) -> float:
        """Loop time in seconds: monotonic."""

    def wall_ns(self) -> int:
        """Unix time in nanoseconds, for spans and log lines."""

    def wall_of_ns(self, when: float) -> int:
        """Unix time in nanoseconds of a loop time."""

    async def sleep(self, wait_s: float) -> None:
        """Waits."""

    def at(self, when: float, ring: Callable[[], None]) -> Alarm:
        """Calls `ring` at loop time `when`, at most one tick late."""

    def limit(self, when: float) -> Limit:
        """A context that raises TimeoutError when the task inside is not done at loop time `when`."""


class Alarm:
    """A call to come; `cancel` is idempotent."""

    __slots__ = ("_bucket", "ring")

    def __init__(self, bucket: dict[Alarm, None], ring: Callable[[], None]) -> None:
        self._bucket = bucket
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """It will not ring."""
        self._bucket.pop(self, None)
        self.ring = None  # it holds who holds us: break the cycle


def now_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The loop's time. uvloop's own has the monotonic clock's base but counts whole milliseconds: too coarse for our part of a call."""
    return time.monotonic if type(loop).__module__.partition(".")[0] == "uvloop" else loop.time


class LoopClock:
    """The clock of an event loop; in tests the loop's time may be virtual (`proxy.core.virtual`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float = TICK_S) -> None:
        self.now = now_of(loop)
        self._loop = loop
        self._tick_s = tick_s
        self._buckets: dict[int, dict[Alarm, None]] = {}
        self._next = _NEVER
        self._timer: asyncio.TimerHandle | None = None  # the one that is set, for `_next`
        self.anchor()

    def wall_ns(self) -> int:
        """Unix time in nanoseconds, from the loop's time: spans of one call never run backwards. Re-anchored by `anchor`."""
        return self._wall_offset_ns + int(self.now() * 1e9)

    def wall_of_ns(self, when: float) -> int:
        """Unix time in nanoseconds of a loop time."""
        return self._wall_offset_ns + int(when * 1e9)

    def anchor(self, wall_ns: int | None = None) -> None:
        """Takes the wall clock's word again: it may have been set while we ran. `wall_ns`: the Unix time that it is now, for tests."""
        self._wall_offset_ns = (time.time_ns() if wall_ns is None else wall_ns) - int(self.now() * 1e9)

    async def sleep(self, wait_s: float) -> None:
        """Waits."""
        await asyncio.sleep(wait_s)

    def at(self, when: float, ring: Callable[[], None]) -> Alarm:
        """Calls `ring` at loop time `when`, at most one tick late."""
        tick = int(when / self._tick_s) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
        alarm = Alarm(bucket, ring)
        bucket[alarm] = None
        if tick < self._next:
            self._set(tick)
        return alarm

    def _set(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = tick
        self._timer = self._loop.call_at(tick * self._tick_s, self._ring) if tick != _NEVER else None

    def _ring(self) -> None:
        due = int(self._loop.time() / self._tick_s + 1e-6)  # as its timers count, which may be coarser than `now`
        alarms: list[Alarm] = []
        for tick in sorted(tick for tick, bucket in self._buckets.items() if tick <= due or not bucket):
            bucket = self._buckets.pop(tick)
            alarms.extend(bucket)
            bucket.clear()
        self._set(min(self._buckets, default=_NEVER))
        for alarm in alarms:
            ring, alarm.ring = alarm.ring, None
            if ring is None:  # cancelled by one before it
                continue
            try:
                ring()
            except Exception as bug:
                self._loop.call_exception_handler({"message": "an alarm broke", "exception": bug})

    def limit(self, when: float) -> Limit:
        """A context that raises TimeoutError when the task inside is not done at loop time `when`."""
        return Limit(self, when)


class Limit:
    """Cancels the task that is inside at `when`, and turns that cancellation, no other, into TimeoutError."""

    __slots__ = ("_alarm", "_clock", "_held", "_hit", "_task", "_when")

    def __init__(self, clock: Clock, when: float) -> None:
        self._clock = clock
        self._when = when
        self._hit = False
        self._task: asyncio.Task[object] | None = None
        self._alarm: Alarm | None = None
        self._held = 0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a limit stands inside a task")
        self._task = task
        self._held = task.cancelling()
        self._alarm = self._clock.at(self._when, self._ring)

    def _ring(self) -> None:
        self._hit = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        alarm, task = self._alarm, self._task
        self._task = self._alarm = None
        if alarm is not None:
            alarm.cancel()
        if not self._hit or task is None or task.uncancel() > self._held:
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from exc
