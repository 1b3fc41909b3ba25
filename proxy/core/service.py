"""service -- the onion: a service answers a call, a layer is put around one, and a layer that breaks does not break the call.

Cost: one coroutine a layer and one for its shield.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
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

    __slots__ = ("asked", "failure", "over", "replies", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.asked = False
        self.over = False  # the layer broke: nobody waits for a reply that comes now
        self.replies: tuple[Reply, ...] = ()  # a hedge has several at once
        self.failure: Failure | Refusal | None = None

    async def __call__(self, call: Call) -> Reply:
        self.asked = True
        try:
            reply = await self.service(call)
        except (Failure, Refusal) as exc:
            if not self.over:
                self.failure = exc
            raise
        if self.over:
            reply.close()
            raise Failure(Fault.INVALID, "shield", "the layer that asked for it broke")
        self.replies += (reply,)
        return reply

    def left(self) -> Reply | None:
        """The last reply that is still open; the others are closed."""
        self.over = True
        last: Reply | None = None
        for reply in self.replies:
            if not reply.body.closed:
                if last is not None:
                    last.close()
                last = reply
        return last


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
            if (reply := mine.left()) is not None:
                return reply
            raise mine.failure or Failure(Fault.INVALID, name, "a layer broke after it had let its reply go") from bug
        finally:
            mine.failure = None  # it holds the frames that it passed, and they hold us

    return service


def compose(layers: Iterable[Layer], innermost: Service, report: FaultReport) -> Service:
    """Layers around `innermost`, each in its shield; the first is the outermost."""
    service = innermost
    for layer in reversed(list(layers)):
        service = shielded(layer, service, report)
    return service


def fixed(layers: Iterable[Layer], innermost: Service) -> Service:
    """The same without shields: for the few layers that are part of every call, which guard themselves."""
    service = innermost
    for layer in reversed(list(layers)):
        service = partial(layer.__call__, inner=service)
    return service
