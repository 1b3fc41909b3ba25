"""Tunnels: after the 101 every byte goes through, both ways, at the pace of the slower side, and both sides end together."""

from __future__ import annotations

import asyncio
import os

import pytest

from proxy.wire.settings import ServerLimits
from tests.wire.plumbing import GET, OK, Peer, answering, eventually, rig

ASK = (
    b"GET /v1/realtime?model=x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk\r\n\r\n"
)
YES = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: realtime\r\nConnection: Upgrade\r\n\r\n"


async def echo(peer: Peer) -> None:
    head = await peer.until(b"\r\n\r\n")
    assert b"\r\nUpgrade: websocket\r\n" in head
    assert b"\r\nConnection: Upgrade\r\n" in head
    await peer.send(YES + b"early")
    while data := peer.seen or await peer.reader.read(65536):
        peer.seen = b""
        peer.writer.write(data)
        await peer.writer.drain()


async def test_bytes_go_both_ways_and_those_that_came_early_too() -> None:
    async with rig(echo) as it:
        client = await it.client()
        await client.send(ASK + b"\x81\x00first")
        assert await client.until(b"\r\n\r\n") == YES
        assert await client.exactly(12) == b"early\x81\x00first"
        assert it.listener.busy == 1
        for size in (1, 70_000, 1_000_000):
            data = os.urandom(size)
            client.writer.write(data)
            assert await client.exactly(size) == data
        client.close()
        await eventually(lambda: it.upstream.peers[0].reader.at_eof())


@pytest.mark.parametrize("asked", [b"websocket", b"Custom/2.0, websocket"])
async def test_any_protocol_but_h2c_may_be_asked_for(asked: bytes) -> None:
    async def script(peer: Peer) -> None:
        head = await peer.until(b"\r\n\r\n")
        assert b"Upgrade: " + asked in head
        await peer.send(b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: " + asked + b"\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"


async def test_a_refused_upgrade_is_an_ordinary_reply_and_the_connection_goes_on() -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno"
    async with rig(answering(refusal, OK)) as it:
        client = await it.client()
        await client.send(ASK + GET)
        first = await client.reply()
        second = await client.reply()
        await client.send(GET)
        third = await client.reply()

    assert first == (refusal[:-2], b"no")
    assert second[1] == third[1] == b"ok"


async def test_an_upgrade_waits_for_the_requests_before_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await echo(peer)

    async with rig(script) as it:
        client = await it.client()
        await client.send(GET + ASK + b"later")
        assert (await client.reply())[1] == b"ok"
        assert await client.until(b"\r\n\r\n") == YES
        assert await client.exactly(10) == b"earlylater"


async def test_what_follows_an_h2c_upgrade_is_a_request_like_any_other() -> None:
    seen: list[tuple[bytes, bytes]] = []
    async with rig(answering(OK, seen=seen)) as it:
        client = await it.client()
        await client.send(
            b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
            b"Content-Length: 2\r\n\r\nhi"
            b"GET /b HTTP/1.1\r\nHost : a\r\n\r\n"
        )
        first = await client.reply()
        second = await client.reply()

    assert first[1] == b"ok"
    assert second[0].startswith(b"HTTP/1.1 400 ")
    assert len(seen) == 1
    assert b"pgrade" not in seen[0][0]


async def test_the_upstreams_end_is_the_clients_end_behind_its_last_bytes() -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(YES, b"a" * 500_000, b"\x88\x02\x03\xe8")

    async with rig(script) as it:
        client = await it.client()
        await client.send(ASK)
        answer = await client.rest()

    assert answer == YES + b"a" * 500_000 + b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_the_clients_end_is_the_upstreams_end(how: str) -> None:
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(YES)
        assert await peer.until(b"bye")
        await peer.ended()
        ended.set()

    async with rig(script) as it:
        client = await it.client()
        await client.send(ASK)
        await client.until(b"\r\n\r\n")
        await client.send(b"bye")
        await eventually(lambda: not it.upstream.peers[0].seen)
        await asyncio.sleep(0.02)
        client.reset() if how == "reset" else client.close()
        await asyncio.wait_for(ended.wait(), 1)


@pytest.mark.parametrize("slow", ["client", "upstream"])
async def test_a_slow_side_slows_the_other_and_memory_stays_bounded(slow: str) -> None:
    sent = 0

    async def pour(peer: Peer) -> None:
        nonlocal sent
        for _ in range(600):
            peer.writer.write(b"a" * 65536)
            await peer.writer.drain()
            sent += 65536

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(YES)
        if slow == "client":
            await pour(peer)
        else:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await go_on.wait()
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await peer.skip(600 * 65536)
            await peer.send(b"all")

    go_on = asyncio.Event()
    async with rig(script) as it:
        client = await it.client(buffer=4096 if slow == "client" else None)
        await client.send(ASK)
        await client.until(b"\r\n\r\n")
        if slow == "client":
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        pouring = asyncio.ensure_future(pour(client)) if slow == "upstream" else None
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        stuck = sent
        go_on.set()
        if pouring is None:
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await client.skip(600 * 65536)
        else:
            await pouring
            assert await client.rest() == b"all"

    assert stuck < 20_000_000


async def test_a_tunnel_that_outlives_a_drain_is_closed_on_both_sides() -> None:
    async with rig(echo, limits=ServerLimits(linger_s=0.2)) as it:
        client = await it.client()
        await client.send(ASK)
        await client.until(b"early")
        await it.listener.finish(0.05)
        assert await client.ended()
        await eventually(lambda: it.upstream.peers[0].reader.at_eof())

    assert it.listener.busy == 0


async def test_a_client_that_leaves_a_stuck_tunnel_is_noticed() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(YES)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        peer.writer.transport.abort()

    async with rig(script) as it:
        client = await it.client()
        await client.send(ASK)
        await client.until(b"\r\n\r\n")
        client.writer.write(b"a" * 30_000_000)
        connection = next(iter(it.listener._connections))
        await eventually(lambda: connection._tunnel is not None and not connection._tunnel._reading.is_on)
        client.reset()
        await eventually(lambda: it.listener.open == 0, within_s=1.0)
        go_on.set()
