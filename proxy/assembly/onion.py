"""onion -- the layers that were chosen for a call, put around the upstream in the order of the stack.

Some layers are of no policy: telemetry of the exchange, which stands between what plans exchanges and what limits one, so that its span
sees how a limit ended it; `prime`, innermost, where a layer asks for the fault of a reply; and, where one waits or asks again, the app's
patience, outermost and directly around `prime`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from proxy.assembly.rules import Layered
from proxy.core.call import Call
from proxy.core.reply import Reply
from proxy.core.service import FaultReport, Layer, Service, compose, fixed
from proxy.policy.kind import Place


class Thin(Protocol):
    """A layer without a shield and, where it has nothing to wait for, without a coroutine."""

    def __call__(self, call: Call, inner: Service) -> Awaitable[Reply]: ...


@dataclass(slots=True, frozen=True)
class Core:
    """What all stacks of a generation have in common. `inside`: the places of the layers that stand inside the exchange's telemetry."""

    innermost: Service
    report: FaultReport
    around_exchange: tuple[Layer, ...] = ()
    prime: Layer | None = None
    inside: frozenset[Place] = frozenset()
    patience: tuple[Thin, Thin] | None = None  # who reads it, and who keeps to it

    def compose(self, layers: Sequence[tuple[Layered, Layer]]) -> Service:
        """The service of these layers, outermost first."""
        outer = [layer for layered, layer in layers if layered.part.kind.place not in self.inside]
        inner = [layer for layered, layer in layers if layered.part.kind.place in self.inside]
        innermost = self.innermost
        is_patient = self.patience is not None and any(layered.part.kind.is_patient for layered, _ in layers)
        if self.prime is not None and any(layered.part.kind.primes(layered.part.spec) for layered, _ in layers):
            innermost = compose((self.prime,), innermost, self.report)
            if self.patience is not None and is_patient:
                innermost = partial(self.patience[1], inner=innermost)
        service = compose(outer, fixed(self.around_exchange, compose(inner, innermost, self.report)), self.report)
        return partial(self.patience[0], inner=service) if self.patience is not None and is_patient else service
