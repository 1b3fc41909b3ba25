"""Policies compared as they are written: what was added, removed, changed, renamed or moved, and nothing else."""

from __future__ import annotations

import pytest

from proxy.assembly.diff_policies import Edit, PoliciesDiff, compare
from proxy.assembly.load import load_text
from proxy.openai.payload import MISSING


def diff(old: str, new: str, **env: str) -> PoliciesDiff:
    return compare(*(load_text(f"version: 1\n{text}", "p.yaml", env, no_secrets=True) for text in (old, new)))


def listed(found: PoliciesDiff) -> list[tuple[str, str, str]]:
    return [(thing.what, thing.name, thing.change) for thing in found.things]


def of(*names: str) -> str:
    """Policies that do each something of their own."""
    each = "{{name: {0}, match: {{model: {0}}}, apply: {{rewrite: {{model: to-{0}}}}}}}"
    return f"policies: [{', '.join(map(each.format, names))}]"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (of("a", "b"), of("a", "b")),
        (
            "policies: [{name: a, apply: {refuse: {}}}]",
            "policies:\n  # a comment\n  - name: a\n    mode: enforce\n    apply: {refuse: {status: 403}}",
        ),
        (
            "policies: [{name: a, match: {model: x}, apply: {refuse: {}}}]",
            "policies: [{name: a, match: {model: [x]}, apply: {refuse: {}}}]",
        ),
        ("policies: []", ""),
    ],
)
def test_what_means_the_same_is_no_difference(old: str, new: str) -> None:
    found = diff(old, new)

    assert not found
    assert (found.things, found.order) == ([], [])


def test_added_removed_and_changed_policies_are_told_with_their_fields_and_places() -> None:
    found = diff(of("a", "b"), of("b", "c").replace("to-b", "to-x"))

    assert listed(found) == [("policy", "b", "changed"), ("policy", "c", "added"), ("policy", "a", "removed")]
    assert found.things[0].edits == (Edit("apply.rewrite.model", "to-b", "to-x"),)
    assert found.things[0].where == "p.yaml:2:19"
    assert Edit("match.model", MISSING, ["c"]) in found.things[1].edits
    assert Edit("apply.rewrite.model", "to-a", MISSING) in found.things[2].edits
    assert found.order == []


def test_a_mode_a_label_and_a_condition_are_fields() -> None:
    base = "policies: [{name: a, match: {endpoint: chat}, apply: {refuse: {}}}]"
    found = diff(base, base.replace("match: {", "mode: shadow, labels: {team: x}, match: {stream: true, "))

    assert set(found.things[0].edits) == {
        Edit("mode", "enforce", "shadow"),
        Edit("labels.team", MISSING, "x"),
        Edit("match.stream", MISSING, True),
    }


def test_a_policy_without_conditions_differs_from_one_with() -> None:
    found = diff("policies: [{name: a, match: {stream: true}, apply: {refuse: {}}}]", "policies: [{name: a, apply: {refuse: {}}}]")

    assert found.things[0].edits == (Edit("match.stream", True, MISSING),)


def test_another_name_for_the_same_is_a_new_name() -> None:
    found = diff(of("a", "b"), of("a", "b").replace("name: b", "name: better"))

    assert listed(found) == [("policy", "better", "renamed")]
    assert found.things[0].note == "it was 'b'"


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ("abcd", "bcda", {"a": "now after 'd'"}),
        ("abcd", "dabc", {"d": "now first"}),
        ("abcd", "acbd", 1),
        ("abcdef", "fedcba", 5),
        ("abcd", "xabycd", {}),
        ("abcd", "ad", {}),
    ],
)
def test_the_fewest_moves_explain_a_new_order(before: str, after: str, moved: dict[str, str] | int) -> None:
    found = diff(of(*before), of(*after))
    moves = {thing.name: thing.note for thing in found.things if thing.change == "moved"}

    assert (len(moves) if isinstance(moved, int) else moves) == moved
    assert found.order == (list(after) if moves else [])


def test_a_signal_is_told_with_who_uses_it() -> None:
    text = (
        "signals: {legal: {keywords: {any_of: [contract]}}, outer: {any: [{signals: legal}, {stream: true}]}}\n"
        "policies: [{name: a, match: {not: {signals: outer}}, apply: {refuse: {}}}, {name: b, match: {stream: true}, apply: {refuse: {}}}]"
    )
    found = diff(text, text.replace("[contract]", "[contract, clause]"))

    assert listed(found) == [("signal", "legal", "changed")]
    assert found.things[0].note == "used by a"
    assert found.things[0].edits == (Edit("keywords.any_of", ["contract"], ["contract", "clause"]),)


def test_upstreams_home_and_limits_are_compared_and_secrets_not_shown() -> None:
    old = "upstreams: {a: {url: 'https://a/v1'}, b: {url: 'https://b/v1', key: sk-canary-1, headers: {set: {x-t: '${T}'}}}}"
    new = (
        "limits: {exchanges: 3}\n"
        "upstreams: {default: {url: 'https://c/v1'}, b: {url: 'https://b/v2', key: sk-canary-2, headers: {set: {x-t: '${U}'}}}}"
    )
    found = diff(old, new, T="x", U="y")
    edits = {thing.name: thing.edits for thing in found.things}

    assert listed(found) == [
        ("upstream", "default", "added"),
        ("upstream", "b", "changed"),
        ("upstream", "a", "removed"),
        ("home", "default", "changed"),
        ("limits", "limits", "changed"),
    ]
    assert set(edits["b"]) == {
        Edit("url", "https://b/v1", "https://b/v2"),
        Edit("key", "(not shown)", "(not shown)"),
        Edit("headers.set.x-t", "${T}", "${U}"),
    }
    assert "canary" not in repr(found)
