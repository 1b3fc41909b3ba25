"""complexity_signals -- what the complexity score looks at: a request's asking, and each signal's value in it.

Stands under `complexity`, which weighs the values. Each signal is one line of SIGNALS, in words, with the direction it may have.
Cost: 60 µs for a usual prompt, most of it for looking words up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log2, log10
from types import MappingProxyType

from proxy.openai.pasted import Parts, parts
from proxy.policy.complexity_words import Found, Lexicon

UP, DOWN = 1, -1
FEW_TOOLS = 3  # from here on tools tell of work in several steps
FACT_IS_SHORT = 14  # up to here a question that asks to recall something is one, whatever it is about
TALK_WORDS = 8
WRITE_PLACES = 4  # of the first words, where `write` and its like are an order
SHORT_WORDS = 12  # from here on an asking is not short
HARD_SHARE = 0.5  # of what shortness counts where a hard thing is asked: it is no sign of ease there
TOLD_WORDS = 6
FOREIGN_WORDS = 6  # of plain letters without one that English cannot do without
RECALL_PLACES = 6  # of the first words, where a question for a fact says that it is one
HEAD_WORDS = 14  # an order with a colon is at most this long, to be one for what follows
TEXT_CHARS = 240  # what follows an order is the text that it is for, from here on whatever the words
TEXT_LINES = 3
CUT_CHARS = 2000  # of an asking in which the end of an order is sought
SYSTEM_CHARS = 800
START_CHARS = 800
EARLIER = 3  # user turns before the last that are looked at
EARLIER_CHARS = 300  # of each
ORDER_CHARS = 160
FACT_SHARE = 0.25  # of what a hard word counts where only a fact about it is asked
HARD = ("prove", "why", "advise", "make", "weigh", "trouble", "reckon", "expert", "more")
EASY = ("recall", "shift", "pick", "small", "snippet", "brief", "talk", "home")
FACT_WORDS = 20  # a question of this length is hardly one for a fact alone
NOTHING = Found((), 0, MappingProxyType({}))
_ORDERS = frozenset(("shift", "pick", "small", "talk"))
_PLAIN_ORDER = frozenset(("shift", "pick"))
_IMPERATIVES = ("prove", "why", "make", "weigh", "reckon", "more", "write", "asks")
_SHORT_AND_HARD = frozenset(("prove", "why", "make", "weigh", "trouble", "reckon"))
_NOT_PLAIN = frozenset(("prove", "why", "weigh", "reckon", "trouble"))
_MODEST = frozenset(("shift", "pick", "small", "snippet", "brief", "recall", "talk"))
_NOT_FOR_TEXT = _NOT_PLAIN | {"make", "expert"}
_NARROW = frozenset(("pick", "shift", "brief", "desk"))
_KNOWN = frozenset((*EASY, *HARD, "asks", "common"))
_SCALE = (0.0, 1.0, 1.5, 1.8, 2.0)
_math = re.compile(r"[=≤≥∑∫√⊆∈∀∃≠^]|\b[a-z]\([a-z0-9]|\b\d*[xyn]\b")
_stops = re.compile(r"[.!?;。！？؟।…]+(?:\s|$)|\n")
_asked = re.compile(r"[?？؟][?？؟!！]*(?![A-Za-z0-9=&])")
_bullet = re.compile(r"(?:^|\n)\s*(?:[-*•]|\d{1,2}[.)])\s")
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
    start: str  # of the asking: the forms of sentences are looked for here
    found: Found
    before: Found  # in the user's earlier messages
    system: Found
    opening: int  # the first word after those of courtesy
    is_about_text: bool  # text is attached, or follows an order and a colon
    recalls: bool  # a short question for a fact


def view(request: Request, lexicon: Lexicon) -> View:
    """Takes a request apart."""
    split = parts(request.last)
    asking, found = _order(split.asking, lexicon) or (split.asking, lexicon.find(split.asking))
    earlier = "\n".join([parts(text[:EARLIER_CHARS]).asking for text in request.earlier[-EARLIER:]])
    return View(
        request,
        split,
        asking[:START_CHARS],
        found,
        lexicon.find(earlier) if earlier else NOTHING,
        lexicon.find(request.system[:SYSTEM_CHARS]) if request.system else NOTHING,
        _opening(found),
        asking is not split.asking or split.attached > 0,
        _recalls(found),
    )


def _order(asking: str, lexicon: Lexicon) -> tuple[str, Found] | None:
    """A plain order for a text that follows it, or stands before it, with nothing to mark where one ends: the order alone."""
    for order, rest in _cuts(asking):
        if len(order) > ORDER_CHARS:
            continue
        found = lexicon.find(order)
        if found.size <= HEAD_WORDS and not _PLAIN_ORDER.isdisjoint(found.places) and _NOT_PLAIN.isdisjoint(found.places):
            is_text = len(rest) > TEXT_CHARS or (rest.count("\n") >= TEXT_LINES and not _bullet.search(rest))
            if is_text or len(_NOT_PLAIN & lexicon.find(rest).places.keys()) < 2:
                return order, found
    return None


def _cuts(asking: str) -> Iterator[tuple[str, str]]:
    """Where an order may end: at a colon, or at the end of the first line; or begin: with the last line."""
    if (colon := _colon.search(asking, 0, CUT_CHARS)) is not None:
        yield asking[: colon.start()], asking[colon.end() :]
    if asking.count("\n", 0, CUT_CHARS) >= TEXT_LINES:
        asking = asking.strip()
        first, _, rest = asking.partition("\n")
        yield first, rest
        before, _, last = asking.rpartition("\n")
        yield last, before


def _recalls(found: Found) -> bool:
    """A short question for a fact says so at its beginning, and does not begin with an order."""
    if found.size > FACT_IS_SHORT or min(found.places.get("recall", (RECALL_PLACES,))) >= RECALL_PLACES:
        return False
    return not any(0 in found.places.get(name, ()) for name in ("prove", "why", "make", "weigh", "write"))


def _opening(found: Found) -> int:
    courtesy = found.places.get("polite", ())
    return next((at for at in range(len(courtesy)) if at not in courtesy), len(courtesy))


def _is_hard(found: Found) -> bool:
    return not _NOT_PLAIN.isdisjoint(found.places)


@dataclass(slots=True, frozen=True)
class Signal:
    """One thing that the score looks at."""

    says: str
    direction: int  # UP: can only make a request look more complex; DOWN: less
    value: Callable[[View], float] | None = None  # None: how often the class of its name stands in the asking
    given: float | None = None  # a weight by judgement, where the labelled prompts have none of it


def _short(view: View) -> float:
    if view.found.size >= SHORT_WORDS:
        return 0.0
    is_hard = not view.recalls and not _SHORT_AND_HARD.isdisjoint(view.found.places)
    return (1 - view.found.size / SHORT_WORDS) * (HARD_SHARE if is_hard else 1.0)


def _asks_fact(view: View) -> float:
    if view.found.size >= FACT_WORDS:
        return 0.0
    places = view.found.places
    opens = any(view.opening in places[name] for name in ("asks", "recall") if name in places)
    if opens or (not view.found.words and "asks" in places):  # in scripts without spaces the question stands at the end
        return 1.0 - view.found.size / FACT_WORDS
    return 0.0


def _tells(view: View) -> float:
    """A situation told, nothing asked for: the work is to find out what is wanted."""
    places = view.found.places
    if "?" in view.start or view.found.size < TOLD_WORDS or not _ORDERS.isdisjoint(places):
        return 0.0
    if 0 < view.request.tools < FEW_TOOLS or _system_is_narrow(view):
        return 0.0
    if any(view.found.starts(name, view.opening) for name in _IMPERATIVES):
        return 0.0
    told = places.get("situation", ())
    if view.opening in told or 0 in told:
        return 1.0
    return 1.0 if any(0 < at < TOLD_WORDS for at in places.get("verb", ())) else 0.0


def _unknown(view: View) -> float:
    """No word of a class, and none that English cannot do without: another language, or no language."""
    least = FOREIGN_WORDS if view.start.isascii() else 3
    return 1.0 if view.found.size >= least and _KNOWN.isdisjoint(view.found.places) else 0.0


def _talk(view: View) -> float:
    return 1.0 if view.found.size <= TALK_WORDS and view.found.count("talk") else 0.0


def _write(view: View) -> float:
    places = view.found.places
    return 1.0 if min(places.get("write", (WRITE_PLACES,))) < WRITE_PLACES and _MODEST.isdisjoint(places) else 0.0


def _note(view: View) -> float:
    return 1.0 if view.found.size <= HEAD_WORDS and view.found.starts("tongue") else 0.0


def _silent(view: View) -> float:
    return 1.0 if view.parts.attached and not view.found.words and not view.found.size and not _system_is_narrow(view) else 0.0


def _sentences(view: View) -> float:
    return min(4, max(0, len(_stops.findall(view.start)) - 1)) / 2


def _questions(view: View) -> float:
    return min(3, max(0, questions(view.start) - 1))


def _numbers(view: View) -> float:
    return _SCALE[min(4, sum(["0" <= word[0] <= "9" for word in view.found.words]))]


def _attached(view: View) -> float:
    places = view.found.places
    return 1.0 if view.is_about_text and not _MODEST.isdisjoint(places) and _NOT_FOR_TEXT.isdisjoint(places) else 0.0


def _material(view: View) -> float:
    return log10(1 + view.parts.attached) / 4 if _is_hard(view.found) else 0.0


def _many_tools(view: View) -> float:
    return max(0.0, min(1.0, (view.found.size - 3) / 8)) if view.request.tools >= FEW_TOOLS else 0.0


def _system_is_narrow(view: View) -> float:
    return 0.0 if _NARROW.isdisjoint(view.system.places) else 1.0


SIGNALS: dict[str, Signal] = {
    "length": Signal("words of the asking (log)", UP, lambda v: log2(1 + v.found.size) / 5),
    "short": Signal("a very short asking; less so one of a hard kind", DOWN, _short),
    "sentences": Signal("sentences after the first", UP, _sentences),
    "questions": Signal("questions after the first", UP, _questions),
    "fact": Signal("opens as a question for a fact, and is short", DOWN, _asks_fact),
    "recall": Signal("asks for something known: a name, a date, a meaning, a spelling", DOWN),
    "shift": Signal("asks for a text in another form: translated, shortened, sorted, corrected", DOWN),
    "pick": Signal("asks to pick something out of a text, or to sort it into classes", DOWN),
    "small": Signal("asks for something small to be written or suggested", DOWN),
    "snippet": Signal("asks for a usual piece of code, a command or a formula", DOWN),
    "note": Signal("a programming language, then a few words", DOWN, _note),
    "brief": Signal("wants it short or simple", DOWN),
    "talk": Signal("a greeting or thanks, and little more", DOWN, _talk),
    "home": Signal("about everyday life", DOWN),
    "prove": Signal("asks for a proof, a derivation or a justification", UP),
    "why": Signal("asks for causes", UP),
    "advise": Signal("asks what to do, or how something would be done", UP),
    "make": Signal("asks to design, build, plan, investigate or repair", UP),
    "write": Signal("asks for a text or a program, and not for a usual or small one", UP, _write),
    "weigh": Signal("asks to compare, criticise or weigh", UP),
    "trouble": Signal("tells of something that fails", UP),
    "reckon": Signal("mathematics, chance, optimisation or a puzzle", UP),
    "expert": Signal("words of a specialist's field", UP),
    "bounds": Signal("conditions that the answer must keep", UP),
    "more": Signal("asks for something more on top", UP),
    "own": Signal("about the writer's own case", UP),
    "tells": Signal("tells a situation and asks nothing", UP, _tells),
    "silent": Signal("something is attached, and nothing asked", UP, _silent, given=2.5),
    "unknown": Signal("not understood", UP, _unknown, given=2.5),
    "numbers": Signal("numbers in the asking", UP, _numbers),
    "math": Signal("formulas in the asking", UP, lambda v: 1.0 if _math.search(v.start) else 0.0),
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
_FORMS = {name: signal.value for name, signal in SIGNALS.items() if signal.value is not None}
_CLASSES = frozenset(name for name, signal in SIGNALS.items() if signal.value is None)


def values(seen: View) -> dict[str, float]:
    """The signals that are there, with their values: a class counts 1, its second place a half more, its fourth a fifth."""
    found = {}
    for name, places in seen.found.places.items():
        if name in _CLASSES:
            value = _SCALE[min(len(places), 4)]
            found[name] = value * FACT_SHARE if seen.recalls and name in HARD else value
    for name, form in _FORMS.items():
        if value := form(seen):
            found[name] = value
    return found


def questions(text: str) -> int:
    """How many questions stand in a text: marks of them, several in a row counted once."""
    return len(_asked.findall(text))
