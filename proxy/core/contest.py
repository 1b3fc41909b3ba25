"""contest -- one call asked of several at once: the first good reply wins, the others are stopped at once and leave nothing behind.

The first entrant runs in the task of the call itself, so that a contest to which nobody else is let costs next to nothing; each rival has
a task of its own. Whoever wins while the first still runs interrupts it, by a cancellation that only this module takes back: one that
comes from outside passes, and whatever has been answered by then is closed.
"""

from __future__ import annotations

import asyncio

from proxy.core.call import Call
from proxy.core.faults import Failure, Fault, Refusal, classify
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.tasks import spawn

End = Reply | Failure | Refusal


class Contest:
    """One call's. `run` once; `let_in` before it, or from callbacks while it runs."""

    __slots__ = (
        "_ends",
        "_held",
        "_inner",
        "_is_interrupted",
        "_is_over",
        "_is_running",
        "_rivals",
        "_runs",
        "_task",
        "_waiter",
        "_waiting",
        "winner",
    )

    def __init__(self, inner: Service) -> None:
        self._inner = inner
        self._task: asyncio.Task[object] | None = None  # of the first, while it runs
        self._held = 0  # cancellations of that task which are not ours
        self._is_interrupted = False
        self._is_over = self._is_running = False
        self._waiting: list[Call] = []  # let in before it runs: a layer that breaks before then leaves nothing behind
        self._runs = 0  # rivals that have not ended
        self._rivals: list[asyncio.Task[None]] = []
        self._ends: dict[int, End] = {}  # by number, the first is 0
        self._waiter: asyncio.Future[None] | None = None
        self.winner: int | None = None

    def let_in(self, call: Call) -> None:
        """Begins to ask one more; it has the next number."""
        if self._is_over:
            return
        if not self._is_running:
            self._waiting.append(call)
            return
        self._runs += 1
        self._rivals.append(spawn(self._rival(call, len(self._rivals) + 1), f"rival of {call.id}"))

    async def run(self, first: Call) -> Reply:
        """The reply of the winner; where nobody wins, what the first came to. Raises Failure and Refusal."""
        chosen: End | None = None
        try:
            chosen = await self._decided(first)
        finally:
            self._finish(chosen)
        if isinstance(chosen, Reply):
            return chosen
        try:
            raise chosen
        finally:
            del chosen  # it holds this frame, which must not hold it

    async def _decided(self, first: Call) -> End:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._held = task.cancelling()
        self._is_running = True
        for call in self._waiting:
            self.let_in(call)
        try:
            end: End | None = await self._inner(first)
        except Failure as failure:
            end = failure.bare()
        except Refusal as refusal:
            end = refusal.with_traceback(None)
        except (asyncio.CancelledError, Exception):
            if not self._is_interrupted:
                raise
            end = None
        self._task = None
        if end is not None:
            self._ends[0] = end
            if self.winner is None and is_good(end):
                self.winner = 0
        if self._is_interrupted and task.uncancel() > self._held:
            raise asyncio.CancelledError  # the app has left as well
        while self.winner is None and self._runs:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._ends[self.winner or 0]

    async def _rival(self, call: Call, number: int) -> None:
        try:
            end: End = await self._inner(call)
        except Failure as failure:
            end = failure.bare()
        except Refusal as refusal:
            end = refusal.with_traceback(None)
        except Exception as bug:
            end = Failure(Fault.INVALID, "contest", f"a layer broke: {bug!r}")
        self._ended(number, end)

    def _ended(self, number: int, end: End) -> None:
        if self._is_over:
            close(end)
            return
        self._runs -= 1
        self._ends[number] = end
        if self.winner is not None:
            return
        if is_good(end):
            self.winner = number
            for place, rival in enumerate(self._rivals, 1):
                if place != number:
                    rival.cancel()
            if self._task is not None:
                self._is_interrupted = True
                self._task.cancel()
        elif self._runs:
            return
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _finish(self, chosen: End | None) -> None:
        self._is_over = True
        for rival in self._rivals:
            rival.cancel()
        for end in self._ends.values():
            if end is not chosen:
                close(end)
        self._rivals.clear()
        self._ends.clear()
        self._task = self._waiter = None


def is_good(end: End) -> bool:
    """Whether the app had better have it than wait for another."""
    return isinstance(end, Reply) and classify(end) is None


def close(end: End) -> None:
    """Closes a reply that nobody gets."""
    if isinstance(end, Reply):
        end.close()
