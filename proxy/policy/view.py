"""view -- one policy among the others of its folder, as a kind sees it that has something to warn of.

Stands over `document` and `logic`; for `chassis check` and at load, never in a call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.core.call import EXCHANGES
from proxy.policy.document import Policy
from proxy.policy.logic import Logic
from proxy.policy.problems import Path, listed
from proxy.policy.upstreams import Upstream


@dataclass(slots=True, frozen=True)
class Warned:
    """What a kind warns of: `path` leads from its spec to the place."""

    path: Path
    message: str
    hint: str = ""


@dataclass(slots=True, frozen=True)
class Other:
    """Another policy of the same kind."""

    name: str
    where: str  # file:line:column
    spec: Any


class View:
    """A policy of one kind. What it says of other policies is certain; where it cannot tell, it says nothing."""

    def __init__(
        self,
        policy: Policy,
        kind: str,
        policies: Sequence[Policy],
        logic: Logic,
        upstreams: Mapping[str, Upstream],
        home: str | None,
        exchanges: int = EXCHANGES,
    ) -> None:
        """`policies`: all that are enforced, in file order. `exchanges`: that one call may use."""
        self.mode = policy.mode
        self.exchanges = exchanges
        self.upstreams = upstreams
        self.home = home
        self._policy = policy
        self._kind = kind
        self._policies = policies
        self._logic = logic

    def is_used(self, kind: str) -> bool:
        """Whether any policy in force has this kind."""
        return any(kind in policy.apply for policy in self._policies)

    @property
    def endpoints(self) -> frozenset[str]:
        """The endpoints whose calls may match."""
        return self._logic.endpoints(self._policy.match)

    @property
    def models(self) -> tuple[str, ...] | None:
        """Globs one of which fits the model of each call that matches; None where any model may be asked for."""
        return self._logic.models(self._policy.match)

    def idle(self, acts_on: Collection[str], what: str, path: Path = ()) -> Iterator[Warned]:
        """Warns where the policy is for endpoints on which the kind does nothing: all of them, or one that it names for this alone."""
        reached = self.endpoints
        hint = f"it acts on {listed(sorted(acts_on))}"
        if reached and not reached & frozenset(acts_on):
            yield Warned(path, f"{what} does nothing on {listed(sorted(reached))}, and the policy is for nothing else", hint)
            return
        named = [each.value for each in self._policy.match.endpoint or ()]
        wrong = [name for name in named if name not in acts_on and name in reached]
        if wrong and len(self._policy.apply) == 1:
            yield Warned(path, f"{what} does nothing on {listed(wrong)}, which the policy names", hint)

    def sure_rivals(self, sets: Callable[[Any], bool]) -> Iterator[Other]:
        """Earlier policies in force of this kind, of which `sets` holds, that surely match some of the same calls: not all, and others too.

        A narrow policy before a wide one is how exceptions are written, and one before another that it covers is told anyway.
        """
        if self.mode != "enforce":
            return
        for other in self._policies:
            if other is self._policy or self._logic.is_spent:
                return
            spec = other.apply.get(self._kind)
            if spec is None or not sets(spec):
                continue
            ours, theirs = self._policy.match, other.match
            if self._logic.meet(ours, theirs) and not self._logic.implies(ours, theirs) and not self._logic.implies(theirs, ours):
                yield Other(other.name, str(other.place("name")), spec)

    def may_shadow_later(self, sets: Callable[[Any], bool]) -> bool:
        """Whether a later policy of this kind, of which `sets` holds, may match the same call: then this one at least keeps it off."""
        later = False
        for other in self._policies:
            if other is self._policy:
                later = True
            elif later and (spec := other.apply.get(self._kind)) is not None and sets(spec):
                overlaps = not self._logic.apart(self._policy.match, other.match)
                if overlaps:
                    return True
        return False
