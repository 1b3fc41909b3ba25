"""shelf -- the layers of a set of policies: built once, and kept over a reload while their spec is unchanged.

So breakers, budgets and caches keep their state when an unrelated line of a policy file is edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from proxy.assembly.rules import Layered, Part
from proxy.assembly.stack import STACK
from proxy.core.clock import Clock
from proxy.core.service import Layer
from proxy.policy.kind import Floor, Kind, Observer, Place, Shown, Shows, Site

Key = tuple[str, str, frozenset[str], Floor]  # policy, digest of the spec, fields won, and which layer of the kind


class Shelf:
    """Builds layers on demand. `older` is the shelf of the generation before: calls in flight there share their state with calls here."""

    __slots__ = ("_clock", "_layers", "_order")

    def __init__(self, clock: Clock, order: Mapping[Place, int], older: Shelf | None = None) -> None:
        self._clock = clock
        self._order = order
        self._layers: dict[Key, Layer] = {} if older is None else older._layers

    @property
    def wall_ns(self) -> Callable[[], int]:
        """The clock's Unix time in nanoseconds, for conditions on the time."""
        return self._clock.wall_ns

    def order(self, kind: Kind) -> int:
        """The place of a kind in the stack, outermost first."""
        return self._order[kind.place]

    def layer(self, layered: Layered) -> Layer:
        """The layer for a part and the fields that it won."""
        key = (layered.rule.name, layered.part.digest, layered.fields, layered.part.kind.floor)
        layer = self._layers.get(key)
        if layer is None:
            layer = layered.part.kind.enforce(layered.part.spec, self._site(layered.rule.name, layered.fields))
            self._layers[key] = layer
        return layer

    def observer(self, policy: str, part: Part) -> Observer | None:
        """The observer for a part of a policy in shadow, None for a kind that cannot be observed."""
        if part.kind.shadow is None:
            return None
        return part.kind.shadow(part.spec, self._site(policy, part.fields))

    def shown(self) -> Iterator[Shown]:
        """What layers tell of their state: breakers, limits."""
        for layer in list(self._layers.values()):
            if isinstance(layer, Shows):
                yield from layer.shown()

    def keep_only(self, live: frozenset[tuple[str, str]]) -> None:
        """Forgets layers whose (policy, digest) is not in use any more."""
        for key in [key for key in self._layers if key[:2] not in live]:
            del self._layers[key]

    def _site(self, policy: str, fields: frozenset[str]) -> Site:
        return Site(policy, fields, self._clock, _build)


def _build(place: Place, spec: Any, site: Site) -> Layer:
    """A layer of the stack's kind at `place`."""
    return next(kind for kind in STACK if kind.place == place).enforce(spec, site)
