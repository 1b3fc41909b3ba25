from __future__ import annotations

import json
from typing import Any

from proxy.adapters.hits import Hits
from proxy.adapters.metrics import Metrics
from proxy.policy.kind import Shown
from proxy.server.pulse import PulseOf
from tests.adapters.records import a_record


class Played:
    """What a pulse asks of a generation, and of a reload."""

    number = 4
    failures = 2


def pulse_of(metrics: Metrics, hits: Hits, loaded: bool = True, state: str | None = None) -> dict[str, Any]:
    played: Any = Played() if loaded else None
    return PulseOf(metrics, hits, lambda: played, lambda: played, lambda: state, lambda: 1_700_000_000_123_456_789)()


def test_calls_are_told_by_class_over_all_endpoints() -> None:
    metrics = Metrics()
    metrics.call_ended("chat", 200, "upstream", 0.1, 0.2)
    metrics.call_ended("responses", 200, "upstream", 0.1, 0.2)
    metrics.call_ended("chat", 403, "static", 0.1, 0.2)
    metrics.call_ended("chat", None, "", None, 0.2)

    assert pulse_of(metrics, Hits())["calls"] == {"2xx": 2, "4xx": 1, "none": 1}


def test_exchanges_are_told_by_upstream_and_outcome() -> None:
    metrics = Metrics()
    for outcome in ("2xx", "2xx", "connect"):
        metrics.exchanges.add("groq", outcome)

    assert pulse_of(metrics, Hits())["exchanges"] == {"groq": {"2xx": 2, "connect": 1}}


def test_hits_and_what_is_loaded_are_told() -> None:
    hits = Hits()
    record = a_record()
    record.call.journal.matched = ("p",)
    hits.call_ended(record)
    pulse = pulse_of(Metrics(), hits)

    assert pulse["hits"]["p"]["matched"] == 1
    assert (pulse["generation"], pulse["reload_failures"], pulse["state"]) == (4, 2, "ready")
    assert pulse["at_ms"] == 1_700_000_000_123


def test_gauges_are_asked_and_may_be_missing() -> None:
    metrics = Metrics()
    before = pulse_of(metrics, Hits())
    metrics.in_flight.read = lambda: 3.0
    metrics.connections.read = lambda: 5.0
    after = pulse_of(metrics, Hits())

    assert (before["in_flight"], before["connections"]) == (0, 0)
    assert (after["in_flight"], after["connections"]) == (3, 5)


def test_before_anything_is_loaded_there_is_a_pulse() -> None:
    pulse = pulse_of(Metrics(), Hits(), loaded=False, state="starting")

    assert (pulse["generation"], pulse["reload_failures"], pulse["state"], pulse["calls"]) == (0, 0, "starting", {})
    json.dumps(pulse)


def test_what_an_operator_wants_to_see_at_once_is_told() -> None:
    metrics = Metrics()
    before = pulse_of(metrics, Hits())["states"]
    labels = {"policy": "p", "upstream": "groq", "model": "m"}
    metrics.states = lambda: [
        Shown("circuit_breaker", labels, {"state": "open"}, is_news=True),
        Shown("circuit_breaker", labels, {"state": "closed"}),
    ]

    assert before == []
    assert pulse_of(metrics, Hits())["states"] == [{"kind": "circuit_breaker", **labels, "state": "open"}]
