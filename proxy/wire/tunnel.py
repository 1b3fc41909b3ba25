"""tunnel -- after a 101 bytes are only bytes: two raw sides that pace each other and end together.

Each side takes its transport over as its protocol, so the message paths on both connections know nothing of tunnels.
"""

from __future__ import annotations

import asyncio

from proxy.core.reply import Tunnel, TunnelPeer
from proxy.wire.hangups import Hangups, Reading

EARLY_BYTES = 64 * 1024  # from an upstream before the sides are joined: frames behind the 101
FLUSH_S = 10.0  # for a side that ends to take what is still unwritten


class Side(asyncio.Protocol):
    """What both sides share: a transport taken over, and closed, but never for ever."""

    __slots__ = ("_loop", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport = transport
        transport.set_protocol(self)

    def finish(self) -> None:
        """Closes once what is unwritten has been taken."""
        if not self.transport.is_closing():
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._loop.call_later(FLUSH_S, self.transport.abort)


class UpstreamSide(Side):
    """A `proxy.core.reply.Tunnel` over an upstream's transport."""

    __slots__ = ("_early", "_early_bytes", "_ended", "_held", "_peer")

    def __init__(self, transport: asyncio.Transport, early: bytes) -> None:
        self._peer: TunnelPeer | None = None
        self._early = [early]
        self._early_bytes = len(early)
        self._ended = False
        self._held = False
        super().__init__(transport)

    def splice(self, peer: TunnelPeer) -> bytes:
        self._peer = peer
        data = b"".join(self._early)
        self._early.clear()
        if self._held:
            self.release()
        if self._ended:
            self._loop.call_soon(peer.tunnel_ended)
        return data

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def hold(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def release(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def end(self) -> None:
        self._peer = None
        self.finish()

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.tunnel_data(data)
            return
        self._early.append(data)
        self._early_bytes += len(data)
        if self._early_bytes > EARLY_BYTES and not self._held:
            self._held = True
            self.hold()

    def pause_writing(self) -> None:
        if self._peer is not None:
            self._peer.tunnel_hold()

    def resume_writing(self) -> None:
        if self._peer is not None:
            self._peer.tunnel_release()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.tunnel_ended()


class ClientSide(Side):
    """A `proxy.core.reply.TunnelPeer` over a client's transport."""

    __slots__ = ("_done", "_reading", "_tunnel")

    def __init__(self, transport: asyncio.Transport, tunnel: Tunnel, hangups: Hangups) -> None:
        super().__init__(transport)
        self._reading = Reading(transport, hangups, self._hung_up)
        self._tunnel: Tunnel | None = tunnel
        self._done: asyncio.Future[None] = self._loop.create_future()

    async def run(self, head: bytes, rest: bytes) -> None:
        """Writes the 101, and what both sides have said already; returns when the tunnel has ended."""
        tunnel = self._tunnel
        try:
            if tunnel is not None:
                self.transport.write(head)
                early = tunnel.splice(self)
                if early:
                    self.transport.write(early)
                if rest:
                    tunnel.send(rest)
                if self.transport.is_closing():
                    self._leave()
                await self._done
        finally:
            self._leave()

    def tunnel_data(self, data: bytes) -> None:
        self.transport.write(data)

    def tunnel_hold(self) -> None:
        self._reading.pause()

    def tunnel_release(self) -> None:
        self._reading.resume()

    def tunnel_ended(self) -> None:
        self.finish()
        self._leave()

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.send(data)

    def pause_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.hold()

    def resume_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.release()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def _hung_up(self) -> None:
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        self._reading.over()
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.end()
        if not self._done.done():
            self._done.set_result(None)
