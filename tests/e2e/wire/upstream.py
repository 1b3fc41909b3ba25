"""A raw upstream: keeps the exact bytes of every connection, plays scripts byte by byte, breaks off where told to.

One port for all cases: a request's X-Case header finds its script. It runs on a loop of its own in a thread.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.wire.client import Client
from tests.e2e.wire.http1 import Message, Reader
from tests.e2e.wire.play import NAME, Await, Big, Do, Pause, Script, Step, filled

PATIENCE_S = 5.0  # a wait in a script that lasts longer is reported as a problem of the run
PIECE_BYTES = 65536
PATTERN = bytes(range(256)) * (PIECE_BYTES // 256)


@dataclass(slots=True)
class Arrival:
    """One request as it came: on which connection (and as its how-manieth), and what became of it."""

    run: Run
    message: Message
    connection: int
    turn: int
    peer: Connection
    sent: Reader
    sent_bytes: int = 0
    played_at: list[float] = field(default_factory=list)
    left_at: float | None = None
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Run:
    """One playing of a case: its scripts, and what was seen of it at the upstream."""

    id: str
    scripts: tuple[Script, ...]
    tunnel: bool = False
    client: Client | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Upstream:
    """Start it; `run` a case; read the run's arrivals. `received` counts all request bytes on all connections."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.runs: dict[str, Run] = {}
        self.received = 0
        self.connections = 0
        self.strays: list[bytes] = []
        self.open: set[Connection] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="raw-upstream", daemon=True)
        self.port = 0

    @property
    def authority(self) -> bytes:
        return b"127.0.0.1:%d" % self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the raw upstream did not start")

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def expect(self, case_id: str, scripts: tuple[Script, ...], tunnel: bool = False) -> Run:
        run = Run(case_id, scripts, tunnel)
        self.runs[case_id] = run
        return run

    def shut_idle(self) -> None:
        """End all connections and wait until their peers have left: a proxy's next request comes over a new one."""
        for connection in list(self.open):
            self.loop.call_soon_threadsafe(connection.transport.close)
        deadline = time.monotonic() + PATIENCE_S
        while self.open and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.02)  # the peers have been told; now they have read it

    async def _serve(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self.loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for connection in list(self.open):
            connection.transport.abort()
        await asyncio.sleep(0.01)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


class Connection(asyncio.Protocol):
    """One connection from a client or a proxy: its requests are answered in their order."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._reader = Reader("request", tunnels=self._tunnels)
        self._known = 0
        self._queue: asyncio.Queue[Arrival | None] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self.left_at: float | None = None
        self._closing = False
        self._deaf = False
        self.server_name: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._upstream.connections += 1
        self.number = self._upstream.connections
        self._upstream.open.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=PIECE_BYTES)
        self._player = asyncio.get_running_loop().create_task(self._play_all())

    def data_received(self, data: bytes) -> None:
        self._upstream.received += len(data)
        self._reader.feed(data, time.monotonic())
        while self._known < len(self._reader.messages):
            self._arrive(self._reader.messages[self._known])

    def _run(self, message: Message) -> Run | None:
        return self._upstream.runs.get(message.value(NAME).decode("latin-1"))

    def _tunnels(self, message: Message) -> bool:
        run = self._run(message)
        return run is not None and run.tunnel

    def _arrive(self, message: Message) -> None:
        self._known += 1
        run = self._run(message)
        if run is None:
            self._upstream.strays.append(message.head)
            self.transport.abort()
            return
        arrival = Arrival(run, message, self.number, self._known, self, Reader("reply", [message.method]))
        run.arrivals.append(arrival)
        self._queue.put_nowait(arrival)

    def eof_received(self) -> bool:
        self._left()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self._upstream.open.discard(self)
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _left(self) -> None:
        if self.left_at is None and not self._closing:
            self.left_at = time.monotonic()
            self._reader.end()
            self._queue.put_nowait(None)

    def gone(self) -> bool:
        """Whether the peer has left; asks the socket when we do not read."""
        if self._deaf and self.left_at is None:
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
            if poll.poll(0):
                self._left()
        return self.left_at is not None

    async def _play_all(self) -> None:
        while not self._closing:
            arrival = await self._queue.get()
            if arrival is None:
                self.transport.close()
                return
            run = arrival.run
            place = run.arrivals.index(arrival)
            if place >= len(run.scripts):
                run.problems.append(f"request {place + 1} was not expected: {arrival.message.head!r}")
                self.transport.abort()
                return
            try:
                await self._play(run, arrival, run.scripts[place])
            except Exception as problem:
                run.problems.append(f"the upstream's script broke: {problem!r}")
                self.transport.abort()
                raise
            finally:
                arrival.left_at = self.left_at
                arrival.over.set()

    async def _play(self, run: Run, arrival: Arrival, script: Script) -> None:
        if not script.early and not run.tunnel:
            await self._until(run, lambda: arrival.message.complete, "the request was not complete")
        for step in script.steps:
            if self.left_at is not None and step not in (Do.FIN, Do.RST):
                return
            await self._step(run, arrival, step)
            arrival.played_at.append(time.monotonic())

    async def _step(self, run: Run, arrival: Arrival, step: Step) -> None:
        match step:
            case bytes():
                data = filled(step, run.id)
                self.transport.write(data)
                arrival.sent.feed(data, time.monotonic())
                arrival.sent_bytes += len(data)
                await self._writable.wait()
            case Big(size_bytes):
                await self._send_big(arrival, size_bytes)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Await(marker):
                await self._until(run, lambda: marker in arrival.message.body, f"{marker[:60]!r} did not arrive at the upstream")
            case Do.SEEN:
                await self._until(
                    run,
                    lambda: _progress(run.client and run.client.reader) >= _progress(arrival.sent),
                    f"what was sent up to {bytes(arrival.sent.messages[-1].body[-60:])!r} did not reach the client",
                )
            case Do.STALL:
                await self._until(run, lambda: False, "the peer did not leave")
            case Do.FIN:
                self._closing = True
                self.transport.close()
            case Do.RST:
                self._closing = True
                await self._flushed()
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
            case Do.DEAF:
                self._deaf = True
                self.transport.pause_reading()
            case Do.LISTEN:
                self._deaf = False
                self.transport.resume_reading()
            case _:
                raise TypeError(f"not a step for an upstream: {step!r}")

    async def _send_big(self, arrival: Arrival, size_bytes: int) -> None:
        left = size_bytes
        while left and self.left_at is None:
            piece = PATTERN[: min(left, PIECE_BYTES)]
            self.transport.write(piece)
            arrival.sent_bytes += len(piece)
            left -= len(piece)
            await self._writable.wait()

    async def _flushed(self) -> None:
        while self.transport.get_write_buffer_size() and self.left_at is None:
            await asyncio.sleep(0.002)

    async def _until(self, run: Run, ready: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if self.gone():
                return
            if time.monotonic() > deadline:
                run.problems.append(f"{otherwise} within {PATIENCE_S:g} s")
                return
            await asyncio.sleep(0.001)


def _progress(reader: Reader | None) -> tuple[int, int]:
    """How many messages have begun, and how much of the last one's body is here."""
    if reader is None or reader.last is None:
        return (0, 0)
    return (len(reader.messages), len(reader.last.body))
