"""slots -- so many at once, a short queue for the others, first come first served.

A slot that is given back goes straight to the first of the queue, so nobody who comes later is quicker. Cost: 0.3 µs where one is free.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress


class Full(Exception):
    """There is no slot, and no place in the queue."""


class Slots:
    """Slots of one limit. The limit may change at any time; what is taken stays taken."""

    __slots__ = ("_waiting", "limit", "places", "taken")

    def __init__(self, limit: int, places: int) -> None:
        """`places`: of the queue."""
        self.limit = limit
        self.places = places
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take_now(self) -> bool:
        """Takes a slot where one is free and nobody waits for it."""
        if self.taken >= self.limit or self._waiting:
            return False
        self.taken += 1
        return True

    async def take(self) -> None:
        """Takes a slot, after a wait that the caller limits. Raises Full. A cancelled wait leaves nothing taken."""
        if self.take_now():
            return
        if len(self._waiting) >= self.places:
            raise Full
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it was given one at the moment when it left
                self.give_back()
            else:
                with suppress(ValueError):  # passed over already
                    self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """One is free again."""
        self.taken -= 1
        self.resize(self.limit)

    def resize(self, limit: int) -> None:
        """Sets the limit, and lets in who now may."""
        self.limit = limit
        while self._waiting and self.taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)
