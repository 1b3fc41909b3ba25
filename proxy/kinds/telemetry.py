"""telemetry -- measures each call and each exchange, and tells the recorders when they end. It decides nothing and changes no byte.

CallTelemetry: floor CALL, outermost, so that it sees static replies too; a call ends at the client's end. ExchangeTelemetry: floor
EXCHANGE, around the upstream adapter, so that each try, hedge and repair is one; an exchange ends at the source's end.
Both stand in a stack only while something records. Cost: a few microseconds each; nothing per chunk, unless replies are read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.core.clock import Clock
from proxy.core.faults import Abandoned, Failure, Fault, Refusal, classify
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome, Recorder, Trace
from proxy.core.reply import Reply
from proxy.core.request import NONE, Request
from proxy.core.service import Service
from proxy.core.stage import Stage
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.openai.reply_reading import Reading
from proxy.openai.unread import Unread
from proxy.openai.usage import ReplyReader

log = logging.getLogger("chassis")

READ_BYTES = 256 * 1024  # of a request: a prompt of 60,000 tokens; larger bodies are images, and reading them takes milliseconds
READ_TYPES = (b"application/json", b"text/event-stream")


class CallTelemetry:
    """One record a call. `begin` decides the call's place in a trace from the app's headers; None: there are no traces.

    `reads_model`: a copy of a JSON request that no policy reads is read for the model that it names, once all of it has passed.
    The record is put into the call that it is given, not into a copy, which costs as much as the rest of this layer; taken out at the end,
    it leaves no cycle.
    """

    __slots__ = ("_begin", "_clock", "_now", "_reads", "_tell")

    def __init__(
        self,
        recorders: Sequence[Recorder],
        clock: Clock,
        begin: Callable[[Headers], Trace] | None = None,
        reads_model: bool = False,
    ) -> None:
        self._tell = _Told(tuple(recorder.call_ended for recorder in recorders))
        self._reads = reads_model
        self._clock = clock
        self._now = clock.now
        self._begin = begin

    async def __call__(self, call: Call, inner: Service) -> Reply:
        request = call.request
        record = CallRecord(call, self._clock, request.received or self._now())
        if self._begin is not None:
            record.trace = self._begin(request.headers)
        if self._reads and request.framing is not NONE:
            body = request.body
            if not body.ended:
                if _is_json(request):
                    body.attach(_Asked(call))
            elif body.size <= READ_BYTES:
                record.unread = body.peek()  # a body that came with its head needs no stage
        call.trace = record
        try:
            reply = await inner(call)
        except BaseException as exc:
            _name_unread(record)
            _failed(record, exc)
            self._over(record)
            raise
        _name_unread(record)
        record.head = self._now()
        record.status = status = reply.status
        record.origin = reply.origin
        record.headers = reply.headers
        if reply.target is not None:
            record.target = reply.target
        if status >= 400 or reply.fault is not None:
            _judge(record, reply)
        reply.body.after(partial(self._closed, record))
        return reply

    def _closed(self, record: CallRecord, why: Failure | None) -> None:
        if why is not None:
            _broken(record, why)
        self._over(record)

    def _over(self, record: CallRecord) -> None:
        record.ended = self._now()
        record.call.trace = None
        self._tell(record)


class ExchangeTelemetry:
    """One record an exchange. `read_replies`: where the span is sampled, a copy of the reply is read for its model and usage."""

    __slots__ = ("_clock", "_now", "_reads", "_tell")

    def __init__(self, recorders: Sequence[Recorder], clock: Clock, read_replies: bool = False) -> None:
        self._tell = _Told(tuple(recorder.exchange_ended for recorder in recorders))
        self._clock = clock
        self._now = clock.now
        self._reads = read_replies

    async def __call__(self, call: Call, inner: Service) -> Reply:
        whole = call.trace
        known = isinstance(whole, CallRecord)
        # the outermost call, as `call` itself holds the record that will hold this one: a cycle
        record = ExchangeRecord(whole.call if known else call, self._clock, call.target, self._now())
        if known:
            whole.target = call.target
            whole.exchanges.append(record)
            _name_unread(whole)  # the exchange's span is named after it, and may end before the call's head is out
            if whole.trace is not None:
                record.trace = whole.trace.exchange()
        try:
            reply = await inner(call.derive(trace=record))
        except BaseException as exc:
            if isinstance(exc, Failure) and exc.fault is Fault.BREAKER_OPEN:  # nothing was sent
                if known:
                    whole.exchanges.remove(record)
                raise
            _failed(record, exc)
            self._over(record)
            raise
        record.head = self._now()
        record.status = reply.status
        if (fault := reply.fault or classify(reply)) is not None:
            record.fault = fault.value
        reply.body.attach(self._stage(record, reply))
        return reply

    def _stage(self, record: ExchangeRecord, reply: Reply) -> Stage:
        if not self._reads or record.trace is None or not record.trace.sampled:
            return _Source(record, self._over)
        kind = (reply.header(b"content-type") or b"").lower()
        record.streamed = kind.startswith(b"text/event-stream")
        if reply.reading is not None:
            return _SharedSource(record, self._over, reply.reading)
        if reply.status >= 300 or not kind.startswith(READ_TYPES):
            return _Source(record, self._over)
        return _ReadSource(record, self._over, reply.header(b"content-encoding"), self._now)

    def _over(self, record: ExchangeRecord) -> None:
        record.ended = self._now()
        self._tell(record)


class _Told:
    """Tells recorders, in order. One that breaks hurts neither the call nor the others, and is complained of once."""

    __slots__ = ("_complained", "_methods")

    def __init__(self, methods: tuple[Callable[..., None], ...]) -> None:
        self._methods = methods
        self._complained: set[object] = set()

    def __call__(self, record: object) -> None:
        for tell in self._methods:
            try:
                tell(record)
            except Exception:
                if tell not in self._complained:
                    self._complained.add(tell)
                    log.exception("telemetry: a recorder broke (%s); further breaks of it are not logged", tell.__qualname__)


class _Asked(Stage):
    """Reads a copy of a request for the model that it names, where nobody else has. Larger ones are left alone."""

    __slots__ = ("_call", "_left", "_parts")

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call  # until the body's end: it holds the body that holds this
        self._left = READ_BYTES
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left >= 0:
            self._parts.append(data)
        return data

    def end(self) -> bytes:
        call, self._call = self._call, None
        del self.body  # nobody closes a request body that has ended: this would be a cycle
        if call is not None and self._left >= 0:
            _name(call, b"".join(self._parts))
        self._parts.clear()
        return b""

    def fail(self, failure: Failure) -> bytes:
        self._call = None
        self._parts.clear()
        return b""


class _Source(Stage):
    """The source's end of an exchange. Costs nothing per chunk."""

    __slots__ = ("_over", "_record")

    def __init__(self, record: ExchangeRecord, over: Callable[[ExchangeRecord], None]) -> None:
        self._record = record
        self._over = over

    def end(self) -> bytes:
        self._over(self._record)
        return b""

    def fail(self, failure: Failure) -> bytes:
        _broken(self._record, failure)
        self._over(self._record)
        return b""


