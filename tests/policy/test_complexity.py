"""The complexity score and its condition: the same for each form of a request, three-valued, explained without the prompt's words."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.policy.complexity import ComplexityIs, QuestionCount, request_of, shipped
from proxy.policy.complexity_signals import SIGNALS, Request
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.shape import unfold
from tests.policy.test_facts import facts, user

SIMPLE, HARD = "What is the capital of Peru?", "Prove that every bounded monotone sequence converges, and say where completeness is used."
TOOL = {"type": "function", "function": {"name": "f"}}


def score(body: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> float:
    return shipped().score(request_of(Payload(json.dumps(body).encode(), endpoint))).value


def verdict(match: dict[str, Any], **seen: Any) -> bool | None:
    return Compiler({}).condition(MatchSpec.read(unfold(MatchSpec, match)[0])).test(facts(**seen))


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        ({"complexity": {"below": 0.4}}, SIMPLE, True),
        ({"complexity": {"below": 0.4}}, HARD, False),
        ({"complexity": {"at_least": 0.4}}, SIMPLE, False),
        ({"complexity": {"at_least": 0.4}}, HARD, True),
        ({"complexity": {"at_least": 0.99, "below": 1}}, SIMPLE, False),
        ({"not": {"complexity": {"below": 0.4}}}, HARD, True),
        ({"complexity": {"below": 0.4}}, "", False),
        ({"complexity": {"below": 0.4}}, " \n ", False),
        ({"complexity": {"below": 0.4}}, "\n" * 100_000, False),
        ({"questions": {"at_least": 3}}, "Who? When? Where?", True),
        ({"questions": {"at_least": 3}}, "Who? When?", False),
        ({"questions": {"below": 1}}, "Tell me.", True),
        ({"questions": {"at_least": 1}}, "Translate 'who? what?' to French.", False),
    ],
)
def test_the_conditions_hold_or_do_not(match: dict[str, Any], text: str, expected: bool) -> None:
    assert verdict(match, body={"messages": user(text)}) is expected


@pytest.mark.parametrize("match", [{"complexity": {"below": 0.4}}, {"complexity": {"at_least": 0.4}}, {"questions": {"below": 2}}])
@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"messages": [], "messages": []}', b"\xff", None])
def test_what_cannot_be_read_is_unknown_and_stays_so_under_not(match: dict[str, Any], raw: bytes | None) -> None:
    assert verdict(match, raw=raw) is None
    assert verdict({"not": match}, raw=raw) is None


@pytest.mark.parametrize(
    "body", [{}, {"messages": []}, {"messages": "x"}, {"messages": [1, None]}, {"messages": user("")}, {"prompt": [1, 2]}]
)
def test_a_request_without_words_is_left_to_the_strong_model(body: dict[str, Any]) -> None:
    assert verdict({"complexity": {"below": 1}}, body=body) is False


@pytest.mark.parametrize("text", [SIMPLE, HARD])
def test_a_request_has_one_score_in_every_form(text: str) -> None:
    chat = score({"messages": user(text)})
    parts = score({"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]})
    system = score({"messages": [{"role": "system", "content": "You are an expert."}, *user(text)]})

    assert parts == chat
    assert score({"input": text}, Endpoint.RESPONSES) == chat
    assert score({"input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]}, Endpoint.RESPONSES) == chat
    assert score({"prompt": text}, Endpoint.COMPLETIONS) == chat
    assert score({"prompt": [text]}, Endpoint.COMPLETIONS) == chat
    assert score({"instructions": "You are an expert.", "input": text}, Endpoint.RESPONSES) == system
    assert score({"messages": [{"role": "developer", "content": "You are an expert."}, *user(text)]}) == system


def test_the_last_turn_of_the_user_counts_though_a_tool_has_answered() -> None:
    asked = {"messages": user(HARD), "tools": [TOOL]}
    answered = {**asked, "messages": [*user(HARD), {"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "ok " * 50}]}

    assert score(answered) == score(asked)


def test_three_tools_and_a_task_look_harder_than_one() -> None:
    text = "Go through my inbox and pay what is open."

    assert score({"messages": user(text), "tools": [TOOL] * 3}) > score({"messages": user(text), "tools": [TOOL]})


def test_a_hard_conversation_makes_a_short_question_hard() -> None:
    before = [*user("Here is my proof that all bounded sequences converge."), {"role": "assistant", "content": "Which definition?"}]

    last = user("the usual one. so where is it?")

    assert score({"messages": [*before, *last]}) > score({"messages": last})


def test_a_long_conversation_is_looked_at_in_part() -> None:
    turn = [*user("Why?"), {"role": "assistant", "content": "Because."}]
    body = {"messages": turn * 5000 + user(SIMPLE)}
    payload = Payload(json.dumps(body).encode(), Endpoint.CHAT)

    assert len(request_of(payload).earlier) < 40
    assert request_of(payload).last == SIMPLE


def test_the_same_text_always_has_the_same_score() -> None:
    text = f"{HARD} 证明 'x' f(x)=2 " * 3

    assert {score({"messages": user(text)}) for _ in range(5)} == {score({"messages": user(text)})}


def test_a_condition_asks_for_the_score_once_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    scale = type(shipped())
    find = scale.score
    monkeypatch.setattr(scale, "score", lambda self, request: asked.append(request) or find(self, request))
    seen = facts({"messages": user(SIMPLE)})

    verdicts = [ComplexityIs(limit, None).test(seen) for limit in (0.1, 0.4, 0.9)]

    assert verdicts[-1] is True
    assert len(asked) == 1


def test_the_explanation_has_the_parts_and_none_of_the_words() -> None:
    seen = facts({"messages": user(f"{HARD} Zanzibar")})
    explained = ComplexityIs(0.4, None).explain(seen)
    names = [part.name for part in explained.children]
    added = [float(part.seen.split(":")[0]) for part in explained.children]

    assert explained.verdict is False
    assert names[-1] == "base"
    assert "prove" in names
    assert set(names) <= {"base", *SIGNALS}
    assert added[:-1] == sorted(added[:-1], key=abs, reverse=True)
    assert "zanzibar" not in repr(explained).lower()
    assert "monotone" not in repr(explained)


def test_the_parts_of_an_explanation_add_up_to_the_score() -> None:
    found = shipped().score(Request(HARD))
    total = found.base + sum(added for _, added in (found.parts or {}).values())

    assert found.value == pytest.approx(1 / (1 + 2.718281828**-total), abs=1e-3)


def test_an_explanation_of_what_cannot_be_read_says_why() -> None:
    explained = ComplexityIs(0.4, None).explain(facts(raw=b"{"))

    assert explained.verdict is None
    assert explained.seen.startswith("unknown: ")
    assert explained.children == ()


def test_an_explanation_without_words_says_so() -> None:
    assert "no text" in ComplexityIs(0.4, None).explain(facts({"messages": []})).seen
    assert QuestionCount(None, 2).explain(facts({"messages": user("a? b?")})).seen == "2"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "needs `below` or `at_least`"),
        ({"below": 0}, "greater than 0"),
        ({"below": 1.5}, "less than or equal to 1"),
        ({"below": "0.4"}, "valid number"),
        ({"below": 0.4, "at_least": 0.4}, "can never be true"),
        ({"under": 0.4}, "not permitted"),
    ],
)
def test_a_wrong_bound_is_refused(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        MatchSpec.read({"complexity": value})


@pytest.mark.parametrize("piece", ["word ", "x", "'a ", "“", "1,2,3\n", "证明", "증명 ", "\ufdfa", "```", "a: b\n", "? "])
def test_a_hostile_request_is_scored_at_once(piece: str) -> None:
    text = piece * (5_000_000 // len(piece))
    request = Request(text, earlier=(text, text, text), system=text)
    shipped()
    taken_s = []
    for _ in range(5):
        begun = perf_counter()
        found = shipped().score(request)
        taken_s.append(perf_counter() - begun)

    assert min(taken_s) < 0.03  # at most 1.2 ms on a quiet machine
    assert 0 <= found.value <= 1
