"""conditions -- the single tests of a match, on facts: True, False, or None for unknown.

Stand under `match`, which builds and combines them. Slotted objects, everything prepared at load;
a test of the head or of one field costs 0.1 to 0.3 µs, a test of texts what its scan costs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from proxy.openai.endpoints import Endpoint
from proxy.policy.facts import Facts, TakesLong
from proxy.policy.globs import matcher
from proxy.policy.keywords import Text, Words, slices
from proxy.policy.upstreams import CREDENTIALS
from proxy.policy.whose import in_words

Needs = frozenset[str]
HEAD: Needs = frozenset(("head",))
BODY: Needs = frozenset(("body",))


@dataclass(slots=True, frozen=True)
class Explained:
    """One condition with what it wanted and what it saw. No text of the app is in it but names and headers."""

    name: str  # the YAML key
    expected: str
    seen: str
    verdict: bool | None
    children: tuple[Explained, ...] = ()


class Condition(Protocol):
    """A test of one call. `cost` orders them inside an `all`: the cheap ones first."""

    name: str
    cost: int
    needs: Needs
    endpoints: frozenset[str] | None
    """The only endpoints for which it can be true, None where it does not depend on the endpoint alone."""

    def test(self, facts: Facts) -> bool | None:
        """The verdict. May raise `TakesLong`."""

    def explain(self, facts: Facts) -> Explained:
        """The verdict with its reasons, nothing left out. May raise `TakesLong`."""


class Leaf:
    """A condition without others in it."""

    __slots__ = ("expected",)
    name = ""
    cost = 0
    needs = BODY
    endpoints: frozenset[str] | None = None
    expected: str

    def test(self, facts: Facts) -> bool | None:
        """The verdict."""
        raise NotImplementedError

    def seen(self, facts: Facts) -> str:
        """What there was, in words. Asked only when the verdict is known."""
        raise NotImplementedError

    def why(self, facts: Facts) -> str:
        """Why the verdict is unknown."""
        return "; ".join(facts.unknown)

    def explain(self, facts: Facts) -> Explained:
        """The verdict with what it saw."""
        verdict = self.test(facts)
        seen = f"unknown: {self.why(facts)}" if verdict is None else self.seen(facts)
        return Explained(self.name, self.expected, seen, verdict)


class EndpointIs(Leaf):
    """Which API is called."""

    __slots__ = ("_wanted", "endpoints")
    name, cost, needs = "endpoint", 0, HEAD

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        names = tuple(each.value for each in endpoints)
        self._wanted = self.endpoints = frozenset(names)
        self.expected = _one_of(names)

    def holds(self, endpoint: str) -> bool:
        """The verdict on an endpoint."""
        return endpoint in self._wanted

    def test(self, facts: Facts) -> bool | None:
        return facts.endpoint in self._wanted

    def seen(self, facts: Facts) -> str:
        return str.__str__(facts.endpoint)


class PathIs(Leaf):
    """The path as sent."""

    __slots__ = ("_matches",)
    name, cost, needs = "path", 2, HEAD

    def __init__(self, globs: tuple[str, ...]) -> None:
        self._matches = matcher(globs)
        self.expected = _one_of(globs)

    def test(self, facts: Facts) -> bool | None:
        return self._matches(facts.path)

    def seen(self, facts: Facts) -> str:
        return facts.path


class HeaderIs(Leaf):
    """One request header: one of its values, or whether it is there."""

    __slots__ = ("_matches", "_present", "key", "name", "plain")
    cost, needs = 3, HEAD

    def __init__(self, header: str, globs: tuple[str, ...] | None, present: bool | None) -> None:
        self.name = f"header {header}"
        self.key = header.lower().encode()
        names = frozenset(globs or ())
        self.plain = names if not any("*" in name or "?" in name for name in names) else frozenset()  # the only values, where they are few
        self._matches = matcher(globs or ())
        self._present = present
        self.expected = _one_of(globs) if globs else "there" if present else "not there"

    def test(self, facts: Facts) -> bool | None:
        values = facts.header(self.key)
        if self._present is not None:
            return bool(values) is self._present
        return any(map(self._matches, values))

    def seen(self, facts: Facts) -> str:
        values = facts.header(self.key)
        if self.key.decode() in CREDENTIALS:
            return "there, not shown" if values else "not there"
        return ", ".join(values) if values else "not there"


class ModelIs(Leaf):
    """The model asked for. No model is no match."""

    __slots__ = ("_matches",)
    name, cost = "model", 4

    def __init__(self, globs: tuple[str, ...]) -> None:
        self._matches = matcher(globs)
        self.expected = _one_of(globs)

    def holds(self, model: str) -> bool:
        """The verdict on a model's name, empty where none is asked for."""
        return self._matches(model) if model else False

    def test(self, facts: Facts) -> bool | None:
        model = facts.model
        return None if model is None else self.holds(model)

    def seen(self, facts: Facts) -> str:
        return facts.model or "no model"


class StreamIs(Leaf):
    """Whether a stream is asked for."""

    __slots__ = ("_wanted",)
    name, cost = "stream", 5

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self.expected = str(wanted).lower()

    def test(self, facts: Facts) -> bool | None:
        stream = facts.stream
        return None if stream is None else stream is self._wanted

    def seen(self, facts: Facts) -> str:
        return str(facts.stream).lower()


