"""concurrency -- so many at once, a short queue for the others, and for the rest an honest 429 at once.

Two layers, one of which acts: floor CALL, inside all that answers without an upstream (real work is shed, never a hit), or floor EXCHANGE
for a limit of each upstream. A slot of a call is free when the app has its answer, that of an exchange when the upstream has sent it.
What is shed has cost nothing upstream; the body of its request has been read only where another policy reads it.
Cost: 2 to 5 µs a call; nothing per chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from proxy.core.call import Call
from proxy.core.clock import Clock
from proxy.core.faults import Failure, Fault, Refusal, classify
from proxy.core.gradient import Gradient
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.slots import Full, Slots
from proxy.core.stage import Stage
from proxy.policy.kind import Floor, Kind, Shown, Site
from proxy.policy.spec import Seconds, Spec, Wrong
from proxy.policy.view import View, Warned

QUEUE = 50  # what waits costs some KiB each, and its app's patience
WAIT_S = 2.0  # longer, and the app had better know that there are too many
MAX = 100_000
TURNED_AWAY = frozenset((Fault.TIMEOUT, Fault.OVERLOADED, Fault.RATE_LIMITED, Fault.CONNECT))
LATER_S = (1.0, 60.0)  # the bounds of `retry-after`: SDKs ignore more than a minute
WEIGHT = 0.1  # of the newest in the mean time that a slot is taken


class AdaptiveSpec(Spec):
    """A limit that follows what the upstream can do, told by its latency: to the first content of a stream, or to a whole plain reply."""

    min: int = Field(5, ge=1, le=MAX, description="Never fewer at once.")
    max: int = Field(200, ge=1, le=MAX, description="Never more at once.")
    tolerance: float = Field(
        1.5, ge=1.1, le=10.0, description="The limit grows while the median latency is below so many times the best, and shrinks above."
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> AdaptiveSpec:
        if self.min > self.max:
            raise Wrong(f"`min` ({self.min}) is above `max` ({self.max})", got=False)
        return self


class ConcurrencySpec(Spec):
    """A limit on how many run at once, with a short queue; the others get a 429 with `retry-after`. A number alone is the limit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [20, {"limit": 20, "queue": 50, "wait": "2s"}, {"adaptive": {"max": 100}}],
            "anyOf": [{"required": ["limit"]}, {"required": ["adaptive"]}],
        }
    )
    shorthand: ClassVar[str | None] = "limit"
    limit: int | None = Field(None, ge=1, le=MAX, description="So many at once. With `adaptive`: where it begins.", examples=[20])
    queue: int = Field(QUEUE, ge=0, le=10_000, description="So many more wait, first come first served.")
    wait: Seconds = Field(WAIT_S, ge=0.0, le=600.0, description="The longest wait in the queue; never past the app's own patience.")
    per: Literal["policy", "upstream"] = Field(
        "policy",
        description="What is limited: the calls that the policy matches, from the request to the app's last byte (`policy`), or their "
        "exchanges with each upstream, retries and hedges too (`upstream`).",
    )
    adaptive: AdaptiveSpec | None = Field(
        None, description="Let the limit follow the upstream's latency.", examples=[{"min": 5, "max": 100}]
    )

    @model_validator(mode="after")
    def _has_a_limit(self) -> ConcurrencySpec:
        if self.limit is None and self.adaptive is None:
            raise Wrong("needs `limit` or `adaptive`", got=False)
        return self


