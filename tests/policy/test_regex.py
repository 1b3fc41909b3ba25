"""RE2 patterns in the texts: what they find, what they cost, and that no text and no pattern holds the loop."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from proxy.policy.facts import Facts, TakesLong
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.regex import (
    DIRECT_BYTES,
    MAX_CHARACTERS,
    MAX_PATTERNS,
    Automaton,
    MatchesRegex,
    RegexSpec,
    automata,
    compiled,
    pace_ns,
)
from proxy.policy.shape import unfold
from proxy.policy.units import Wrong
from tests.assembly.engines import bench, call_of, chat
from tests.policy.test_facts import facts, user

LAST: frozenset[str] = frozenset()
WILD = r"[ab]*a[ab]{200}c"


def condition(regex: Any) -> Any:
    return Compiler({}).condition(MatchSpec.read(unfold(MatchSpec, {"regex": regex})[0]))


def said(*texts: str) -> Facts:
    return facts({"messages": user(*texts)})


@pytest.mark.parametrize(
    ("regex", "text", "expected"),
    [
        ("secret", "a secret place", True),
        ("secret", "a Secret place", False),
        ("(?i)secret", "a SECRET place", True),
        (["x+y", "z"], "xxy", True),
        (["x+y", "z"], "z", True),
        (["x+y", "z"], "xx", False),
        (["(?i)a", "b"], "B", False),
        (["a|b", "c$"], "cd", False),
        (r"\bcontract\b", "subcontract", False),
        (r"^start", "a\nstart", False),
        (r"(?m)^start", "a\nstart", True),
        (r"end$", "the end", True),
        (r"a.b", "a\nb", False),
        (r"(?s)a.b", "a\nb", True),
        (r"(?i)straße", "STRAßE", True),
        (r"\pL+", "日本語", True),
        (r"\p{Cyrillic}{3}", "да нет", True),
        (r"^.$", "é", True),
        (r"^.$", "😀", True),
        (r"\x{20AC}\d", "€5", True),
        (r"[^\x00-\x7F]", "plain", False),
        (r"\Qa.b(c", "xa.b(c", True),
        ([r"\Qa.b(c", "x{3}"], "xxx", True),
        (r"\d{4}-\d{4}", "1234-5678", True),
        (r"(?P<n>a)(?P<m>b)", "ab", True),
        (["(?P<n>a)", "(?P<n>b)"], "b", True),
        ("a", "", False),
        ("^$", "", True),
    ],
)
def test_a_pattern_is_found_anywhere_in_the_text(regex: Any, text: str, expected: bool) -> None:
    assert condition(regex).test(said(text)) is expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [(None, False), ("user", True), ("assistant", False), ("system", True), ("all", True), (["tool", "assistant"], False)],
)
def test_it_reads_the_messages_that_are_named(where: Any, expected: bool) -> None:
    body = {"messages": [{"role": "system", "content": "code 42"}, *user("code 42", "hello")]}

    assert condition({"any_of": r"\d+", **({"in": where} if where else {})}).test(facts(body)) is expected


def test_each_text_is_searched_by_itself() -> None:
    seen = said("one", "two")

    assert condition({"any_of": "one.two", "in": "user"}).test(seen) is False
    assert condition({"any_of": "(?s)one.*two", "in": "user"}).test(seen) is False
    assert condition({"any_of": "^two$", "in": "user"}).test(seen) is True


@pytest.mark.parametrize("raw", [b"{", b'{"messages": [], "messages": []}', None])
def test_a_body_that_cannot_be_read_is_unknown_under_not_too(raw: bytes | None) -> None:
    seen = facts(raw=raw)

    assert condition("a").test(seen) is None
    assert Compiler({}).condition(MatchSpec.read({"not": {"regex": {"any_of": ["a"]}}})).test(seen) is None


def test_a_lone_surrogate_in_a_text_breaks_nothing() -> None:
    seen = facts(raw=b'{"messages": [{"role": "user", "content": "a\\ud800b"}]}')

    assert condition("a.b").test(seen) in (True, None)


def test_an_explanation_shows_the_pattern_and_nothing_of_the_text() -> None:
    seen = said("my password is hunter2")
    hit = condition([r"hunter\d", "pass", "x"]).explain(seen).children[0]
    miss = condition({"any_of": "nothing", "in": "all"}).explain(seen).children[0]

    assert (hit.name, hit.expected, hit.seen) == ("regex", r"hunter\d or pass or x in the last user message", r"found hunter\d and 1 more")
    assert (miss.expected, miss.seen) == ("nothing in assistant, system, tool, user messages", "not in 22 bytes of text")
    assert "hunter2" not in repr((hit, miss))


# What it costs


def test_patterns_together_are_one_automaton_while_they_stay_small() -> None:
    assert len(automata([f"(?i)word{i}" for i in range(20)])) == 1
    assert len(automata([r"\pL+" for _ in range(5)])) == 1
    assert 1 < len(automata([rf"\pL+{i}" for i in range(5)])) <= 5


def test_a_pattern_in_a_quotation_that_does_not_end_stands_alone() -> None:
    found = automata(["a", r"\Qb", "c"])

    assert len(found) == 3
    assert [any(each.is_in(text) for each in found) for text in (b"a", b"b", b"c", b"b)|(?:c")] == [True] * 4


def test_a_wild_pattern_is_measured_to_be_slow_and_a_tame_one_quick() -> None:
    assert pace_ns(compiled(WILD).search, WILD) > 5 * pace_ns(compiled(r"(?i)\bcontract\b").search, "contract")


def test_a_hostile_pattern_takes_no_long_to_load() -> None:
    started = time.perf_counter()
    MatchesRegex((r"(?:[a-z ]{1,90}){10}!",), LAST)

    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(("pattern", "expected", "saw"), [("needle", False, "not in"), ("ba$", False, "not in"), ("ab$", True, "found in")])
async def test_a_long_text_is_searched_beside_the_loop_and_then_known(pattern: str, expected: bool, saw: str) -> None:
    whole, seen = condition(pattern), said("ab" * DIRECT_BYTES)
    with pytest.raises(TakesLong) as caught:
        whole.test(seen)
    await seen.settle(caught.value.limit)

    assert whole.test(seen) is expected
    assert whole.explain(seen).children[0].seen == f"{saw} 131,072 bytes of text"


async def test_a_wild_pattern_is_searched_beside_the_loop_in_a_short_text_too() -> None:
    text = "".join(random.Random(1).choices("ab", k=20_000))
    test, seen = condition(WILD).test, said(text)
    with pytest.raises(TakesLong) as caught:
        test(seen)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    await seen.settle(caught.value.limit)
    turning.cancel()

    assert test(seen) is False
    assert turns > 10  # the loop went on meanwhile


def test_a_text_beyond_all_bounds_is_unknown_and_says_why() -> None:
    regex = MatchesRegex(("(?i)" + r"\pL\d" * 7,), LAST)
    regex._most_bytes = 1000
    seen = said("x" * 1001)
    told = regex.explain(seen)

    assert told.verdict is None
    assert told.seen == "unknown: a text of 1,001 bytes is too long for this regex, which takes 1,000"
    assert seen.unknown == ["a text of 1,001 bytes is too long for this regex, which takes 1,000"]


def test_no_pattern_that_loads_may_have_less_than_a_hundred_kilobytes_searched() -> None:
    largest = MatchesRegex((r"(?s)a.{900}c",), LAST)

    assert largest._most_bytes > 100_000


def test_equal_conditions_of_several_policies_are_one() -> None:
    compiler = Compiler({})
    one, other = (compiler.condition(MatchSpec.read({"regex": {"any_of": ["a"]}})) for _ in range(2))

    assert one.children[0] is other.children[0]  # type: ignore[attr-defined]


async def test_the_engine_waits_for_a_long_search_and_applies_the_policy() -> None:
    at_work = bench(r"  - {name: p, match: {regex: 'needle$'}, apply: {rewrite: {model: small}}}")
    await at_work.ask(call_of(chat("hay " * 50_000 + "needle")))

    assert at_work.inner.call.target.model == "small"


# At load


def test_the_bounds_are_those_of_the_spec() -> None:
    many = {"any_of": [f"a{i}" for i in range(MAX_PATTERNS)]}
    assert len(RegexSpec.read(many).any_of) == MAX_PATTERNS
    assert RegexSpec.read({"any_of": ["a" * MAX_CHARACTERS]}).roles == LAST
    for wrong in ({"any_of": [*many["any_of"], "x"]}, {"any_of": ["a" * (MAX_CHARACTERS + 1)]}, {"any_of": []}, {"any_of": [""]}):
        with pytest.raises(ValueError, match="any_of"):
            RegexSpec.read(wrong)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(?=a)", "look-ahead"), ("(?!a)", "look-ahead"), ("(?<=a)", "look-behind"), ("(?<!a)b", "look-behind"),
        (r"(a)\1", "back-references"), ("(?P<a>x)(?P=a)", "back-references"), (r"\k<n>", "back-references"), ("(?#c)a", "(?:"),
        ("(?R)", "group"), ("(?(1)a|b)", "group"), ("a**", "repeat"), ("x{2,1}", "repeats"), ("a|*", "repeat"), ("[[:foo:]]", "class"),
        (r"\p{Greek", "class"), (r"\G", "escape"), (r"\x{110000}", "escape"), ("(?P<n", "group"), ("(?i", "group"), ("\ud800", "UTF-8"),
        ("(" * 1000, "closed"), ("((a{99}){99}){99}", "often"),
    ],
)  # fmt: skip
def test_a_pattern_that_re2_refuses_is_refused_in_our_words(pattern: str, says: str) -> None:
    with pytest.raises(Wrong) as caught:
        compiled(pattern)

    assert says in f"{caught.value} {caught.value.hint}"
    assert "perl" not in str(caught.value)


def test_one_automaton_tells_what_each_would() -> None:
    patterns = ["(?i)foo", "bar$", r"\d{3}", "^x"]
    together = Automaton(patterns)
    for text in (b"FOO", b"bar", b"bar ", b"123", b"12", b"x", b"ax", b"Bar"):
        assert together.is_in(text) is any(compiled(pattern).search(text) is not None for pattern in patterns)
