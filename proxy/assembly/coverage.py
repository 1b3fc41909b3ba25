"""coverage -- what no case of a test file exercises: policies that never match, conditions that are never true or never false, and
what they set that never takes effect.

Conditions are asked once more for each request of a case, outside of the engine, which is not slowed down for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from proxy.assembly.load import Policies
from proxy.assembly.rules import Rule, chosen
from proxy.assembly.stack import PLACES
from proxy.core.clock import Clock
from proxy.openai.endpoints import endpoint_of
from proxy.openai.payload import Payload
from proxy.openai.tokens import Tokens
from proxy.policy.conditions import Explained
from proxy.policy.facts import Facts


@dataclass(slots=True, frozen=True)
class Point:
    """One thing that a case can show of a policy. `where` is the policy's place."""

    policy: str
    where: str
    what: str
    lacks: str  # how it was never seen
    seen: bool


@dataclass(slots=True)
class _Seen:
    """What was seen of one policy."""

    name: str
    verdicts: set[bool | None] = field(default_factory=set)
    leaves: dict[tuple[int, ...], tuple[str, set[bool | None]]] = field(default_factory=dict)
    effects: dict[str, bool] = field(default_factory=dict)


async def explained(rules: Sequence[Rule], facts: Facts) -> list[Explained]:
    """Each rule's condition, asked in full."""
    return [await facts.answer(rule.condition.explain) for rule in rules]


def facts_of(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, tokens: Tokens | None, clock: Clock) -> Facts:
    """The facts of a request whose body is all here."""
    endpoint = endpoint_of(method, target)
    encoding = next((value for name, value in headers if name.lower() == b"content-encoding"), None)
    payload = Payload(body, endpoint, encoding) if body else None
    return Facts(endpoint, method, target, headers, payload, tokens, wall_ns=clock.wall_ns)


class Coverage:
    """Collects over cases and files; a policy is known by its place."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def declare(self, policies: Policies) -> None:
        """These are under test, whether or not a case touches them."""
        for rule in policies.rules:
            if rule.where not in self._seen:
                seen = self._seen[rule.where] = _Seen(rule.name)
                seen.effects = {name: False for part in rule.parts for name in _effects(part.kind.name, part.fields)}

    def add(self, rules: Sequence[Rule], explanations: Sequence[Explained]) -> None:
        """One request."""
        for rule, explanation in zip(rules, explanations, strict=True):
            if (seen := self._seen.get(rule.where)) is None:
                continue
            seen.verdicts.add(explanation.verdict)
            for path, leaf in _leaves(explanation.children, ()):
                seen.leaves.setdefault(path, (f"{leaf.name}: {leaf.expected}", set()))[1].add(leaf.verdict)
        matched = [rule for rule, explanation in zip(rules, explanations, strict=True) if explanation.verdict]
        layers, _ = chosen([rule for rule in matched if not rule.shadow], lambda kind: PLACES[kind.place])
        for layered in layers:
            self._took_effect(layered.rule, layered.part.kind.name, layered.fields)
        for rule in matched:
            if rule.shadow:
                for part in rule.parts:
                    self._took_effect(rule, part.kind.name, part.fields)

    def _took_effect(self, rule: Rule, kind: str, fields: Iterable[str]) -> None:
        if (seen := self._seen.get(rule.where)) is not None:
            for name in _effects(kind, fields):
                seen.effects[name] = True

    def points(self) -> Iterator[Point]:
        """Everything that could be shown, in the order of policies."""
        for where, seen in self._seen.items():
            yield Point(seen.name, where, "the policy", "never matches", True in seen.verdicts)
            if seen.leaves:
                yield Point(seen.name, where, "the policy", "always matches", bool(seen.verdicts - {True}))
            for what, verdicts in seen.leaves.values() if len(seen.leaves) > 1 else ():
                yield Point(seen.name, where, what, "never true", True in verdicts)
                yield Point(seen.name, where, what, "never false", False in verdicts)
            for name, took in seen.effects.items():
                if True in seen.verdicts:
                    yield Point(seen.name, where, name, "never in effect", took)

    def percent(self) -> float:
        """How much of it was shown; 100 where there is nothing to show."""
        points = list(self.points())
        return 100 * sum(point.seen for point in points) / len(points) if points else 100.0


def _effects(kind: str, fields: Iterable[str]) -> list[str]:
    """Names of what a part sets."""
    return [f"{kind}.{name}" if name else kind for name in sorted(fields)] or [kind]


def _leaves(conditions: Sequence[Explained], at: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Explained]]:
    for place, one in enumerate(conditions):
        if any(child.expected for child in one.children):  # a measure's parts expect nothing
            yield from _leaves(one.children, (*at, place))
        else:
            yield (*at, place), one
