"""The listener: what it counts, and how it drains."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.faults import Failure
from proxy.core.reply import Reply
from proxy.core.request import Request
from proxy.wire.listener import Handler
from proxy.wire.pool import Pool
from proxy.wire.settings import ServerLimits
from tests.wire.plumbing import GET, OK, Peer, answering, eventually, rig

SSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
QUICK = ServerLimits(linger_s=0.2)


def held(asked: asyncio.Event, go_on: asyncio.Event, *replies: bytes) -> object:
    """Answers with `replies`, waiting before each but the first part."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for at, part in enumerate(replies):
            if at or len(replies) == 1:
                asked.set()
                await go_on.wait()
            await peer.send(part)
        await peer.ended()

    return script


async def test_it_counts_connections_and_calls() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, OK)) as it:  # type: ignore[arg-type]
        idle, client = await it.client(), await it.client()
        await client.send(GET)
        await asked.wait()
        counted = (it.listener.open, it.listener.busy)
        go_on.set()
        await client.reply()
        await eventually(lambda: it.listener.busy == 0)
        idle.close()
        await eventually(lambda: it.listener.open == 1)

    assert counted == (2, 1)


async def test_a_drain_closes_idle_connections_at_once_and_busy_ones_after_their_answer() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, OK), limits=QUICK) as it:  # type: ignore[arg-type]
        idle, client = await it.client(), await it.client()
        await client.send(GET)
        await asked.wait()
        it.listener.draining()
        assert await idle.ended()
        finishing = asyncio.ensure_future(it.listener.finish(5))
        await asyncio.sleep(0.02)
        waits = not finishing.done()
        go_on.set()
        head, _ = await client.reply()
        assert await client.ended()
        await finishing

    assert waits
    assert b"Connection: close" in head


async def test_a_stream_that_began_before_a_drain_ends_in_its_own_time() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, SSE, b"2\r\nhi\r\n0\r\n\r\n"), limits=QUICK) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        head = await client.until(b"\r\n\r\n")
        finishing = asyncio.ensure_future(it.listener.finish(5))
        await asyncio.sleep(0.02)
        go_on.set()
        answer = head + await client.rest()
        await finishing

    assert answer == SSE + b"2\r\nhi\r\n0\r\n\r\n"


async def test_a_stream_that_outlives_a_drain_gets_its_last_words() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    failures: list[Failure] = []

    def speaking(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            reply = await pool.send(request)

            def last_words(failure: Failure) -> bytes:
                failures.append(failure)
                return b"bye"

            reply.last_words = last_words
            return reply

        return handler

    async with rig(held(asked, go_on, SSE + b"2\r\nhi\r\n", b""), handler=speaking, limits=QUICK) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        await client.until(b"hi\r\n")
        await it.listener.finish(0.05)
        answer = await client.rest()
        await eventually(lambda: it.upstream.peers[0].reader.at_eof())

    assert answer == b"3\r\nbye\r\n0\r\n\r\n"
    assert "shutting down" in failures[0].detail


async def test_a_stream_without_last_words_is_cut() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, SSE + b"2\r\nhi\r\n", b""), limits=QUICK) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        await client.until(b"hi\r\n")
        await it.listener.finish(0.05)
        answer = await client.rest()

    assert answer == b""


async def test_a_call_without_an_answer_is_refused_when_time_is_up() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, OK), limits=QUICK) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        await asked.wait()
        await it.listener.finish(0.05)
        head, body = await client.reply()
        assert await client.ended()
        await eventually(lambda: it.upstream.peers[0].reader.at_eof())

    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"shutting down" in body
    assert it.cancelled == 1


async def test_close_ends_everything_now() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, OK)) as it:  # type: ignore[arg-type]
        idle, client = await it.client(), await it.client()
        await client.send(GET)
        await asked.wait()
        it.listener.close()
        assert await idle.ended()
        assert await client.ended()
        await eventually(lambda: it.listener.open == 0)

    assert it.cancelled == 1


async def test_a_drain_of_nothing_takes_no_time() -> None:
    loop = asyncio.get_running_loop()
    async with rig(answering(OK)) as it:
        await it.ask(GET)
        began = loop.time()
        await it.listener.finish(5)
        took = loop.time() - began

    assert took < 0.5


@pytest.mark.parametrize("count", [3])
async def test_a_drain_answers_no_more_than_what_is_under_way(count: int) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with rig(held(asked, go_on, OK)) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET * count)
        await asked.wait()
        it.listener.draining()
        go_on.set()
        head, _ = await client.reply()
        assert await client.ended()

    assert b"Connection: close" in head
    assert len(it.calls) == 1
