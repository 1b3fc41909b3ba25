"""A collector that is away is said once, not every five seconds."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from proxy.adapters.exporting import Watched

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
