"""rules -- policies as the engine runs them: a condition, and the parts of `apply` with the fields that each sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from proxy.policy.conditions import Condition
from proxy.policy.kind import Kind
from proxy.policy.spec import Spec


@dataclass(slots=True, frozen=True)
class Part:
    """One kind of one policy. `digest` is of its spec: a layer keeps its state over a reload while it stays the same."""

    kind: Kind
    spec: Spec
    fields: frozenset[str]
    digest: str

    @classmethod
    def of(cls, kind: Kind, spec: Spec) -> Part:
        """A part with its digest."""
        digest = hashlib.sha256(f"{kind.name}\0{spec.model_dump_json()}".encode()).hexdigest()
        return cls(kind, spec, kind.fields(spec), digest)

    @property
    def adds_up(self) -> bool:
        """Whether all matching policies of this kind apply, not only the first."""
        return not self.fields


@dataclass(slots=True, frozen=True)
class Rule:
    """One policy, compiled. `place` is its position in file order."""

    place: int
    name: str
    shadow: bool
    condition: Condition
    parts: tuple[Part, ...]
    labels: tuple[tuple[str, str], ...] = ()
    where: str = ""  # file:line:column

    @property
    def reads_body(self) -> bool:
        """Whether its layers need the body."""
        return any(part.kind.reads_body(part.spec) for part in self.parts)

    @property
    def matches_body(self) -> bool:
        """Whether its condition does."""
        return "body" in self.condition.needs


@dataclass(slots=True, frozen=True)
class Layered:
    """A part that acts in a stack: the fields that it won, and whose it is."""

    rule: Rule
    part: Part
    fields: frozenset[str]


@dataclass(slots=True, frozen=True)
class Shadowed:
    """A part, or some of its fields, that an earlier policy had set already. `fields` is empty where the kind has but one."""

    policy: str
    kind: str
    fields: tuple[str, ...]
    by: str


def chosen(matched: Sequence[Rule], order: Callable[[Kind], int]) -> tuple[list[Layered], list[Shadowed]]:
    """Precedence: of each field the first policy in file order wins; what adds up all acts. Layers come in stack order, outermost first."""
    taken: dict[tuple[str, str], Rule] = {}
    layers: list[Layered] = []
    shadowed: list[Shadowed] = []
    for rule in matched:
        for part in rule.parts:
            if part.adds_up:
                layers.append(Layered(rule, part, frozenset()))
                continue
            name = part.kind.name
            lost: dict[str, list[str]] = {}
            won = set()
            for field in sorted(part.fields):
                holder = taken.setdefault((name, field), rule)
                if holder is rule:
                    won.add(field)
                else:
                    lost.setdefault(holder.name, []).append(field)
            shadowed.extend(Shadowed(rule.name, name, tuple(filter(None, fields)), by) for by, fields in lost.items())
            if won:
                layers.append(Layered(rule, part, frozenset(won)))
    layers.sort(key=lambda layered: (order(layered.part.kind), layered.rule.place))
    return layers, list(dict.fromkeys(shadowed))  # a kind with two layers loses once


def of_endpoint(rules: Iterable[Rule], endpoint: str) -> list[Rule]:
    """The rules that a call to `endpoint` may match."""
    return [rule for rule in rules if rule.condition.endpoints is None or endpoint in rule.condition.endpoints]
