"""A connection to an upstream: what comes back, what may be kept, what may be sent again, and what never reaches another call."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.body import Body
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.wire.listener import Handler
from proxy.wire.pool import Pool
from proxy.wire.settings import PoolSettings
from tests.wire.plumbing import GET, OK, Peer, Script, answering, eventually, post, rig

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def failing_open(failures: list[Failure]) -> object:
    """A handler that notes the Failure of its exchange."""

    def make(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            try:
                return await pool.send(request)
            except Failure as failure:
                failures.append(failure)
                raise

        return handler

    return make


def saying(*parts: bytes) -> Script:
    """Answers one request with `parts`, then closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*parts)

    return script


async def test_kept_connections_are_used_again() -> None:
    async with rig(answering(OK)) as it:
        client = await it.client()
        for _ in range(20):
            await client.send(GET)
            await client.reply()

    assert it.upstream.connections == 1


async def test_as_many_connections_are_made_as_calls_are_in_flight() -> None:
    barrier = asyncio.Barrier(8)

    async def script(peer: Peer) -> None:
        for _ in range(3):
            await peer.request()
            await barrier.wait()
            await peer.send(OK)
        await peer.ended()

    async with rig(script) as it:
        clients = [await it.client() for _ in range(8)]
        for _ in range(3):
            for client in clients:
                await client.send(GET)
            for client in clients:
                assert (await client.reply())[1] == b"ok"
        await eventually(lambda: it.pool.idle == 8)

    assert it.upstream.connections == 8


@pytest.mark.parametrize("body", [b"", b"{}", b"a" * 100_000])
async def test_a_connection_closed_between_two_calls_costs_one_silent_resend(body: bytes) -> None:
    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.until(b"\r\n\r\n")
        peer.close()

    seen: list[tuple[bytes, bytes]] = []
    async with rig(closing, answering(OK, seen=seen)) as it:
        client = await it.client()
        await client.send(GET)
        await client.reply()
        await client.send(post(body))
        answer = await client.reply()

    assert answer[1] == b"ok"
    assert [got for _, got in seen] == [body]
    assert it.upstream.connections == 2


@pytest.mark.parametrize("framing", [b"Content-Length: 30\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_is_still_coming_is_resent_from_its_beginning(framing: bytes) -> None:
    got_first = asyncio.Event()

    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.until(b"first")
        peer.close()
        got_first.set()

    seen: list[tuple[bytes, bytes]] = []
    first, second = (b"first".ljust(15), b"second".rjust(15))
    if b"chunked" in framing:
        first, second = b"f\r\n" + first + b"\r\n", b"f\r\n" + second + b"\r\n0\r\n\r\n"
    async with rig(closing, answering(OK, seen=seen)) as it:
        client = await it.client()
        await client.send(GET)
        await client.reply()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + first)
        await got_first.wait()
        await client.send(second)
        answer = await client.reply()

    assert answer[1] == b"ok"
    assert seen[0][1] == first + second


async def test_what_is_too_large_to_keep_is_not_resent() -> None:
    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.exactly(300_000)
        peer.reset()

    failures: list[Failure] = []
    async with rig(closing, answering(OK), handler=failing_open(failures)) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        await client.reply()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + b"a" * 500_000)
        head, _ = await client.reply()

    assert head.startswith(b"HTTP/1.1 502 ")
    assert failures[0].fault is Fault.CONNECT
    assert it.upstream.connections == 1


async def test_what_is_too_large_to_keep_meets_only_a_fresh_connection() -> None:
    async with rig(answering(OK), settings=PoolSettings(fresh_s=-1.0)) as it:
        client = await it.client()
        await client.send(GET)
        await client.reply()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n0\r\n\r\n")
        await client.reply()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", b"a")
        await client.reply()

    assert it.upstream.connections == 2


async def test_a_connection_that_dies_behind_the_first_byte_of_a_reply_is_no_reason_to_resend() -> None:
    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"HTTP/1.1 2")

    failures: list[Failure] = []
    async with rig(closing, answering(OK), handler=failing_open(failures)) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        await client.reply()
        await client.send(GET)
        head, _ = await client.reply()

    assert head.startswith(b"HTTP/1.1 502 ")
    assert failures[0].fault is Fault.BAD_REPLY
    assert it.upstream.connections == 1


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (saying(), Fault.CONNECT),
        (saying(b"HTTP/1.1 200 OK\r\nX: "), Fault.BAD_REPLY),
        (saying(b"HTTP/1.1 100 Continue\r\n\r\n"), Fault.BAD_REPLY),
        (saying(b"<html>"), Fault.BAD_REPLY),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"), Fault.BAD_REPLY),
        (saying(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"), Fault.BAD_REPLY),
    ],
)
async def test_no_usable_reply_is_a_failure_that_says_where(script: Script, fault: Fault) -> None:
    failures: list[Failure] = []
    async with rig(script, handler=failing_open(failures)) as it:  # type: ignore[arg-type]
        head, _ = await it.ask(GET)
        await eventually(lambda: all(peer.writer.transport.is_closing() for peer in it.upstream.peers))

    assert head.startswith(b"HTTP/1.1 502 ")
    assert failures[0].fault is fault
    assert f"127.0.0.1:{it.upstream.port}" in failures[0].detail


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"junk", b"\r\nx"])
@pytest.mark.parametrize("late", [False, True])
async def test_leftovers_of_a_reply_reach_nobody_else(junk: bytes, late: bool) -> None:
    async def leaking(peer: Peer) -> None:
        await peer.request()
        await peer.send(*((OK, junk) if late else (OK + junk,)))
        await peer.ended()

    async with rig(leaking, answering(OK)) as it:
        first = await it.ask(GET)
        if late:
            await eventually(lambda: it.pool.idle == 0)
        second = await it.ask(GET)

    assert first[1] == second[1] == b"ok"
    assert it.upstream.connections == 2


