"""Deadlines with short limits, over real time: slow heads, slow bodies, slow readers, idle connections."""

from __future__ import annotations

import asyncio

import pytest

from proxy.wire.settings import ServerLimits
from tests.wire.plumbing import GET, OK, Peer, answering, eventually, rig


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_head_that_comes_too_slowly_is_refused(start: bytes) -> None:
    async with rig(limits=ServerLimits(head_s=0.15)) as it:
        client = await it.client()
        await client.send(start)
        for _ in range(3):
            await asyncio.sleep(0.03)
            await client.send(b"X" if start == b"G" else b"X: 1\r\n"[:1])
        head, body = await client.reply()
        assert await client.ended()

    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in body
    assert it.calls == []


async def test_slow_heads_by_the_hundred_are_all_ended() -> None:
    async with rig(limits=ServerLimits(head_s=0.3)) as it:
        clients = [await it.client() for _ in range(150)]
        for client in clients:
            client.writer.write(b"GET / HTTP/1.1\r\nX: ")
        await asyncio.gather(*(client.rest() for client in clients))
        await eventually(lambda: it.listener.open == 0)

    assert it.calls == []


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with rig(limits=ServerLimits(head_s=0.1)) as it:
        client = await it.client()
        assert await client.rest() == b""

    assert it.calls == []


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with rig(limits=ServerLimits(keep_s=0.1)) as it:
        client = await it.client()
        await client.send(GET)
        await client.reply()
        assert await client.rest() == b""

    assert len(it.calls) == 1


async def test_empty_lines_do_not_keep_a_connection() -> None:
    async with rig(limits=ServerLimits(keep_s=0.2, head_s=0.2)) as it:
        client = await it.client()
        await client.send(GET)
        await client.reply()
        while not client.reader.at_eof():
            client.writer.write(b"\r\n")
            await asyncio.sleep(0.05)

    assert len(it.calls) == 1


async def test_the_next_head_has_its_own_deadline() -> None:
    async with rig(answering(OK), limits=ServerLimits(keep_s=30, head_s=0.15)) as it:
        client = await it.client()
        await client.send(GET)
        await client.reply()
        await asyncio.sleep(0.3)
        await client.send(GET)
        await client.reply()
        await client.send(GET[:10])
        head, _ = await client.reply()

    assert head.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"])
async def test_a_body_that_stops_coming_fails_its_call(framing: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"abc")
        assert await peer.ended() or peer.seen == b""

    async with rig(script, limits=ServerLimits(body_s=0.15)) as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
        head, body = await client.reply()
        assert await client.ended()

    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in body


async def test_a_body_that_comes_slowly_but_comes_is_awaited() -> None:
    async with rig(answering(OK), limits=ServerLimits(body_s=0.2)) as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.06)
            await client.send(b"a")
        answer = await client.reply()

    assert answer[1] == b"ok"


async def test_a_body_that_waits_for_100_or_for_us_is_not_late() -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await asyncio.sleep(0.4)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.6)
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.skip(12_000_000)
        await peer.send(OK)

    async with rig(script, limits=ServerLimits(body_s=0.3)) as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 12000000\r\n\r\n")
        await client.until(b"100 Continue\r\n\r\n")
        client.writer.write(b"a" * 12_000_000)
        answer = await client.reply()

    assert answer[1] == b"ok"


async def test_a_client_that_takes_nothing_is_let_go() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n" + b"a" * 30_000_000
    async with rig(answering(big), limits=ServerLimits(write_s=0.3)) as it:
        client = await it.client(buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await eventually(lambda: it.calls)
        await eventually(lambda: it.listener.open == 0)
        await eventually(lambda: it.upstream.peers[0].writer.transport.is_closing())

    assert it.listener.busy == 0


async def test_a_client_that_takes_little_is_waited_for() -> None:
    size = 6_000_000
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size
    async with rig(answering(big), limits=ServerLimits(write_s=0.4)) as it:
        client = await it.client(buffer=65536)
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        for _ in range(12):
            await asyncio.sleep(0.08)
            data = await client.reader.read(100_000)
            size -= len(data)
        await client.skip(size)

    assert len(it.calls) == 1


async def test_a_lingering_connection_is_not_lingered_for_ever() -> None:
    async with rig(limits=ServerLimits(linger_s=0.15)) as it:
        client = await it.client()
        await client.send(b"GET / HTTP/9.9\r\n\r\n")
        await client.reply()
        await eventually(lambda: it.listener.open == 0)

    assert it.calls == []
