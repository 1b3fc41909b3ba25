"""metrics -- what is counted, as Prometheus text: fixed names, fixed labels, bounded values. The registry that later parts count in.

The labels of policies are a team's own words: `chassis_policy_info` has each as `label_NAME`, to be joined by policy, and
`chassis_label_calls_total` counts calls by label and value, so that no other metric's labels depend on a policy file.

Counts are plain numbers of the event loop's thread, read by a collector at a scrape: a locked counter of the client library costs as much
as all of this. No path or key is ever a label, and a model only of a breaker; a value beyond the bound becomes `other`.
Cost: about 1 us a call for its count and both durations.
"""

from __future__ import annotations

import re
import sys
from asyncio import AbstractEventLoop, TimerHandle
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from proxy.core.journal import Entry
from proxy.policy.kind import Shown

if TYPE_CHECKING:  # prometheus_client takes a megabyte: it is loaded at the first scrape
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

PolicyInfo = tuple[str, str, Mapping[str, str]]  # name, mode, labels
POLICIES = 1_000  # told of in `chassis_policy_info`
_UNUSUAL = re.compile("[^A-Za-z0-9_]").sub
VALUES = 256  # label sets of one metric: a folder of a hundred policies fits; a hostile app cannot make more
OTHER = "other"
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)  # models answer in seconds
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class Cell:
    """One count."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, by: float = 1.0) -> None:
        """Counts."""
        self.value += by


class Counter:
    """A counter with fixed labels. `child` finds the cell of some values: keep it where they do not change."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = (), most: int = VALUES) -> None:
        self._name, self._help, self._labels, self._most = name, help, tuple(labels), most
        self._cells: dict[tuple[str, ...], Cell] = {} if labels else {(): Cell()}
        self.read: Callable[[], float] | None = None  # who counts it instead, for one without labels

    def child(self, *values: str) -> Cell:
        """The cell of these label values; beyond the bound, that of `other`."""
        cell = self._cells.get(values)
        return cell if cell is not None else self._new(values)

    def add(self, *values: str) -> None:
        """Counts one."""
        self.child(*values).value += 1.0

    def _new(self, values: tuple[str, ...]) -> Cell:
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}, got {values}")
        if len(self._cells) >= self._most:
            values = (OTHER,) * len(values)
        return self._cells.setdefault(values, Cell())

    def values(self) -> list[tuple[tuple[str, ...], float]]:
        """Each set of label values with its count."""
        return [(values, cell.value) for values, cell in self._cells.items()]

    def collect(self) -> Metric:
        """As a family of the client library."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, cell in list(self._cells.items()):
            family.add_metric(values, cell.value if self.read is None else self.read())
        return family


class Histogram:
    """Durations in seconds, in fixed buckets, with one label."""

    def __init__(self, name: str, help: str, label: str, values: Iterable[str], bounds: tuple[float, ...] = BOUNDS_S) -> None:
        self._name, self._help, self._label, self._bounds = name, help, label, bounds
        self._counts = {value: [0] * (len(bounds) + 1) for value in values}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, value: str, seconds: float) -> None:
        """Adds one duration; `value` is one of the label's."""
        self._counts[value][bisect_left(self._bounds, seconds)] += 1
        self._sums[value] += seconds

    def collect(self) -> Metric:
        """As a family of the client library."""
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(self._name, self._help, labels=(self._label,))
        for value, counts in self._counts.items():
            buckets, total = [], 0
            for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric((value,), buckets, self._sums[value])
        return family


class Gauge:
    """A number of now: set, or asked for at the scrape by `read`."""

    def __init__(self, name: str, help: str) -> None:
        self._name, self._help = name, help
        self.value = 0.0
        self.read: Callable[[], float] | None = None

    def collect(self) -> Metric:
        """As a family of the client library."""
        from prometheus_client.core import GaugeMetricFamily

        return GaugeMetricFamily(self._name, self._help, value=self.read() if self.read is not None else self.value)


Family = TypeVar("Family", Counter, Histogram, Gauge)


