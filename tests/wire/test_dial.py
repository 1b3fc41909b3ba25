"""Dialling: addresses raced and asked for again, a proxy's CONNECT, and failures that a person understands."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from proxy.core.clock import LoopClock
from proxy.core.faults import Failure
from proxy.wire.dial import Dialler
from proxy.wire.settings import HttpProxy, PoolSettings
from proxy.wire.tls import client_context
from tests.wire.certificates import make
from tests.wire.plumbing import GET, OK, Peer, Upstream, answering, eventually, rig


class Clock(LoopClock):
    """A clock that can be put forward."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.ahead_s = 0.0
        self.now = lambda: asyncio.get_running_loop().time() + self.ahead_s


def dialler(
    port: int, monkeypatch: pytest.MonkeyPatch, answers: list[list[str] | OSError], settings: PoolSettings | None = None
) -> tuple[Dialler, Clock]:
    """One whose names resolve to `answers` in turn."""
    clock = Clock()
    made = Dialler("name.test", port, settings or PoolSettings(), clock)

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answer]

    class Loop:
        def __init__(self) -> None:
            self.real = asyncio.get_running_loop()
            self.getaddrinfo = getaddrinfo

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

    made._loop = Loop()  # type: ignore[assignment]
    monkeypatch.setattr(made, "_reach", made._reach)
    return made, clock


@pytest.fixture
async def upstream() -> Upstream:
    made = Upstream([answering(OK)])
    await made.start()
    return made


async def connect(made: Dialler) -> None:
    protocol = await made.connect(lambda: Closing())
    protocol.transport.close()


class Closing(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def test_addresses_are_kept_for_a_while_and_asked_for_again(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[str] | OSError] = [["127.0.0.1"], ["127.0.0.1"]]
    made, clock = dialler(upstream.port, monkeypatch, answers)
    await connect(made)
    await connect(made)
    assert len(answers) == 1
    clock.ahead_s = 31
    await connect(made)
    await upstream.stop()

    assert answers == []


async def test_old_addresses_are_better_than_none(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = dialler(upstream.port, monkeypatch, [["127.0.0.1"], socket.gaierror(-3, "Temporary failure in name resolution")])
    await connect(made)
    clock.ahead_s = 31
    await connect(made)
    await upstream.stop()

    assert upstream.connections == 2


async def test_an_address_that_fails_is_asked_for_again_at_once(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = dialler(upstream.port, monkeypatch, [["127.0.0.3"], ["127.0.0.1"]])
    sock = socket.create_server(("127.0.0.3", 0))
    sock.close()
    with pytest.raises(Failure, match="Connection refused"):
        await connect(made)
    await connect(made)
    await upstream.stop()

    assert upstream.connections == 1


async def test_a_name_that_does_not_resolve_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = dialler(1, monkeypatch, [socket.gaierror(-2, "Name or service not known")])

    with pytest.raises(Failure, match=r"cannot connect to name\.test:1: the name name\.test cannot be resolved: Name or service not known"):
        await connect(made)


async def test_the_next_address_is_tried_where_one_fails(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = dialler(upstream.port, monkeypatch, [["127.0.0.3", "127.0.0.1"]])
    await connect(made)
    await upstream.stop()

    assert upstream.connections == 1


async def test_an_address_that_stays_silent_is_raced_by_the_next(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.4", upstream.port))
    silent.listen(0)
    fillers = []
    for _ in range(4):  # a full backlog drops further SYNs
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.4", upstream.port))
        fillers.append(filler)
    made, _ = dialler(upstream.port, monkeypatch, [["127.0.0.4", "127.0.0.1"]], PoolSettings(race_s=0.05))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connect(made)
    took = loop.time() - began
    for sock in (silent, *fillers):
        sock.close()
    await upstream.stop()

    assert took < 0.9


async def test_a_connection_that_does_not_come_is_given_up_in_time() -> None:
    async def silent(peer: Peer) -> None:
        await peer.ended()

    settings = PoolSettings(ssl=client_context(), connect_s=0.1)  # its TLS never answers
    async with rig(silent, settings=settings) as it:
        head, body = await it.ask(GET)
        await eventually(lambda: all(peer.reader.at_eof() for peer in it.upstream.peers))

    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"no connection within 0.1 s" in body


# A proxy on the way


class Proxy:
    """Answers CONNECT with `answer`, and on a 200 carries bytes to `port`."""

    def __init__(self, port: int, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.asked: list[bytes] = []
        self._port = port
        self._answer = answer

    async def __call__(self, peer: Peer) -> None:
        self.asked.append(await peer.until(b"\r\n\r\n"))
        if not self._answer:
            return
        await peer.send(self._answer)
        if b" 200" not in self._answer:
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
            except ConnectionError:
                return
            finally:
                sink.close()

        await asyncio.gather(carry(peer.reader, writer), carry(reader, peer.writer))


@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_is_asked_to_connect_and_sees_no_more(tls: bool, tmp_path: Path) -> None:
    ca, context = make(tmp_path)
    proxy = Upstream([])
    await proxy.start()
    settings = PoolSettings(
        ssl=client_context(ca) if tls else None,
        proxy=HttpProxy("127.0.0.1", proxy.port, "us\u00e9r", "p:w"),
    )
    async with rig(answering(OK), settings=settings, upstream_tls=context if tls else None) as it:
        playing = Proxy(it.upstream.port)
        proxy.scripts = [playing]
        client = await it.client()
        for _ in range(2):
            await client.send(GET)
            assert (await client.reply())[1] == b"ok"
    await proxy.stop()

    where = b"127.0.0.1:%d" % it.upstream.port
    assert playing.asked == [b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic dXPDqXI6cDp3\r\n\r\n" % (where, where)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            b"refused CONNECT: HTTP/1.1 407 Proxy Authentication Required",
        ),
        (b"SSH-2.0-nonsense\r\n\r\n", b"refused CONNECT: SSH-2.0-nonsense"),
        (b"", b"did not answer CONNECT"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000, b"did not answer CONNECT"),
    ],
)
async def test_a_proxy_that_refuses_is_a_connect_failure(answer: bytes, said: bytes) -> None:
    proxy = Upstream([Proxy(1, answer)])
    await proxy.start()
    async with rig(answering(OK), settings=PoolSettings(proxy=HttpProxy("127.0.0.1", proxy.port))) as it:
        head, body = await it.ask(GET)
    await proxy.stop()

    assert head.startswith(b"HTTP/1.1 502 ")
    assert said in body
    assert it.upstream.connections == 0


async def test_a_name_that_leads_to_a_refused_address_is_not_followed(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(ip: str) -> str:
        return "a metadata service" if ip.startswith("169.254.") else ""

    settings = PoolSettings(refused=refused)
    made, _ = dialler(upstream.port, monkeypatch, [["169.254.169.254"], ["169.254.169.254", "127.0.0.1"]], settings)

    with pytest.raises(Failure, match=r"the name name\.test leads to 169\.254\.169\.254, a metadata service; nothing is sent there"):
        await connect(made)
    await connect(made)
    await upstream.stop()
    assert upstream.connections == 1
