"""gates -- of many conditions, those that may be true for a call, found without asking each.

Stands between the engine and what `narrowing` left. Each condition is put behind one thing that it cannot be true without: a header's
value, a word in a text, a size of the prompt, or a cheap test that it shares with others. What is behind an open gate is then asked as
ever, so a gate that opens too often costs time and changes nothing. Where a fact is unknown, all gates on it are open.
Cost: 0.5 µs a gate, and one pass over the text for all words together (linear, whatever the text): 2 µs for 1 KB, 40 µs for 32 KB.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

from proxy.policy.conditions import Condition, HasKeywords, HeaderIs, PromptTokens
from proxy.policy.facts import Facts, TakesLong
from proxy.policy.keywords import DIRECT_CHARS, slices
from proxy.policy.narrowing import conjuncts

WORTH = 8  # conditions from which on gates are cheaper than asking each
SHARED_COST = 8  # a test that costs more is no gate: it may not be needed at all
TABLE_WORDS = 1000  # up to here the quickest form, of a few MB and 10 ms to build; twice as quick as what takes more words

Positions = Iterable[int]
_first = itemgetter(0)


class Gate(Protocol):
    """What some of the conditions cannot be true without."""

    def open(self, facts: Facts) -> Positions:
        """Which of its conditions may be true. May raise `TakesLong`."""


class Gates:
    """The gates of a list of conditions."""

    __slots__ = ("_free", "_gates")

    def __init__(self, conditions: Sequence[Condition]) -> None:
        parts = [conjuncts(condition) for condition in conditions]
        count = Counter(id(child) for children in parts for child in set(children))
        shared: dict[int, _Shared] = {}
        headers: dict[bytes, _Header] = {}
        words: dict[frozenset[str], _Words] = {}
        tokens = _Tokens()
        free: list[int] = []
        for at, children in enumerate(parts):
            common = [child for child in children if count[id(child)] > 1 and child.cost <= SHARED_COST]
            header = next((child for child in children if isinstance(child, HeaderIs) and child.plain), None)
            spoken = next((child for child in children if isinstance(child, HasKeywords) and child.needed), None)
            sized = next((child for child in children if isinstance(child, PromptTokens)), None)
            if header is not None:
                headers.setdefault(header.key, _Header(header.key)).add(at, header.plain)
            elif common:
                test = max(common, key=lambda child: count[id(child)])
                shared.setdefault(id(test), _Shared(test)).behind.append(at)
            elif spoken is not None:
                words.setdefault(spoken.roles, _Words(spoken.roles)).add(at, spoken.needed)
            elif sized is not None:
                tokens.add(at, sized)
            else:
                free.append(at)
        self._free = tuple(free)
        gates: list[Gate] = [*shared.values(), *headers.values(), *words.values(), *([tokens] if tokens.is_used else [])]
        for each in words.values():
            each.close()
        tokens.close()
        self._gates = tuple(gates)

    def open(self, facts: Facts) -> list[int]:
        """The positions of the conditions to ask, in order. May raise `TakesLong`."""
        found = list(self._free)
        for gate in self._gates:
            found.extend(gate.open(facts))
        found.sort()
        return found


class _Shared:
    """One cheap test that several conditions have."""

    __slots__ = ("behind", "test")

    def __init__(self, test: Condition) -> None:
        self.test = test
        self.behind: list[int] = []

    def open(self, facts: Facts) -> Positions:
        return () if self.test.test(facts) is False else self.behind


class _Header:
    """A header that has one of these values."""

    __slots__ = ("_behind", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._behind: dict[str, list[int]] = {}

    def add(self, at: int, values: Iterable[str]) -> None:
        for value in values:
            self._behind.setdefault(value, []).append(at)

    def open(self, facts: Facts) -> Positions:
        values = facts.header(self._key)
        if not values:
            return ()
        return {at for value in values for at in self._behind.get(value, ())}


class _Words:
    """Words of which one must be in the text: as parts of it, whether they stand there as words is asked later."""

    __slots__ = ("_all", "_behind", "_key", "_roles", "_search", "_words")

    def __init__(self, roles: frozenset[str]) -> None:
        self._roles = roles
        self._key = f"words in {sorted(roles)}"
        self._words: dict[str, list[int]] = {}
        self._behind: list[list[int]] = []
        self._all: list[int] = []
        self._search: Any = None

    def add(self, at: int, words: Iterable[str]) -> None:
        self._all.append(at)
        for word in words:
            self._words.setdefault(word, []).append(at)

    def close(self) -> None:
        """Builds what searches, once all words are here: a millisecond for a thousand."""
        from ahocorasick_rs import BytesAhoCorasick, Implementation

        words = [word.encode("utf-8", "surrogatepass") for word in self._words]
        table = Implementation.DFA if len(words) <= TABLE_WORDS else None
        self._search = BytesAhoCorasick(words, implementation=table).find_matches_as_indexes
        self._behind = list(self._words.values())

    def open(self, facts: Facts) -> Positions:
        found: set[int] | None = facts.kept.get(self._key)
        if found is not None:
            return found
        texts = facts.texts(self._roles)
        if texts is None:
            return self._all
        if sum(map(len, texts)) > DIRECT_CHARS:
            raise TakesLong(self)
        text = facts.text(self._roles)
        return self._behind_words_of(text.bytes) if text is not None else self._all

    def _behind_words_of(self, text: bytes) -> set[int]:
        return {at for word in {match[0] for match in self._search(text, overlapping=True)} for at in self._behind[word]}

    async def settle(self, facts: Facts) -> None:
        """The same of a long text, slice by slice."""
        found: set[int] = set()
        for text in facts.texts(self._roles) or ():
            for part in slices(text):
                found |= self._behind_words_of(part.bytes)
                await asyncio.sleep(0)
        facts.kept[self._key] = found


class _Tokens:
    """Sizes of the prompt, by what its bytes alone say: a token has one to 128 of them."""

    __slots__ = ("_at_least", "_below")

    def __init__(self) -> None:
        self._at_least: list[tuple[int, int]] = []  # the limit, and the position behind it
        self._below: list[tuple[int, int]] = []

    @property
    def is_used(self) -> bool:
        return bool(self._at_least or self._below)

    def add(self, at: int, sized: PromptTokens) -> None:
        if sized.at_least is not None:
            self._at_least.append((sized.at_least, at))
        elif sized.below is not None:
            self._below.append((sized.below, at))

    def close(self) -> None:
        self._at_least.sort()
        self._below.sort()

    def open(self, facts: Facts) -> Positions:
        bounds = facts.prompt_bounds
        least, most = bounds if bounds is not None else (0, 1 << 62)
        reached = bisect_right(self._at_least, most, key=_first)
        open_still = bisect_right(self._below, least, key=_first)
        return [at for _, at in (*self._at_least[:reached], *self._below[open_still:])]
