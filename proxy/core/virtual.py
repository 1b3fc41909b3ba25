"""virtual -- an event loop whose time jumps: when nothing is ready, the next timer is due. For tests of policies and of ourselves."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START_S = 1_000.0
TURNS = 1_000_000  # of the loop in which no time passes: some ten seconds; the longest honest work has a few thousand


class _Selector(selectors.DefaultSelector):
    """Waits by moving time forward."""

    turns = TURNS

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: nothing is due and nothing can happen")
            if timeout > 0:
                self.skipped_s += timeout
                self._turns = 0
        self._turns += 1
        if self._turns > self.turns:
            self._turns = 0  # what is cancelled now has its turns, too
            raise RuntimeError(f"the loop spins: {self.turns:,} turns, and no time has passed")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Timers fire in order and at once; a wait for what never comes raises instead of hanging. No sockets to others.

    What would run in a thread runs at once, in no time: nothing else could happen meanwhile.
    """

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds, starting at `START_S`."""
        return START_S + self._virtual.skipped_s

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """The function's result, or its exception, as a future that is done."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on a new virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
