"""played -- upstreams that play what a test file says, exchange by exchange, behind the real connection pool.

They speak bytes over connections in memory (`proxy.core.duplex`), so that pool, parser and faults are those of a running proxy; what is in
another place is only the network. For `chassis test`, on virtual time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeVar

from proxy.adapters.playing import Close, Playing, Reset, Silence, Wait, play
from proxy.core.body import Body, Headers
from proxy.core.clock import Clock
from proxy.core.duplex import End, pair
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.journal import Entry
from proxy.core.reply import Reply
from proxy.core.request import Request
from proxy.core.tasks import spawn
from proxy.policy.play_spec import PlaySpec
from proxy.policy.upstreams import Upstream as Declared
from proxy.wire.known_heads import KnownHeads
from proxy.wire.pool import Pool
from proxy.wire.request_parser import RequestParser
from proxy.wire.settings import PoolSettings, ServerLimits

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(slots=True)
class Exchange:
    """One exchange: what was received, and what came of it. Times are loop times."""

    upstream: str
    at: float
    script: PlaySpec
    method: bytes
    target: bytes
    headers: Headers = field(default_factory=list)  # as received; empty where there was no connection
    body: bytes = b""
    received: bool = False
    status: int | None = None
    failure: str | None = None
    is_open: bool = False  # somebody has the reply, and has neither read it to its end nor closed it
    decided: int = 0  # entries that the call's journal had when it began


class Caller(Protocol):
    """A call whose exchanges are written down with it."""

    exchanges: list[Exchange]
    entries: list[Entry]


@dataclass(slots=True)
class Network:
    """Where all upstreams of one case play: their scripts, and the exchanges in the order in which they began.

    `caller` is whose exchanges they are.
    """

    scripts: dict[str, tuple[PlaySpec, ...]] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)  # of playing itself
    senders: list[Sender] = field(default_factory=list)
    _played: dict[str, int] = field(default_factory=dict)
    caller: ContextVar[Caller] = field(default_factory=lambda: ContextVar("caller"))
    current: ContextVar[Exchange] = field(default_factory=lambda: ContextVar("exchange"))

    def set(self, scripts: Mapping[str, Sequence[PlaySpec]]) -> None:
        """From here on these upstreams play this, from its beginning."""
        for name, plays in scripts.items():
            self.scripts[name] = tuple(plays)
            self._played[name] = 0

    def begin(self, upstream: str, request: Request, at: float) -> Exchange:
        """The next exchange of an upstream, with its script: the last one repeats."""
        plays = self.scripts.get(upstream) or (PlaySpec.read({}),)
        place = self._played.get(upstream, 0)
        self._played[upstream] = place + 1
        exchange = Exchange(upstream, at, plays[min(place, len(plays) - 1)], request.method, request.target)
        if request.body.ended and request.body.error is None:
            exchange.body = request.body.peek()
        self.exchanges.append(exchange)
        if (caller := self.caller.get(None)) is not None:
            exchange.decided = len(caller.entries)
            caller.exchanges.append(exchange)
        return exchange

    def sender(self, declared: Declared, clock: Clock) -> Sender:
        """What an upstream's exchanges go through."""
        sender = Sender(self, declared, clock)
        self.senders.append(sender)
        return sender

    def running(self) -> list[str]:
        """The upstreams that still play to somebody."""
        return [sender.name for sender in self.senders if sender.is_playing]


class Sender:
    """A real pool over connections in memory."""

    def __init__(self, network: Network, declared: Declared, clock: Clock) -> None:
        self._network = network
        self.name = declared.name
        self._clock = clock
        address = declared.address
        settings = PoolSettings(ssl=_any_context() if address.scheme == "https" else None)
        self._dialler = _Dialler(network, address.host, address.port)
        self._pool = Pool(address.host, address.port, settings, clock, self._dialler)

    @property
    def is_playing(self) -> bool:
        """Whether an exchange is under way."""
        return self._dialler.is_playing

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        """One exchange. Raises Failure."""
        exchange = self._network.begin(self.name, request, self._clock.now())
        if exchange.script.is_unconnected:
            self._dialler.drop_idle()
        token = self._network.current.set(exchange)
        try:
            reply = await self._pool.send(request, connect_s)
        except Failure as failure:
            exchange.failure = f"{failure.fault.value}: {failure.detail}"
            raise
        finally:
            self._network.current.reset(token)
        exchange.status, exchange.is_open = reply.status, True
        reply.body.after(lambda why: _ended(exchange, why))
        return reply

    def close(self) -> None:
        """Ends every connection."""
        self._pool.close()
        self._dialler.close()


