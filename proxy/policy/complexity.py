"""complexity -- a score of how hard a request is, 0 to 1, and the conditions on it and on the number of questions.

Stands beside `conditions`. A weighted sum of signals (`complexity_signals`) put through the logistic curve; the weights are in
`complexity.json`, fitted by `bench.complexity`, which sets 0.4 at the place where few complex prompts lie below. The same request always
has the same score. What is not understood scores high: a strong model is the safe answer to it.
Cost: 80 µs for a usual prompt, once a call, however many policies ask; at most 1 ms.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import Path

from proxy.openai import features, message
from proxy.openai.pasted import parts
from proxy.openai.payload import Payload
from proxy.policy import complexity_words
from proxy.policy.complexity_signals import SIGNALS, SYSTEM_CHARS, Request, questions, values, view
from proxy.policy.complexity_words import Lexicon
from proxy.policy.conditions import Explained, Leaf
from proxy.policy.facts import Facts

WEIGHTS_FILE = Path(__file__).with_name("complexity.json")
TURNS = 32  # of a conversation that are looked at: so many of its first, and the rest at its end
FIRST_TURNS = 4
BLANK_CHARS = 4096
MEDIA = ("images", "audio", "files")
LIMIT = 30.0  # of the sum: beyond it the curve is 0 or 1


@dataclass(slots=True, frozen=True)
class Score:
    """How hard a request looks, 0 (simple) to 1 (complex), and what each signal did to it: its value and what that adds."""

    value: float
    base: float = 0.0
    parts: Mapping[str, tuple[float, float]] | None = None  # None: there was no text to judge


class Scale:
    """The lexicon and the weights: what gives a request its score."""

    __slots__ = ("_base", "_lexicon", "_weights")

    def __init__(self, lexicon: Lexicon, base: float, weights: Mapping[str, float]) -> None:
        self._lexicon = lexicon
        self._base = base
        self._weights = {name: weights[name] for name in SIGNALS}

    def score(self, request: Request) -> Score:
        """The score of a request. One without text scores 1."""
        if not request.last[:BLANK_CHARS].strip() and not request.last[-BLANK_CHARS:].strip():
            return Score(1.0)
        weights = self._weights
        found = {name: (value, weights[name] * value) for name, value in values(view(request, self._lexicon)).items()}
        total = self._base + sum(added for _, added in found.values())
        return Score(round(1 / (1 + exp(-max(-LIMIT, min(LIMIT, total)))), 4), self._base, found)


@functools.cache
def shipped() -> Scale:
    """The scale that is shipped, loaded when a policy first asks for it: 10 ms."""
    kept = json.loads(WEIGHTS_FILE.read_text("utf-8"))
    return Scale(complexity_words.load(), kept["base"], kept["weights"])


def request_of(payload: Payload) -> Request:
    """What the score reads of a request. Raises Unread."""
    last = payload.last_user() or ""
    endpoint = payload.endpoint

    def get(key: str) -> object:
        value = payload.value(key)
        return value if not isinstance(value, list) or len(value) <= TURNS else [*value[:FIRST_TURNS], *value[FIRST_TURNS - TURNS :]]

    said = list(message.said(endpoint, get))
    return Request(
        last=last,
        earlier=_earlier([text for role, text in said if role == message.USER], last),
        system="\n".join([text[:SYSTEM_CHARS] for role, text in said if role == message.SYSTEM][:FIRST_TURNS]),
        tools=sum([len(each) for key in ("tools", "functions") if isinstance(each := payload.value(key), list)]),
        has_schema=features.has("json_schema", endpoint, get) or features.has("json_object", endpoint, get),
        has_media=any([features.has(each, endpoint, get) for each in MEDIA]),
    )


def _earlier(texts: list[str], last: str) -> tuple[str, ...]:
    """What the user said before, without the parts of the last message."""
    size = len(last)
    while texts and size > 0:
        size -= len(texts.pop()) + 1
    return tuple(texts)


class ComplexityIs(Leaf):
    """How hard the request looks."""

    __slots__ = ("_at_least", "_below", "_scale")
    name, cost = "complexity", 18

    def __init__(self, below: float | None, at_least: float | None) -> None:
        self._below = below
        self._at_least = at_least
        self._scale = shipped()
        bounds = ([f"at least {at_least:g}"] if at_least is not None else []) + ([f"below {below:g}"] if below is not None else [])
        self.expected = " and ".join(bounds)

    def test(self, facts: Facts) -> bool | None:
        score = self._score(facts)
        if score is None:
            return None
        return (self._below is None or score.value < self._below) and (self._at_least is None or score.value >= self._at_least)

    def seen(self, facts: Facts) -> str:
        score = self._score(facts)
        assert score is not None
        return f"{score.value:.2f}" if score.parts is not None else f"{score.value:.2f}, as there is no text to judge"

    def explain(self, facts: Facts) -> Explained:
        """The verdict with the parts of the score: what weighs most first, none of the prompt's words."""
        whole = super().explain(facts)
        score = self._score(facts)
        if score is None or score.parts is None:
            return whole
        ordered = sorted(score.parts.items(), key=lambda item: -abs(item[1][1]))
        parts = [_part(name, value, added) for name, (value, added) in ordered if abs(added) >= 0.005]
        parts.append(Explained("base", "", f"{score.base:+.2f}: where every request starts", True))
        return Explained(whole.name, whole.expected, whole.seen, whole.verdict, tuple(parts))

    def _score(self, facts: Facts) -> Score | None:
        return facts.once("complexity", lambda: self._find(facts))

    def _find(self, facts: Facts) -> Score | None:
        request = facts.read(request_of)
        return None if request is None else self._scale.score(request)


def _part(name: str, value: float, added: float) -> Explained:
    return Explained(name, "", f"{added:+.2f}: {SIGNALS[name].says} ({value:.2g} × {added / value:+.2f})", True)


class QuestionCount(Leaf):
    """How many questions the last user message asks, quotes and attached text left out."""

    __slots__ = ("_at_least", "_below")
    name, cost = "questions", 16

    def __init__(self, below: int | None, at_least: int | None) -> None:
        self._below = below
        self._at_least = at_least
        bounds = ([f"at least {at_least}"] if at_least is not None else []) + ([f"below {below}"] if below is not None else [])
        self.expected = " and ".join(bounds)

    def test(self, facts: Facts) -> bool | None:
        count = self._count(facts)
        if count is None:
            return None
        return (self._below is None or count < self._below) and (self._at_least is None or count >= self._at_least)

    def seen(self, facts: Facts) -> str:
        return str(self._count(facts))

    def _count(self, facts: Facts) -> int | None:
        return facts.once("questions", lambda: facts.read(lambda payload: questions(parts(payload.last_user() or "").asking)))
