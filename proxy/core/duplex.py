"""duplex -- a connection in memory: two transports, each the other's peer. For tests of policies and of ourselves, on virtual time.

It behaves as a local TCP connection does: bytes arrive in the next turn of the loop, a reader that pauses holds its writer back, an end is
seen after the last byte, a reset after what came before it. Cost: two callbacks a write.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

HIGH_BYTES = 64 * 1024  # unread, before the writer is asked to pause: one socket buffer
READ_BYTES = 256 * 1024  # given at once, as asyncio's own transports do


class _NoSocket:
    """Stands for the socket: everything that asks for its number finds that there is none."""

    family = getattr(socket, "AF_UNIX", None)

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *settings: object) -> None:
        pass


class End(asyncio.Transport):
    """One side. `protocol` is who is told of what the other side does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.peer: End = self
        self.on_write: Callable[[], None] | None = None  # called within each write, in the writer's context
        self._loop = loop
        self._protocol: asyncio.Protocol | None = None
        self._socket = _NoSocket()
        self._incoming: deque[bytes] = deque()
        self._unread = 0
        self._reading = True
        self._due = False  # a delivery is scheduled
        self._closing = False
        self._lost = False
        self._over: BaseException | bool = False  # the peer has ended its side: True, or the error
        self._peer_waits = False  # it was asked to pause

    def attach(self, protocol: asyncio.Protocol) -> None:
        """Who is told. `connection_made` is called now."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._schedule()

    # What a protocol does with its transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._schedule()

    def get_write_buffer_size(self) -> int:
        return self.peer._unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._closing and data:
            if self.on_write is not None:
                self.on_write()
            self.peer._take(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.peer._end(True)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.peer._end(True)
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self.peer._end(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            self._loop.call_soon(self._lose, None)

    # What comes from the other side

    def _take(self, data: bytes) -> None:
        if self._closing or self._over:
            return
        self._incoming.append(data)
        self._unread += len(data)
        self._schedule()
        if self._unread > HIGH_BYTES and not self._peer_waits and self.peer._protocol is not None:
            self._peer_waits = True
            self.peer._protocol.pause_writing()

    def _end(self, how: BaseException | bool) -> None:
        if self._over is False:
            self._over = how
            self._schedule()

    def _schedule(self) -> None:
        if not self._due and self._reading and not self._closing and self._protocol is not None and (self._incoming or self._over):
            self._due = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._due = False
        if self._closing or not self._reading or self._protocol is None:
            return
        if self._incoming:
            parts = []
            room = READ_BYTES
            while self._incoming and (room := room - len(self._incoming[0])) >= 0:
                parts.append(self._incoming.popleft())
            data = b"".join(parts or [self._incoming.popleft()])
            self._unread -= len(data)
            self._protocol.data_received(data)
            self._let_write()
            self._schedule()
        elif self._over is True:
            keep = self._protocol.eof_received()
            if not keep:
                self.close()
        elif self._over:
            self._closing = True
            self._lose(self._over)

    def _let_write(self) -> None:
        peer = self.peer
        if self._peer_waits and self._unread <= HIGH_BYTES // 4:
            self._peer_waits = False
            if not peer._closing and peer._protocol is not None:
                peer._protocol.resume_writing()

    def _lose(self, why: BaseException | bool | None) -> None:
        if self._lost or self._protocol is None:
            return
        self._lost = True
        self._incoming.clear()
        self._unread = 0
        self._protocol.connection_lost(why if isinstance(why, Exception) else None)


def pair(loop: asyncio.AbstractEventLoop) -> tuple[End, End]:
    """Two ends of one new connection."""
    one, other = End(loop), End(loop)
    one.peer, other.peer = other, one
    return one, other
