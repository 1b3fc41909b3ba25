"""Gates: whatever may be true is behind an open one, and hardly anything else is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.openai.tokens import Tokens
from proxy.policy.conditions import Condition
from proxy.policy.facts import Facts, TakesLong
from proxy.policy.gates import Gates
from proxy.policy.match import Compiler
from tests.policy.test_facts import facts, user
from tests.policy.test_match import spec

WORDS = ("alpha", "Beta", "gamma ray", "дом", "税金", "straße", "a", "-", "O'Neil")
HEADERS = ("a", "b", "c*")
TOKENS = Tokens()
TEAMS: tuple[list[tuple[bytes, bytes]], ...] = ([], [(b"X-Team", b"a")], [(b"x-team", b"q"), (b"x-team", b"cc")])


def conditions(matches: list[dict[str, Any]]) -> list[Condition]:
    compiler = Compiler({})
    return [compiler.condition(spec(match)) for match in matches]


def opened(gates: Gates, seen: Facts) -> list[int]:
    while True:
        try:
            return gates.open(seen)
        except TakesLong as long:
            asyncio.run(seen.settle(long.limit))


def verdict(condition: Condition, seen: Facts) -> bool | None:
    while True:
        try:
            return condition.test(seen)
        except TakesLong as long:
            asyncio.run(seen.settle(long.limit))


words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True)
one_match = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans(),
        "has": st.sampled_from(("tools", "images", "system")),
        "messages": st.sampled_from(({"below": 3}, {"at_least": 2})),
        "header": st.sampled_from([{"x-team": value} for value in HEADERS] + [{"x-team": {"present": False}}]),
        "keywords": st.one_of(
            words.map(lambda each: {"any_of": each}),
            words.map(lambda each: {"all_of": each, "in": "all"}),
            words.map(lambda each: {"none_of": each}),
        ),
        "prompt_tokens": st.sampled_from(({"below": 5}, {"at_least": 4}, {"at_least": 3, "below": 9}, {"at_least": 5000})),
        "model": st.sampled_from(("m", "n*")),
        "any": st.sampled_from(([{"stream": True}, {"model": "m"}],)),
        "not": st.sampled_from(({"stream": True}, {"keywords": {"any_of": ["alpha"]}})),
    },
)
text = st.lists(st.sampled_from((*WORDS, "ALPHA", "gamma", "gamma  RAY", "Дома", "所得税金", "STRASSE", "x", "\n")), max_size=6).map(
    " ".join
)
one_body = st.fixed_dictionaries(
    {"messages": st.lists(text, max_size=3).map(lambda texts: user(*texts))},
    optional={"stream": st.booleans(), "model": st.sampled_from(("m", "nn", "o")), "tools": st.just([{}])},
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(one_match, min_size=1, max_size=12),
    one_body,
    st.sampled_from(([], [(b"X-Team", b"a")], [(b"x-team", b"q"), (b"x-team", b"cc")])),
)
def test_what_is_true_is_behind_an_open_gate(matches: list[dict[str, Any]], body: dict[str, Any], headers: list[Any]) -> None:
    listed = conditions(matches)
    asked = opened(Gates(listed), facts(body, tokens=TOKENS, headers=headers))
    true = [at for at, condition in enumerate(listed) if verdict(condition, facts(body, tokens=TOKENS, headers=headers))]

    assert asked == sorted(set(asked))
    assert set(true) <= set(asked)


MANY = [
    *({"header": {"x-team": f"team-{i}"}} for i in range(50)),
    *({"keywords": {"any_of": [f"word{i}x", f"other{i}x thing"]}} for i in range(50)),
    *({"has": ["images", "audio"], "messages": {"at_least": 3 + i}} for i in range(50)),
    *({"prompt_tokens": {"at_least": 5000 + i}} for i in range(25)),
    *({"prompt_tokens": {"below": 1 + i}} for i in range(3)),
]


def test_hardly_any_of_many_is_asked() -> None:
    gates = Gates(conditions(MANY))
    hit = opened(gates, facts({"messages": user("say word7x " + "and so on " * 60)}, tokens=TOKENS, headers=[(b"x-team", b"team-3")]))

    assert hit == [3, 57]


def test_all_of_an_unreadable_body_are_open() -> None:
    gates = Gates(conditions(MANY))

    assert len(opened(gates, facts(raw=b"no json", tokens=TOKENS))) == len(MANY) - 50, "all but those that another header decides"
    assert len(opened(gates, facts(tokens=TOKENS))) == len(MANY) - 50


@pytest.mark.parametrize("at", [0, 99_000, 1_000_000])
def test_a_long_text_is_searched_in_slices_once(at: int) -> None:
    filler = "nothing to see here, "
    long = filler * (at // len(filler)) + "word9x " + filler * 50_000
    seen = facts({"messages": user(long)}, tokens=TOKENS)
    gates = Gates(conditions(MANY))

    with pytest.raises(TakesLong) as takes:
        gates.open(seen)
    asyncio.run(seen.settle(takes.value.limit))
    assert 59 in gates.open(seen)
    assert not {50, 51, 60} & set(gates.open(seen))


def test_a_condition_that_no_gate_can_hold_is_always_asked() -> None:
    listed = [*MANY, {}, {"keywords": {"none_of": ["x"]}}, {"header": {"x-team": "c*"}}, {"not": {"stream": True}}]

    asked = opened(Gates(conditions(listed)), facts({"messages": user("hi")}, tokens=TOKENS))

    assert set(range(len(MANY), len(listed))) <= set(asked)


def test_texts_and_words_of_any_script_meet() -> None:
    gates = Gates(conditions([{"keywords": {"any_of": [word]}} for word in WORDS]))
    body = json.dumps({"messages": user("Die STRASSE am Дом, 所得税金; GAMMA RAY o'neil")}).encode()

    assert {WORDS.index(word) for word in ("gamma ray", "дом", "税金", "straße", "O'Neil")} <= set(opened(gates, facts(raw=body)))
