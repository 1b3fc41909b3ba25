from __future__ import annotations

import pytest

from proxy.policy.document import load_texts
from proxy.policy.logic import Logic
from proxy.policy.view import View
from tests.policy.kinds_for_tests import KINDS, RewriteSpec


def view(policies: str, name: str, more: str = "") -> View:
    """What the kind `rewrite` sees of the policy `name`."""
    loaded = load_texts([("p.yaml", f"version: 1\n{more}policies:\n{policies}")], KINDS, {})
    (mine,) = [each for each in loaded.policies if each.name == name]
    in_force = [each for each in loaded.policies if each.mode == "enforce"]
    logic = Logic({each.name: each.match for each in loaded.signals.values()})
    return View(mine, "rewrite", in_force, logic, loaded.upstreams, loaded.home)


def sets_model(spec: RewriteSpec) -> bool:
    return spec.model is not None


def test_a_policy_knows_what_it_is_for() -> None:
    got = view("- {name: p, match: {endpoint: [chat, files], model: [a, b], not: {model: b}}, apply: {rewrite: {model: m}}}\n", "p")

    assert got.endpoints == {"chat", "files"}
    assert got.models == ("a",)
    assert (got.mode, got.home, got.upstreams) == ("enforce", None, {})


@pytest.mark.parametrize(
    ("match", "more", "says"),
    [
        ("{endpoint: files}", "", ["does nothing on files, and the policy is for nothing else"]),
        ("{endpoint: [chat, files]}", "", ["does nothing on files, which the policy names"]),
        ("{endpoint: [chat, files]}", ", retry: {}", []),
        ("{endpoint: files}", ", retry: {}", ["does nothing on files, and the policy is for nothing else"]),
        ("{not: {endpoint: [chat, responses]}}", "", ["audio, batches, "]),
        ("{endpoint: chat}", "", []),
        ("{}", "", []),
    ],
)
def test_where_a_kind_is_idle_is_told(match: str, more: str, says: list[str]) -> None:
    got = list(
        view(f"- {{name: p, match: {match}, apply: {{rewrite: {{model: m}}{more}}}}}\n", "p").idle(
            ("chat", "responses"), "`it`", ("model",)
        )
    )

    assert [say in each.message for say, each in zip(says, got, strict=True)] == [True] * len(says)
    assert all((each.path, each.hint) == (("model",), "it acts on chat, responses") for each in got)


FIRST = "- {name: first, match: {model: a}, apply: {rewrite: {model: x}}}\n"


@pytest.mark.parametrize(
    ("second", "rivals"),
    [
        ("match: {stream: true}", ["first"]),
        ("match: {model: a}", []),  # covered: told otherwise
        ("match: {}", []),  # the rule after its exception
        ("match: {model: b}", []),
        ("match: {path: /x}", []),
        ("mode: shadow, match: {stream: true}", []),
    ],
)
def test_rivals_are_those_before_that_surely_match_some_of_the_same_calls(second: str, rivals: list[str]) -> None:
    got = view(f"{FIRST}- {{name: second, {second}, apply: {{rewrite: {{model: y}}}}}}\n", "second")

    assert [(each.name, each.where) for each in got.sure_rivals(sets_model)] == [(name, "p.yaml:3:10") for name in rivals]
    assert list(got.sure_rivals(lambda spec: False)) == []


@pytest.mark.parametrize(
    ("later", "may"),
    [("match: {stream: true}", True), ("match: {model: b}", False), ("match: {path: /x}", True), ("mode: off", False)],
)
def test_whether_a_policy_keeps_off_a_later_one(later: str, may: bool) -> None:
    got = view(f"{FIRST}- {{name: second, {later}, apply: {{rewrite: {{model: y}}}}}}\n", "first")

    def never(spec: RewriteSpec) -> bool:
        return spec.upstream is not None

    assert got.may_shadow_later(sets_model) is may
    assert not got.may_shadow_later(never)
