"""layering -- one layer of a kind, alone: over an upstream that keeps the call as it would be sent, and answers 200."""

from __future__ import annotations

from typing import Any

from proxy.core.body import Body
from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.journal import Entry
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.virtual import VirtualLoop
from proxy.policy.kind import Kind, Site

POLICY = "the-policy"


class Sent:
    """The innermost service."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        return Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))

    @property
    def call(self) -> Call:
        """The one call."""
        (only,) = self.calls
        return only

    @property
    def body(self) -> bytes:
        """Its body, as far as the payload says."""
        return b"".join(self.call.payload.pieces())


def site(kind: Kind, spec: Any, won: frozenset[str] | None = None) -> Site:
    """Where a layer is built. `won`: the fields that it won, by default all."""
    loop = VirtualLoop()
    loop.close()
    return Site(POLICY, kind.fields(spec) if won is None else won, LoopClock(loop))


async def through(kind: Kind, call: Call, won: frozenset[str] | None = None, **given: Any) -> Sent:
    """Sends a call through the layer of a spec."""
    spec, sent = kind.spec.read(given), Sent()
    (await kind.enforce(spec, site(kind, spec, won))(call, sent)).close()
    return sent


def observed(kind: Kind, call: Call, **given: Any) -> list[Entry]:
    """What the kind in shadow notes of a call."""
    spec = kind.spec.read(given)
    assert kind.shadow is not None
    kind.shadow(spec, site(kind, spec))(call)
    return call.journal.entries
