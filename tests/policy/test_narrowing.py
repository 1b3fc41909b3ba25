"""What is left of a condition where the endpoint and the model are known: never another verdict than the whole one's."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.policy.match import All
from proxy.policy.narrowing import asks_model, of_endpoint, of_model
from tests.policy.test_facts import facts
from tests.policy.test_match import compiled

MATCHES: tuple[dict[str, Any], ...] = (
    {},
    {"endpoint": "chat"},
    {"endpoint": ["chat", "responses"], "model": "gpt-4*"},
    {"model": ["a", "b*"]},
    {"model": "a", "stream": True},
    {"endpoint": "chat", "model": "a", "messages": {"below": 3}, "stream": False},
    {"any": [{"model": "a"}, {"stream": True}]},
    {"not": {"model": "a"}},
    {"model": "a", "not": {"endpoint": "chat"}},
    {"all": [{"model": "a"}, {"endpoint": "responses"}]},
)
BODIES = tuple(
    {"messages": [{"role": "user", "content": "hi"}], **extra}
    for extra in ({}, {"model": "a"}, {"model": "bb", "stream": True}, {"model": "gpt-4o"}, {"model": 7}, {"model": ""})
)


@pytest.mark.parametrize("match", MATCHES, ids=json.dumps)
def test_what_is_left_says_what_the_whole_says(match: dict[str, Any]) -> None:
    whole = compiled(match)
    told = []
    for body, endpoint in product(BODIES, (Endpoint.CHAT, Endpoint.RESPONSES)):
        seen = facts(body, endpoint=endpoint)
        if whole.endpoints is not None and endpoint not in whole.endpoints:
            assert whole.test(seen) is False
            continue
        left = of_model(of_endpoint(whole, endpoint), seen.model or "")
        told.append((left.test(seen) if left is not None else False, whole.test(seen)))

    assert told
    assert all(of_left is of_whole for of_left, of_whole in told)


def test_one_condition_that_is_left_stands_for_itself() -> None:
    left = of_model(of_endpoint(compiled({"endpoint": "chat", "model": "a", "stream": True}), "chat"), "a")

    assert left is not None
    assert left.name == "stream"


def test_nothing_left_always_holds() -> None:
    left = of_model(of_endpoint(compiled({"endpoint": "chat", "model": "a"}), "chat"), "a")

    assert isinstance(left, All)
    assert left.children == ()
    assert left.test(facts({})) is True


def test_another_model_leaves_nothing_to_ask() -> None:
    assert of_model(compiled({"model": "a"}), "b") is None
    assert of_model(compiled({"model": "*"}), "") is None, "no model is no match"


@pytest.mark.parametrize(
    ("match", "asks"),
    [({"model": "a"}, True), ({"stream": True}, False), ({"any": [{"model": "a"}]}, False), ({}, False)],
)
def test_only_a_model_that_must_hold_is_asked_for(match: dict[str, Any], asks: bool) -> None:
    assert asks_model(compiled(match)) is asks