class Metrics:
    """All that this process counts. Later parts add their own."""

    def __init__(self) -> None:
        self._families: list[Counter | Histogram | Gauge] = []
        self._revision = ""
        self._policies: Sequence[PolicyInfo] = ()
        counter, gauge = self.counter, self.gauge
        self.calls = counter("chassis_calls_total", "Calls that ended.", "endpoint", "status_class", "origin")
        self.durations = self.add(
            Histogram("chassis_call_duration_seconds", "From the request's head to the reply's head or end.", "until", ("head", "whole"))
        )
        self.exchanges = counter("chassis_exchanges_total", "Exchanges with upstreams that ended.", "upstream", "outcome")
        self.decisions = counter("chassis_policy_decisions_total", "Decisions of policies.", "policy", "kind", "mode")
        self.label_calls = counter(
            "chassis_label_calls_total", "Calls on which a policy with this label acted.", "label", "value", "status_class"
        )
        self.breakers = counter("chassis_breaker_transitions_total", "Changes of a circuit breaker.", "policy", "upstream", "to")
        self.states: Callable[[], Iterable[Shown]] | None = None  # what layers tell of themselves
        self.layer_faults = counter("chassis_layer_faults_total", "Layers that broke and were passed over.", "layer")
        self.oddities = counter("chassis_upstream_oddities_total", "What an upstream does that the API does not.", "upstream", "what")
        self.unknown_conditions = counter("chassis_unknown_conditions_total", "Conditions that could not be told.", "why")
        self.reload_failures = counter("chassis_reload_failures_total", "Policies that were refused at a reload.")
        self.log_dropped = counter("chassis_log_dropped_total", "Log lines that found the queue full, or their reader gone.")
        self.spans_lost = counter("chassis_spans_lost_total", "Spans that no collector took.")
        self.connections = gauge("chassis_open_connections", "Client connections that are open.")
        self.in_flight = gauge("chassis_calls_in_flight", "Calls that have begun and not ended.")
        self.tasks = gauge("chassis_tasks", "Tasks of the event loop; without calls as many as after the start.")
        self.blocks = gauge("chassis_allocated_blocks", "Blocks of memory in which Python keeps small objects.")
        self.blocks.read = sys.getallocatedblocks
        self.generation = gauge("chassis_policies_generation", "How often policies were loaded.")
        self.loop_lag = gauge("chassis_event_loop_lag_seconds", "The longest that the event loop was late since the last scrape.")
        self._registry: CollectorRegistry | None = None

    def add(self, family: Family) -> Family:
        """Shows one more."""
        self._families.append(family)
        return family

    def counter(self, name: str, help: str, *labels: str) -> Counter:
        """A new counter; `name` ends in `_total`."""
        return self.add(Counter(name, help, labels))

    def gauge(self, name: str, help: str) -> Gauge:
        """A new gauge."""
        return self.add(Gauge(name, help))

    def loaded(self, revision: str, policies: Sequence[PolicyInfo] = ()) -> None:
        """New policies are in force."""
        self.generation.value += 1
        self._revision = revision
        self._policies = policies[:POLICIES]

    def call_ended(self, endpoint: str, status: int | None, origin: str, head_s: float | None, whole_s: float) -> None:
        """Counts a call. `endpoint` is one of the closed list; `status` and `head_s` are None where the app left before a reply."""
        self.calls.child(endpoint, class_of(status), origin or "none").value += 1.0
        if head_s is not None:
            self.durations.observe("head", head_s)
        self.durations.observe("whole", whole_s)

    def decided(self, entries: Sequence[Entry]) -> None:
        """Counts a call's journal, at its end."""
        for entry in entries:
            if entry.policy is not None:
                self.decisions.add(entry.policy, entry.kind, "shadow" if entry.shadow else "enforce")

    def labelled(self, labels: Mapping[str, str], status: int | None) -> None:
        """Counts a call by the labels of the policies that acted on it."""
        for label, value in labels.items():
            self.label_calls.add(label, value, class_of(status))

    def collect(self) -> Iterator[Metric]:
        """All families, for the registry."""
        from prometheus_client.core import InfoMetricFamily

        from proxy.adapters.states import families

        for family in self._families:
            yield family.collect()
        if self.states is not None:
            yield from families(self.states())
        if self._revision:
            yield InfoMetricFamily("chassis_policies", "What is loaded.", value={"revision": self._revision})
        if self._policies:
            yield _policy_info(self._policies)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest

        if self._registry is None:
            self._registry = registry = CollectorRegistry(auto_describe=False)
            registry.register(self)  # a Collector in all but its base
            ProcessCollector(registry=registry)
            GCCollector(registry=registry)
        return generate_latest(self._registry)


def class_of(status: int | None) -> str:
    """`2xx` and the like; `none` without a reply."""
    return CLASSES[status // 100] if status is not None and status < 600 else "none"


def _policy_info(policies: Iterable[PolicyInfo]) -> Metric:
    """One sample a policy, always 1. A label's name is made one that Prometheus takes."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily("chassis_policy_info", "Policies that are loaded, with their labels.")
    for name, mode, labels in policies:
        said: dict[str, str] = {"policy": name, "mode": mode}
        for label, value in labels.items():
            said.setdefault(f"label_{_UNUSUAL('_', label)}", value)
        family.add_sample("chassis_policy_info", said, 1.0)
    return family


class LoopLag:
    """How late the event loop is: a timer that looks at the clock. Two wake-ups a second."""

    EVERY_S = 0.5

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._worst_s = 0.0
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Ends with `stop`."""
        self._timer = self._loop.call_at(self._loop.time() + self.EVERY_S, self._look, self._loop.time() + self.EVERY_S)

    def stop(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def worst_s(self) -> float:
        """The longest delay since this was last asked: for `Metrics.loop_lag.read`."""
        worst, self._worst_s = self._worst_s, 0.0
        return worst

    def _look(self, due: float) -> None:
        self._worst_s = max(self._worst_s, self._loop.time() - due)
        self.start()
