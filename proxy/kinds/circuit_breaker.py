"""circuit_breaker -- asks no more of a target that has failed again and again, until a few calls have shown that it is well.

Floor EXCHANGE, outermost of what is about one exchange but for checks: it judges the wire, not the content. Each exchange counts, those of
retries and hedges too. A stream counts at its source's end; an app that leaves says nothing of the target.
While no other target is left for the call, an open one is tried all the same, at a slower pace: a breaker must not make the outage.
Cost: 4 µs a call, 6 for one whose body is still to come; nothing per chunk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from proxy.core.call import Call
from proxy.core.circuit import Circuit, Limits, Pass, Rate, State
from proxy.core.faults import Abandoned, Failure, Fault, classify
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.stage import Stage
from proxy.openai.payload import Payload, Unread
from proxy.policy.kind import Floor, Kind, Shown, Site
from proxy.policy.spec import Percent, Seconds, Spec, Wrong
from proxy.policy.view import View, Warned
from proxy.policy.when import When, acts_on

TARGETS = 256  # remembered by one policy; a model's name comes from the app
MODEL_CHARS = 256
CONSECUTIVE = 5  # a single bad moment of a provider fails two or three calls in a row, not five
LATE_S = 0.03  # alarms ring up to a tick late, or a little early
DEFAULT_WHEN = (Fault.CONNECT, Fault.TIMEOUT, Fault.OVERLOADED, Fault.SERVER_ERROR, Fault.BAD_REPLY, Fault.TRUNCATED)
UNSEEN = (Fault.BREAKER_OPEN, Fault.INVALID)
OF_THE_REQUEST = (None, Fault.CONTEXT_WINDOW, Fault.CONTENT_FILTER)  # a target that says so works
NUMBERS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}

Key = tuple[str, str | None]


class RateSpec(Spec):
    """A share of the calls of the last while. A share alone is `failures`."""

    shorthand: ClassVar[str | None] = "failures"
    failures: Percent = Field(0.5, gt=0.0, description="It opens when at least this share of them has failed.")
    of_at_least: int = Field(20, ge=1, le=1_000_000, description="Fewer calls than these in the window tell nothing.")
    window: Seconds = Field(30.0, ge=1.0, le=3600.0, description="How far back calls are counted; it slides on in tenths.")


class CircuitBreakerSpec(Spec):
    """Ask no more of a target that fails again and again, until it is well. A number alone is `consecutive`."""

    shorthand: ClassVar[str | None] = "consecutive"
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"consecutive": 5, "open_for": "30s"}, {"rate": {"failures": "50%", "of_at_least": 20}}]}
    )
    consecutive: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Opens after so many failures in a row. By default 5; none where there is only a `rate`.",
        examples=[5],
    )
    rate: RateSpec | None = Field(
        None,
        description="Opens when a share of the calls fails.",
        examples=[{"failures": "50%", "of_at_least": 20, "window": "30s"}],
    )
    open_for: Seconds = Field(
        30.0, ge=0.1, le=3600.0, description="How long nothing is asked of it. Then it is half-open: a few calls try it."
    )
    max_open_for: Seconds = Field(
        300.0, ge=0.1, le=86_400.0, description="After a failed probe it is open for twice as long as before, up to this."
    )
    probes: int = Field(1, ge=1, le=100, description="Half-open: so many calls must go well before it closes; as many are tried at once.")
    alone: Seconds = Field(
        1.0,
        ge=0.01,
        le=60.0,
        description="While a call has no other target, an open one is tried all the same, by one call in this time; up to five wait their "
        "turn.",
    )
    per: Literal["target", "upstream"] = Field(
        "target", description="What has a breaker: each model of an upstream (`target`), or the upstream with all of its models."
    )
    when: When = Field(
        DEFAULT_WHEN,
        description="The faults that count. A 429 is left out: an upstream that says so works, and `retry-after` tells the rest.",
    )

    @field_validator("when")
    @classmethod
    def _seen(cls, value: tuple[Fault, ...]) -> tuple[Fault, ...]:
        for i, fault in enumerate(value):
            if fault in UNSEEN:
                raise Wrong(f"'{fault.value}' is no fault of an exchange, so it never counts", got=False, at=(i,))
        return value


class CircuitBreaker:
    """The breakers of one policy, one a target."""

    __slots__ = ("_circuits", "_clock", "_limits", "_per_target", "_policy", "_when")

    def __init__(self, spec: CircuitBreakerSpec, site: Site) -> None:
        rate = Rate(spec.rate.failures, spec.rate.of_at_least, spec.rate.window) if spec.rate is not None else None
        consecutive = CONSECUTIVE if spec.consecutive is None and rate is None else spec.consecutive
        longest_s = max(spec.max_open_for, spec.open_for)
        self._policy = site.policy
        self._clock = site.clock
        self._limits = Limits(consecutive, rate, spec.open_for, longest_s, spec.probes, spec.alone)
        self._when = acts_on(spec.when)
        self._per_target = spec.per == "target"
        self._circuits: OrderedDict[Key, Circuit] = OrderedDict()

    async def __call__(self, call: Call, inner: Service) -> Reply:
        key = (call.target.upstream, _model(call) if self._per_target else None)
        circuit = self._circuit(key)
        now = self._clock.now()
        was = circuit.state
        leave = circuit.enter(now)
        if circuit.state is not was:
            self._changed(call.journal, key, circuit, "its time is over")
        if leave is None:
            leave = await self._turn(call, key, circuit, now)
        verdict = Verdict(self, circuit, leave, key, call.journal)
        try:
            reply = await inner(call)
        except Failure as failure:
            if call.payload is None and call.request.body.error is not None:
                circuit.nothing(leave)  # the app's own body broke
            else:
                verdict.tell(failure.fault)
            raise
        except asyncio.CancelledError:
            verdict.tell(Fault.TIMEOUT) if self._is_late(call) else circuit.nothing(leave)
            raise
        except BaseException:
            circuit.nothing(leave)
            raise
        fault = classify(reply)
        if fault is not None or reply.body.ended or reply.body.closed or reply.tunnel is not None:
            verdict.tell(fault)
        else:
            reply.body.attach(verdict)
        return reply

    def _circuit(self, key: Key) -> Circuit:
        circuits = self._circuits
        circuit = circuits.get(key)
        if circuit is None:
            circuit = circuits[key] = Circuit(self._limits)
            if len(circuits) > TARGETS:
                closed = (old for old, each in circuits.items() if each.state is State.CLOSED)
                oldest = next(closed)  # the new one is
                del circuits[oldest if oldest != key else next(iter(circuits))]
        else:
            circuits.move_to_end(key)
        return circuit

    async def _turn(self, call: Call, key: Key, circuit: Circuit, now: float) -> Pass:
        """Leave for a call that the breaker stands against, where it has no other target. Raises Failure."""
        alone = call.reserved == 0 if call.lone is None else call.lone
        if not alone:
            raise self._refused(call, key, circuit, now, alone)
        latest = call.latest
        wait_s = circuit.turn(now, None if latest is None else latest - now)
        if wait_s is None:
            raise self._refused(call, key, circuit, now, alone)
        call.journal.note("breaker", self._policy, acted=wait_s > 0, alone=True, wait_ms=round(wait_s * 1000), **_of(key))
        if wait_s > 0:
            await self._clock.sleep(wait_s)
            now = self._clock.now()
        return circuit.enter(now) or circuit.alone(now)

    def _refused(self, call: Call, key: Key, circuit: Circuit, now: float, alone: bool) -> Failure:
        call.journal.note("breaker", self._policy, acted=True, state=circuit.state.value, refused=True, **_of(key))
        where = " ".join(filter(None, key))
        failure = Failure(Fault.BREAKER_OPEN, key[0], f"{where} has failed too often of late, and is not asked for a while")
        failure.retry_after_s = circuit.retry_after(now, alone)
        return failure

    def _is_late(self, call: Call) -> bool:
        """Whether a cancelled call had waited as long as anybody does: then it was not the app that lost interest."""
        latest = call.latest
        return latest is not None and self._clock.now() >= latest - LATE_S

    def settle(self, circuit: Circuit, leave: Pass, key: Key, journal: Journal, fault: Fault | None) -> None:
        """Counts what came of an exchange."""
        now = self._clock.now()
        if fault in self._when:
            changed = circuit.failure(leave, now)
        elif fault in OF_THE_REQUEST:
            changed = circuit.success(leave, now)
        else:
            circuit.nothing(leave)
            return
        if changed:
            self._changed(journal, key, circuit, fault.value if fault is not None else "it answers again")

    def _changed(self, journal: Journal, key: Key, circuit: Circuit, why: str) -> None:
        what: dict[str, Any] = {"for_ms": round((circuit.until - self._clock.now()) * 1000)} if circuit.state is State.OPEN else {}
        journal.note("breaker", self._policy, to=circuit.state.value, why=why, **_of(key), **what)

    def shown(self) -> Iterator[Shown]:
        """The state of each target that is remembered."""
        now = self._clock.now()
        for (upstream, model), circuit in list(self._circuits.items()):
            is_open = circuit.state is State.OPEN
            what: dict[str, object] = {"state": circuit.state.value, "failures_in_a_row": circuit.in_a_row}
            if is_open:
                what["open_for_s"] = round(max(0.0, circuit.until - now), 1)
            labels = {"policy": self._policy, "upstream": upstream, "model": model or ""}
            gauges = {"chassis_breaker_state": NUMBERS[circuit.state]}
            yield Shown("circuit_breaker", labels, what, gauges, is_news=circuit.state is not State.CLOSED)


class Verdict(Stage):
    """What comes of one exchange, told once: at once, or at the end of its body's source."""

    __slots__ = ("_breaker", "_circuit", "_journal", "_key", "_leave")

    def __init__(self, breaker: CircuitBreaker, circuit: Circuit, leave: Pass, key: Key, journal: Journal) -> None:
        self._breaker = breaker
        self._circuit = circuit
        self._leave = leave
        self._key = key
        self._journal = journal

    def tell(self, fault: Fault | None) -> None:
        """Counts."""
        self._breaker.settle(self._circuit, self._leave, self._key, self._journal, fault)

    def end(self) -> bytes:
        self.tell(None)
        return b""

    def fail(self, failure: Failure) -> bytes:
        # `spent`: a limit on the whole call, which a target may meet in good health
        if isinstance(failure, Abandoned) or failure.spent:
            self._circuit.nothing(self._leave)
        else:
            self.tell(failure.fault)
        return b""


def _model(call: Call) -> str | None:
    """The model that is asked for, where it can be told."""
    model = call.target.model
    payload: Payload | None = call.payload
    if model is None and payload is not None:
        try:
            model = payload.model
        except Unread:
            return None
    return model if model is not None and len(model) <= MODEL_CHARS else None


def _of(key: Key) -> dict[str, Any]:
    return {"upstream": key[0], "model": key[1]} if key[1] is not None else {"upstream": key[0]}


def _warn(spec: CircuitBreakerSpec, view: View) -> Iterable[Warned]:
    for i, fault in enumerate(spec.when):
        if fault in OF_THE_REQUEST:
            yield Warned(("when", i), f"'{fault.value}' is the request's own fault, and opens the breaker for all", "leave it out")
    if spec.max_open_for < spec.open_for and "max_open_for" in spec.model_fields_set:
        yield Warned(("max_open_for",), "is shorter than `open_for`, and does nothing")


KIND = Kind(
    "circuit_breaker",
    CircuitBreakerSpec,
    Floor.EXCHANGE,
    enforce=CircuitBreaker,
    shadow=None,
    reads_body=lambda spec: spec.per == "target",  # the model stands in it
    primes=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
    warn=_warn,
    waits=True,  # for the turn of a lone target
)
