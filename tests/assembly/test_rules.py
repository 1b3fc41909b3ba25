from __future__ import annotations

from typing import Any

import pytest

from proxy.assembly.load import load_text
from proxy.assembly.rules import Part, Rule, Shadowed, chosen, of_endpoint
from proxy.assembly.stack import KINDS, ORDER
from proxy.openai.endpoints import Endpoint
from tests.assembly.engines import UPSTREAMS


def rules_of(*applied: str, match: str = "{}") -> tuple[Rule, ...]:
    listed = "".join(f"- {{name: p{i}, match: {match}, apply: {{{apply}}}}}\n" for i, apply in enumerate(applied))
    return load_text(f"version: 1\n{UPSTREAMS}\npolicies:\n{listed}", "p.yaml", {}).rules


def told(*applied: str) -> tuple[list[tuple[str, str, list[str]]], list[Shadowed]]:
    """(kind, policy, fields won) of each layer, outermost first; what is shadowed."""
    layers, shadowed = chosen(rules_of(*applied), lambda kind: ORDER[kind.name])
    return [(each.part.kind.name, each.rule.name, sorted(each.fields)) for each in layers], shadowed


def test_of_one_field_the_first_in_file_order_wins() -> None:
    layers, shadowed = told("rewrite: {model: a}", "rewrite: {model: b}", "rewrite: {model: c}")

    assert layers == [("rewrite", "p0", ["model"])]
    assert shadowed == [Shadowed("p1", "rewrite", ("model",), "p0"), Shadowed("p2", "rewrite", ("model",), "p0")]


def test_model_and_upstream_are_won_apart() -> None:
    layers, shadowed = told("rewrite: {model: a}", "rewrite: {model: b, upstream: groq}", "rewrite: {upstream: local}")

    assert layers == [("rewrite", "p0", ["model"]), ("rewrite", "p1", ["upstream"])]
    assert shadowed == [Shadowed("p1", "rewrite", ("model",), "p0"), Shadowed("p2", "rewrite", ("upstream",), "p1")]


def test_a_parameter_is_one_field_across_all_that_can_be_done_with_it() -> None:
    layers, shadowed = told(
        "params: {max: {a: 4}, defaults: {b: 1}}",
        "params: {overrides: {a: 1, c: 1}, remove: [b]}",
        "params: {remove: [c, d], defaults: {e: 1}}",
    )

    assert layers == [("params", "p0", ["a", "b"]), ("params", "p1", ["c"]), ("params", "p2", ["d", "e"])]
    assert shadowed == [Shadowed("p1", "params", ("a", "b"), "p0"), Shadowed("p2", "params", ("c",), "p1")]


def test_what_was_lost_is_told_by_who_won_it() -> None:
    _, shadowed = told("params: {overrides: {a: 1}}", "params: {overrides: {b: 1}}", "params: {overrides: {a: 2, b: 2, c: 2}}")

    assert shadowed == [Shadowed("p2", "params", ("a",), "p0"), Shadowed("p2", "params", ("b",), "p1")]


def test_a_kind_that_acts_once_has_one_winner_without_a_fields_name() -> None:
    layers, shadowed = told("refuse: {status: 400}", "refuse: {status: 401}")

    assert layers == [("refuse", "p0", [""])]
    assert shadowed == [Shadowed("p1", "refuse", (), "p0")]


def test_what_adds_up_acts_all_in_file_order() -> None:
    layers, shadowed = told("instruct: {append: a}", "instruct: {prepend: b}", "instruct: {append: c}")

    assert layers == [("instruct", name, []) for name in ("p0", "p1", "p2")]
    assert shadowed == []


def test_the_order_of_the_stack_is_not_that_of_the_file() -> None:
    layers, _ = told("instruct: {append: a}", "params: {overrides: {a: 1}}", "rewrite: {model: a}", "refuse: {}")

    assert [kind for kind, _, _ in layers] == ["refuse", "rewrite", "params", "instruct"]


def test_kinds_of_one_policy_are_won_apart() -> None:
    layers, shadowed = told("rewrite: {model: a}", "rewrite: {model: b}, params: {overrides: {a: 1}}")

    assert layers == [("rewrite", "p0", ["model"]), ("params", "p1", ["a"])]
    assert shadowed == [Shadowed("p1", "rewrite", ("model",), "p0")]


def test_only_what_matched_takes_part() -> None:
    rules = rules_of("rewrite: {model: a}", "rewrite: {model: b}")
    layers, shadowed = chosen(rules[1:], lambda kind: ORDER[kind.name])

    assert [(each.rule.name, sorted(each.fields)) for each in layers] == [("p1", ["model"])]
    assert shadowed == []


def test_the_digest_is_of_the_spec_alone() -> None:
    def part(name: str, **given: Any) -> Part:
        kind = KINDS[name]
        return Part.of(kind, kind.spec.read(given))

    assert part("rewrite", model="a").digest == part("rewrite", model="a").digest
    assert part("rewrite", model="a").digest != part("rewrite", model="b").digest
    assert part("instruct", append="a").digest != part("instruct", prepend="a").digest
    assert part("params", overrides={"a": 1}).digest != part("params", overrides={"a": True}).digest
    assert part("params", overrides={"a": 1}).digest != part("params", overrides={"a": 1.5}).digest


@pytest.mark.parametrize(
    ("match", "endpoints"),
    [
        ("{endpoint: chat}", {"chat"}),
        ("{endpoint: [chat, responses]}", {"chat", "responses"}),
        ("{any: [{endpoint: chat}, {endpoint: audio, stream: true}]}", {"chat", "audio"}),
        ("{any: [{endpoint: chat}, {stream: true}]}", {each.value for each in Endpoint}),
        ("{not: {endpoint: chat}}", {each.value for each in Endpoint} - {"chat"}),
        ("{not: {endpoint: chat, stream: true}}", {each.value for each in Endpoint}),
        ("{}", {each.value for each in Endpoint}),
    ],
)
def test_a_call_meets_only_the_rules_of_its_endpoint(match: str, endpoints: set[str]) -> None:
    rules = rules_of("refuse: {}", match=match)

    assert {each.value for each in Endpoint if of_endpoint(rules, each)} == endpoints


def test_a_rule_says_what_it_needs() -> None:
    refusing, speaking = rules_of("refuse: {}", match="{keywords: {any_of: [x]}}"), rules_of("instruct: {append: a}")

    assert (refusing[0].matches_body, refusing[0].reads_body) == (True, False)
    assert (speaking[0].matches_body, speaking[0].reads_body) == (False, True)
