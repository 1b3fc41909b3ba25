"""A collector that is away is said once, not every five seconds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from proxy.adapters.exporting import Outlet, Watched

OK, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


class Played(SpanExporter):
    """Answers as its script says."""

    def __init__(self, *script: SpanExportResult | Exception) -> None:
        self._script = list(script)
        self.is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._script.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def shutdown(self) -> None:
        self.is_shut = True


def test_failures_are_said_when_they_begin_and_when_they_are_over(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(Played(OK, FAILURE, FAILURE, RuntimeError("x"), OK, OK), "http://u:sk-canary@collector:4318/v1/traces?k=sk-canary")
    spans = [ReadableSpan("a"), ReadableSpan("b")]

    with caplog.at_level(logging.INFO, "chassis"):
        results = [watched.export(spans) for _ in range(6)]

    assert results == [OK, FAILURE, FAILURE, FAILURE, OK, OK]
    assert [record.getMessage() for record in caplog.records] == [
        "traces: spans cannot be delivered to collector:4318/v1/traces (the collector did not take them); they are dropped, quietly,"
        " until it answers",
        "traces: collector:4318/v1/traces takes spans again; 6 were lost",
    ]
    assert watched.lost == 6


def test_shutdown_reaches_the_exporter() -> None:
    played = Played()
    Watched(played, "http://collector").shutdown()

    assert played.is_shut


class Stuck(SpanExporter):
    """Takes a batch and stays with it until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.may_go_on.wait(10)
        self.count += len(spans)
        return OK

    def shutdown(self) -> None:
        """Nothing to close."""


def a_span() -> ReadableSpan:
    context = SpanContext(1, 1, False, TraceFlags(1))
    return ReadableSpan("a", context, resource=Resource({}))


def test_spans_over_the_queue_are_dropped_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    outlet = Outlet(Watched(stuck, "http://collector"), queue_spans=600)
    with caplog.at_level(logging.INFO):
        for _ in range(5_000):
            outlet.emit(a_span())
    stuck.may_go_on.set()
    outlet.shutdown()

    assert outlet.lost == 5_000 - stuck.count
    assert 600 <= stuck.count <= 600 + 2 * 512
    assert [record.name for record in caplog.records] == ["chassis"]
    assert "what is over 600 is dropped" in caplog.text


def test_what_fits_the_queue_is_all_delivered() -> None:
    stuck = Stuck()
    stuck.may_go_on.set()
    outlet = Outlet(Watched(stuck, "http://collector"), queue_spans=2048)
    for _ in range(100):
        outlet.emit(a_span())
    outlet.shutdown()

    assert (stuck.count, outlet.lost) == (100, 0)
