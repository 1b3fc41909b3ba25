"""listener -- the data port: makes the protocols for `loop.create_server`, counts them, keeps their deadlines, drains them.

It owns no socket: whoever binds one (a runner's site, a worker that inherits) passes `Listener.protocol` as the factory.
Cost: one timer for all connections, which looks at each twice a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.core.clock import now_of
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.request import Request
from proxy.wire.client_connection import ClientConnection
from proxy.wire.hangups import Hangups
from proxy.wire.known_heads import KnownHeads
from proxy.wire.settings import ServerLimits

log = logging.getLogger("chassis.wire")
Handler = Callable[[Request], Awaitable[Reply]]
RefusalReply = Callable[[int, str, str], Reply]  # (status, code, message)
SWEEP_S = 0.5  # between two looks at the deadlines: far below the shortest default


class Listener:
    """Serves `handler` to every connection. `refusal` makes the reply to what never becomes a call.

    A handler turns its own failures into replies; what escapes it is answered 5xx through `refusal`, and logged.
    """

    def __init__(self, handler: Handler, limits: ServerLimits, refusal: RefusalReply) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.now = now_of(self.loop)
        self.heads = KnownHeads()
        self.hangups = Hangups(self.loop)
        self.is_draining = False
        self._refusal = refusal
        self._connections: dict[ClientConnection, None] = {}
        self._settled: asyncio.Future[None] | None = None
        shortest = min(limits.head_s, limits.keep_s, limits.body_s, limits.write_s, limits.linger_s)
        self._sweep_s = min(SWEEP_S, shortest / 4)
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self._sweep_s, self._sweep)

    def protocol(self) -> asyncio.Protocol:
        """The protocol of one new connection."""
        return ClientConnection(self)

    @property
    def open(self) -> int:
        """Connections."""
        return len(self._connections)

    @property
    def busy(self) -> int:
        """Calls in flight, tunnels among them."""
        return sum(connection.is_busy for connection in self._connections)

    def draining(self) -> None:
        """From now on every answer says `Connection: close`, and idle connections are closed. Idempotent."""
        self.is_draining = True
        for connection in list(self._connections):
            connection.close_if_idle()

    async def finish(self, deadline_s: float) -> None:
        """Drains: waits so long for calls to end, then ends what is left, with its last words, and closes everything."""
        self.draining()
        await self._wait_settled(deadline_s, lambda: not self.busy)
        failure = Failure(Fault.TRUNCATED, "proxy", "the proxy is shutting down")
        refusal = Refusal(503, "overloaded", "the proxy is shutting down")
        for connection in list(self._connections):
            connection.end(failure, refusal)
        await self._wait_settled(self.limits.linger_s, lambda: not self._connections)
        self.close()

    def close(self) -> None:
        """Ends every connection now. Idempotent."""
        self.is_draining = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections):
            connection.transport.abort()
        self.hangups.close()
        self.settle()

    # What connections call

    def opened(self, connection: ClientConnection) -> bool:
        """Counts one in. False when there are too many."""
        self._connections[connection] = None
        return len(self._connections) <= self.limits.connections

    def closed(self, connection: ClientConnection) -> None:
        """Counts it out. Idempotent."""
        self._connections.pop(connection, None)
        if self.is_draining:
            self.settle()

    def settle(self) -> None:
        """A call or a connection has ended during a drain."""
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def refuse(self, refusal: Refusal) -> Reply:
        """The reply that says no."""
        return self._refusal(refusal.status, refusal.code, refusal.message)

    def own_fault(self, error: Exception) -> Reply:
        """The reply for what a handler let escape."""
        if isinstance(error, Refusal):
            return self.refuse(error)
        if isinstance(error, Failure):
            error.__traceback__ = None  # it holds the frames that hold it
            if error.fault is Fault.TIMEOUT:
                return self._refusal(504, "upstream_timeout", str(error))
            return self._refusal(502, "upstream_unavailable", str(error))
        log.error("the handler broke", exc_info=error)
        return self._refusal(500, "internal_error", "the proxy failed to serve this call; its log says why")

    async def _wait_settled(self, wait_s: float, is_settled: Callable[[], bool]) -> None:
        end = self.loop.time() + wait_s
        while not is_settled() and self.loop.time() < end:
            self._settled = self.loop.create_future()
            timer = self.loop.call_at(end, self.settle)
            try:
                await self._settled
            finally:
                timer.cancel()
                self._settled = None

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections):
            connection.sweep(now)
        self._timer = self.loop.call_later(self._sweep_s, self._sweep)
