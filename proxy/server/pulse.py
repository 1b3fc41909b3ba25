"""pulse -- what changes by the second, as the admin page shows it: counts of calls, exchanges and policies, and which policies are loaded.

Made when it is asked for, out of what is counted anyway. Cost: some 20 us.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.adapters.hits import Hits
from proxy.adapters.metrics import Metrics
from proxy.assembly.generation import Generation
from proxy.assembly.reload import Reload
from proxy.policy.kind import Shown


class PulseOf:
    """A view of the server. Counts are since the start of the process."""

    def __init__(
        self,
        metrics: Metrics,
        hits: Hits,
        generation: Callable[[], Generation | None],
        reload: Callable[[], Reload | None],
        state: Callable[[], str | None],
        wall_ns: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._hits = hits
        self._generation = generation
        self._reload = reload
        self._state = state
        self._wall_ns = wall_ns

    def __call__(self) -> dict[str, Any]:
        """As plain values."""
        metrics, generation, reload = self._metrics, self._generation(), self._reload()
        calls: dict[str, int] = {}
        for (_, status_class, _), count in metrics.calls.values():
            calls[status_class] = calls.get(status_class, 0) + int(count)
        exchanges: dict[str, dict[str, int]] = {}
        for (upstream, outcome), count in metrics.exchanges.values():
            exchanges.setdefault(upstream, {})[outcome] = int(count)
        return {
            "at_ms": self._wall_ns() // 1_000_000,
            "state": self._state() or "ready",
            "calls": calls,
            "exchanges": exchanges,
            "in_flight": _asked(metrics.in_flight.read),
            "connections": _asked(metrics.connections.read),
            "generation": generation.number if generation is not None else 0,
            "reload_failures": reload.failures if reload is not None else 0,
            "states": [{"kind": shown.kind, **shown.labels, **shown.what} for shown in _troubled(metrics)],
            "hits": {name: hit.to_json() for name, hit in self._hits.all().items()},
        }


def _troubled(metrics: Metrics) -> list[Shown]:
    """Breakers that are not closed, and limits that are full."""
    return [shown for shown in metrics.states() if shown.is_news] if metrics.states is not None else []


def _asked(read: Callable[[], float] | None) -> int:
    return int(read()) if read is not None else 0
