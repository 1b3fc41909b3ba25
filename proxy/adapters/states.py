"""states -- what layers tell of themselves (`policy.kind.Shown`), as Prometheus families. Made at a scrape, of what is there then.

The one place where a model is a label: a breaker is of one, and a policy's breakers are bounded in number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from proxy.policy.kind import Shown

HELP = {
    "chassis_breaker_state": "Circuit breakers: 0 closed, 1 half-open, 2 open.",
    "chassis_concurrency_in_flight": "Calls of a policy, or exchanges with an upstream, that hold a slot.",
    "chassis_concurrency_limit": "So many may hold one.",
    "chassis_concurrency_queued": "So many wait for one.",
}


def families(states: Iterable[Shown]) -> Iterator[Metric]:
    """One family for each gauge, in the order of their names."""
    found: dict[str, GaugeMetricFamily] = {}
    seen: set[tuple[str, ...]] = set()
    for shown in states:
        for name, value in shown.gauges.items():
            sample = (name, *shown.labels.values())
            if sample in seen:  # a layer of an older generation that is still in use
                continue
            seen.add(sample)
            family = found.get(name)
            if family is None:
                family = found[name] = GaugeMetricFamily(name, HELP[name], labels=tuple(shown.labels))
            family.add_metric(tuple(shown.labels.values()), value)
    return iter([found[name] for name in sorted(found)])