def _ended(exchange: Exchange, why: Failure | None) -> None:
    exchange.is_open = False
    if why is not None:
        exchange.failure = f"{why.fault.value}: {why.detail}"


class _Dialler:
    """Connects to one played upstream."""

    def __init__(self, network: Network, host: str, port: int) -> None:
        self._network = network
        self._host = host
        self._where = f"{host}:{port}"
        self._servers: list[_Server] = []

    async def connect(self, factory: Callable[[], P]) -> P:
        """A connection, unless the script has none."""
        script = self._network.current.get().script
        if script.refuse:
            raise self._failure("Connection refused")
        if script.dns:
            why = script.dns if isinstance(script.dns, str) else "Name or service not known"
            raise self._failure(f"the name {self._host} cannot be resolved: {why}")
        if script.tls:
            raise self._failure(f"TLS failed: {script.tls if isinstance(script.tls, str) else 'handshake failure'}")
        loop = asyncio.get_running_loop()
        if script.stall == "connect":
            await loop.create_future()
        ours, theirs = pair(loop)
        server = _Server(self._network, ours)
        self._servers = [each for each in self._servers if not each.closed]
        self._servers.append(server)
        theirs.attach(server)
        protocol = factory()
        ours.attach(protocol)
        return protocol

    @property
    def is_playing(self) -> bool:
        """Whether something is played on a connection."""
        return any(not server.closed and not server.is_idle for server in self._servers)

    def drop_idle(self) -> None:
        """As after a restart: kept connections are dead."""
        for server in self._servers:
            if server.is_idle:
                server.client.abort()

    def close(self) -> None:
        """Ends all of them."""
        for server in self._servers:
            server.close()

    def _failure(self, why: str) -> Failure:
        return Failure(Fault.CONNECT, self._where, f"cannot connect to {self._where}: {why}")


class _Server(asyncio.Protocol):
    """The upstream's side of one connection: reads requests with the parser of the data port, and plays to each."""

    def __init__(self, network: Network, client: End) -> None:
        self._network = network
        self.client = client
        self.closed = False
        self._parser = RequestParser(ServerLimits(), self, asyncio.get_running_loop().time, self._asked, KnownHeads())
        self._transport: asyncio.Transport = client
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        client.on_write = self._about_to_hear
        self._exchange: Exchange | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is played on it."""
        return not self.closed and self._task is None

    def _about_to_hear(self) -> None:
        """Called within the exchange that writes: so it is known whose request comes."""
        self._exchange = self._network.current.get(self._exchange)

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except Refusal as refusal:
            self._network.bugs.append(AssertionError(f"the proxy sent what is not HTTP: {refusal.message}"))
            self._transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._parser.receiving is not None:
            self._parser.receiving.body.fail(Failure(Fault.CONNECT, "proxy", "left"))
        self._parser.close()
        self.client.on_write = None
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    # What the parser and the request's body call

    def body_full(self) -> None:
        """Never: the body is read as it comes."""

    def body_drained(self) -> None:
        """Never."""

    def let_go(self, body: Body) -> None:
        """The rest of a request is read past."""

    def _asked(self, request: Request) -> None:
        exchange = self._exchange
        if exchange is None:
            self._network.bugs.append(AssertionError("a request came outside of any exchange"))
            self._transport.abort()
            return
        exchange.method, exchange.target, exchange.headers, exchange.received = request.method, request.target, request.headers, True
        self._task = spawn(self._answer(exchange, request), "played upstream")

    async def _answer(self, exchange: Exchange, request: Request) -> None:
        try:
            exchange.body = await request.body.read_all()
            for step in play(exchange.script, Playing(request.method, request.target, exchange.body, request.header(b"content-encoding"))):
                if isinstance(step, Wait):
                    await asyncio.sleep(step.wait_s)
                elif isinstance(step, Silence):
                    await asyncio.get_running_loop().create_future()
                elif isinstance(step, Close):
                    self._transport.close()
                    return
                elif isinstance(step, Reset):
                    await asyncio.sleep(0)  # what was written before is read before
                    self._transport.abort()
                    return
                else:
                    self._transport.write(step)
                    await self._room.wait()
        except Failure:
            self._transport.abort()
        except Exception as bug:
            self._network.bugs.append(bug)
            self._transport.abort()
        finally:
            self._task = None

    def close(self) -> None:
        """Ends the connection, and what is played on it."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()


@lru_cache(maxsize=1)
def _any_context() -> ssl.SSLContext:
    """Says that an address is https; no byte is ever encrypted here."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
