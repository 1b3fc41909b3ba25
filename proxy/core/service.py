"""service -- the onion: a service answers a call, a layer is put around one, and a layer that breaks does not break the call.

Cost: one coroutine a layer and one for its shield.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from proxy.core.call import Call
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply

Service = Callable[[Call], Awaitable[Reply]]
FaultReport = Callable[[str, Exception], None]  # (layer's name, what broke)


class Layer(Protocol):
    """A policy at work: it answers by itself, or through `inner`, once or more."""

    async def __call__(self, call: Call, inner: Service) -> Reply: ...


class _Inner:
    """What one layer is given for one call; it remembers what the layer did with it."""

    __slots__ = ("asked", "failure", "reply", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.asked = False
        self.reply: Reply | None = None
        self.failure: Failure | Refusal | None = None

    async def __call__(self, call: Call) -> Reply:
        self.asked = True
        try:
            self.reply = reply = await self.service(call)
        except (Failure, Refusal) as exc:
            self.failure, self.reply = exc, None
            raise
        return reply


def shielded(layer: Layer, inner: Service, report: FaultReport) -> Service:
    """Fails open: a layer that broke before it called `inner` is skipped; afterwards the reply that it had is returned.

    A guard answers for itself (its `failure_mode`), with a Failure or a Refusal, which pass.
    """
    name = type(layer).__name__

    async def service(call: Call) -> Reply:
        mine = _Inner(inner)
        try:
            return await layer(call, mine)
        except (Failure, Refusal):
            raise
        except Exception as bug:
            report(name, bug)
            call.journal.note("layer_fault", layer=name, why=type(bug).__name__)
            if not mine.asked:
                return await inner(call)
            if mine.reply is not None and not mine.reply.body.closed:
                return mine.reply
            raise mine.failure or Failure(Fault.INVALID, name, "a layer broke after it had let its reply go") from bug

    return service


def compose(layers: Iterable[Layer], innermost: Service, report: FaultReport) -> Service:
    """Layers around `innermost`; the first is the outermost."""
    service = innermost
    for layer in reversed(list(layers)):
        service = shielded(layer, service, report)
    return service
