"""onion -- the layers that were chosen for a call, put around the upstream in the order of the stack.

Some layers are of no policy: telemetry of the exchange, which stands between what plans exchanges and what limits one, so that its span
sees how a limit ended it; `prime`, innermost, where a layer asks for the fault of a reply; and, where one waits or asks again, the app's
patience, outermost and directly around `prime`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.assembly.rules import Layered
from proxy.core.service import FaultReport, Layer, Service, compose, fixed
from proxy.policy.kind import Place


@dataclass(slots=True, frozen=True)
class Core:
    """What all stacks of a generation have in common. `inside`: the places of the layers that stand inside the exchange's telemetry."""

    innermost: Service
    report: FaultReport
    around_exchange: tuple[Layer, ...] = ()
    prime: Layer | None = None
    inside: frozenset[Place] = frozenset()
    patience: tuple[Layer, Layer] | None = None  # who reads it, and who keeps to it

    def compose(self, layers: Sequence[tuple[Layered, Layer]]) -> Service:
        """The service of these layers, outermost first."""
        outer = [layer for layered, layer in layers if layered.part.kind.place not in self.inside]
        inner = [layer for layered, layer in layers if layered.part.kind.place in self.inside]
        is_patient = self.patience is not None and any(layered.part.kind.is_patient for layered, _ in layers)
        if self.patience is not None and is_patient:
            outer.insert(0, self.patience[0])
        if self.prime is not None and any(layered.part.kind.primes(layered.part.spec) for layered, _ in layers):
            inner.extend((self.patience[1], self.prime) if self.patience is not None and is_patient else (self.prime,))
        exchange = fixed(self.around_exchange, compose(inner, self.innermost, self.report))
        return compose(outer, exchange, self.report)
