"""kind -- what one sort of policy is: its YAML key, its model, its place in the onion, and how its layer is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from proxy.core.call import Call
from proxy.core.service import Layer

if TYPE_CHECKING:
    from proxy.core.clock import Clock
    from proxy.policy.spec import Spec
    from proxy.policy.view import View, Warned

Observer = Callable[[Call], None]  # notes in the journal what a policy in shadow would have done; changes nothing


class Floor(Enum):
    """How often a layer runs: once a call, once for the plan of its exchanges, once an exchange."""

    CALL = "call"
    PLAN = "plan"
    EXCHANGE = "exchange"


@dataclass(slots=True, frozen=True)
class Site:
    """Where a layer is built: whose it is, which of its fields won, and what it may use."""

    policy: str
    fields: frozenset[str]
    clock: Clock
    build: Callable[[Place, Any, Site], Layer] | None = None
    """The layer of another kind, for a kind that has some of its settings: none may import another."""


@dataclass(slots=True, frozen=True)
class Shown:
    """What a layer tells of its state, on the admin port: of one target, or of itself. Never content, never a key."""

    kind: str
    labels: Mapping[str, str]  # whose state it is: policy, upstream, model
    what: Mapping[str, object]  # plain values, for a person
    gauges: Mapping[str, float] = field(default_factory=dict)  # metrics by name, of these labels
    is_news: bool = False  # an operator wants to see it at once


@runtime_checkable
class Shows(Protocol):
    """A layer that has a state to tell of."""

    def shown(self) -> Iterable[Shown]:
        """What it is now."""


def _whole(spec: Any) -> frozenset[str]:
    return frozenset(("",))


def _nothing(spec: Any, view: View) -> Iterable[Warned]:
    return ()


@dataclass(slots=True, frozen=True)
class Kind:
    """One sort of policy. Constructors are pure; what `enforce` builds may hold state, which survives a reload of an unchanged spec."""

    name: str  # the YAML key under `apply`, the span attribute, the file and the heading in the docs
    spec: type[Spec]
    floor: Floor
    enforce: Callable[[Any, Site], Layer]
    shadow: Callable[[Any, Site], Observer] | None
    fields: Callable[[Any], frozenset[str]] = _whole
    """The fields that a spec sets: of each, the first matching policy in file order wins and the others are shadowed.
    A kind whose policies all add up returns none."""
    reads_body: Callable[[Any], bool] = field(default=lambda spec: False)
    """Whether the layer needs the request body held before the call starts."""
    holds_reply: Callable[[Any], str] = field(default=lambda spec: "")
    """What the layer keeps back of a reply, in words for an explanation, as `until its first content` or `whole`; empty: nothing."""
    warn: Callable[[Any, View], Iterable[Warned]] = _nothing
    """What is not wrong with a spec where it stands, but surely not meant: `chassis check` shows it. Never what is only likely."""
    primes: Callable[[Any], bool] = field(default=lambda spec: False)
    """Whether the layer asks for the fault of a reply, so that `prime` must have looked at its beginning before it returns."""
    acts: Callable[[Any], bool] = field(default=lambda spec: True)
    """Whether a spec has anything for this layer: of a kind with two, a spec may be for one alone."""
    waits: bool = False
    """The layer waits or asks again although it does not plan exchanges (floor PLAN): it is told how long the app will wait."""
    answers: bool = False
    """It answers the call itself, always: what stands further in the stack never acts on a call that it matches."""

    def at(
        self,
        floor: Floor,
        enforce: Callable[[Any, Site], Layer],
        primes: Callable[[Any], bool] | None = None,
        acts: Callable[[Any], bool] | None = None,
    ) -> Kind:
        """The second layer of a kind that acts on two floors: of the same policies, and of the same fields."""
        kind = replace(self, floor=floor, enforce=enforce, shadow=None, primes=primes or self.primes, warn=_nothing)
        return kind if acts is None else replace(kind, acts=acts)

    @property
    def is_patient(self) -> bool:
        """Whether it must know of the app's own patience (`call.answer_by`)."""
        return self.waits or self.floor is Floor.PLAN

    @property
    def place(self) -> Place:
        """What it is found by in the stack."""
        return self.name, self.floor


Place = tuple[str, Floor]
Kinds = Mapping[str, Kind]
