"""call -- one call of the app on its way inward: what it asks, where it goes, what it may spend.

Layers derive, they never change one. Only who makes it completes it: telemetry puts in its record, the engine the payload; both take
them out again, as a stream may go on for minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.core.faults import Failure, Fault

if TYPE_CHECKING:
    from proxy.core.journal import Journal
    from proxy.core.request import Request

EXCHANGES = 6  # per call: retry 3 and a chain of three targets; PAINS knows of 45 and of 79,858


@dataclass(slots=True, frozen=True)
class Target:
    """Where an exchange goes: an upstream's name, and the model to ask for (None: the one that the app named)."""

    upstream: str
    model: str | None = None


class Allowance:
    """Upstream exchanges left for a call. Caps retry x fallback x hedge x re-ask; spent by the upstream adapter alone."""

    __slots__ = ("left", "spent")

    def __init__(self, exchanges: int = EXCHANGES) -> None:
        self.left = exchanges
        self.spent = 0

    def spend(self) -> None:
        """Takes one, just before it is sent. Raises Failure when none is left."""
        if self.left <= 0:
            raise Failure(Fault.BREAKER_OPEN, "allowance", f"no exchange left for this call ({self.spent} were made)")
        self.left -= 1
        self.spent += 1

    def shrink(self, tries: int) -> None:
        """Leaves a share, as the app's SDK has tried `tries` times before: at least 2, so that each of its tries may still fall back."""
        self.left = min(self.left, max(2, self.left // (tries + 1)))


class Call:
    """What the layers pass inward. `payload` is a `proxy.openai.payload.Payload`, or None while the body is not held."""

    __slots__ = (
        "allowance",
        "answer_by",
        "connect_s",
        "deadline",
        "endpoint",
        "id",
        "journal",
        "limits",
        "lone",
        "payload",
        "request",
        "reserved",
        "target",
        "trace",
        "tries",
    )

    def __init__(self, id: str, endpoint: str, request: Request, target: Target, journal: Journal, allowance: Allowance) -> None:
        self.id = id
        self.endpoint = endpoint
        self.request = request
        self.payload: Any = None
        self.target = target
        self.journal = journal
        self.allowance = allowance
        self.deadline: float | None = None  # loop time: all of it is done, bodies included
        self.answer_by: float | None = None  # loop time: the first byte must be out, or the app has given up
        self.connect_s: float | None = None  # None: the upstream's default
        self.reserved = 0  # exchanges that outer layers have promised to others
        self.lone: bool | None = None  # no other target is asked if this one is not; None: `reserved` says it
        self.tries: int | None = None  # a bound that fallback sets for retry; 0: the target has tries of its own
        self.limits: Any = None  # a layer with the limits of a target's tries, in the place of the policy's
        self.trace: Any = None  # the record that telemetry fills (`proxy.core.ports`), None where nothing records

    @property
    def latest(self) -> float | None:
        """The loop time past which no wait and no other try makes sense; None: there is no limit."""
        if self.deadline is None or self.answer_by is None:
            return self.answer_by if self.deadline is None else self.deadline
        return min(self.deadline, self.answer_by)

    def derive(self, **changes: Any) -> Call:
        """A copy with `changes`; what it shares with the original (journal, allowance) is meant to be shared."""
        new = object.__new__(Call)
        new.allowance = self.allowance
        new.answer_by = self.answer_by
        new.connect_s = self.connect_s
        new.deadline = self.deadline
        new.endpoint = self.endpoint
        new.id = self.id
        new.journal = self.journal
        new.limits = self.limits
        new.lone = self.lone
        new.payload = self.payload
        new.request = self.request
        new.reserved = self.reserved
        new.target = self.target
        new.trace = self.trace
        new.tries = self.tries
        for name, value in changes.items():
            setattr(new, name, value)
        return new
