"""heard -- the app of a rehearsal: it sends one request to the data port over a connection in memory, and what comes is written down.

It reads with the parser that upstreams are read with, so a reply that is cut, late or malformed is seen as such.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from proxy.adapters.played import Exchange
from proxy.assembly.asking import Asked
from proxy.core.body import Headers
from proxy.core.clock import Clock
from proxy.core.duplex import pair
from proxy.core.faults import Failure
from proxy.core.journal import Entry
from proxy.core.ports import CallRecord
from proxy.core.tasks import spawn
from proxy.policy.case_spec import LeavesSpec, RequestSpec
from proxy.policy.conditions import Explained
from proxy.wire.listener import Listener
from proxy.wire.pool import Pool
from proxy.wire.settings import PoolSettings

P = TypeVar("P", bound=asyncio.Protocol)
PATIENCE_S = 600.0  # how long the SDKs wait for a reply, unless told otherwise
SETTLE_S = 0.001  # after the last reply: what was let go hears of it


@dataclass(slots=True)
class Heard:
    """One request and all that came of it. Times are loop times; `status` None: no head came."""

    asked: Asked
    spec: RequestSpec
    begun: float = 0.0
    head_at: float | None = None
    ended: float = 0.0
    status: int | None = None
    headers: Headers = field(default_factory=list)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    broke: str | None = None  # how the connection ended before the reply did
    left: bool = False  # the app did, before the end
    hung: bool = False  # because nothing came for as long as SDKs wait
    entries: list[Entry] = field(default_factory=list)
    matched: tuple[str, ...] = ()
    exchanges: list[Exchange] = field(default_factory=list)
    record: CallRecord | None = None
    explained: list[Explained] = field(default_factory=list)  # each policy's condition, where coverage is asked for

    @property
    def data(self) -> bytes:
        """The body, as far as it came."""
        return b"".join(data for _, data in self.chunks)


async def ask(heard: Heard, listener: Listener, clock: Clock) -> None:
    """Sends the request, and waits for the end, for the app to leave, or for as long as SDKs do."""
    loop = asyncio.get_running_loop()
    app = Pool("127.0.0.1", 4141, PoolSettings(), clock, _ToListener(listener))
    leaves = heard.spec.leaves
    leaves_s = leaves.after if leaves is not None else None
    heard.begun = loop.time()
    receiving = spawn(_receive(heard, app, leaves), "app")
    try:
        done, _ = await asyncio.wait((receiving,), timeout=PATIENCE_S if leaves_s is None else leaves_s)
        if not done:
            heard.left, heard.hung = True, leaves_s is None
            receiving.cancel()
            await asyncio.wait((receiving,))
        heard.ended = loop.time()
        if not receiving.cancelled():
            receiving.result()
    finally:
        app.close()
        await asyncio.sleep(SETTLE_S)


async def _receive(heard: Heard, app: Pool, leaves: LeavesSpec | None) -> None:
    loop = asyncio.get_running_loop()
    try:
        reply = await app.send(heard.asked.request())
    except Failure as failure:
        heard.broke = failure.detail
        return
    heard.head_at, heard.status, heard.headers = loop.time(), reply.status, reply.headers
    enough = asyncio.Event()

    def take(data: bytes) -> None:
        heard.chunks.append((loop.time(), data))
        if leaves is not None and leaves.chunks is not None and len(heard.chunks) >= leaves.chunks:
            enough.set()

    async def pipe() -> None:
        try:
            await reply.body.pipe(take)
        except Failure as failure:
            heard.broke = failure.detail

    piping = spawn(pipe(), "pipe")
    leaving = spawn(enough.wait(), "leave")
    try:
        await asyncio.wait((piping, leaving), return_when=asyncio.FIRST_COMPLETED)
        heard.left = not piping.done()
    finally:
        piping.cancel()
        leaving.cancel()
        reply.close()


class _ToListener:
    """The app's network: each connection is one to the data port."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def connect(self, factory: Callable[[], P]) -> P:
        """A new connection."""
        ours, theirs = pair(asyncio.get_running_loop())
        theirs.attach(self._listener.protocol())
        protocol = factory()
        ours.attach(protocol)
        return protocol
