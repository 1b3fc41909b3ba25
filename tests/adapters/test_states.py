from __future__ import annotations

import pytest

from proxy.adapters.metrics import Metrics
from proxy.adapters.states import HELP, families
from proxy.policy.kind import Shown


def breaker(model: str, state: float, policy: str = "p") -> Shown:
    labels = {"policy": policy, "upstream": "groq", "model": model}
    return Shown("circuit_breaker", labels, {"state": "open"}, {"chassis_breaker_state": state})


def test_gauges_of_one_name_are_one_family_with_its_labels() -> None:
    limit = Shown("concurrency", {"policy": "p", "upstream": ""}, {}, {"chassis_concurrency_limit": 20})
    made = list(families([breaker("a", 2), limit, breaker("b", 0)]))

    assert [(each.name, each.type) for each in made] == [("chassis_breaker_state", "gauge"), ("chassis_concurrency_limit", "gauge")]
    assert [(sample.labels["model"], sample.value) for sample in made[0].samples] == [("a", 2), ("b", 0)]
    assert all(each.documentation == HELP[each.name] for each in made)


def test_one_series_is_told_once() -> None:
    (family,) = families([breaker("a", 2), breaker("a", 0)])

    assert [sample.value for sample in family.samples] == [2]


def test_nothing_to_tell_is_no_family() -> None:
    assert list(families([])) == []


def test_a_gauge_without_words_is_not_shown_at_all() -> None:
    with pytest.raises(KeyError):
        list(families([Shown("x", {}, {}, {"chassis_unheard_of": 1})]))


def test_metrics_ask_at_each_scrape() -> None:
    metrics = Metrics()
    metrics.states = lambda: [breaker('we"ird\n', 1)]

    assert b'chassis_breaker_state{model="we\\"ird\\n",policy="p",upstream="groq"} 1.0' in metrics.text()
