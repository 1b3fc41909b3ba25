"""match -- MatchSpec to one Condition: the builders, the three-valued combinators, and what signals share.

Stands over the single conditions; used at load. A new condition is one field of MatchSpec and one entry of `_BUILDERS`.
Equal conditions of several policies become one object, so a dear one is tested once a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from proxy.openai.endpoints import Endpoint
from proxy.policy.conditions import (
    HEAD,
    Condition,
    EndpointIs,
    Explained,
    HasFeature,
    HasKeywords,
    HeaderIs,
    MessageCount,
    ModelIs,
    Needs,
    PathIs,
    PromptTokens,
    StreamIs,
)
from proxy.policy.facts import Facts
from proxy.policy.language import LanguageIs
from proxy.policy.match_spec import MatchSpec
from proxy.policy.regex import MatchesRegex
from proxy.policy.sample import InSample
from proxy.policy.schedule import OnSchedule
from proxy.policy.whose import roles_of

_ALL_ENDPOINTS = frozenset(each.value for each in Endpoint)


class _Group:
    """Conditions under one name. Tested cheap ones first, explained in the order in which they were built."""

    __slots__ = ("_ordered", "children", "cost", "endpoints", "expected", "name", "needs")

    def __init__(self, name: str, children: tuple[Condition, ...], expected: str) -> None:
        self.name = name
        self.expected = expected
        self.cost = max((child.cost for child in children), default=0)
        self.needs: Needs = HEAD.union(*(child.needs for child in children)) if children else frozenset()
        self.endpoints: frozenset[str] | None = None
        self.children = children
        self._ordered = tuple(sorted(children, key=lambda child: child.cost))

    def test(self, facts: Facts) -> bool | None:
        """The verdict."""
        raise NotImplementedError

    def explain(self, facts: Facts) -> Explained:
        """The verdict over all of them, none skipped."""
        children = tuple(child.explain(facts) for child in self.children)
        verdict = self.test(facts)
        held = sum(child.verdict is True for child in children)
        return Explained(self.name, self.expected, f"{held} of {len(children)}" if children else "no condition", verdict, children)


class All(_Group):
    """True when each is true, False when one is false, else unknown. Without any: true."""

    __slots__ = ()

    def __init__(self, name: str, children: tuple[Condition, ...]) -> None:
        super().__init__(name, children, "each of them" if children else "always")
        known = [child.endpoints for child in children if child.endpoints is not None]
        self.endpoints = frozenset.intersection(*known) if known else None

    def test(self, facts: Facts) -> bool | None:
        verdict: bool | None = True
        for child in self._ordered:
            one = child.test(facts)
            if one is False:
                return False
            if one is None:
                verdict = None
        return verdict


class AnyOf(_Group):
    """True when one is true, unknown when one is unknown, else False."""

    __slots__ = ()

    def __init__(self, name: str, children: tuple[Condition, ...]) -> None:
        super().__init__(name, children, "one of them")
        known = [child.endpoints for child in children]
        self.endpoints = None if None in known else frozenset().union(*(each for each in known if each is not None))

    def test(self, facts: Facts) -> bool | None:
        verdict: bool | None = False
        for child in self._ordered:
            one = child.test(facts)
            if one:
                return True
            if one is None:
                verdict = None
        return verdict


class Not(_Group):
    """The contrary; unknown stays unknown."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Condition, endpoints: frozenset[str] | None) -> None:
        super().__init__("not", (inner,), "does not hold")
        self._inner = inner
        self.endpoints = endpoints

    def test(self, facts: Facts) -> bool | None:
        one = self._inner.test(facts)
        return None if one is None else not one


class Signal(_Group):
    """A named condition; its verdict is kept for the call."""

    __slots__ = ("_inner",)

    def __init__(self, signal: str, inner: Condition) -> None:
        super().__init__(f"signal {signal}", (inner,), "holds")
        self._inner = inner
        self.endpoints = inner.endpoints

    def test(self, facts: Facts) -> bool | None:
        if self in facts.memo:
            return facts.memo[self]
        verdict = self._inner.test(facts)
        facts.memo[self] = verdict
        return verdict