async def test_a_head_reply_that_announced_a_body_is_not_followed_by_another_exchange() -> None:
    async def lying(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"evil")
        await peer.ended()

    async with rig(lying, answering(OK)) as it:
        client = await it.client()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.until(b"\r\n\r\n")
        await client.send(GET)
        answer = await client.reply()

    assert b"Content-Length: 4" in head
    assert answer[1] == b"ok"
    assert it.upstream.connections == 2


async def test_a_reply_that_ends_while_its_reader_is_slow_leaves_a_connection_that_reads() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
    async with rig(answering(big, OK)) as it:
        slow = await it.client(buffer=4096)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await slow.send(GET)
        await eventually(lambda: it.calls)
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await slow.reply())[1]) == 3_000_000
        await eventually(lambda: it.pool.idle == 1)
        assert (await it.ask(GET))[1] == b"ok"

    assert it.upstream.connections == 1


async def test_closing_an_old_reply_does_not_touch_the_next_exchange_on_its_connection() -> None:
    replies: list[Reply] = []

    def hoarding(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            for old in replies:
                old.close()
            reply = await pool.send(request)
            for old in replies:
                old.close()
            replies.append(reply)
            return reply

        return handler

    async with rig(answering(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"), handler=hoarding) as it:
        client = await it.client()
        for _ in range(5):
            await client.send(GET)
            assert (await client.reply())[1] == b"2\r\nhi\r\n0\r\n\r\n"

    assert it.upstream.connections == 1


async def test_a_reply_that_is_closed_early_stops_its_upstream() -> None:
    stopped = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"2\r\nhi\r\n")
        assert await peer.ended()
        stopped.set()

    def dropping(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            (await pool.send(request)).close()
            return Reply(200, b"OK", [(b"Content-Length", b"0")], Framing.LENGTH, Body.of())

        return handler

    async with rig(script, handler=dropping) as it:
        await it.ask(GET)
        await asyncio.wait_for(stopped.wait(), 1)

    assert it.pool.idle == 0


async def test_a_large_whole_body_is_sent_in_slices_from_any_kind_of_chunk() -> None:
    parts = [b"a" * 700_000, memoryview(b"b" * 600_000), b"c"]
    seen: list[tuple[bytes, bytes]] = []

    def sending(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            for framing, length in ((Framing.LENGTH, 1_300_001), (Framing.CHUNKED, 0)):
                reply = await pool.send(request.derive(b"/big", [], framing, length, Body.of(parts)))
                await reply.body.read_all()
                reply.close()
            return Reply(200, b"OK", [(b"Content-Length", b"0")], Framing.LENGTH, Body.of())

        return handler

    async with rig(answering(OK, seen=seen), handler=sending) as it:
        await it.ask(GET)

    whole = b"".join(bytes(part) for part in parts)
    assert seen[0][1] == whole
    assert seen[1][1].replace(b"\r\n", b"").count(b"a") >= 700_000
    assert len(seen[1][1]) - len(whole) < 60


async def test_a_body_that_is_not_as_long_as_announced_is_never_sent() -> None:
    failures: list[Failure] = []

    def lying(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            for framing, length in ((Framing.LENGTH, 3), (Framing.NONE, 0)):
                with pytest.raises(Failure) as caught:
                    await pool.send(request.derive(b"/", [], framing, length, Body.of(b"four")))
                failures.append(caught.value)
            return Reply(200, b"OK", [(b"Content-Length", b"0")], Framing.LENGTH, Body.of())

        return handler

    async with rig(handler=lying) as it:
        await it.ask(GET)

    assert [failure.fault for failure in failures] == [Fault.INVALID, Fault.INVALID]
    assert it.upstream.connections == 0


async def test_chunks_that_come_together_leave_together_and_none_is_held() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await peer.send(b"1\r\na\r\n1\r\nb\r\n1\r\nc")
        await asyncio.sleep(0.05)
        await peer.send(b"\r\n0\r\n\r\n")
        await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        loop = asyncio.get_running_loop()
        began = loop.time()
        data = await client.until(b"c\r\n")
        took = loop.time() - began
        await client.until(b"0\r\n\r\n")

    assert data == b"3\r\nabc\r\n"
    assert took < 0.045


async def test_an_upstream_that_took_a_request_and_died_much_later_is_not_asked_again() -> None:
    async def thinking(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await asyncio.sleep(0.3)

    failures: list[Failure] = []
    settings = PoolSettings(stale_s=0.1)
    async with rig(thinking, answering(OK), handler=failing_open(failures), settings=settings) as it:  # type: ignore[arg-type]
        client = await it.client()
        await client.send(GET)
        await client.reply()
        await client.send(GET)
        head, _ = await client.reply()

    assert head.startswith(b"HTTP/1.1 502 ")
    assert failures[0].fault is Fault.CONNECT
    assert it.upstream.connections == 1