class HasFeature(Leaf):
    """Whether the request carries one of these."""

    __slots__ = ("_wanted",)
    name, cost = "has", 7

    def __init__(self, features: tuple[str, ...]) -> None:
        self._wanted = features
        self.expected = _one_of(features)

    def test(self, facts: Facts) -> bool | None:
        verdict: bool | None = False
        for feature in self._wanted:
            has = facts.has(feature)
            if has:
                return True
            if has is None:
                verdict = None
        return verdict

    def seen(self, facts: Facts) -> str:
        return ", ".join(feature for feature in self._wanted if facts.has(feature)) or "none of them"


class MessageCount(Leaf):
    """How many messages there are."""

    __slots__ = ("_at_least", "_below")
    name, cost = "messages", 8

    def __init__(self, below: int | None, at_least: int | None) -> None:
        self._below = below
        self._at_least = at_least
        self.expected = _range(below, at_least)

    def test(self, facts: Facts) -> bool | None:
        count = facts.messages
        if count is None:
            return None
        return (self._below is None or count < self._below) and (self._at_least is None or count >= self._at_least)

    def seen(self, facts: Facts) -> str:
        return str(facts.messages)


class PromptTokens(Leaf):
    """How long the prompt is."""

    __slots__ = ("at_least", "below")
    name, cost, needs = "prompt_tokens", 20, BODY | {"tokens"}

    def __init__(self, below: int | None, at_least: int | None) -> None:
        self.below = below
        self.at_least = at_least
        self.expected = _range(below, at_least)

    def test(self, facts: Facts) -> bool | None:
        if self.at_least is not None:
            short = facts.prompt_below(self.at_least)
            if short is not False:
                return None if short is None else False
        return True if self.below is None else facts.prompt_below(self.below)

    def seen(self, facts: Facts) -> str:
        return facts.prompt_seen


class HasKeywords(Leaf):
    """Whole words in the texts. Its verdict is kept, as several policies may share it."""

    __slots__ = ("_all", "_any", "_direct_chars", "_none", "needed", "roles")
    name, cost = "keywords", 15

    def __init__(
        self,
        any_of: tuple[str, ...] | None,
        all_of: tuple[str, ...] | None,
        none_of: tuple[str, ...] | None,
        roles: frozenset[str],
    ) -> None:
        """`roles`: whose messages; none for the last user message."""
        self._any = Words(any_of) if any_of is not None else None
        self._all = Words(all_of) if all_of is not None else None
        self._none = Words(none_of) if none_of is not None else None
        self.roles = roles
        self._direct_chars = min((words.direct_chars for words in (self._any, self._all, self._none) if words is not None), default=0)
        words = self._any.words if self._any is not None else self._all.words[:1] if self._all is not None else ()
        self.needed = frozenset(word.first for word in words)  # one of these is in a text of which it is true
        lists = (("any of", any_of), ("all of", all_of), ("none of", none_of))
        self.expected = ", ".join(f"{what} {_short_list(words)}" for what, words in lists if words) + f" {in_words(roles)}"

    def test(self, facts: Facts) -> bool | None:
        if self in facts.memo:
            return facts.memo[self]
        texts = facts.texts(self.roles)
        if texts is not None and sum(map(len, texts)) > self._direct_chars:
            raise TakesLong(self)
        text = facts.text(self.roles)
        verdict = None if text is None else self._holds(text)
        facts.memo[self] = verdict
        return verdict

    async def settle(self, facts: Facts) -> None:
        """The same of a long text, slice by slice."""
        any_in, missing, none_in = self._any is None, list(self._all.words) if self._all is not None else [], True
        for text in facts.texts(self.roles) or ():
            for part in slices(text):
                any_in = any_in or (self._any is not None and self._any.any_in(part))
                missing = [word for word in missing if not word.is_in(part)]
                none_in = none_in and not (self._none is not None and self._none.any_in(part))
                await asyncio.sleep(0)
        facts.memo[self] = any_in and not missing and none_in

    def _holds(self, text: Text) -> bool:
        return (
            (self._any is None or self._any.any_in(text))
            and (self._all is None or self._all.all_in(text))
            and (self._none is None or not self._none.any_in(text))
        )

    def seen(self, facts: Facts) -> str:
        size = sum(map(len, facts.texts(self.roles) or ()))
        text = facts.text(self.roles) if size <= self._direct_chars else None
        if text is None:
            return f"{size:,} characters, read in slices"
        found = [word for words in (self._any, self._all, self._none) if words is not None for word in words.found_in(text)]
        return _short_list(tuple(found)) if found else "none of them"


def _one_of(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _short_list(words: tuple[str, ...], limit: int = 8) -> str:
    return ", ".join(words[:limit]) + (f" and {len(words) - limit} more" if len(words) > limit else "")


def _range(below: int | None, at_least: int | None) -> str:
    parts = ([f"at least {at_least}"] if at_least is not None else []) + ([f"below {below}"] if below is not None else [])
    return " and ".join(parts)