class Gate:
    """One limit, and what goes through it."""

    __slots__ = ("_clock", "_gradient", "_held_s", "_policy", "_wait_s", "slots", "upstream")

    def __init__(self, spec: ConcurrencySpec, policy: str, clock: Clock, upstream: str | None) -> None:
        adaptive = spec.adaptive
        start = spec.limit or (adaptive.min if adaptive is not None else 1)
        self._gradient = Gradient(adaptive.min, adaptive.max, start, adaptive.tolerance) if adaptive is not None else None
        self._policy = policy
        self._clock = clock
        self._wait_s = spec.wait
        self._held_s = 0.0  # the mean time that a slot is taken
        self.upstream = upstream
        self.slots = Slots(self._gradient.limit if self._gradient is not None else start, spec.queue)

    async def enter(self, call: Call) -> Slot:
        """A slot, after a wait. Raises what `shed` makes."""
        slots, clock = self.slots, self._clock
        began = clock.now()
        if slots.take_now():
            return Slot(self, began)
        until = began + self._wait_s
        latest = call.latest
        if latest is not None and latest < until:
            until = latest
        if slots.queued >= slots.places or until <= began:
            raise self._shed(call, "the queue is full" if slots.places else "the limit is reached", 0.0)
        try:
            with clock.limit(until):
                await slots.take()
        except Full:
            raise self._shed(call, "the queue is full", 0.0) from None
        except TimeoutError:
            raise self._shed(call, "it waited too long", clock.now() - began) from None
        now = clock.now()
        call.journal.note("queued", self._policy, acted=True, waited_ms=round((now - began) * 1000), **self._of())
        return Slot(self, now)

    def _of(self) -> dict[str, Any]:
        return {"upstream": self.upstream} if self.upstream is not None else {}

    def _shed(self, call: Call, why: str, waited_s: float) -> Failure | Refusal:
        """What a call gets for which there is no slot: a 429, or, where another target stands by, a failure that sends it there."""
        slots = self.slots
        how_full: dict[str, Any] = {"limit": slots.limit, "in_flight": slots.taken, "queued": slots.queued, **self._of()}
        call.journal.note("shed", self._policy, acted=True, why=why, waited_ms=round(waited_s * 1000), **how_full)
        later_s = min(max(self._held_s * (slots.queued + 1) / slots.limit, LATER_S[0]), LATER_S[1])
        has_others = call.reserved > 0 if call.lone is None else not call.lone
        no: Failure | Refusal
        if self.upstream is not None and has_others:
            no = Failure(Fault.BREAKER_OPEN, self.upstream, f"{self.upstream}: {slots.limit} exchanges run at once, and no more may")
        else:
            what_runs = "calls" if self.upstream is None else f"exchanges with {self.upstream}"
            no = Refusal(429, "overloaded", f"Too many at once: {slots.limit} {what_runs} run, and {why}. Try again after a moment.")
        no.retry_after_s = later_s
        return no

    def answered(self, taken_at: float, fault: Fault | None) -> None:
        """The reply of one that holds a slot has begun, or failed."""
        gradient = self._gradient
        if gradient is not None:
            now = self._clock.now()
            if gradient.heard(now, now - taken_at, fault in TURNED_AWAY, self.slots.taken):
                self.slots.resize(gradient.limit)

    def leave(self, taken_at: float) -> None:
        """A slot is free again."""
        self.slots.give_back()
        self._held_s += WEIGHT * (self._clock.now() - taken_at - self._held_s)

    def shown(self) -> Shown:
        """How full it is."""
        slots = self.slots
        what: dict[str, object] = {"in_flight": slots.taken, "queued": slots.queued, "limit": slots.limit}
        if self._gradient is not None:
            best_s = self._gradient.best_s
            what["best_latency_ms"] = round(best_s * 1000, 1) if best_s is not None else None
        gauges = {"chassis_concurrency_in_flight": slots.taken, "chassis_concurrency_queued": slots.queued}
        labels = {"policy": self._policy, "upstream": self.upstream or ""}
        is_full = slots.taken >= slots.limit
        return Shown("concurrency", labels, what, {**gauges, "chassis_concurrency_limit": slots.limit}, is_full)


class Slot(Stage):
    """A slot that is taken, given back once: at the end of a body's source, or at its client's."""

    __slots__ = ("_gate", "taken_at")

    def __init__(self, gate: Gate, taken_at: float) -> None:
        self._gate: Gate | None = gate
        self.taken_at = taken_at

    def free(self, failure: Failure | None = None) -> None:
        """Idempotent."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave(self.taken_at)

    def end(self) -> bytes:
        self.free()
        return b""

    def fail(self, failure: Failure) -> bytes:
        self.free()
        return b""


class Concurrency:
    """The limit of a policy, or of each upstream that its calls go to."""

    __slots__ = ("_at_source", "_gates", "_new")

    def __init__(self, spec: ConcurrencySpec, site: Site, at_source: bool) -> None:
        self._at_source = at_source
        self._new: Callable[[str | None], Gate] = lambda upstream: Gate(spec, site.policy, site.clock, upstream)
        self._gates: dict[str | None, Gate] = {} if at_source else {None: self._new(None)}  # as many as upstreams are declared

    async def __call__(self, call: Call, inner: Service) -> Reply:
        name = call.target.upstream if self._at_source else None
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = self._new(name)
        slot = await gate.enter(call)
        is_handed_on = False
        try:
            try:
                reply = await inner(call)
            except Failure as failure:
                gate.answered(slot.taken_at, failure.fault)
                raise
            gate.answered(slot.taken_at, classify(reply))
            body = reply.body
            if not self._at_source or reply.tunnel is not None:
                body.after(slot.free)
                is_handed_on = True
            elif not (body.ended or body.closed or body.error is not None):
                body.attach(slot)
                is_handed_on = True
            return reply
        finally:
            if not is_handed_on:  # a bug above, too, must not take a slot for good
                slot.free()

    def shown(self) -> Iterator[Shown]:
        """Each limit, and how full it is."""
        return iter([gate.shown() for gate in self._gates.values()])


def _warn(spec: ConcurrencySpec, view: View) -> Iterable[Warned]:
    if spec.adaptive is not None and spec.limit is not None and not spec.adaptive.min <= spec.limit <= spec.adaptive.max:
        yield Warned(("limit",), "is outside of `adaptive`, so the limit begins at its nearer end")
    if spec.queue == 0 and "wait" in spec.model_fields_set:
        yield Warned(("wait",), "does nothing, as nobody waits: `queue` is 0")


def _primes(spec: ConcurrencySpec) -> bool:
    return spec.adaptive is not None  # latency is told to the first content


KIND = Kind(
    "concurrency",
    ConcurrencySpec,
    Floor.CALL,
    enforce=lambda spec, site: Concurrency(spec, site, at_source=False),
    shadow=None,
    primes=_primes,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)" if spec.adaptive is not None else "",
    warn=_warn,
    acts=lambda spec: spec.per == "policy",
    waits=True,
)
EXCHANGE = KIND.at(
    Floor.EXCHANGE, lambda spec, site: Concurrency(spec, site, at_source=True), acts=lambda spec: spec.per == "upstream"
)
