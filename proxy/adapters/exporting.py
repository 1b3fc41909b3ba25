"""exporting -- a span exporter that is watched: its failures are counted, said once when they begin and once when they are over.

Runs in the batch processor's thread. Imports the SDK, so `otel` imports this only where traces are on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("chassis")


class Watched(SpanExporter):
    """Around an exporter to `endpoint`. `lost` counts spans that could not be delivered."""

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint.partition("?")[0].rpartition("@")[2]
        self.lost = 0
        self.is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Never raises."""
        why = "the collector did not take them"
        try:
            result = self._inner.export(spans)
        except Exception as exc:
            result, why = SpanExportResult.FAILURE, type(exc).__name__
        failed = result is not SpanExportResult.SUCCESS
        if failed:
            self.lost += len(spans)
        if failed and not self.is_failing:
            log.warning("traces: spans cannot be delivered to %s (%s); they are dropped, quietly, until it answers", self._endpoint, why)
        elif self.is_failing and not failed:
            log.warning("traces: %s takes spans again; %d were lost", self._endpoint, self.lost)
        self.is_failing = failed
        return result

    def shutdown(self) -> None:
        """Stops a retry that is waiting."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Whether all is out."""
        return self._inner.force_flush(timeout_millis)
