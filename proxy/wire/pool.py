"""pool -- one upstream: its address, its kept connections, and `send`, which is one exchange (or, on a stale connection, the same again).

A connection idle for longer than servers keep theirs is not used. What cannot be sent twice meets only a connection that is surely alive.
Cost: nothing a call besides a look at the newest idle connection; one timer while there are idle ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from proxy.core.clock import Clock
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import CHUNKED, LENGTH, NONE, Request
from proxy.wire.dial import Dialler
from proxy.wire.head import chunk, last_chunk
from proxy.wire.settings import PoolSettings
from proxy.wire.upload import Upload
from proxy.wire.upstream_connection import Stale, UpstreamConnection

P = TypeVar("P", bound=asyncio.Protocol)
WHOLE_BYTES = 64 * 1024  # a body that is here and no larger is sent in one go


class Dials(Protocol):
    """Makes connections: the network's are a `Dialler`'s, a played upstream's lead nowhere."""

    async def connect(self, factory: Callable[[], P]) -> P:
        """A connection ready for its first request. Raises Failure(connect)."""


class Pool:
    """The connections to one upstream. `close` it when its settings are gone; exchanges under way go on."""

    def __init__(self, host: str, port: int, settings: PoolSettings, clock: Clock, dialler: Dials | None = None) -> None:
        """`dialler` stands in for the network."""
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        default = 443 if settings.ssl is not None else 80
        name = f"[{host}]" if ":" in host else host
        self.where = name if port == default else f"{name}:{port}"
        self.authority = self.where.encode("idna" if not self.where.isascii() else "ascii")
        self._clock = clock
        self._dialler = dialler or Dialler(host, port, settings, clock)
        self._idle: dict[UpstreamConnection, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """Kept connections."""
        return len(self._idle)

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        """The upstream's reply, as soon as its head is here. Raises Failure; a cancelled `send` closes its connection at once.

        `connect_s` bounds a new connection; None: the settings'. The request's body is consumed.
        """
        body = request.body
        if body.error is not None:
            raise body.error
        settings = self.settings
        payload: bytes | None = None
        upload: Upload | None = None
        idle_s = settings.keep_s
        if body.ended:
            size = body.size
            if (request.framing is LENGTH and size != request.length) or (request.framing is NONE and size):
                raise Failure(Fault.INVALID, self.where, f"a body of {size} bytes under a head that announces {request.length}")
            if size < WHOLE_BYTES:
                payload = body.take()
                if request.framing is CHUNKED:
                    payload = (chunk(payload) if payload else b"") + last_chunk(body.trailers)
            else:
                upload = Upload(request, settings.replay_bytes)
        else:
            upload = Upload(request, settings.replay_bytes)
            if request.framing is not LENGTH or request.length > settings.replay_bytes:
                idle_s = settings.fresh_s
        connection = self._take(idle_s)
        if connection is not None:
            try:
                return await connection.exchange(request, payload, upload)
            except Stale as stale:
                if upload is not None and not upload.may_repeat:
                    stale.__traceback__ = None
                    raise
        connection = await self._connect(connect_s)
        return await connection.exchange(request, payload, upload)

    async def _connect(self, connect_s: float | None) -> UpstreamConnection:
        wait_s = self.settings.connect_s if connect_s is None else connect_s
        try:
            with self._clock.limit(self._clock.now() + wait_s):
                connection = await self._dialler.connect(lambda: UpstreamConnection(self))
        except TimeoutError:
            raise Failure(Fault.CONNECT, self.where, f"cannot connect to {self.where}: no connection within {wait_s:g} s") from None
        connection.born = self.loop.time()
        return connection

    def _take(self, idle_s: float) -> UpstreamConnection | None:
        """The newest idle connection, if it has not been idle for longer than `idle_s`."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.transport.is_closing():
                continue
            if self.loop.time() - connection.idle_since > idle_s:
                idle[connection] = None  # the others are older still: `_expire` sees to them
                return None
            return connection
        return None

    def close(self) -> None:
        """Closes what is idle now, and the rest after its exchange. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._idle):
            connection.transport.abort()
        self._idle.clear()

    # What connections call

    def keep(self, connection: UpstreamConnection) -> None:
        """Takes back a connection whose exchange is over."""
        now = self.loop.time()
        if self._closed or len(self._idle) >= self.settings.max_idle or now - connection.born > self.settings.life_s:
            connection.transport.abort()
            return
        connection.idle_since = now
        self._idle[connection] = None
        if self._timer is None:
            self._timer = self.loop.call_later(self.settings.keep_s, self._expire)

    def forget(self, connection: UpstreamConnection) -> None:
        """It is closed. Idempotent."""
        self._idle.pop(connection, None)

    def _expire(self) -> None:
        oldest = self.loop.time() - self.settings.keep_s
        for connection in list(self._idle):
            if connection.idle_since > oldest:
                break
            del self._idle[connection]
            connection.transport.abort()
        self._timer = self.loop.call_later(self.settings.keep_s, self._expire) if self._idle else None
