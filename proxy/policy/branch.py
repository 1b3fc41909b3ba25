"""branch -- a conjunction of single tests: whether they contradict each other, what follows from them, whether some call fits all.

Stands under `logic`, for the warnings of `check`; never asked in a call. Facts of one key are known or unknown together, so that a denied
test follows from another test of the same key, and never from that of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import add, and_, or_
from typing import TypeVar

from proxy.policy.glob_sets import are_within, is_within, may_meet, samples
from proxy.policy.globs import matcher
from proxy.policy.problems import listed


@dataclass(slots=True, frozen=True)
class Among:
    """A fact with few values (endpoint, stream) is one of these."""

    key: str
    values: frozenset[object]


@dataclass(slots=True, frozen=True)
class Range:
    """A number is at least `least`, and below `below`."""

    key: str
    least: float
    below: float | None


@dataclass(slots=True, frozen=True)
class Globs:
    """A text is matched by one of these; or, not `positive`, by none. A header may have several values: one of them is."""

    key: str
    globs: tuple[str, ...]
    positive: bool = True


@dataclass(slots=True, frozen=True)
class Present:
    """A header is there, or is not."""

    key: str
    present: bool


@dataclass(slots=True, frozen=True)
class Contains:
    """One of these things is in the request (words in a text, features); or, not `positive`, none is."""

    key: str
    things: frozenset[str]
    positive: bool = True


@dataclass(slots=True, frozen=True)
class Opaque:
    """A test of which nothing is known but its text."""

    key: str
    text: str
    positive: bool = True


_T = TypeVar("_T")
Literal = Among | Range | Globs | Present | Contains | Opaque
Bounds = tuple[float, float | None]
Words = tuple[frozenset[str], ...]
NOTHING: frozenset[str] = frozenset()
ABSENT = frozenset((False,))
CHAT = frozenset(("chat",))  # its requests may hold whatever a test asks for
SPOKEN = CHAT | {"responses"}
COUNTS = frozenset(("prompt_tokens", "messages"))
UNTOLD = frozenset(  # they say something of the endpoint, or of whether the body can be read
    ("path", "header content-type", "header content-encoding", "header content-length", "header transfer-encoding", "header upgrade")
)


@dataclass(slots=True, frozen=True)
class Branch:
    """The tests, by key. `texts`: one glob of each tuple; `no_texts`: none of them; `any_of`: one thing of each set; `none_of`: none."""

    among: dict[str, frozenset[object]] = field(default_factory=dict)
    ranges: dict[str, Bounds] = field(default_factory=dict)
    texts: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    no_texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    present: dict[str, frozenset[bool]] = field(default_factory=dict)
    any_of: dict[str, Words] = field(default_factory=dict)
    none_of: dict[str, frozenset[str]] = field(default_factory=dict)
    opaque: frozenset[tuple[str, str, bool]] = frozenset()

    @classmethod
    def of(cls, test: Literal) -> Branch:
        """Of one test."""
        key = test.key
        if isinstance(test, Among):
            return cls(among={key: test.values})
        if isinstance(test, Range):
            return cls(ranges={key: (test.least, test.below)})
        if isinstance(test, Present):
            return cls(present={key: frozenset((test.present,))})
        if isinstance(test, Globs):
            return cls(texts={key: (test.globs,)}) if test.positive else cls(no_texts={key: test.globs})
        if isinstance(test, Contains):
            return cls(any_of={key: (test.things,)}) if test.positive else cls(none_of={key: test.things})
        return cls(opaque=frozenset(((key, test.text, test.positive),)))

    def and_(self, other: Branch) -> Branch:
        """With the tests of another."""
        return Branch(
            _joined(self.among, other.among, and_),
            _joined(self.ranges, other.ranges, _narrower),
            _joined(self.texts, other.texts, _added),
            _joined(self.no_texts, other.no_texts, add),
            _joined(self.present, other.present, and_),
            _joined(self.any_of, other.any_of, _added),
            _joined(self.none_of, other.none_of, or_),
            self.opaque | other.opaque,
        )

    def tests(self) -> Iterable[Literal]:
        """The tests that it is made of."""
        yield from (Among(key, values) for key, values in self.among.items())
        yield from (Range(key, *bounds) for key, bounds in self.ranges.items())
        yield from (Globs(key, globs) for key, each in self.texts.items() for globs in each)
        yield from (Globs(key, globs, False) for key, globs in self.no_texts.items())
        yield from (Present(key, value) for key, values in self.present.items() for value in values)
        yield from (Contains(key, things) for key, each in self.any_of.items() for things in each)
        yield from (Contains(key, things, False) for key, things in self.none_of.items())
        yield from (Opaque(*each) for each in self.opaque)

    def is_elsewhere(self, other: Branch) -> bool:
        """A quick look: whether both ask one text for plain names, and for none in common. For headers that is likely, not certain."""
        for key, mine in self.texts.items():
            theirs = other.texts.get(key)
            if theirs is None or any("*" in text or "?" in text for text in (*mine[0], *theirs[0])):
                continue
            if frozenset(mine[0]).isdisjoint(theirs[0]):
                return True
        return False

    # Contradictions

    def contradiction(self) -> str | None:
        """Why no call can pass all of them, None where one may."""
        for key, values in self.among.items():
            if not values:
                return f"no `{key}` is left that every condition allows"
        for key, (least, below) in self.ranges.items():
            if below is not None and least >= below:
                return f"`{key}` would have to be at least {least} and below {below}"
        for key in self.texts:
            if (why := self._no_text(key)) is not None:
                return why
        for key, present in self.present.items():
            if not present or (False in present and key in self.texts):
                return f"`{key}` would have to be there and not be there"
        for key, sets in self.any_of.items():
            for things in sets:
                if things <= self.none_of.get(key, NOTHING):
                    return f"`{key}`: {_some(things)} would have to be there and not be there"
        for key, text, positive in self.opaque:
            if positive and (key, text, False) in self.opaque:
                return f"`{key}` would have to hold and not hold"
        return None

    def _no_text(self, key: str) -> str | None:
        for globs in self.texts[key]:
            if not self.alive(key, globs):
                others = [other for other in self.texts[key] if other != globs]
                also = f" and {' and '.join(_some(other) for other in others)}" if others and not _is_header(key) else ""
                denied = self.no_texts.get(key, ())
                but = f", and not {_some(denied)}" if denied else ""
                return f"`{key}` would have to be {_some(globs)}{also}{but}"
        return None

    def alive(self, key: str, globs: Iterable[str]) -> list[str]:
        """Those of `globs`, of which the text of `key` must fit one, that it may still fit."""
        denied = self.no_texts.get(key, ())
        others = () if _is_header(key) else [other for other in self.texts.get(key, ()) if other is not globs]
        return [
            glob
            for glob in globs
            if not any(is_within(glob, no) for no in denied) and all(any(may_meet(glob, one) for one in other) for other in others)
        ]

    def alternatives(self, key: str) -> list[str] | None:
        """Globs one of which the text of `key` surely fits, the fewest known; None where nothing is asked of it."""
        found = [self.alive(key, globs) for globs in self.texts.get(key, ())]
        return min(found, key=lambda globs: (len(globs), "".join(globs).count("*"))) if found else None

    # Consequences

    def proves(self, test: Literal) -> bool:
        """Whether `test` is surely true when all of these are."""
        key = test.key
        if isinstance(test, Among):
            return key in self.among and self.among[key] <= test.values
        if isinstance(test, Range):
            if key not in self.ranges:
                return False
            least, below = self.ranges[key]
            return least >= test.least and (test.below is None or (below is not None and below <= test.below))
        if isinstance(test, Present):
            known = self.present.get(key) == frozenset((test.present,))
            return known or (test.present and key in self.texts)
        if isinstance(test, Globs):
            return self._proves_text(key, test.globs) if test.positive else self._proves_no_text(key, test.globs)
        if isinstance(test, Contains):
            denied = self.none_of.get(key, NOTHING)
            if not test.positive:
                return test.things <= denied
            return any(things - denied <= test.things for things in self.any_of.get(key, ()))
        return (key, test.text, test.positive) in self.opaque

    def _proves_text(self, key: str, wanted: tuple[str, ...]) -> bool:
        return any(are_within(self.alive(key, globs), wanted) for globs in self.texts.get(key, ()))

    def _proves_no_text(self, key: str, denied: tuple[str, ...]) -> bool:
        mine = self.no_texts.get(key, ())
        if _is_header(key) and self.present.get(key) == ABSENT:
            return True
        known = [] if _is_header(key) else [self.alive(key, globs) for globs in self.texts.get(key, ())]
        return all(
            any(is_within(no, one) for one in mine) or any(not any(may_meet(no, one) for one in globs) for globs in known) for no in denied
        )

    # A call that passes

    def surely_holds(self) -> bool:
        """Whether surely some call passes all of them. Claimed only where it is a chat or a Responses call that no other test forbids."""
        if self.contradiction() is not None or self.opaque or self.ranges.keys() - COUNTS:
            return False
        if not self.among.get("endpoint", SPOKEN) & (CHAT if "has" in self.any_of else SPOKEN):
            return False
        if any(below is not None and below < 100 for key, (_, below) in self.ranges.items() if self.any_of or key == "messages"):
            return False  # a short prompt that must hold words as well; few messages
        texts = {*self.texts, *self.no_texts}
        return not texts & UNTOLD and all(map(self._has_text, texts)) and all(map(self._has_things, self.any_of))

    def _has_text(self, key: str) -> bool:
        wanted = [matcher(globs) for globs in self.texts.get(key, ())]
        denied = matcher(self.no_texts.get(key, ()))
        if not wanted and _is_header(key):
            return True  # it is absent
        tried = [text for globs in self.texts.get(key, ()) for glob in globs for text in samples(glob)] or ["a-model-of-no-list"]
        return any(all(fits(text) for fits in wanted) and not denied(text) for text in tried)

    def _has_things(self, key: str) -> bool:
        return key not in self.none_of and (key != "has" or bool(frozenset.intersection(*self.any_of[key])))


def _is_header(key: str) -> bool:
    return key.startswith("header ")


def _joined(one: dict[str, _T], other: dict[str, _T], join: Callable[[_T, _T], _T]) -> dict[str, _T]:
    if not (one and other):
        return one or other
    return {**one, **{key: join(one[key], value) if key in one else value for key, value in other.items()}}


def _added(before: tuple[_T, ...], more: tuple[_T, ...]) -> tuple[_T, ...]:
    return (*before, *(each for each in more if each not in before))


def _narrower(one: Bounds, other: Bounds) -> Bounds:
    below = other[1] if one[1] is None else one[1] if other[1] is None else min(one[1], other[1])
    return max(one[0], other[0]), below


def _some(names: Iterable[str]) -> str:
    quoted = [f"'{name}'" for name in sorted(names)]
    return quoted[0] if len(quoted) == 1 else f"one of {listed(quoted, 4)}"