class Compiler:
    """Makes conditions of specs. Signals must exist and have no cycles: `references` is checked before."""

    def __init__(self, signals: Mapping[str, MatchSpec]) -> None:
        self._specs = signals
        self._signals: dict[str, Condition] = {}
        self._known: dict[str, Condition] = {}
        self.owner = ""  # the policy or signal that is being compiled

    def condition(self, spec: MatchSpec, name: str = "match", owner: str | None = None) -> Condition:
        """The one condition that stands for `spec`. `owner`: the policy or signal in which it stands, by default the one of before."""
        before = self.owner
        self.owner = before if owner is None else owner
        try:
            return All(name, tuple(self._parts(spec)))
        finally:
            self.owner = before

    def signal(self, name: str) -> Condition:
        """The condition of a signal, made once."""
        if name not in self._signals:
            self._signals[name] = Signal(name, self.condition(self._specs[name], owner=name))
        return self._signals[name]

    def _parts(self, spec: MatchSpec) -> Iterator[Condition]:
        for field in spec.model_fields_set:
            if getattr(spec, field) is not None and field not in _BUILDERS:
                raise AssertionError(f"no builder for {field}")
        for field, build in _BUILDERS.items():
            value = getattr(spec, field)
            if value is not None:
                yield from build(self, value)

    def shared(self, key: object, make: Callable[[], Condition]) -> Condition:
        """The condition that was made for an equal `key`, or a new one."""
        text = repr(key)
        if text not in self._known:
            self._known[text] = make()
        return self._known[text]


def _endpoints_of_not(inner: MatchSpec) -> frozenset[str] | None:
    """The other endpoints, where nothing but the endpoint is denied."""
    only = inner.model_dump(exclude_none=True, by_alias=True)
    return _ALL_ENDPOINTS - {each.value for each in inner.endpoint or ()} if list(only) == ["endpoint"] else None


_Builder = Callable[[Compiler, Any], Iterator[Condition]]


def _one(make: Callable[[Any], Condition]) -> _Builder:
    def build(compiler: Compiler, value: Any) -> Iterator[Condition]:
        yield compiler.shared((make, value), lambda: make(value))

    return build


def _headers(compiler: Compiler, value: Any) -> Iterator[Condition]:
    for name, spec in value.items():
        yield HeaderIs(name, spec.equals, spec.present)


def _signals(compiler: Compiler, value: Any) -> Iterator[Condition]:
    found = tuple(compiler.signal(name) for name in value)
    yield found[0] if len(found) == 1 else AnyOf("signals", found)


def _sample(compiler: Compiler, value: Any) -> Iterator[Condition]:
    owner = compiler.owner
    yield compiler.shared(("sample", value, value.of or owner), lambda: InSample(value, owner))


def _schedule(compiler: Compiler, value: Any) -> Iterator[Condition]:
    found = tuple(compiler.shared(("schedule", each), partial(OnSchedule, each)) for each in value)
    yield found[0] if len(found) == 1 else AnyOf("schedule", found)


def _regex(compiler: Compiler, value: Any) -> Iterator[Condition]:
    yield compiler.shared(("regex", value.any_of, sorted(value.roles)), lambda: MatchesRegex(value.any_of, value.roles))


def _keywords(compiler: Compiler, value: Any) -> Iterator[Condition]:
    roles = roles_of(value.in_)
    key = ("keywords", value.any_of, value.all_of, value.none_of, tuple(sorted(roles)))
    yield compiler.shared(key, lambda: HasKeywords(value.any_of, value.all_of, value.none_of, roles))


def _group(make: Callable[[str, tuple[Condition, ...]], Condition], name: str) -> _Builder:
    def build(compiler: Compiler, value: Any) -> Iterator[Condition]:
        yield make(name, tuple(compiler.condition(each) for each in value))

    return build


def _not(compiler: Compiler, value: Any) -> Iterator[Condition]:
    yield Not(compiler.condition(value), _endpoints_of_not(value))


def _question_count(spec: Any) -> Condition:
    from proxy.policy.complexity import QuestionCount  # its words take half a megabyte

    return QuestionCount(spec.below, spec.at_least)


def _complexity(spec: Any) -> Condition:
    from proxy.policy.complexity import ComplexityIs

    return ComplexityIs(spec.below, spec.at_least)


_BUILDERS: Mapping[str, _Builder] = {
    "endpoint": _one(EndpointIs),
    "path": _one(PathIs),
    "header": _headers,
    "model": _one(ModelIs),
    "stream": _one(StreamIs),
    "has": _one(HasFeature),
    "messages": _one(lambda spec: MessageCount(spec.below, spec.at_least)),
    "prompt_tokens": _one(lambda spec: PromptTokens(spec.below, spec.at_least)),
    "questions": _one(_question_count),
    "complexity": _one(_complexity),
    "keywords": _keywords,
    "regex": _regex,
    "language": _one(LanguageIs),
    "sample": _sample,
    "schedule": _schedule,
    "signals": _signals,
    "all": _group(All, "all"),
    "any": _group(AnyOf, "any"),
    "not_": _not,
}
