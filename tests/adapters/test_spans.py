"""Records as spans: kinds, parents, times, attributes and events, and nothing secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from proxy.adapters import trace_context
from proxy.adapters.spans import Spans
from proxy.adapters.trace_context import TraceContext
from proxy.core.call import Target
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome
from tests.adapters.records import WALL_NS, a_call, a_record, an_exchange

PARENT = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@dataclass
class Read:
    """As `proxy.openai.usage.Usage`."""

    model: str | None = "gpt-4o-mini-2024-07-18"
    input_tokens: int | None = 7
    output_tokens: int | None = 2
    cached_tokens: int | None = None
    reasoning_tokens: int | None = 0
    finish_reasons: tuple[str, ...] = ("stop",)
    response_id: str | None = "chatcmpl-1"


def sampled(*headers: tuple[bytes, bytes]) -> TraceContext:
    return trace_context.begin(list(headers), lambda context: True)


def told(*records: CallRecord | ExchangeRecord) -> list[ReadableSpan]:
    spans: list[ReadableSpan] = []
    recorder = Spans(Resource({"service.name": "chassis"}), "1.2.3", spans.append)
    for record in records:
        recorder.call_ended(record) if isinstance(record, CallRecord) else recorder.exchange_ended(record)
    encode_spans(spans).SerializeToString()  # what cannot be encoded would cost a whole batch
    return spans


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_call_is_a_server_span_under_its_callers() -> None:
    trace = sampled(PARENT, (b"tracestate", b"vendor=1"))
    (span,) = told(a_record(trace=trace))

    assert (span.kind, span.name) == (SpanKind.SERVER, "POST /v1/chat/completions")
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.context.span_id) == (trace.trace_id, trace.span_id)
    assert (f"{span.parent.span_id:016x}", span.parent.is_remote) == ("00f067aa0ba902b7", True)
    assert span.context.trace_state.get("vendor") == "1"
    assert (span.start_time, span.end_time) == (WALL_NS, WALL_NS + 1_500_000_000)
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("chassis", "1.2.3")


def test_a_call_says_what_was_asked_and_what_came_of_it() -> None:
    call = a_call()
    call.journal.note("rewrite", "small", acted=True)

    assert attributes(told(a_record(call, sampled()))[0]) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "user_agent.original": "OpenAI/Python 2.0.0",
        "chassis.call": "c0ffee",
        "chassis.endpoint": "chat",
        "chassis.origin": "upstream",
        "chassis.outcome": "ok",
        "chassis.exchanges": 1,
        "chassis.head_ms": 500.0,
        "chassis.model.asked": "gpt-4o",
        "chassis.model.sent": "gpt-4o-mini",
        "chassis.policies": ["small"],
        "chassis.upstream": "openai",
    }


def test_journal_entries_are_events_with_their_fields_at_their_time() -> None:
    call = a_call()
    call.journal.note("rewrite", "small", acted=True, model="gpt-4o-mini", wait_s=0.5, tries=2, fields=["a", 1], none=None, more={"x": 1})
    call.journal.note("refuse", "later", shadow=True)
    call.journal.note("body_too_large")

    first, second, third = told(a_record(call, sampled()))[0].events

    assert (first.name, first.timestamp) == ("rewrite", WALL_NS + 250_000_000)
    assert dict(first.attributes or {}) == {
        "chassis.policy": "small",
        "chassis.mode": "enforce",
        "chassis.acted": True,
        "chassis.rewrite.model": "gpt-4o-mini",
        "chassis.rewrite.wait_s": 0.5,
        "chassis.rewrite.tries": 2,
        "chassis.rewrite.fields": ["a", "1"],
        "chassis.rewrite.more": "{'x': 1}",
    }
    assert dict(second.attributes or {}) == {"chassis.policy": "later", "chassis.mode": "shadow", "chassis.acted": False}
    assert dict(third.attributes or {}) == {"chassis.mode": "enforce", "chassis.acted": False}


def test_an_exchange_is_a_client_span_under_its_call_with_model_and_tokens() -> None:
    call = sampled()
    (span,) = told(an_exchange(call.exchange(), usage=Read(), streamed=True, first_chunk=100.6))

    assert (span.kind, span.name) == (SpanKind.CLIENT, "chat gpt-4o-mini")
    assert span.parent is not None
    assert (span.parent.span_id, span.parent.is_remote) == (call.span_id, False)
    assert (span.start_time, span.end_time) == (WALL_NS + 100_000_000, WALL_NS + 1_400_000_000)
    assert attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "server.address": "api.openai.com",
        "server.port": 443,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "chassis.call": "c0ffee",
        "chassis.outcome": "ok",
        "chassis.upstream": "openai",
    }


def test_without_a_known_model_the_operation_alone_names_the_span() -> None:
    (span,) = told(an_exchange(sampled().exchange(), target=Target("openai"), call=a_call(model=None, endpoint="files"), address=""))

    assert span.name == "files"
    assert "gen_ai.request.model" not in attributes(span)
    assert "server.address" not in attributes(span)


@pytest.mark.parametrize(
    ("changes", "is_error", "kind"),
    [
        ({"status": 404}, False, None),
        ({"status": 429, "fault": "rate_limited"}, False, None),
        ({"status": 503, "fault": "overloaded"}, True, "overloaded"),
        ({"status": 500}, True, "500"),
        ({"status": 403, "outcome": Outcome.REFUSED}, False, None),
        ({"status": 200, "outcome": Outcome.FAILED, "fault": "truncated", "detail": "openai: cut"}, True, "truncated"),
        ({"status": None, "outcome": Outcome.LEFT}, False, None),
    ],
)
def test_a_calls_status_is_the_servers_fault_only(changes: dict[str, Any], is_error: bool, kind: str | None) -> None:
    (span,) = told(a_record(trace=sampled(), **changes))

    assert (span.status.status_code is StatusCode.ERROR) is is_error
    assert attributes(span).get("error.type") == kind
    assert attributes(span).get("chassis.fault") == changes.get("fault")
    assert attributes(span).get("http.response.status_code") == changes["status"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"status": 404}, "404"),
        ({"status": 429, "fault": "rate_limited"}, "rate_limited"),
        ({"status": None, "outcome": Outcome.FAILED, "fault": "connect", "detail": "openai: refused"}, "connect"),
        ({"outcome": Outcome.LEFT}, None),
    ],
)
def test_an_exchanges_status_is_an_error_for_whatever_the_upstream_did_wrong(changes: dict[str, Any], kind: str | None) -> None:
    (span,) = told(an_exchange(sampled().exchange(), **changes))

    assert (span.status.status_code is StatusCode.ERROR) is (kind is not None)
    assert attributes(span).get("error.type") == kind
    assert (span.status.description or "") == changes.get("detail", "")


def test_what_is_not_sampled_or_has_no_trace_is_not_told() -> None:
    unsampled = trace_context.begin([], lambda context: False)

    assert told(a_record(trace=unsampled), an_exchange(unsampled.exchange()), a_record(), an_exchange()) == []


def test_hostile_text_is_bounded_and_can_be_encoded() -> None:
    call = a_call(model="\ud800" + "x" * 10_000)
    call.journal.note("instruct", "p", text="\udfff" * 1_000, many=["\ud800"])
    exchange = an_exchange(sampled().exchange(), target=Target("openai", "\ud800" * 999), usage=Read(model="\ud800"))
    server, client = told(a_record(call, sampled()), exchange)

    assert all(len(str(value)) <= 256 for span in (server, client) for value in attributes(span).values())
    assert [len(str(value)) <= 256 for value in (server.events[0].attributes or {}).values()] == [True] * 5


def test_a_call_of_ten_thousand_decisions_keeps_128_events() -> None:
    call = a_call()
    for _ in range(10_000):
        call.journal.note("retry")

    assert len(told(a_record(call, sampled()))[0].events) == 128


def test_no_span_holds_a_credential_or_a_query() -> None:
    spans = told(a_record(trace=sampled()), an_exchange(sampled().exchange(), usage=Read()))

    assert b"canary" not in encode_spans(spans).SerializeToString()


def test_labels_of_the_policies_that_acted_stand_on_the_call() -> None:
    call = a_call()
    call.journal.labels = (("small", (("team", "pay"), ("cost-center", "42"))), ("idle", (("tier", "2"),)))
    call.journal.note("rewrite", "small", acted=True, model="m")
    call.journal.note("params", "idle")
    (span,) = told(a_record(call, trace=sampled()))
    found = {name: value for name, value in attributes(span).items() if name.startswith("chassis.label.")}

    assert found == {"chassis.label.team": "pay", "chassis.label.cost-center": "42"}
