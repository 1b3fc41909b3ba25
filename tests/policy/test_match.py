"""Combinators: three-valued logic, signals, sharing, what is needed, and for which endpoints."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.endpoints import Endpoint
from proxy.policy.conditions import Condition, Explained
from proxy.policy.facts import Facts, TakesLong
from proxy.policy.match import All, AnyOf, Compiler, Not
from proxy.policy.match_spec import MatchSpec
from proxy.policy.shape import unfold
from tests.policy.test_facts import Counter, facts, user


class Fixed:
    """A condition whose verdict is given; it counts how often it is asked."""

    name = "fixed"
    needs = frozenset(("head",))
    endpoints = None

    def __init__(self, verdict: bool | None, cost: int = 0) -> None:
        self.verdict = verdict
        self.cost = cost
        self.asked = 0

    def test(self, facts: Facts) -> bool | None:
        self.asked += 1
        return self.verdict

    def explain(self, facts: Facts) -> Explained:
        return Explained("fixed", "", "", self.verdict)


NOTHING = facts()
VERDICTS = (True, False, None)


def spec(match: dict[str, Any]) -> MatchSpec:
    return MatchSpec.read(unfold(MatchSpec, match)[0])


def compiled(match: dict[str, Any], signals: dict[str, dict[str, Any]] | None = None) -> Condition:
    return Compiler({name: spec(each) for name, each in (signals or {}).items()}).condition(spec(match))


@pytest.mark.parametrize("three", list(product(VERDICTS, repeat=3)))
def test_all_and_any_over_three_values(three: tuple[bool | None, ...]) -> None:
    children = tuple(map(Fixed, three))
    all_of = False if False in three else None if None in three else True
    any_of = True if True in three else None if None in three else False

    assert All("all", children).test(NOTHING) is all_of
    assert AnyOf("any", children).test(NOTHING) is any_of


@pytest.mark.parametrize(("inner", "outer"), [(True, False), (False, True), (None, None)])
def test_not_keeps_what_is_unknown_unknown(inner: bool | None, outer: bool | None) -> None:
    assert Not(Fixed(inner), None).test(NOTHING) is outer


def test_nothing_to_hold_always_holds() -> None:
    assert All("match", ()).test(NOTHING) is True
    assert All("match", ()).explain(NOTHING).expected == "always"


def test_the_cheap_one_is_asked_first_and_may_spare_the_dear_one() -> None:
    dear, cheap = Fixed(True, cost=20), Fixed(False, cost=1)

    assert All("all", (dear, cheap)).test(NOTHING) is False
    assert (dear.asked, cheap.asked) == (0, 1)

    yes = Fixed(True, cost=1)
    assert AnyOf("any", (dear, yes)).test(NOTHING) is True
    assert dear.asked == 0


def test_an_explanation_skips_nothing_and_keeps_the_order_of_the_file() -> None:
    told = All("all", (Fixed(True, cost=20), Fixed(False, cost=1))).explain(NOTHING)

    assert [child.verdict for child in told.children] == [True, False]
    assert (told.verdict, told.seen) == (False, "1 of 2")


Tree = Any
leaves = st.sampled_from(VERDICTS).map(lambda verdict: ("is", verdict))
trees = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, max_size=4)) | st.tuples(st.just("not"), inner),
    max_leaves=8,
)


def build(tree: Tree) -> Condition:
    kind, inner = tree
    if kind == "is":
        return Fixed(inner)
    if kind == "not":
        return Not(build(inner), None)
    return (All if kind == "all" else AnyOf)(kind, tuple(map(build, inner)))


def possible(tree: Tree) -> set[bool]:
    """Every verdict that the tree may have when each unknown leaf turns out one way or the other."""
    kind, inner = tree
    if kind == "is":
        return {True, False} if inner is None else {inner}
    if kind == "not":
        return {not each for each in possible(inner)}
    combine = all if kind == "all" else any
    return {combine(each) for each in product(*(possible(child) for child in inner))}


@given(trees)
def test_a_verdict_holds_whatever_the_unknown_turns_out_to_be(tree: Tree) -> None:
    verdict = build(tree).test(NOTHING)

    assert verdict is None or possible(tree) == {verdict}
    if "None" not in repr(tree):
        assert verdict is not None


@given(trees, st.randoms())
def test_the_order_of_conditions_does_not_change_the_verdict(tree: Tree, draw: Any) -> None:
    def shuffled(each: Tree) -> Tree:
        kind, inner = each
        if kind in ("all", "any"):
            inner = [shuffled(child) for child in inner]
            draw.shuffle(inner)
        return kind, inner

    assert build(shuffled(tree)).test(NOTHING) is build(tree).test(NOTHING)


@pytest.mark.parametrize(
    ("match", "body", "expected"),
    [
        ({"signals": "legal"}, "a contract", True),
        ({"signals": "legal"}, "a poem", False),
        ({"signals": ["legal", "poetic"]}, "a poem", True),
        ({"signals": ["legal", "poetic"]}, "a cat", False),
        ({"not": {"signals": ["legal", "poetic"]}}, "a cat", True),
        ({"signals": "both"}, "a poem on a contract", True),
        ({"signals": "both"}, "a poem", False),
        ({"all": [{"signals": "legal"}, {"signals": "poetic"}]}, "contract poem", True),
        ({"any": [{"model": "x"}, {"not": {"signals": "legal"}}]}, "poem", True),
        ({"any": [{"model": "x"}, {"not": {"signals": "legal"}}]}, "contract", False),
        ({"endpoint": "chat", "not": {"endpoint": "chat"}}, "poem", False),
        ({"not": {}}, "poem", False),
    ],
)
def test_signals_and_combinators_read_the_request(match: dict[str, Any], body: str, expected: bool) -> None:
    signals = {
        "legal": {"keywords": {"any_of": ["contract"]}},
        "poetic": {"keywords": {"any_of": ["poem"]}},
        "both": {"all": [{"signals": "legal"}, {"signals": "poetic"}]},
    }

    assert compiled(match, signals).test(facts({"model": "m", "messages": user(body)})) is expected


def test_an_unread_body_leaves_any_true_and_all_false() -> None:
    unread = facts(raw=b"{")

    assert compiled({"any": [{"model": "x"}, {"endpoint": "chat"}]}).test(unread) is True
    assert compiled({"model": "x", "endpoint": "images"}).test(unread) is False
    assert compiled({"not": {"model": "x"}}).test(unread) is None
    assert compiled({"not": {"signals": "s"}}, {"s": {"model": "x"}}).test(unread) is None


def test_equal_conditions_of_several_policies_are_one_and_asked_once() -> None:
    compiler = Compiler({"s": spec({"keywords": {"any_of": ["b"]}})})
    first, second = (compiler.condition(spec({"keywords": {"any_of": ["a", "b"]}, "signals": "s"})) for _ in range(2))
    seen = facts({"messages": user("a b")})

    assert first.test(seen) is second.test(seen) is True
    assert len(seen.memo) == 3  # the shared list, the signal, and the list inside the signal


@pytest.mark.parametrize(
    ("match", "needs"),
    [
        ({}, set()),
        ({"endpoint": "chat", "path": "/x", "header": {"a": "b"}}, {"head"}),
        ({"endpoint": "chat", "model": "m"}, {"head", "body"}),
        ({"not": {"any": [{"all": [{"stream": True}]}]}}, {"body", "head"}),
        ({"signals": "s"}, {"body", "head"}),
    ],
)
def test_it_is_known_whether_the_body_is_needed(match: dict[str, Any], needs: set[str]) -> None:
    assert compiled(match, {"s": {"has": "tools"}}).needs == needs


@pytest.mark.parametrize(
    ("match", "endpoints"),
    [
        ({}, None),
        ({"model": "m"}, None),
        ({"endpoint": ["chat", "responses"]}, {"chat", "responses"}),
        ({"endpoint": ["chat", "responses"], "all": [{"endpoint": ["chat", "images"]}]}, {"chat"}),
        ({"any": [{"endpoint": "chat", "model": "m"}, {"endpoint": "images"}]}, {"chat", "images"}),
        ({"any": [{"endpoint": "chat"}, {"model": "m"}]}, None),
        ({"not": {"endpoint": "chat"}}, {e.value for e in Endpoint} - {"chat"}),
        ({"not": {"endpoint": "chat", "model": "m"}}, None),
        ({"signals": "s"}, {"audio"}),
        ({"signals": ["s", "t"]}, None),
    ],
)
def test_the_endpoints_for_which_it_can_be_true_are_known(match: dict[str, Any], endpoints: set[str] | None) -> None:
    assert compiled(match, {"s": {"endpoint": "audio"}, "t": {"stream": True}}).endpoints == endpoints


@given(trees)
def test_endpoints_never_exclude_a_match(tree: Tree) -> None:
    def match_of(each: Tree) -> dict[str, Any]:
        kind, inner = each
        if kind == "is":
            return {True: {"endpoint": "chat"}, False: {"endpoint": ["images", "audio"]}, None: {"stream": True}}[inner]
        if kind == "not":
            return {"not": match_of(inner)}
        return {kind: [match_of(child) for child in inner]} if inner else {}

    condition = compiled(match_of(tree))
    for endpoint in Endpoint:
        if condition.test(facts({"stream": True}, endpoint=endpoint)):
            assert condition.endpoints is None or endpoint.value in condition.endpoints


async def test_a_long_prompt_is_settled_and_asked_again() -> None:
    condition = compiled({"endpoint": "chat", "any": [{"prompt_tokens": {"at_least": 40}}, {"prompt_tokens": {"below": 3}}]})
    seen = facts({"messages": user("a " * 50)}, tokens=Counter(slow_from=10))
    rounds = 0
    while True:
        try:
            verdict = condition.test(seen)
            break
        except TakesLong as long:
            rounds += 1
            await seen.settle(long.limit)

    assert (verdict, rounds) == (True, 1)


def test_a_cheap_no_spares_the_count() -> None:
    counter = Counter(slow_from=0)

    assert (
        compiled({"prompt_tokens": {"below": 5}, "model": "x"}).test(facts({"model": "y", "messages": user("a")}, tokens=counter)) is False
    )
    assert counter.asked == []


def test_every_field_of_a_match_has_its_builder() -> None:
    from proxy.policy.match import _BUILDERS

    assert set(_BUILDERS) == set(MatchSpec.model_fields)
