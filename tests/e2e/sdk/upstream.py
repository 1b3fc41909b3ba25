"""A scripted upstream on a real socket: answers like the OpenAI API and keeps every request as it came.

Raw asyncio rather than a web framework, because the comparison is about bytes: header case, order and repeats, the exact
target, bodies that break off. It runs on a loop of its own in a thread, so that a test may block.
What it answers is in answers.py (the API), plays.py (trouble on demand) and realtime.py (the WebSocket).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]
MAX_HEAD_BYTES = 64 * 1024
LAST_CHUNK = b"0\r\n\r\n"


class Cut(Exception):
    """Raised by a body to break the reply off right here."""


@dataclass(slots=True)
class Arrival:
    """One request as it arrived; `left_at` is when the peer went away before its answer was complete (monotonic seconds).

    `over` is set when the exchange has ended, either way.
    """

    method: bytes
    target: bytes
    headers: Headers
    framing: str
    body: bytes
    left_at: float | None = None
    over: threading.Event = field(default_factory=threading.Event)
    messages: list[str | bytes] = field(default_factory=list)
    close_code: int | None = None

    @property
    def path(self) -> str:
        return self.target.partition(b"?")[0].decode()

    def header(self, name: str) -> str:
        """The first value of that name, "" where there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply to send: a whole body leaves with its length (or `announced`), an iterated one chunk for chunk."""

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    announced: int | None = None


Route = Callable[[Arrival], Awaitable[Answer]]
Upgrade = Callable[[Arrival, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    403: "Forbidden",
}


class _Peer(asyncio.StreamReaderProtocol):
    """Tells at once when the other side has ended or broken the connection."""

    def __init__(
        self, reader: asyncio.StreamReader, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        super().__init__(reader, serve)
        self.gone = asyncio.Event()

    def eof_received(self) -> bool:
        self.gone.set()
        super().eof_received()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class ScriptedUpstream:
    """Start it, point a client or a proxy at `url`, then `take()` what arrived."""

    def __init__(self, route: Route, upgrade: Upgrade, port: int = 0) -> None:
        self._route, self._upgrade = route, upgrade
        self._arrivals: list[Arrival] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="scripted-upstream", daemon=True)
        self.port = port

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}/v1"

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError(f"the scripted upstream did not start on port {self.port}")

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def take(self) -> list[Arrival]:
        """All arrivals since the last call, in order, each with its end (waited for a second)."""
        taken, self._arrivals = self._arrivals, []
        for arrival in taken:
            assert arrival.over.wait(1), f"the client of {arrival.method.decode()} {arrival.path} neither took its answer nor left"
        return taken

    def forget(self) -> None:
        """Start afresh: what arrived until now, its end or not, is of no interest."""
        self._arrivals = []

    @property
    def arrived(self) -> int:
        """How many requests `take` would give."""
        return len(self._arrivals)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        def connected() -> _Peer:
            reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES)
            peer = _Peer(reader, lambda r, w: self._serve(r, w, peer))
            return peer

        server = await self._loop.create_server(connected, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: _Peer) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._tasks.add(me)
        try:
            while await self._one(reader, writer, peer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is done, or the test is
        finally:
            self._tasks.discard(me)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: _Peer) -> bool:
        arrival = await read_request(reader)
        self._arrivals.append(arrival)
        if arrival.header("upgrade").lower() == "websocket":
            try:
                await self._upgrade(arrival, reader, writer)
            finally:
                arrival.over.set()
            return False
        answering = asyncio.ensure_future(self._answer(arrival, writer))
        leaving = asyncio.ensure_future(peer.gone.wait())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() or isinstance(answering.exception(), ConnectionError):  # a write may find out before the reader does
                arrival.left_at = time.monotonic()
                return False
            return answering.result()
        finally:
            arrival.over.set()
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, arrival: Arrival, writer: asyncio.StreamWriter) -> bool:
        answer = await self._route(arrival)
        head = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}".encode(), *(b"%b: %b" % pair for pair in answer.headers)]
        if isinstance(answer.body, bytes):
            size = len(answer.body) if answer.announced is None else answer.announced
            writer.write(b"\r\n".join([*head, b"Content-Length: %d" % size, b"Connection: keep-alive", b"\r\n"]) + answer.body)
            await writer.drain()
            return size == len(answer.body)
        writer.write(b"\r\n".join([*head, b"Transfer-Encoding: chunked", b"Connection: keep-alive", b"\r\n"]))
        parts = aiter(answer.body)
        ending = b""
        coming = asyncio.ensure_future(anext(parts, None))
        try:
            while not ending and (data := await coming) is not None:
                coming = asyncio.ensure_future(anext(parts, None))
                await asyncio.sleep(0)
                # A client may leave at `[DONE]`: the last part goes out in one write with the end, so that nothing comes between.
                if coming.done() and coming.exception() is None and coming.result() is None:
                    ending = LAST_CHUNK
                writer.write(b"%x\r\n%b\r\n%b" % (len(data), data, ending))
                await writer.drain()
        except Cut:
            return False
        finally:
            coming.cancel()
        writer.write(b"" if ending else LAST_CHUNK)
        await writer.drain()
        return True


async def read_request(reader: asyncio.StreamReader) -> Arrival:
    """The next request with its whole body; raises IncompleteReadError at the connection's end."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head[:-4].split(b"\r\n")
    method, target, _ = line.split(b" ")
    headers = [(name, value.strip(b" \t")) for name, _, value in (each.partition(b":") for each in fields)]
    arrival = Arrival(method, target, headers, "none", b"")
    if "chunked" in arrival.header("transfer-encoding").lower():
        arrival.framing, parts = "chunked", []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        arrival.body = b"".join(parts)
    elif length := arrival.header("content-length"):
        arrival.framing, arrival.body = "length", await reader.readexactly(int(length))
    return arrival
