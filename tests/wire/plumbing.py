"""plumbing -- a listener and a pool on loopback around a scripted raw upstream, and a raw client. Every byte is given and seen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from proxy.core.body import Body
from proxy.core.clock import LoopClock
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.wire.listener import Handler, Listener
from proxy.wire.pool import Pool
from proxy.wire.settings import PoolSettings, ServerLimits

PATIENCE_S = 5.0  # after which a test that waits has failed


def refusal_reply(status: int, code: str, message: str) -> Reply:
    """What a listener under test says no with."""
    data = f'{{"error":{{"message":"{message}","code":"{code}"}}}}'.encode()
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(data)), (b"x-chassis-origin", b"static")]
    return Reply(status, b"No", headers, Framing.LENGTH, Body.of(data))


class Peer:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""  # read but not yet taken

    async def send(self, *parts: bytes) -> None:
        """Writes each part in a packet of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0.002)

    async def until(self, mark: bytes) -> bytes:
        """Takes all up to and with `mark`."""
        async with asyncio.timeout(PATIENCE_S):
            while mark not in self.seen:
                data = await self.reader.read(65536)
                if not data:
                    raise AssertionError(f"the connection ended before {mark!r}: {self.seen!r}")
                self.seen += data
        at = self.seen.index(mark) + len(mark)
        data, self.seen = self.seen[:at], self.seen[at:]
        return data

    async def exactly(self, size: int) -> bytes:
        """Takes `size` bytes."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.seen) < size:
                data = await self.reader.read(65536)
                if not data:
                    raise AssertionError(f"the connection ended after {len(self.seen)} of {size} bytes: {self.seen[:200]!r}")
                self.seen += data
        data, self.seen = self.seen[:size], self.seen[size:]
        return data

    async def skip(self, size: int) -> None:
        """Takes `size` bytes without a look."""
        size -= len(self.seen)
        self.seen = b""
        async with asyncio.timeout(PATIENCE_S):
            while size > 0:
                data = await self.reader.read(1 << 20)
                if not data:
                    raise AssertionError(f"the connection ended {size} bytes early")
                size -= len(data)
                if size < 0:
                    self.seen = data[size:]

    async def rest(self) -> bytes:
        """Takes all up to the end. Raises ConnectionError for a reset."""
        async with asyncio.timeout(PATIENCE_S):
            while data := await self.reader.read(1 << 20):
                self.seen += data
        data, self.seen = self.seen, b""
        return data

    async def ended(self) -> bool:
        """Waits for the end, orderly or not; True when nothing came before it."""
        try:
            return await self.rest() == b""
        except ConnectionError:
            return True

    async def request(self) -> tuple[bytes, bytes]:
        """Takes one request: head and body, the latter as it came."""
        head = await self.until(b"\r\n\r\n")
        return head, await self._body(head)

    async def reply(self) -> tuple[bytes, bytes]:
        """Takes one reply that has a length or chunks."""
        head = await self.until(b"\r\n\r\n")
        return head, await self._body(head)

    async def _body(self, head: bytes) -> bytes:
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return await self.exactly(int(line.partition(b":")[2]))
            if line.startswith(b"transfer-encoding:"):
                return await self._chunks()
        return b""

    async def _chunks(self) -> bytes:
        data = b""
        while True:
            line = await self.until(b"\r\n")
            data += line
            size = int(line.partition(b";")[0], 16)
            if size:
                data += await self.exactly(size + 2)
            else:
                while (line := await self.until(b"\r\n")) != b"\r\n":
                    data += line
                return data + line

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Closes with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A server that plays one script a connection; the last one repeats. `seen` holds what `answering` scripts were asked."""

    def __init__(self, scripts: Iterable[Script]) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.failures: list[BaseException] = []
        self.peers: list[Peer] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=context, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        peer = Peer(reader, writer)
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await script(peer)
        except asyncio.CancelledError:
            pass
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for peer in self.peers:
            if not peer.writer.transport.is_closing():  # one that is lost has no loop any more
                peer.writer.transport.abort()
        await asyncio.sleep(0)


@dataclass
class Rig:
    """All of it, running."""

    upstream: Upstream
    listener: Listener
    pool: Pool
    port: int
    calls: list[Request] = field(default_factory=list)
    cancelled: int = 0
    clients: list[Peer] = field(default_factory=list)

    async def client(self, buffer: int | None = None) -> Peer:
        """A new raw connection to the listener; `buffer` shrinks what its kernel takes for it."""
        sock = socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 16)
        peer = Peer(reader, writer)
        self.clients.append(peer)
        return peer

    async def ask(self, *parts: bytes) -> tuple[bytes, bytes]:
        """One request on a connection of its own, answered."""
        client = await self.client()
        await client.send(*parts)
        answer = await client.reply()
        while answer[0].startswith(b"HTTP/1.1 1"):
            answer = await client.reply()
        client.close()
        return answer


@contextlib.asynccontextmanager
async def rig(
    *scripts: Script,
    limits: ServerLimits | None = None,
    settings: PoolSettings | None = None,
    handler: Callable[[Pool], Handler] | None = None,
    upstream_tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Rig]:
    """A listener whose calls go to a scripted upstream. Leaving it checks that nothing was left behind."""
    loop = asyncio.get_running_loop()
    upstream = Upstream(scripts or (answering(OK),))
    await upstream.start(upstream_tls)
    pool = Pool(host, upstream.port, settings or PoolSettings(), LoopClock(loop))
    inner = handler(pool) if handler is not None else pool.send
    made: Rig

    async def serve(request: Request) -> Reply:
        made.calls.append(request)
        try:
            return await inner(request)
        except asyncio.CancelledError:
            made.cancelled += 1
            raise

    listener = Listener(serve, limits or ServerLimits(), refusal_reply)
    server = await loop.create_server(listener.protocol, "127.0.0.1", 0)
    made = Rig(upstream, listener, pool, server.sockets[0].getsockname()[1])
    try:
        yield made
        for client in made.clients:
            client.writer.transport.abort()
        await eventually(lambda: listener.open == 0 and listener.busy == 0)
        assert not upstream.failures, upstream.failures
    finally:
        server.close()
        listener.close()
        pool.close()
        await upstream.stop()
        await asyncio.sleep(0)


async def eventually(claim: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Returns as soon as `claim` holds; fails when it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not claim():
        if loop.time() > end:
            raise AssertionError("it did not happen in time")
        await asyncio.sleep(0.002)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answering(*replies: bytes, seen: list[tuple[bytes, bytes]] | None = None) -> Script:
    """Answers requests on a connection with `replies` in turn (the last one repeats), noting each request in `seen`."""

    async def script(peer: Peer) -> None:
        turn = 0
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    request = await peer.request()
                except (AssertionError, TimeoutError):
                    return
                if seen is not None:
                    seen.append(request)
                await peer.send(replies[min(turn, len(replies) - 1)])
                turn += 1

    return script


def post(body: bytes, *headers: bytes, target: bytes = b"/v1/x") -> bytes:
    """A POST with a length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST %b HTTP/1.1\r\nHost: proxy\r\n%bContent-Length: %d\r\n\r\n%b" % (target, lines, len(body), body)


GET = b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n"
