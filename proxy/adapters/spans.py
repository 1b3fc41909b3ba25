"""spans -- finished records as OpenTelemetry spans: one SERVER span a call, one CLIENT span an exchange, journal entries as events.

Imports the SDK, so `otel` imports this only where traces are on. Spans are made whole, with the ids and times of their records, as a
`Tracer` would cost eight times as much (6 against 55 us) for what is decided already. Tokens stand on exchanges only.
Cost: about 20 us a call with one exchange, on the loop; encoding and sending are the exporter's, in its thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from proxy.adapters import semconv
from proxy.adapters.trace_context import TraceContext
from proxy.core.journal import Entry
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome

TEXT_CHARS = 256  # of one attribute: names and reasons, never content
EVENTS = 128  # of one span: the SDK's own default limit
_UNSET = Status(StatusCode.UNSET)
Attributes = dict[str, Any]


class Spans:
    """A `Recorder` that gives spans to `emit`."""

    __slots__ = ("_emit", "_resource", "_scope")

    def __init__(self, resource: Resource, version: str, emit: Callable[[ReadableSpan], None]) -> None:
        self._resource = resource
        self._scope = InstrumentationScope("chassis", version, semconv.SCHEMA_URL)
        self._emit = emit

    def call_ended(self, record: CallRecord) -> None:
        """One SERVER span."""
        trace = record.trace
        if not isinstance(trace, TraceContext) or not trace.sampled:
            return
        attributes = _call_attributes(record)
        error = record.outcome is Outcome.FAILED or (record.status or 0) >= 500
        status = _UNSET
        if error:
            attributes[semconv.ERROR_TYPE] = record.fault or str(record.status)
            status = Status(StatusCode.ERROR, _text(record.detail) or None)
        name = f"{attributes[semconv.HTTP_METHOD]} {attributes[semconv.HTTP_ROUTE]}"
        events = [_event(entry, record) for entry in record.call.journal.entries[:EVENTS]]
        self._emit(self._span(name, SpanKind.SERVER, trace, record, attributes, events, status))

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """One CLIENT span."""
        trace = record.trace
        if not isinstance(trace, TraceContext) or not trace.sampled:
            return
        attributes = _exchange_attributes(record)
        status = _UNSET
        if record.outcome is Outcome.FAILED or (record.status or 0) >= 400:
            attributes[semconv.ERROR_TYPE] = record.fault or str(record.status)
            status = Status(StatusCode.ERROR, _text(record.detail) or None)
        operation, model = attributes[semconv.OPERATION], attributes.get(semconv.REQUEST_MODEL)
        name = f"{operation} {model}" if model else operation
        self._emit(self._span(name, SpanKind.CLIENT, trace, record, attributes, [], status))

    def _span(
        self,
        name: str,
        kind: SpanKind,
        trace: TraceContext,
        record: CallRecord | ExchangeRecord,
        attributes: Attributes,
        events: list[Event],
        status: Status,
    ) -> ReadableSpan:
        flags = TraceFlags(trace.flags)
        state = TraceState.from_header([trace.state]) if trace.state else None
        parent = None
        if trace.parent_id is not None:
            parent = SpanContext(trace.trace_id, trace.parent_id, trace.is_remote, flags, state)
        return ReadableSpan(
            name,
            SpanContext(trace.trace_id, trace.span_id, False, flags, state),
            parent,
            self._resource,
            attributes,
            events,
            (),
            kind,
            None,
            status,
            record.clock.wall_of_ns(record.started),
            record.clock.wall_of_ns(record.ended),
            self._scope,
        )


def _call_attributes(record: CallRecord) -> Attributes:
    call = record.call
    request, journal = call.request, call.journal
    attributes: Attributes = {
        semconv.HTTP_METHOD: semconv.method(request.method),
        semconv.HTTP_ROUTE: semconv.route(request.target),
        semconv.URL_SCHEME: "http",
        semconv.PROTOCOL_VERSION: f"1.{request.minor}",
        semconv.CALL: call.id,
        semconv.ENDPOINT: str(call.endpoint),
        semconv.OUTCOME: record.outcome.value,
        semconv.EXCHANGES: call.allowance.spent,
    }
    if (agent := request.header(b"user-agent")) is not None:
        attributes[semconv.USER_AGENT] = _text(agent.decode("latin-1"))
    if record.status is not None:
        attributes[semconv.HTTP_STATUS] = record.status
    if record.origin:
        attributes[semconv.ORIGIN] = record.origin
    if record.head is not None:
        attributes[semconv.HEAD_MS] = round((record.head - record.started) * 1e3, 3)
    if record.fault is not None:
        attributes[semconv.FAULT] = record.fault
    if journal.model is not None:
        attributes[semconv.MODEL_ASKED] = _text(journal.model)
    if (policies := journal.acted()) if journal.entries else None:
        attributes[semconv.POLICIES] = policies
        for label, value in journal.labels_of_acted().items():
            attributes[semconv.LABEL + label] = value
    if (target := record.target) is not None:
        attributes[semconv.UPSTREAM] = target.upstream
        if (model := target.model or journal.model) is not None:
            attributes[semconv.MODEL_SENT] = _text(model)
    return attributes


def _exchange_attributes(record: ExchangeRecord) -> Attributes:
    call = record.call
    host, _, port = record.address.rpartition(":")
    attributes: Attributes = {
        semconv.OPERATION: semconv.operation(str(call.endpoint)),
        semconv.PROVIDER: semconv.provider(host),
        semconv.UPSTREAM: record.target.upstream,
        semconv.CALL: call.id,
        semconv.OUTCOME: record.outcome.value,
        semconv.HTTP_METHOD: semconv.method(call.request.method),
    }
    if host:
        attributes[semconv.SERVER_ADDRESS] = host.strip("[]")
        if port.isdecimal():
            attributes[semconv.SERVER_PORT] = int(port)
    if (model := record.target.model or call.journal.model) is not None:
        attributes[semconv.REQUEST_MODEL] = _text(model)
    if record.streamed:
        attributes[semconv.REQUEST_STREAM] = True
    if record.status is not None:
        attributes[semconv.HTTP_STATUS] = record.status
    if record.fault is not None:
        attributes[semconv.FAULT] = record.fault
    if record.streamed and record.first_chunk is not None:
        attributes[semconv.FIRST_CHUNK_S] = round(record.first_chunk - record.started, 6)
    if record.usage is not None:
        _add_usage(attributes, record.usage)
    return attributes


def _add_usage(attributes: Attributes, usage: Any) -> None:
    for name, value in (
        (semconv.RESPONSE_MODEL, usage.model),
        (semconv.RESPONSE_ID, usage.response_id),
        (semconv.INPUT_TOKENS, usage.input_tokens),
        (semconv.OUTPUT_TOKENS, usage.output_tokens),
        (semconv.CACHED_TOKENS, usage.cached_tokens),
        (semconv.REASONING_TOKENS, usage.reasoning_tokens),
    ):
        if value is not None:
            attributes[name] = _plain(value)
    if usage.finish_reasons:
        attributes[semconv.FINISH_REASONS] = [_text(str(reason)) for reason in usage.finish_reasons]


def _event(entry: Entry, record: CallRecord) -> Event:
    attributes: Attributes = {semconv.MODE: "shadow" if entry.shadow else "enforce", semconv.ACTED: entry.acted}
    if entry.policy is not None:
        attributes[semconv.POLICY] = entry.policy
    for name, value in entry.what.items():
        if value is not None:
            attributes[f"chassis.{entry.kind}.{name}"] = _plain(value)
    return Event(entry.kind, attributes, record.clock.wall_of_ns(entry.at))


def _plain(value: object) -> object:
    """A value as OTLP can carry it: numbers and booleans as they are, lists as lists of text, all else as text."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_text(str(item)) for item in value]
    return _text(str(value))


def _text(text: str) -> str:
    """Bounded, and free of what UTF-8 cannot say: a lone surrogate of a hostile body would break the export of a whole batch."""
    if len(text) > TEXT_CHARS:
        text = text[: TEXT_CHARS - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
