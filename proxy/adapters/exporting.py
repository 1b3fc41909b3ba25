"""exporting -- how spans leave: through a bounded queue to an exporter that is watched. What is lost is counted, and said once.

The exporter runs in the batch processor's thread. Imports the SDK, so `otel` imports this only where traces are on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

log = logging.getLogger("chassis")


class Watched(SpanExporter):
    """Around an exporter to `endpoint`. `taken` counts the spans that came here, `lost` those that could not be delivered."""

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint.partition("?")[0].rpartition("@")[2]
        self.taken = 0
        self.lost = 0
        self.is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Never raises."""
        self.taken += len(spans)
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


class Outlet:
    """Where spans leave the loop: a batch processor with its exporter, or nowhere while its queue is full.

    The processor would warn of each span that it drops, which costs more than the span did.
    """

    def __init__(self, exporter: Watched, queue_spans: int) -> None:
        self._processor = BatchSpanProcessor(exporter, max_queue_size=queue_spans)
        self._exporter = exporter
        self._most = queue_spans
        self._given = 0
        self.dropped = 0

    @property
    def lost(self) -> int:
        """Spans that no collector took."""
        return self.dropped + self._exporter.lost

    def emit(self, span: ReadableSpan) -> None:
        """Queues a span."""
        if self._given - self._exporter.taken >= self._most:
            if not self.dropped:
                log.warning("traces: calls end faster than their spans can be sent; what is over %d is dropped, quietly", self._most)
            self.dropped += 1
            return
        self._given += 1
        self._processor.on_end(span)

    def shutdown(self) -> None:
        """Sends what is left. Blocks, for up to 30 s where the collector does not answer."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]
