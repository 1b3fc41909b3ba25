from __future__ import annotations

import pytest

from proxy.adapters.metrics import Metrics
from proxy.core.body import Body
from proxy.core.call import Allowance, Call, Target
from proxy.core.clock import LoopClock
from proxy.core.journal import Journal
from proxy.core.ports import CallRecord, ExchangeRecord
from proxy.core.request import Framing, Request
from proxy.openai.endpoints import Endpoint
from proxy.server.recording import MetricsRecorder


def a_call() -> Call:
    request = Request(b"POST", b"/v1/chat/completions", 1, [], Framing.NONE, 0, Body.of(b""))
    return Call("1", Endpoint.CHAT, request, Target("home"), Journal(lambda: 0.0), Allowance())


class Clock(LoopClock):
    """No clock is asked for the time of a record that has ended."""

    def __init__(self) -> None:
        """Nothing to keep."""


def recorded(call: Call, **more: object) -> str:
    """The metrics after one call."""
    metrics = Metrics()
    record = CallRecord(call, Clock(), 10.0, head=10.25, ended=12.0, status=200, origin="upstream")
    for name, value in more.items():
        setattr(record, name, value)
    MetricsRecorder(metrics).call_ended(record)
    return metrics.text().decode()


def test_a_call_is_counted_with_its_class_and_its_times() -> None:
    text = recorded(a_call())

    assert 'chassis_calls_total{endpoint="chat",origin="upstream",status_class="2xx"} 1.0' in text
    assert 'chassis_call_duration_seconds_sum{until="head"} 0.25' in text
    assert 'chassis_call_duration_seconds_sum{until="whole"} 2.0' in text


def test_a_call_whose_app_left_before_a_reply_has_no_time_to_its_head() -> None:
    text = recorded(a_call(), head=None, status=None, origin="")

    assert 'chassis_calls_total{endpoint="chat",origin="none",status_class="none"} 1.0' in text
    assert 'chassis_call_duration_seconds_count{until="head"} 0.0' in text
    assert 'chassis_call_duration_seconds_count{until="whole"} 1.0' in text


def test_decisions_are_counted_by_policy_kind_and_mode() -> None:
    call = a_call()
    call.journal.note("rewrite", "small", acted=True, model="a")
    call.journal.note("instruct", "plain", shadow=True)
    call.journal.note("body_too_large", why="over 64 MiB")
    text = recorded(call)

    assert 'chassis_policy_decisions_total{kind="rewrite",mode="enforce",policy="small"} 1.0' in text
    assert 'chassis_policy_decisions_total{kind="instruct",mode="shadow",policy="plain"} 1.0' in text
    assert 'kind="body_too_large"' not in text


@pytest.mark.parametrize(
    ("why", "word"),
    [
        (["not JSON: unexpected byte at 7"], "not JSON"),
        (["the key 'model' stands twice"], "the key"),
        (["x" * 400], "x" * 40),
        ([], "unknown"),
        (None, "unknown"),
    ],
)
def test_a_condition_that_could_not_be_told_is_counted_under_a_bounded_word(why: object, word: str) -> None:
    call = a_call()
    call.journal.note("unknown", why=why)

    assert f'chassis_unknown_conditions_total{{why="{word}"}} 1.0' in recorded(call)


def test_what_is_odd_of_an_upstream_is_counted_for_it() -> None:
    call = a_call()
    call.journal.note("oddity", upstream="groq", what="no_done")
    call.journal.note("oddity", upstream="groq", what="no_usage")
    text = recorded(call)

    assert 'chassis_upstream_oddities_total{upstream="groq",what="no_done"} 1.0' in text
    assert 'chassis_upstream_oddities_total{upstream="groq",what="no_usage"} 1.0' in text


def test_an_exchange_is_left_to_the_adapter_that_counts_it() -> None:
    metrics = Metrics()
    before = metrics.exchanges.collect().samples
    MetricsRecorder(metrics).exchange_ended(ExchangeRecord(a_call(), Clock(), Target("home"), 0.0))

    assert metrics.exchanges.collect().samples == before == []


def test_a_call_is_counted_by_the_labels_of_what_acted() -> None:
    call = a_call()
    call.journal.labels = (("p", (("team", "pay"),)), ("q", (("team", "ops"),)))
    call.journal.note("rewrite", "p", acted=True)
    text = recorded(call)

    assert 'chassis_label_calls_total{label="team",status_class="2xx",value="pay"} 1.0' in text
    assert 'value="ops"' not in text


def test_changes_of_a_breaker_are_counted_and_what_it_refuses_is_not_one() -> None:
    call = a_call()
    call.journal.note("breaker", "p", to="open", why="timeout", upstream="groq", model="m")
    call.journal.note("breaker", "p", acted=True, refused=True, upstream="groq", model="m")
    text = recorded(call)

    assert 'chassis_breaker_transitions_total{policy="p",to="open",upstream="groq"} 1.0' in text
    assert text.count("chassis_breaker_transitions_total{") == 1
