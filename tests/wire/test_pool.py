"""The pool: what it keeps, for how long, and under which name it speaks."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Request
from proxy.wire.listener import Handler
from proxy.wire.pool import Pool
from proxy.wire.settings import PoolSettings
from proxy.wire.tls import client_context
from tests.wire.plumbing import GET, OK, Peer, answering, eventually, post, rig


@pytest.mark.parametrize(
    ("host", "port", "tls", "authority"),
    [
        ("api.openai.com", 443, True, b"api.openai.com"),
        ("api.openai.com", 8443, True, b"api.openai.com:8443"),
        ("127.0.0.1", 80, False, b"127.0.0.1"),
        ("127.0.0.1", 443, False, b"127.0.0.1:443"),
        ("::1", 8000, False, b"[::1]:8000"),
        ("b\u00fccher.example", 443, True, b"xn--bcher-kva.example"),
    ],
)
async def test_it_speaks_under_the_upstreams_own_authority(host: str, port: int, tls: bool, authority: bytes) -> None:
    pool = Pool(host, port, PoolSettings(ssl=client_context() if tls else None), LoopClock(asyncio.get_running_loop()))

    assert pool.authority == authority


async def test_idle_connections_are_closed_before_the_upstream_would() -> None:
    async with rig(answering(OK), settings=PoolSettings(keep_s=0.05)) as it:
        await it.ask(GET)
        await eventually(lambda: it.pool.idle == 1)
        await eventually(lambda: it.upstream.peers[0].reader.at_eof())
        assert it.pool.idle == 0
        await it.ask(GET)

    assert it.upstream.connections == 2


async def test_an_old_connection_is_not_kept() -> None:
    async with rig(answering(OK), settings=PoolSettings(life_s=-1.0)) as it:
        for _ in range(3):
            await it.ask(GET)

    assert it.upstream.connections == 3


async def test_no_more_than_so_many_are_kept() -> None:
    barrier = asyncio.Barrier(4)

    async def script(peer: Peer) -> None:
        await peer.request()
        await barrier.wait()
        await peer.send(OK)
        await peer.ended()

    async with rig(script, settings=PoolSettings(max_idle=2)) as it:
        clients = [await it.client() for _ in range(4)]
        for client in clients:
            await client.send(GET)
        for client in clients:
            await client.reply()
        await eventually(lambda: it.pool.idle == 2)

    assert it.upstream.connections == 4


async def test_an_upstream_that_closes_an_idle_connection_is_not_asked_on_it() -> None:
    async with rig(answering(OK)) as it:
        await it.ask(GET)
        await eventually(lambda: it.pool.idle == 1)
        it.upstream.peers[0].close()
        await eventually(lambda: it.pool.idle == 0)
        assert (await it.ask(GET))[1] == b"ok"


async def test_close_ends_what_is_idle_and_what_is_under_way_ends_by_itself() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await go_on.wait()
        await peer.send(OK)
        assert await peer.ended()

    async with rig(slow) as it:
        client = await it.client()
        await client.send(GET)
        await asked.wait()
        it.pool.close()
        go_on.set()
        answer = await client.reply()
        await eventually(lambda: it.upstream.peers[0].reader.at_eof())

    assert answer[1] == b"ok"
    assert it.pool.idle == 0


async def test_nothing_listening_is_a_connect_failure_that_says_where() -> None:
    pool = Pool("127.0.0.1", 9, PoolSettings(), LoopClock(asyncio.get_running_loop()))
    failures: list[Failure] = []

    def failing(_: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            try:
                return await pool.send(request)
            except Failure as failure:
                failures.append(failure)
                raise

        return handler

    async with rig(handler=failing) as it:
        head, body = await it.ask(post(b"{}"))

    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"cannot connect to 127.0.0.1:9" in body
    assert failures[0].fault is Fault.CONNECT
    assert "refused" in failures[0].detail.lower()


async def test_a_body_that_broke_before_it_was_sent_raises_its_own_failure() -> None:
    pool = Pool("127.0.0.1", 9, PoolSettings(), LoopClock(asyncio.get_running_loop()))
    caught: list[BaseException] = []

    def breaking(_: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            request.body.ended = False
            request.body.fail(Failure(Fault.INVALID, "app", "it broke"))
            try:
                return await pool.send(request)
            except Failure as failure:
                caught.append(failure)
                raise

        return handler

    async with rig(handler=breaking) as it:
        await it.ask(GET)

    assert str(caught[0]) == "it broke"
