"""circuit -- whether one target may be asked, judged by how it has done: closed, open, half-open. A machine of numbers, told the time.

Stands under `kinds/circuit_breaker.py`, which knows what counts as a failure. What a call that began before a change of state comes to
says nothing about the state after it, and is not counted.
Cost: under a microsecond for a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from proxy.core.tally import Tally

WAITING = 5  # turns of a lone target that may be spoken for in advance


class State(StrEnum):
    """What a circuit does with a call."""

    CLOSED = "closed"  # lets it pass
    HALF_OPEN = "half_open"  # lets some pass, to see
    OPEN = "open"  # lets none pass


@dataclass(slots=True, frozen=True)
class Rate:
    """Opens when of at least `of_at_least` calls in `window_s` this share has failed."""

    share: float
    of_at_least: int
    window_s: float


@dataclass(slots=True, frozen=True)
class Limits:
    """When a circuit opens, and how it closes."""

    consecutive: int | None
    rate: Rate | None
    open_for_s: float
    max_open_for_s: float  # each opening that follows a failed probe is twice as long, up to this
    probes: int  # successes that close it; as many run at once
    alone_s: float  # the pace at which a lone target is asked all the same


class Pass:
    """Leave to ask, for one call. Given back by `success`, `failure` or `nothing`; only the first counts."""

    __slots__ = ("epoch", "lease", "used")

    def __init__(self, epoch: int, lease: float | None = None) -> None:
        self.epoch = epoch
        self.lease = lease  # time until which it holds a probe's place; None: it is no probe
        self.used = False


class Circuit:
    """One target's. Every `now` is loop time in seconds and never runs backwards."""

    __slots__ = ("_alone_at", "_epoch", "_limits", "_probes", "_tally", "good_probes", "in_a_row", "opened", "state", "until")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.state = State.CLOSED
        self.in_a_row = 0  # failures, the latest calls of all
        self.opened = 0  # times in a row that it opened without having closed
        self.until = 0.0  # open till then
        self.good_probes = 0
        self._epoch = 0  # counts changes of state
        self._probes: set[Pass] = set()
        self._alone_at = 0.0  # the next turn of a lone target
        self._tally = Tally(limits.rate.window_s) if limits.rate is not None else None

    def enter(self, now: float) -> Pass | None:
        """Leave to ask, None where the target is not to be asked now."""
        if self.state is State.CLOSED:
            return Pass(self._epoch)
        if self.state is State.OPEN:
            if now < self.until:
                return None
            self._become(State.HALF_OPEN)
        return self._probe(now)

    def _probe(self, now: float) -> Pass | None:
        limits = self._limits
        if len(self._probes) >= limits.probes:
            self._probes = {probe for probe in self._probes if probe.lease is not None and probe.lease > now}
            if len(self._probes) >= limits.probes:
                return None
        return self._lease(now)

    def _lease(self, now: float) -> Pass:
        # A probe that hangs, or a stream that goes on for minutes, gives its place to another after a while
        probe = Pass(self._epoch, now + self._limits.open_for_s)
        self._probes.add(probe)
        return probe

    def turn(self, now: float, within_s: float | None = None) -> float | None:
        """For a lone target that `enter` did not let pass: how many seconds until its turn, which is then taken.

        None: those before it have spoken for enough turns, or it comes too late.
        """
        at = max(now, self._alone_at)
        if at - now > WAITING * self._limits.alone_s or (within_s is not None and at - now >= within_s):
            return None
        self._alone_at = at + self._limits.alone_s
        return at - now

    def alone(self, now: float) -> Pass:
        """Leave to ask a lone target whose turn it is: a probe, whatever the state."""
        return Pass(self._epoch) if self.state is State.CLOSED else self._lease(now)

    def retry_after(self, now: float, alone: bool) -> float:
        """Seconds after which asking again makes sense."""
        if alone:
            return max(self._alone_at - now, self._limits.alone_s)
        return max(self.until - now, self._limits.alone_s)

    def success(self, leave: Pass, now: float) -> bool:
        """It went well. Returns whether the state changed."""
        if not self._counts(leave):
            return False
        if self.state is State.CLOSED:
            self.in_a_row = 0
            if self._tally is not None:
                self._tally.add(now, 1, 0)
            return False
        self.good_probes += 1
        if self.good_probes < self._limits.probes:
            return False
        self.opened = 0
        self._become(State.CLOSED)
        return True

    def failure(self, leave: Pass, now: float) -> bool:
        """It failed. Returns whether the state changed."""
        if not self._counts(leave):
            return False
        limits = self._limits
        self.in_a_row += 1
        if self.state is State.CLOSED:
            if self._tally is not None:
                self._tally.add(now, 1, 1)
            if not self._trips(now):
                return False
        elif self.state is State.OPEN:  # a lone target's try: its pace goes on, the opening is not made longer
            self.good_probes = 0
            return False
        self.until = now + min(limits.open_for_s * 2.0 ** min(self.opened, 32), limits.max_open_for_s)
        self.opened += 1
        self._become(State.OPEN)
        return True

    def nothing(self, leave: Pass) -> None:
        """It says nothing of the target: the app left, or nothing was sent."""
        self._counts(leave)

    def _counts(self, leave: Pass) -> bool:
        if leave.used:
            return False
        leave.used = True
        self._probes.discard(leave)
        return leave.epoch == self._epoch

    def _become(self, state: State) -> None:
        self.state = state
        self._epoch += 1
        self._probes.clear()
        self.good_probes = 0
        if state is State.CLOSED:
            self.in_a_row = 0
            if self._tally is not None:
                self._tally.clear()

    def _trips(self, now: float) -> bool:
        limits, rate = self._limits, self._limits.rate
        if limits.consecutive is not None and self.in_a_row >= limits.consecutive:
            return True
        if rate is None or self._tally is None:
            return False
        calls, bad = self._tally.sums(now)
        return calls >= rate.of_at_least and bad >= rate.share * calls