class _SharedSource(_Source):
    """Asks the parser that has read it already."""

    __slots__ = ("_reading",)

    def __init__(self, record: ExchangeRecord, over: Callable[[ExchangeRecord], None], reading: Reading) -> None:
        super().__init__(record, over)
        self._reading = reading

    def end(self) -> bytes:
        self._ask()
        return super().end()

    def fail(self, failure: Failure) -> bytes:
        self._ask()
        return super().fail(failure)

    def _ask(self) -> None:
        self._record.first_chunk = self._reading.began_at
        self._record.usage = self._reading.usage()


class _ReadSource(_Source):
    """Reads a copy of what passes."""

    __slots__ = ("_now", "_reader")

    def __init__(
        self,
        record: ExchangeRecord,
        over: Callable[[ExchangeRecord], None],
        encoding: bytes | None,
        now: Callable[[], float],
    ) -> None:
        super().__init__(record, over)
        self._now = now
        self._reader = ReplyReader(encoding)

    def feed(self, data: bytes) -> bytes:
        if self._record.first_chunk is None:
            self._record.first_chunk = self._now()
        self._reader.feed(data)
        return data

    def end(self) -> bytes:
        self._record.usage = self._reader.result()
        return super().end()

    def fail(self, failure: Failure) -> bytes:
        self._record.usage = self._reader.result()
        return super().fail(failure)


def _name_unread(record: CallRecord) -> None:
    data, record.unread = record.unread, None
    if data is not None:
        _name(record.call, data)


def _name(call: Call, data: bytes) -> None:
    """Notes the model that a request names, where nobody did."""
    if call.journal.model is None and _is_json(call.request):
        with suppress(Unread):
            call.journal.model = Payload(data, Endpoint(call.endpoint), call.request.header(b"content-encoding")).model


def _is_json(request: Request) -> bool:
    kind = request.header(b"content-type")
    return kind is not None and kind.lower().startswith(b"application/json")


def _judge(record: CallRecord, reply: Reply) -> None:
    """The fault of an error reply. One of our own is a refusal where nothing failed."""
    fault = reply.fault
    if reply.origin == "static":
        record.outcome = Outcome.FAILED if fault is not None else Outcome.REFUSED
    else:
        fault = fault or classify(reply)
    if fault is not None:
        record.fault = fault.value


def _failed(record: CallRecord | ExchangeRecord, exc: BaseException) -> None:
    """There is no reply: writes down why."""
    if isinstance(exc, Failure):
        _broken(record, exc)
    elif isinstance(exc, Refusal):
        record.outcome, record.status, record.detail = Outcome.REFUSED, exc.status, exc.message
    elif isinstance(exc, asyncio.CancelledError):
        record.outcome = Outcome.LEFT
    else:
        record.outcome, record.status, record.fault = Outcome.FAILED, 500, type(exc).__name__


def _broken(record: CallRecord | ExchangeRecord, failure: Failure) -> None:
    """There is no reply, or its body broke: writes down why."""
    if isinstance(failure, Abandoned):
        record.outcome = Outcome.LEFT
    else:
        record.outcome, record.fault, record.detail = Outcome.FAILED, failure.fault.value, failure.told
