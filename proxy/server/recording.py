"""recording -- ended calls, as counts. A `Recorder` beside the log and the traces; it is always there, as /metrics is.

Cost: about 2 us a call.
"""

from __future__ import annotations

from proxy.adapters.metrics import Metrics
from proxy.core.ports import CallRecord, ExchangeRecord


class MetricsRecorder:
    """Counts calls, their durations, and what policies decided."""

    __slots__ = ("_metrics",)

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def call_ended(self, record: CallRecord) -> None:
        """Counts one."""
        metrics, call = self._metrics, record.call
        head_s = record.head - record.started if record.head is not None else None
        metrics.call_ended(call.endpoint, record.status, record.origin, head_s, record.ended - record.started)
        entries = call.journal.entries
        if entries:
            metrics.decided(entries)
            if call.journal.labels:
                metrics.labelled(call.journal.labels_of_acted(), record.status)
            for entry in entries:
                if entry.kind == "unknown":
                    metrics.unknown_conditions.add(_reason(entry.what.get("why")))
                elif entry.kind == "breaker" and "to" in entry.what:
                    metrics.breakers.add(str(entry.policy), str(entry.what.get("upstream")), str(entry.what["to"]))
                elif entry.kind == "oddity":
                    metrics.oddities.add(str(entry.what.get("upstream")), str(entry.what.get("what")))

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """Nothing: the upstream adapter counts exchanges, as they are counted without telemetry too."""


def _reason(why: object) -> str:
    """A bounded word for why a condition was unknown: the text up to its first colon, without names."""
    first = why[0] if isinstance(why, list) and why else ""
    return str(first).partition(":")[0].partition("'")[0].strip()[:40] or "unknown"
