"""complexity_signals -- what the complexity score looks at: a request's asking, and each signal's value in it.

Stands under `complexity`, which weighs the values. Each signal is one line of SIGNALS, in words, with the direction it may have.
Cost: 60 µs for a usual prompt, most of it for looking words up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import log2, log10

from proxy.openai.pasted import Parts, parts
from proxy.policy.complexity_words import Found, Lexicon

UP, DOWN = 1, -1
FEW_TOOLS = 3  # from here on tools tell of work in several steps
SHORT_WORDS = 14  # up to here a question that asks to recall something is one, whatever it is about
RECALL_PLACES = 6  # of the first words, where a question for a fact says that it is one
HEAD_WORDS = 14  # an order with a colon is at most this long, to be one for what follows
SYSTEM_CHARS = 1500
EARLIER = 3  # user turns before the last that are looked at
HARD = ("prove", "why", "make", "weigh", "trouble", "reckon", "expert", "more")
EASY = ("recall", "shift", "pick", "small", "snippet", "brief", "talk")
_SCALE = (0.0, 1.0, 1.5, 1.8, 2.0)
_math = re.compile(r"[=≤≥∑∫√⊆∈∀∃≠^]|\b[a-z]\([a-z0-9]|\b\d*[xyn]\b")
_stops = re.compile(r"[.!?;。！？؟।…]+(?:\s|$)|\n")
_colon = re.compile(r":\s")


@dataclass(slots=True, frozen=True)
class Request:
    """What the score reads of a call."""

    last: str  # the last user message
    earlier: tuple[str, ...] = ()  # the user's before it
    system: str = ""
    tools: int = 0
    has_schema: bool = False
    has_media: bool = False  # images, audio or files


@dataclass(slots=True, frozen=True)
class View:
    """A request taken apart, for the signals."""

    request: Request
    parts: Parts
    found: Found
    before: Found  # in the user's earlier messages
    system: Found
    is_about_text: bool  # an order for what follows a colon
    recalls: bool

    def scaled(self, name: str) -> float:
        """How often a class stands in the asking: the second place counts half, the fourth a fifth."""
        return _SCALE[min(self.found.count(name), 4)]

    def hard(self, name: str) -> float:
        """As `scaled`; a quarter of it where only a fact about the subject is asked."""
        return self.scaled(name) * (0.25 if self.recalls else 1.0)


def view(request: Request, lexicon: Lexicon) -> View:
    """Takes a request apart."""
    split = parts(request.last)
    asking, found, is_about_text = split.asking, lexicon.find(split.asking), split.attached > 0
    if (colon := _colon.search(asking)) is not None:
        head = lexicon.find(asking[: colon.start()])
        if head.size <= HEAD_WORDS and (head.count("shift") or head.count("pick")) and not _is_hard(head):
            is_about_text, found = True, head
    earlier = "\n".join(parts(text[:SYSTEM_CHARS]).asking for text in request.earlier[-EARLIER:])
    return View(
        request,
        split,
        found,
        lexicon.find(earlier),
        lexicon.find(request.system[:SYSTEM_CHARS]),
        is_about_text,
        found.size <= SHORT_WORDS and min(found.places.get("recall", (RECALL_PLACES,))) < RECALL_PLACES,
    )


def _is_hard(found: Found) -> bool:
    return any(found.count(name) for name in ("prove", "why", "weigh", "reckon", "trouble"))


@dataclass(slots=True, frozen=True)
class Signal:
    """One thing that the score looks at."""

    says: str
    direction: int  # UP: can only make a request look more complex; DOWN: less
    value: Callable[[View], float]
    given: float | None = None  # a weight by judgement, where the labelled prompts have none of it


def _class(name: str) -> Callable[[View], float]:
    return lambda view: view.scaled(name)


def _topic(name: str) -> Callable[[View], float]:
    return lambda view: view.hard(name)


def _opening(view: View) -> int:
    """The first place after words of courtesy."""
    at = 0
    while at < 6 and view.found.starts("polite", at):
        at += 1
    return at


def _asks_fact(view: View) -> float:
    at = _opening(view)
    opens = view.found.starts("asks", at) or view.found.starts("recall", at) or any(p >= 1000 for p in view.found.places.get("asks", ()))
    return max(0.0, 1.0 - view.found.size / 20) if opens else 0.0


def _tells(view: View) -> float:
    """A situation told, nothing asked for: the work is to find out what is wanted."""
    if "?" in view.parts.asking or view.found.size < 5 or any(view.found.count(name) for name in ("shift", "pick", "small", "snippet")):
        return 0.0
    return 1.0 if view.found.starts("tells", _opening(view)) else 0.0


def _unknown(view: View) -> float:
    """No word of a class, and none that English cannot do without: another language, or no language."""
    if view.found.size < 3 or any(view.found.count(name) for name in (*EASY, *HARD, "asks", "common")):
        return 0.0
    return 1.0


def _attached(view: View) -> float:
    return 1.0 if view.is_about_text and not _is_hard(view.found) else 0.0


def _material(view: View) -> float:
    return log10(1 + view.parts.attached) / 4 if _is_hard(view.found) else 0.0


def _many_tools(view: View) -> float:
    return min(1.0, view.found.size / 10) if view.request.tools >= FEW_TOOLS else 0.0


def _system_is_narrow(view: View) -> float:
    system = view.system
    return 1.0 if system.count("pick") or system.count("shift") or system.count("brief") or system.count("desk") else 0.0


SIGNALS: dict[str, Signal] = {
    "length": Signal("words of the asking (log)", UP, lambda v: log2(1 + v.found.size) / 5),
    "short": Signal("a very short asking", DOWN, lambda v: max(0.0, 1 - v.found.size / 12)),
    "sentences": Signal("sentences after the first", UP, lambda v: min(4, max(0, len(_stops.findall(v.parts.asking)) - 1)) / 2),
    "questions": Signal("questions after the first", UP, lambda v: min(3.0, max(0, questions(v.parts.asking) - 1))),
    "fact": Signal("opens as a question for a fact, and is short", DOWN, _asks_fact),
    "recall": Signal("asks for something known: a name, a date, a meaning, a spelling", DOWN, _class("recall")),
    "shift": Signal("asks for a text in another form: translated, shortened, sorted, corrected", DOWN, _class("shift")),
    "pick": Signal("asks to pick something out of a text, or to sort it into classes", DOWN, _class("pick")),
    "small": Signal("asks for something small to be written or suggested", DOWN, _class("small")),
    "snippet": Signal("asks for a usual piece of code, a command or a formula", DOWN, _class("snippet")),
    "brief": Signal("wants it short or simple", DOWN, _class("brief")),
    "talk": Signal("a greeting or thanks", DOWN, _class("talk")),
    "home": Signal("about everyday life", DOWN, _class("home")),
    "prove": Signal("asks for a proof, a derivation or a justification", UP, _topic("prove")),
    "why": Signal("asks for causes, or what to do", UP, _topic("why")),
    "make": Signal("asks to design, build, plan, investigate or repair", UP, _topic("make")),
    "weigh": Signal("asks to compare, criticise or weigh", UP, _topic("weigh")),
    "trouble": Signal("tells of something that fails", UP, _topic("trouble")),
    "reckon": Signal("mathematics, chance, optimisation or a puzzle", UP, _topic("reckon")),
    "expert": Signal("words of a specialist's field", UP, _topic("expert")),
    "bounds": Signal("conditions that the answer must keep", UP, _class("bounds")),
    "more": Signal("asks for something more on top", UP, _topic("more")),
    "own": Signal("about the writer's own case", UP, _class("own")),
    "tells": Signal("tells a situation and asks nothing", UP, _tells),
    "unknown": Signal("not understood", UP, _unknown, given=2.5),
    "numbers": Signal("numbers in the asking", UP, lambda v: _SCALE[min(4, sum(map(_has_digit, v.found.words)))]),
    "math": Signal("formulas in the asking", UP, lambda v: 1.0 if _math.search(v.parts.asking) else 0.0),
    "code": Signal("code is attached", UP, lambda v: 1.0 if v.parts.code else 0.0),
    "attached": Signal("text is attached to a plain order for it", DOWN, _attached),
    "material": Signal("text is attached and the order is not plain", UP, _material),
    "few_tools": Signal("one or two tools", DOWN, lambda v: 1.0 if 0 < v.request.tools < FEW_TOOLS else 0.0),
    "many_tools": Signal("three or more tools, and more than a few words", UP, _many_tools),
    "schema": Signal("an answer by a JSON schema", DOWN, lambda v: 1.0 if v.request.has_schema else 0.0),
    "narrow_system": Signal("a system prompt for one narrow task", DOWN, _system_is_narrow),
    "agent_system": Signal("a system prompt for an agent or an expert", UP, lambda v: 1.0 if v.system.count("agent") else 0.0),
    "media": Signal("images, audio or files", UP, lambda v: 1.0 if v.request.has_media else 0.0, given=1.0),
    "history": Signal("what was said before is hard", UP, lambda v: min(3, sum(v.before.count(name) for name in HARD)) / 2),
    "goes_on": Signal("a short turn that follows easy ones", DOWN, lambda v: 1.0 if v.request.earlier and v.found.size <= 8 else 0.0),
}


def questions(text: str) -> int:
    """How many questions stand in a text: marks of them, in a row counted once."""
    return len(re.findall(r"[?？؟;]*[?？؟]+(?=\W|$)", text)) if len(text) < 20_000 else 0


def _has_digit(word: str) -> bool:
    return word[0].isdigit()
