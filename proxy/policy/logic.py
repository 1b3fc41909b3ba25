"""logic -- what can be said of conditions without a request: one never holds, one holds whenever another does, two hold for one call.

Stands over `match_spec`, for `chassis check`. Sound, not complete: what it claims is certain, and it is silent where it cannot tell.
A match is made a formula whose `not`s stand at single tests (Kleene's three values allow that: what is unknown stays unknown), then a
list of branches, each a conjunction. Conditions that it does not know are compared by their text alone.
Cost: microseconds for a usual match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from proxy.openai.endpoints import Endpoint
from proxy.openai.message import ROLES
from proxy.policy.branch import Among, Branch, Contains, Globs, Literal, Opaque, Present, Range
from proxy.policy.keywords import spelled
from proxy.policy.match_spec import MatchSpec
from proxy.policy.spec import Spec

MAX_BRANCHES = 64  # of one formula: `any` within `any`; beyond it nothing is claimed
MAX_WORDS = 500  # of one keyword list; a longer one is compared as a whole
ENDPOINTS = frozenset(each.value for each in Endpoint)
WORK = 100_000  # pairs of branches: a second or two, once a load; four hundred policies that all set the same stay below
_BOOLS = frozenset((True, False))


@dataclass(slots=True, frozen=True)
class And:
    """True when each is; without any: true."""

    parts: tuple[Formula, ...]


@dataclass(slots=True, frozen=True)
class Or:
    """True when one is; without any: false."""

    parts: tuple[Formula, ...]


Formula = Literal | And | Or
Signals = Mapping[str, MatchSpec]


class Logic:
    """Questions about the matches of one folder, with its signals (which have no cycles).

    Pairs are compared within a bound of work; when it is spent, nothing more is claimed of them.
    """

    def __init__(self, signals: Signals, work: int = WORK) -> None:
        self._signals = signals
        self._work = work
        self._branches: dict[int, tuple[MatchSpec, Formula, tuple[Branch, ...] | None]] = {}

    @property
    def is_spent(self) -> bool:
        """Whether the bound is reached."""
        return self._work <= 0

    def formula(self, spec: MatchSpec) -> Formula:
        """The match as a formula."""
        return self._known(spec)[1]

    def branches(self, spec: MatchSpec) -> tuple[Branch, ...] | None:
        """The conjunctions one of which holds when `spec` does, without those that cannot. None: too many to look at."""
        return self._known(spec)[2]

    def never(self, spec: MatchSpec) -> str | None:
        """Why `spec` can never be true; None where it may be."""
        why = ""
        branches = _conjunctions(self.formula(spec))
        for branch in (Branch(),) if branches is None else branches:
            dead = branch.contradiction()
            if dead is None:
                return None
            why = why or dead
        return why or "it denies what always holds"

    def implies(self, narrow: MatchSpec, wide: MatchSpec) -> bool:
        """Whether `wide` is surely true whenever `narrow` is."""
        branches = self.branches(narrow)
        goal = self.formula(wide)
        self._work -= 1
        if self.is_spent:
            return False
        return branches is not None and all(_proves(branch, goal) for branch in branches)

    def meet(self, one: MatchSpec, other: MatchSpec) -> bool:
        """Whether surely some call makes both true."""
        pairs = self._pairs(one, other)
        return pairs is not None and any(a.and_(b).surely_holds() for a, b in pairs if not a.is_elsewhere(b))

    def apart(self, one: MatchSpec, other: MatchSpec) -> bool:
        """Whether surely no call makes both true."""
        pairs = self._pairs(one, other)
        return pairs is not None and all(a.and_(b).contradiction() is not None for a, b in pairs)

    def _pairs(self, one: MatchSpec, other: MatchSpec) -> list[tuple[Branch, Branch]] | None:
        ours, theirs = self.branches(one), self.branches(other)
        if ours is None or theirs is None or self.is_spent:
            return None
        self._work -= 1 + len(ours) * len(theirs)
        return list(product(ours, theirs))

    def endpoints(self, spec: MatchSpec) -> frozenset[str]:
        """The endpoints for which it may be true."""
        branches = self.branches(spec)
        if branches is None:
            return ENDPOINTS
        return frozenset(str(each) for branch in branches for each in branch.among.get("endpoint", ENDPOINTS))

    def models(self, spec: MatchSpec) -> tuple[str, ...] | None:
        """Globs one of which the model that was asked for surely matches when `spec` is true; None where that is not known."""
        found: dict[str, None] = {}
        branches = self.branches(spec)
        for branch in branches or (Branch(),):
            asked = branch.alternatives("model")
            if asked is None:
                return None
            found |= dict.fromkeys(asked)
        return tuple(found)

    def _known(self, spec: MatchSpec) -> tuple[MatchSpec, Formula, tuple[Branch, ...] | None]:
        known = self._branches.get(id(spec))
        if known is None:
            formula = self._of(spec, True)
            found = _conjunctions(formula)
            alive = None if found is None else tuple(branch for branch in found if branch.contradiction() is None)
            known = self._branches[id(spec)] = (spec, formula, alive)
        return known

    def _of(self, spec: MatchSpec, positive: bool) -> Formula:
        parts: list[Formula] = []
        for name in type(spec).model_fields:
            value = getattr(spec, name)
            if value is None:
                continue
            if name in ("all", "any"):
                inner = tuple(self._of(each, positive) for each in value)
                parts.append(And(inner) if (name == "all") is positive else Or(inner))
            elif name == "not_":
                parts.append(self._of(value, not positive))
            elif name == "signals":
                named = tuple(self._of(self._signals[each], positive) for each in value)
                parts.append(Or(named) if positive else And(named))
            else:
                parts.extend(_tests(name, value, positive))
        if len(parts) == 1:
            return parts[0]
        return And(tuple(parts)) if positive else Or(tuple(parts))


def _tests(name: str, value: Any, positive: bool) -> Iterator[Formula]:
    """The single tests of one key: all hold, or, where it is denied, one does."""
    known = _TESTS.get(name)
    found = tuple(known(value, positive)) if known is not None else (Opaque(name, _text(value), positive),)
    if positive or len(found) == 1:
        yield from found
    else:
        yield Or(found)


def _text(value: Any) -> str:
    return value.model_dump_json() if isinstance(value, Spec) else repr(value)


def _endpoint(value: Sequence[Endpoint], positive: bool) -> Iterator[Formula]:
    named = frozenset(each.value for each in value)
    yield Among("endpoint", named if positive else ENDPOINTS - named)


def _stream(value: bool, positive: bool) -> Iterator[Formula]:
    yield Among("stream", frozenset((value,)) if positive else _BOOLS - {value})


def _globs(key: str) -> Callable[[Sequence[str], bool], Iterator[Formula]]:
    def tests(value: Sequence[str], positive: bool) -> Iterator[Formula]:
        yield Globs(key, tuple(value), positive)

    return tests


def _header(value: Mapping[str, Any], positive: bool) -> Iterator[Formula]:
    for name, spec in value.items():
        key = f"header {name.lower()}"
        if spec.present is not None:
            yield Present(key, spec.present is positive)
        else:
            yield Globs(key, tuple(spec.equals or ()), positive)


def _range(key: str) -> Callable[[Any, bool], Iterator[Formula]]:
    def tests(value: Any, positive: bool) -> Iterator[Formula]:
        if positive:
            yield Range(key, value.at_least or 0, value.below)
            return
        if value.at_least is not None:
            yield Range(key, 0, value.at_least)
        if value.below is not None:
            yield Range(key, value.below, None)

    return tests


def _has(value: Sequence[str], positive: bool) -> Iterator[Formula]:
    yield Contains("has", frozenset(value), positive)


def _keywords(value: Any, positive: bool) -> Iterator[Formula]:
    named = value.in_ or ()
    roles = ROLES if "all" in named else frozenset(named)
    key = f"keywords in {', '.join(sorted(roles))}" if roles else "keywords"
    if sum(len(words or ()) for words in (value.any_of, value.all_of, value.none_of)) > MAX_WORDS:
        yield Opaque(key, value.model_dump_json(), positive)
        return
    if value.any_of is not None:
        yield Contains(key, frozenset(map(spelled, value.any_of)), positive)
    for word in value.all_of or ():
        yield Contains(key, frozenset((spelled(word),)), positive)
    if value.none_of is not None:
        yield Contains(key, frozenset(map(spelled, value.none_of)), not positive)


def _sample(value: Any, positive: bool) -> Iterator[Formula]:
    """Draws of one name are one fact; without a name each policy or signal has its own. None at all is a switch, and no mistake."""
    if value.of is None or not value.share:
        yield Opaque("sample", f"{id(value)}", positive)
        return
    key = f"sample of {value.of} by {value.by}, in millionths of 1%"
    first, beyond = value.steps
    if positive:
        yield Range(key, first, beyond)
    else:
        yield from (Range(key, 0, first), Range(key, beyond, None))


_TESTS: Mapping[str, Callable[[Any, bool], Iterator[Formula]]] = {
    "endpoint": _endpoint,
    "stream": _stream,
    "model": _globs("model"),
    "path": _globs("path"),
    "header": _header,
    "messages": _range("messages"),
    "prompt_tokens": _range("prompt_tokens"),
    "questions": _range("questions"),
    "complexity": _range("complexity"),
    "has": _has,
    "sample": _sample,
    "keywords": _keywords,
}


def _conjunctions(formula: Formula) -> tuple[Branch, ...] | None:
    """The formula as an `any` of conjunctions; None beyond `MAX_BRANCHES`."""
    branches = [Branch()]
    for part in formula.parts if isinstance(formula, And) else (formula,):
        branches = [branch.and_(more) for branch in branches for more in _cases(part)]
        if len(branches) > MAX_BRANCHES:
            return None
    return tuple(branches)


def _cases(formula: Formula) -> Iterable[Branch]:
    if isinstance(formula, Or):
        return [branch for part in formula.parts for branch in _cases(part)][: MAX_BRANCHES + 1]
    if isinstance(formula, And):
        found = _conjunctions(formula)
        return found if found is not None else [Branch()] * (MAX_BRANCHES + 1)
    return (Branch.of(formula),)


def _proves(branch: Branch, goal: Formula) -> bool:
    if isinstance(goal, And):
        return all(_proves(branch, part) for part in goal.parts)
    if isinstance(goal, Or):
        return any(_proves(branch, part) for part in goal.parts)
    return branch.proves(goal)
