"""timeouts -- how long a call may take: each try, the silences of a stream, and all of it.

Two layers. Floor CALL, outside all that waits or tries again: `total`, one deadline for the whole call, bodies included. Floor EXCHANGE,
directly around `prime`: what limits one try, so that a try which is too slow is a Failure that retry and fallback see. `first_token` and
`per_try` are one limit around `inner`; what is still to come when the reply is returned is limited by a stage of its body.
Cost: 15 µs a call for both layers; nothing per chunk, as the shared reading has the time of the last content, but for `min_rate` (0.2 µs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from proxy.core.call import Call
from proxy.core.clock import Alarm, Clock
from proxy.core.faults import Failure, Fault
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.stage import Stage
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload, Unread
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.timeouts_spec import FIRST_TOKEN_S, PER_TRY_S, MinRateSpec, TimeoutsSpec, TriesSpec
from proxy.policy.units import duration_text
from proxy.policy.view import View, Warned

LATE_S = 0.005  # clocks that count whole milliseconds may ring an alarm this much before its time

Tell = Callable[[str, float, str], Failure]


class Total:
    """One deadline for all that is inside."""

    __slots__ = ("_clock", "_policy", "_total_s")

    def __init__(self, spec: TimeoutsSpec, site: Site) -> None:
        self._policy = site.policy
        self._clock = site.clock
        self._total_s = spec.total

    async def __call__(self, call: Call, inner: Service) -> Reply:
        clock = self._clock
        deadline = (call.request.received or clock.now()) + self._total_s
        if call.deadline is not None:
            deadline = min(deadline, call.deadline)
        try:
            with clock.limit(deadline):
                reply = await inner(call.derive(deadline=deadline))
        except TimeoutError:
            raise self._over(call.journal, call.target.upstream) from None
        body = reply.body
        if reply.tunnel is None and not (body.ended or body.closed):
            journal, upstream = call.journal, (reply.target or call.target).upstream
            body.attach(_Until(clock, deadline, lambda: self._over(journal, upstream)))
        return reply

    def _over(self, journal: Journal, upstream: str) -> Failure:
        _note(journal, self._policy, "total", self._total_s, upstream)
        failure = Failure(Fault.TIMEOUT, upstream, f"{upstream}: not all of the answer within {duration_text(self._total_s)} (total)")
        failure.spent = True  # an SDK that began again would have the time twice
        return failure


class Tries:
    """The limits of one exchange."""

    __slots__ = ("_clock", "_policy", "_spec")

    def __init__(self, spec: TriesSpec, site: Site) -> None:
        self._policy = site.policy
        self._clock = site.clock
        self._spec = spec

    async def __call__(self, call: Call, inner: Service) -> Reply:
        if call.limits is not None:
            return await inner(call)
        clock, spec = self._clock, self._spec
        begun = clock.now()
        asks_stream = _asks_stream(call)
        which, limit_s = self._limit(asks_stream)
        upstream, journal = call.target.upstream, call.journal

        def tell(which: str, after_s: float, what: str) -> Failure:
            _note(journal, self._policy, which, after_s, upstream)
            return Failure(Fault.TIMEOUT, upstream, f"{upstream}: {what} ({which})")

        by = call.answer_by
        if by is not None and begun + limit_s <= by:
            by = None  # this limit comes before the app's patience ends: nobody need look at that
        try:
            with clock.limit(begun + limit_s):
                reply = await inner(call.derive(connect_s=spec.connect, answer_by=by))
        except TimeoutError:
            what = "content" if asks_stream else "complete reply"
            raise tell(which, limit_s, f"no {what} within {duration_text(round(limit_s, 3))}") from None
        body = reply.body
        if body.ended or body.closed or reply.tunnel is not None:
            return reply
        reading = reply.reading
        if reading.is_stream if reading is not None else _is_stream(reply):
            self._watch(call, reply, tell)
        else:
            what = f"no complete reply within {duration_text(round(limit_s, 3))}"
            body.attach(_Until(clock, begun + limit_s, lambda: tell(which, limit_s, what)))
        return reply

    def _limit(self, asks_stream: bool) -> tuple[str, float]:
        """Which limit stands around this try, and its seconds."""
        spec = self._spec
        which, limit_s = "per_try", PER_TRY_S if spec.per_try is None else spec.per_try
        if asks_stream:
            first_s = FIRST_TOKEN_S if spec.first_token is None else spec.first_token
            if first_s <= limit_s:
                which, limit_s = "first_token", first_s
        return which, limit_s

    def _watch(self, call: Call, reply: Reply, tell: Tell) -> None:
        """Attaches what ends a stream that falls silent, or drips."""
        clock, spec, reading = self._clock, self._spec, reply.reading
        if reading is None:
            reply.body.attach(_IdleOfBytes(clock, spec.stream_idle, None, tell))
        elif reading.content_at is not None or not _runs_in_background(call):
            reply.body.attach(_Idle(clock, spec.stream_idle, reading, tell))
        if spec.min_rate is not None:
            reply.body.attach(_Rate(clock, spec.min_rate, tell))


class _Timed(Stage):
    """A stage with one alarm, which is cancelled at the source's end."""

    __slots__ = ("_alarm", "_clock")

    def __init__(self, clock: Clock, when: float) -> None:
        self._clock = clock
        self._alarm: Alarm | None = clock.at(when, self._ring)

    def _ring(self) -> None:
        """It is time."""

    def _again(self, when: float) -> None:
        self._alarm = self._clock.at(when, self._ring)

    def _cancel(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.cancel()

    def end(self) -> bytes:
        self._cancel()
        return b""

    def fail(self, failure: Failure) -> bytes:
        self._cancel()
        return b""


class _Until(_Timed):
    """Ends a body at a moment."""

    __slots__ = ("_why",)

    def __init__(self, clock: Clock, when: float, why: Callable[[], Failure]) -> None:
        super().__init__(clock, when)
        self._why = why

    def _ring(self) -> None:
        self.body.fail(self._why())


class _Idle(_Timed):
    """Ends a stream that has had no content for too long. It looks when its alarm rings, not at each chunk."""

    __slots__ = ("_idle_s", "_last", "_reading", "_tell")

    def __init__(self, clock: Clock, idle_s: float, reading: object, tell: Tell) -> None:
        self._last = clock.now()
        super().__init__(clock, self._last + idle_s)
        self._idle_s = idle_s
        self._reading = reading
        self._tell = tell

    def _heard(self, now: float) -> float:
        """When it last had content; now, while nothing can be told."""
        reading = self._reading
        if self.body.paused or getattr(reading, "blind", False):
            return now
        return max(self._last, self.body.resumed_at, getattr(reading, "content_at", None) or 0.0)

    def _ring(self) -> None:
        now = self._clock.now()
        due = self._heard(now) + self._idle_s
        if due > now + LATE_S:
            self._again(due)
            return
        self.body.fail(self._tell("stream_idle", self._idle_s, f"no content for {duration_text(self._idle_s)}"))


class _IdleOfBytes(_Idle):
    """The same for a stream that nobody reads: any byte counts."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        self._last = self._clock.now()
        return data


class _Rate(_Timed):
    """Ends a stream that drips. A window in which the app was slow to read is left out."""

    __slots__ = ("_begun", "_events", "_over_s", "_tell", "_wanted")

    def __init__(self, clock: Clock, spec: MinRateSpec, tell: Tell) -> None:
        self._begun = clock.now()
        super().__init__(clock, self._begun + spec.over)
        self._events = 0
        self._wanted = spec.events
        self._over_s = spec.over
        self._tell = tell

    def feed(self, data: bytes) -> bytes:
        self._events += data.count(b"\ndata:") + data.startswith(b"data:")
        return data

    def _ring(self) -> None:
        body = self.body
        if self._events < self._wanted and not body.paused and body.resumed_at <= self._begun:
            what = f"{self._events} events in {duration_text(self._over_s)}, fewer than {self._wanted}"
            body.fail(self._tell("min_rate", self._over_s, what))
            return
        self._events = 0
        self._begun = self._clock.now()
        self._again(self._begun + self._over_s)


def _note(journal: Journal, policy: str, which: str, after_s: float, upstream: str) -> None:
    journal.note("timeout", policy, acted=True, which=which, after_ms=round(after_s * 1000), upstream=upstream)


def _asks_stream(call: Call) -> bool:
    payload: Payload | None = call.payload
    try:
        return payload is not None and payload.stream is True
    except Unread:
        return False


def _runs_in_background(call: Call) -> bool:
    """Whether the answer may be queued for long: it can be fetched later, too."""
    payload: Payload | None = call.payload
    try:
        return call.endpoint == Endpoint.RESPONSES and payload is not None and payload.value("background") is True
    except Unread:
        return False


def _is_stream(reply: Reply) -> bool:
    return (reply.header(b"content-type") or b"").lstrip().lower().startswith(b"text/event-stream")


def _warn(spec: TimeoutsSpec, view: View) -> Iterable[Warned]:
    """A limit that another one always meets first."""
    yield from _over(spec, "first_token", "per_try", "total")
    yield from _over(spec, "per_try", "total")
    yield from _over(spec, "connect", "per_try", "total")
    yield from _over(spec, "stream_idle", "total")


def _over(spec: TimeoutsSpec, name: str, *shorter: str) -> Iterator[Warned]:
    value: float | None = getattr(spec, name)
    if value is None or name not in spec.model_fields_set:
        return
    for other in shorter:
        bound: float | None = getattr(spec, other)
        if bound is not None and other in spec.model_fields_set and bound < value:
            yield Warned((name,), f"`{name}` never ends anything: `{other}` is {duration_text(bound)}", "the shorter of the two acts")
            return


KIND = Kind(
    "timeouts",
    TimeoutsSpec,
    Floor.CALL,
    enforce=Total,
    shadow=None,
    reads_body=lambda spec: True,  # whether a stream was asked for
    primes=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
    warn=_warn,
)
EXCHANGE = KIND.at(Floor.EXCHANGE, Tries)
