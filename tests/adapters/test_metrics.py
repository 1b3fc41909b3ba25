"""What is counted, as Prometheus reads it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.adapters.metrics import Counter, LoopLag, Metrics
from proxy.core.journal import Entry
from proxy.core.virtual import VirtualLoop

Sample = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Metrics) -> Sample:
    """The page, read as Prometheus reads it."""
    page = metrics.text().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def test_calls_are_counted_by_endpoint_status_class_and_origin() -> None:
    metrics = Metrics()
    for status in (200, 201, 429):
        metrics.call_ended("chat", status, "upstream", 0.03, 0.7)
    metrics.call_ended("responses", None, "", None, 2.0)

    assert value(metrics, "chassis_calls_total", endpoint="chat", status_class="2xx", origin="upstream") == 2
    assert value(metrics, "chassis_calls_total", endpoint="chat", status_class="4xx", origin="upstream") == 1
    assert value(metrics, "chassis_calls_total", endpoint="responses", status_class="none", origin="none") == 1


def test_durations_have_buckets_for_head_and_whole() -> None:
    metrics = Metrics()
    metrics.call_ended("chat", 200, "upstream", 0.03, 0.7)
    metrics.call_ended("chat", 200, "upstream", 0.05, 1_000.0)

    name = "chassis_call_duration_seconds"
    assert value(metrics, name + "_bucket", until="head", le="0.025") == 0
    assert value(metrics, name + "_bucket", until="head", le="0.05") == 2
    assert value(metrics, name + "_bucket", until="whole", le="320.0") == 1
    assert value(metrics, name + "_bucket", until="whole", le="+Inf") == 2
    assert value(metrics, name + "_count", until="whole") == 2
    assert value(metrics, name + "_sum", until="whole") == pytest.approx(1_000.7)


def test_decisions_are_counted_by_policy_kind_and_mode() -> None:
    metrics = Metrics()
    metrics.decided([Entry(0, "rewrite", "small", True), Entry(0, "refuse", "no", shadow=True), Entry(0, "body_too_large", None)])

    assert value(metrics, "chassis_policy_decisions_total", policy="small", kind="rewrite", mode="enforce") == 1
    assert value(metrics, "chassis_policy_decisions_total", policy="no", kind="refuse", mode="shadow") == 1
    assert sum(v for (name, _), v in samples(metrics).items() if name == "chassis_policy_decisions_total") == 2


def test_label_values_are_bounded_and_nothing_is_lost() -> None:
    metrics = Metrics()
    for number in range(1_000):
        metrics.exchanges.add(f"upstream-{number}", "ok")

    found = {labels: v for (name, labels), v in samples(metrics).items() if name == "chassis_exchanges_total"}
    assert len(found) == 257
    assert sum(found.values()) == 1_000
    assert found[("outcome", "other"), ("upstream", "other")] == 744


def test_hostile_label_values_do_not_break_the_page() -> None:
    metrics = Metrics()
    metrics.layer_faults.add('a"\\\n}evil 1')

    assert value(metrics, "chassis_layer_faults_total", layer='a"\\\n}evil 1') == 1


def test_a_child_is_kept_and_wrong_labels_are_refused() -> None:
    counter = Counter("chassis_x_total", "x", ("a", "b"))
    assert counter.child("1", "2") is counter.child("1", "2")

    with pytest.raises(ValueError, match="chassis_x_total has the labels"):
        counter.child("1")


def test_gauges_and_read_counters_say_what_is_now() -> None:
    metrics = Metrics()
    metrics.connections.value += 3
    metrics.in_flight.read = lambda: 7.0
    metrics.log_dropped.read = lambda: 5.0
    metrics.loaded("abc123")
    metrics.loaded("def456")

    assert value(metrics, "chassis_open_connections") == 3
    assert value(metrics, "chassis_calls_in_flight") == 7
    assert value(metrics, "chassis_log_dropped_total") == 5
    assert value(metrics, "chassis_policies_generation") == 2
    assert value(metrics, "chassis_policies_info", revision="def456") == 1
    assert value(metrics, "chassis_policies_info", revision="abc123") is None


def test_every_first_metric_and_the_process_are_on_an_untouched_page() -> None:
    page = Metrics().text().decode()

    for name in (
        "chassis_calls_total",
        "chassis_call_duration_seconds",
        "chassis_exchanges_total",
        "chassis_policy_decisions_total",
        "chassis_layer_faults_total",
        "chassis_upstream_oddities_total",
        "chassis_unknown_conditions_total",
        "chassis_open_connections",
        "chassis_calls_in_flight",
        "chassis_tasks",
        "chassis_allocated_blocks",
        "chassis_policies_generation",
        "chassis_reload_failures_total",
        "chassis_log_dropped_total",
        "chassis_spans_lost_total",
        "chassis_event_loop_lag_seconds",
        "process_resident_memory_bytes",
    ):
        assert f"# TYPE {name} " in page


def test_two_registries_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.reload_failures.add()

    assert value(first, "chassis_reload_failures_total") == 1
    assert value(second, "chassis_reload_failures_total") == 0


def test_the_loops_lag_is_its_longest_delay_since_it_was_asked() -> None:
    loop = VirtualLoop()
    lag = LoopLag(loop)
    lag.start()
    loop.call_at(loop.time() + 0.7, lambda: setattr(loop._virtual, "skipped_s", loop._virtual.skipped_s + 1.2))
    loop.call_at(loop.time() + 4.0, loop.stop)
    loop.run_forever()
    lag.stop()
    loop.close()

    assert lag.worst_s() == pytest.approx(0.9)
    assert lag.worst_s() == 0


def test_policies_are_told_with_their_labels_for_joins() -> None:
    metrics = Metrics()
    metrics.loaded("r1", [("a", "enforce", {"team": "pay", "cost-center": 'x"y'}), ("b", "off", {})])

    assert value(metrics, "chassis_policy_info", policy="a", mode="enforce", label_team="pay", label_cost_center='x"y') == 1
    assert value(metrics, "chassis_policy_info", policy="b", mode="off") == 1
    metrics.loaded("r2", [("b", "enforce", {})])
    assert [labels for (name, labels) in samples(metrics) if name == "chassis_policy_info"] == [(("mode", "enforce"), ("policy", "b"))]


def test_two_labels_that_prometheus_cannot_tell_apart_are_one() -> None:
    metrics = Metrics()
    metrics.loaded("r1", [("a", "enforce", {"x-y": "first", "x.y": "second"})])

    assert value(metrics, "chassis_policy_info", policy="a", mode="enforce", label_x_y="first") == 1


def test_calls_are_counted_by_label_and_the_number_of_values_is_bounded() -> None:
    metrics = Metrics()
    metrics.labelled({"team": "pay", "tier": "2"}, 200)
    metrics.labelled({"team": "pay"}, 503)
    for number in range(400):
        metrics.labelled({"n": str(number)}, None)

    name = "chassis_label_calls_total"
    assert value(metrics, name, label="team", value="pay", status_class="2xx") == 1
    assert value(metrics, name, label="team", value="pay", status_class="5xx") == 1
    assert value(metrics, name, label="tier", value="2", status_class="2xx") == 1
    assert sum(each == name for each, _ in samples(metrics)) == 257
    assert value(metrics, name, label="other", value="other", status_class="other") == 147
