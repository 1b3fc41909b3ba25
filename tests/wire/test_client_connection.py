"""A client's connection, byte by byte: order, keep-alive, interim replies, early answers, cuts, refusals, leaving, back-pressure."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest

from proxy.core.body import Body
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.wire.listener import Handler
from proxy.wire.pool import Pool
from proxy.wire.settings import ServerLimits
from tests.wire.plumbing import GET, OK, Peer, answering, eventually, post, rig

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_call_goes_through_byte_for_byte() -> None:
    seen: list[tuple[bytes, bytes]] = []
    reply = (
        b"HTTP/1.1 207 Sehr \xe9\r\nx-REQUEST-id: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\nEmpty:\r\nLatin: \xe9\xff\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x00\xff\n"
    )
    async with rig(answering(reply, seen=seen)) as it:
        answer = await it.ask(
            b"BREW /v1//x/../%2F?a=[]&b=%41&? HTTP/1.1\r\nHost: proxy\r\naccept: */*\r\nX-Two: 1\r\nx-two: 2\r\nX-None:\r\n"
            b"User-Agent: \xe9\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n"
        )

    assert seen == [
        (
            b"BREW /v1//x/../%%2F?a=[]&b=%%41&? HTTP/1.1\r\nHost: 127.0.0.1:%d\r\naccept: */*\r\nX-Two: 1\r\nx-two: 2\r\nX-None: \r\n"
            b"User-Agent: \xe9\r\nContent-Length: 4\r\n\r\n" % it.upstream.port,
            b"\x00\xff\r\n",
        )
    ]
    assert answer == (reply[:-3].replace(b"Empty:", b"Empty: "), b"\x00\xff\n")


async def test_pipelined_requests_are_answered_in_order_over_one_upstream_connection() -> None:
    async with rig(answering(*(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n for n in range(5)))) as it:
        client = await it.client()
        await client.send(
            GET + post(b"abc") + GET + b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + GET
        )
        bodies = [(await client.reply())[1] for _ in range(5)]

    assert bodies == [b"0", b"1", b"2", b"3", b"4"]
    assert it.upstream.connections == 1


async def test_a_hundred_pipelined_requests_are_all_answered() -> None:
    async with rig(answering(OK)) as it:
        client = await it.client()
        await client.send(GET * 100)
        answers = [await client.reply() for _ in range(100)]

    assert len(it.calls) == len(answers) == 100


async def test_a_flood_of_pipelined_heads_is_read_only_as_far_as_it_is_served() -> None:
    go_on = asyncio.Event()

    def slow(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            await go_on.wait()
            return await pool.send(request)

        return handler

    async with rig(answering(OK), handler=slow) as it:
        client = await it.client()
        client.writer.write(GET * 20_000)
        await eventually(lambda: it.calls)
        connection = next(iter(it.listener._connections))
        await eventually(lambda: not connection._reading.is_on)
        held = len(connection.parser.unfed) + len(GET) * len(connection._queue)
        go_on.set()
        answers = [await client.reply() for _ in range(1000)]

    assert len(answers) == 1000
    assert held < 400 * 1024


async def test_a_split_of_a_request_at_any_byte_changes_nothing() -> None:
    seen: list[tuple[bytes, bytes]] = []
    wire = post(b'{"a": 1}', b"X-A: b") + b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
    draw = random.Random(3)
    async with rig(answering(OK, CHUNKED + b"2\r\nhi\r\n0\r\nU: 2\r\n\r\n", seen=seen)) as it:
        for _ in range(25):
            client = await it.client()
            at, then = sorted(draw.sample(range(1, len(wire)), 2))
            await client.send(wire[:at], wire[at:then], wire[then:])
            assert (await client.reply())[1] in (b"ok", b"2\r\nhi\r\n0\r\nU: 2\r\n\r\n")
            assert (await client.reply())[1] == b"2\r\nhi\r\n0\r\nU: 2\r\n\r\n"
            client.close()

    whole = {(head.split(b"\r\n")[0], body.replace(b"1\r\na\r\n2\r\nbc", b"3\r\nabc")) for head, body in seen if b"/v1/x" in head}
    assert whole == {(b"POST /v1/x HTTP/1.1", b'{"a": 1}')}
    assert all(body.endswith(b"0\r\nT: 1\r\n\r\n") for head, body in seen if b"/c" in head)


async def test_a_split_of_a_reply_at_any_byte_changes_nothing() -> None:
    reply = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
    for at in range(1, len(reply), 3):

        async def script(peer: Peer, at: int = at) -> None:
            await peer.request()
            await peer.send(reply[:at], reply[at:])
            await peer.ended()

        async with rig(script) as it:
            head, body = await it.ask(GET)

        data = b""
        while not body.startswith(b"0\r\n"):
            size, _, body = body.partition(b"\r\n")
            data += body[: int(size, 16)]
            body = body[int(size, 16) + 2 :]
        assert head == reply[: reply.index(b"3\r\nabc")]
        assert (data, body) == (b"abcde", b"0\r\nT: 1\r\n\r\n")


async def test_each_chunk_leaves_when_it_comes() -> None:
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE)
        for part in (b"data: 1\n\n", b"data: 2\n\n"):
            await step.wait()
            step.clear()
            await peer.send(b"%x\r\n%b\r\n" % (len(part), part))
        await step.wait()
        await peer.send(b"0\r\n\r\n")
        await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        await client.send(GET)
        assert await client.until(b"\r\n\r\n") == SSE
        for part in (b"data: 1\n\n", b"data: 2\n\n"):
            step.set()
            assert await client.until(b"\n\n\r\n") == b"9\r\n" + part + b"\r\n"
        step.set()
        assert await client.until(b"0\r\n\r\n") == b"0\r\n\r\n"
        await eventually(lambda: it.pool.idle == 1)


async def test_head_and_small_body_are_one_write() -> None:
    async with rig(answering(OK)) as it:
        client = await it.client()
        await client.send(GET)
        first = await client.reader.read(65536)

    assert first == OK


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 5\r\n\r\n"),
    ],
)
async def test_a_reply_without_a_body_ends_at_its_head_and_the_next_one_follows(request_: bytes, reply: bytes) -> None:
    async with rig(answering(reply, OK), answering(OK)) as it:
        client = await it.client()
        await client.send(request_)
        first = await client.until(b"\r\n\r\n")
        await client.send(GET)
        second = await client.until(b"\r\n\r\n")

    assert first == reply
    assert second == OK[:-2] or second.startswith(b"HTTP/1.1")


async def test_interim_replies_and_trailers_go_both_ways() -> None:
    seen: list[tuple[bytes, bytes]] = []
    reply = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n"
    async with rig(answering(reply, seen=seen)) as it:
        client = await it.client()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyo\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
        interim = await client.until(b"\r\n\r\n")
        answer = await client.reply()

    assert interim == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert answer == (CHUNKED, b"2\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n")
    assert seen[0][1] == b"2\r\nyo\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert b"TE: trailers" in seen[0][0]


async def test_expect_and_its_100_go_end_to_end() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.until(b"\r\n\r\n")
        assert b"Expect: 100-continue" in head
        assert peer.seen == b""
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.exactly(5) == b"hello"
        await peer.send(OK)
        await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await client.reply())[1] == b"ok"
        await client.send(GET)
        await eventually(lambda: len(it.calls) == 2)


async def test_who_reads_the_body_first_says_100_and_expect_stays_here() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def reading(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            request.go_on()
            await request.body.until(None, 1 << 20)
            return await pool.send(request)

        return handler

    async with rig(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, seen=seen), handler=reading) as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await client.reply())[0].startswith(b"HTTP/1.1 200")

    assert b"Expect" not in seen[0][0]


async def test_an_early_answer_reaches_a_client_that_waits_to_send() -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        assert await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 500000000\r\n\r\n")
        head, body = await client.reply()
        assert await client.ended()

    assert head.startswith(b"HTTP/1.1 413 Too Large\r\n")
    assert b"Connection: close" in head
    assert body == b"big"


async def test_an_early_answer_stops_an_upload_that_is_on_its_way() -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.exactly(100_000)
        await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nkey?")
        await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + b"a" * 3_000_000)
        head, body = await client.reply()

    assert (head[:15], body) == (b"HTTP/1.1 401 No", b"key?")


async def test_an_answer_is_read_even_when_the_upstream_closes_on_the_upload() -> None:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        peer.writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nbig!")
        await peer.writer.drain()
        peer.writer.transport.abort()

    for _ in range(10):
        async with rig(script) as it:
            client = await it.client()
            client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + b"a" * 2_000_000)
            head, body = await client.reply()

        assert (head[:15], body) == (b"HTTP/1.1 413 No", b"big!")


async def test_a_static_answer_to_an_unread_upload_is_not_reset_away() -> None:
    def refusing(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            return Reply(429, b"No", [(b"Content-Length", b"2")], Framing.LENGTH, Body.of(b"no"))

        return handler

    async with rig(handler=refusing) as it:
        client = await it.client()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + b"a" * 4_000_000)
        head, body = await client.reply()
        assert await client.ended()

    assert head.startswith(b"HTTP/1.1 429 No\r\n")
    assert body == b"no"


async def test_an_old_client_gets_a_close_where_the_length_is_unknown() -> None:
    async with rig(answering(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n")) as it:
        client = await it.client()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await client.rest()

    assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"


async def test_an_old_client_may_keep_its_connection() -> None:
    async with rig(answering(OK)) as it:
        client = await it.client()
        for _ in range(2):
            await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _ = await client.reply()
            assert b"Connection: keep-alive" in head


async def test_a_client_that_says_close_is_closed() -> None:
    async with rig(answering(OK)) as it:
        client = await it.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await client.rest()

    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def test_a_body_that_runs_to_the_close_becomes_chunks_with_a_clean_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"all ", b"of it")

    async with rig(script) as it:
        client = await it.client()
        await client.send(GET)
        head, body = await client.reply()

    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", GET),
        (CHUNKED + b"5\r\nshort\r\n", GET),
        (CHUNKED + b"5\r\nsho", GET),
        (CHUNKED + b"5\r\nshort\r\nxyz\r\n", GET),
    ],
)
async def test_a_cut_reply_looks_cut(reply: bytes, asked: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)

    async with rig(script) as it:
        client = await it.client()
        await client.send(asked)
        answer = await client.rest()

    assert b"sho" in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("reply", [CHUNKED + b"5\r\nshort\r\n", b"HTTP/1.1 200 OK\r\n\r\nshort"])
async def test_a_cut_reply_to_an_old_client_is_a_reset(reply: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        await asyncio.sleep(0.05)
        peer.reset()

    async with rig(script) as it:
        client = await it.client()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionError):
            await client.rest()


async def test_last_words_are_written_and_the_chunks_end_cleanly() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE + b"9\r\ndata: 1\n\n\r\n")

    def speaking(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            reply = await pool.send(request)
            reply.last_words = lambda failure: b"data: {%s}\n\n" % failure.fault.value.encode()
            return reply

        return handler

    async with rig(script, handler=speaking) as it:
        client = await it.client()
        for _ in range(2):
            await client.send(GET)
            _, body = await client.reply()
            assert body == b"9\r\ndata: 1\n\n\r\n13\r\ndata: {truncated}\n\n\r\n0\r\n\r\n"


async def test_last_words_cannot_stretch_a_stated_length() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort")

    def speaking(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            reply = await pool.send(request)
            reply.last_words = lambda failure: b"never"
            return reply

        return handler

    async with rig(script, handler=speaking) as it:
        client = await it.client()
        await client.send(GET)
        answer = await client.rest()

    assert answer.endswith(b"\r\n\r\nshort")


# Refusals


@pytest.mark.parametrize(
    ("wire", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, b"bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400, b"bad_request"),
        (b"GET / HTTP/2.0\r\n\r\n", 505, b"http_version"),
        (b"GET /\r\n", 400, b"bad_request"),
        (b"\x16\x03\x01\x00\xa5\x01", 400, b"bad_request"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501, b"not_implemented"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000, 431, b"headers_too_large"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, b"uri_too_long"),
    ],
)
async def test_a_refusal_is_an_answer_and_reaches_no_handler(wire: bytes, status: int, code: bytes) -> None:
    async with rig() as it:
        client = await it.client()
        client.writer.write(wire)
        head, body = await client.reply()
        assert await client.ended()

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in head
    assert b'"code":"%b"' % code in body
    assert it.calls == []
    assert it.upstream.connections == 0


async def test_a_refusal_waits_for_its_turn() -> None:
    async with rig(answering(OK)) as it:
        client = await it.client()
        await client.send(GET + GET + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        answers = [await client.reply() for _ in range(3)]

    assert [head[9:12] for head, _ in answers] == [b"200", b"200", b"400"]


@pytest.mark.parametrize("behind", [b"", GET])
async def test_a_body_that_breaks_is_refused_and_its_upstream_is_dropped(behind: bytes) -> None:
    async def script(peer: Peer) -> None:
        if behind:
            await peer.request()
            await peer.send(OK)
        while b"0\r\n\r\n" not in peer.seen:
            data = await peer.reader.read(65536)
            if not data:
                return
            peer.seen += data
        raise AssertionError("the broken body was ended cleanly")

    async with rig(script) as it:
        client = await it.client()
        await client.send(
            behind + b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"nonsense\r\n0\r\n\r\n"
        )
        if behind:
            await client.reply()
        head, _ = await client.reply()
        assert await client.ended()

    assert head.startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_breaks_in_the_same_read_reaches_no_handler() -> None:
    async with rig() as it:
        client = await it.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        head, _ = await client.reply()

    assert head.startswith(b"HTTP/1.1 400 ")
    assert it.calls == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Failure(Fault.CONNECT, "up", "no"), b"502"),
        (Failure(Fault.TIMEOUT, "up", "late"), b"504"),
        (Refusal(429, "overloaded", "later"), b"429"),
    ],
)
async def test_what_a_handler_raises_is_answered(error: Exception, status: bytes) -> None:
    def failing(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            raise error

        return handler

    async with rig(handler=failing) as it:
        client = await it.client()
        for _ in range(2):
            await client.send(GET)
            head, _ = await client.reply()
            assert head[9:12] == status


async def test_a_handler_that_breaks_is_answered_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def failing(pool: Pool) -> Handler:
        async def handler(request: Request) -> Reply:
            raise ZeroDivisionError

        return handler

    async with rig(handler=failing) as it:
        head, _ = await it.ask(GET)

    assert head.startswith(b"HTTP/1.1 500 ")
    assert "the handler broke" in caplog.text


# Leaving


async def leaves_while(it_seen: asyncio.Event, peer: Peer) -> None:
    """The upstream's side: says when it is asked, and sees its connection end soon after."""
    it_seen.set()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await peer.ended()
    assert loop.time() - began < 1.0


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("phase", ["head", "upload", "stuck upload", "stream"])
async def test_a_client_that_leaves_ends_the_exchange_at_once(phase: str, how: str) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        if phase == "stream":
            await peer.send(SSE + b"9\r\ndata: 1\n\n\r\n")
        if phase == "stuck upload":
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            reached.set()
            await gone.wait()
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await leaves_while(reached, peer) if phase != "stuck upload" and phase != "upload" else reached.set()
        while await peer.reader.read(1 << 20):
            pass

    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with rig(script) as it:
        client = await it.client()
        if "upload" in phase:
            client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n")
            client.writer.write(b"a" * (30_000_000 if phase == "stuck upload" else 1000))
        else:
            await client.send(GET)
        if phase == "stream":
            await client.until(b"data: 1")
        await reached.wait()
        if phase == "stuck upload":
            connection = next(iter(it.listener._connections))
            await eventually(lambda: not connection._reading.is_on)
            how = "reset" if how == "half" else how
        began = loop.time()
        if how == "half":
            client.writer.write_eof()
        else:
            client.reset() if how == "reset" or phase == "stuck upload" else client.close()
        await eventually(lambda: it.listener.busy == 0)
        took = loop.time() - began
        gone.set()

    assert took < 0.25
    assert it.cancelled == (0 if phase == "stream" else 1)


async def test_a_client_that_leaves_takes_its_queued_requests_along() -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await leaves_while(reached, peer)

    async with rig(script) as it:
        client = await it.client()
        await client.send(GET * 60)
        await reached.wait()
        client.close()
        await eventually(lambda: it.listener.busy == 0)

    assert len(it.calls) == 1


async def test_a_client_that_leaves_before_its_handler_begins_is_forgotten() -> None:
    async with rig() as it:
        for _ in range(20):
            client = await it.client()
            client.writer.write(GET)
            client.reset()
        await eventually(lambda: it.listener.open == 0)

    assert it.listener.busy == 0


# Back-pressure


async def test_a_slow_client_slows_its_upstream_and_memory_stays_bounded() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.writer.write(CHUNKED)
        part = b"10000\r\n" + b"a" * 65536 + b"\r\n"
        for _ in range(500):
            peer.writer.write(part)
            await peer.writer.drain()
            sent += 65536
        await peer.send(b"0\r\n\r\n")
        await peer.ended()

    async with rig(script) as it:
        client = await it.client(buffer=4096)
        await client.send(GET)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        stuck = sent
        connection = next(iter(it.listener._connections))
        held = connection.transport.get_write_buffer_size()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        total = 0
        while not client.seen.endswith(b"\r\n0\r\n\r\n"):
            data = await client.reader.read(1 << 20)
            total += len(data)
            client.seen = (client.seen + data)[-16:]

    assert stuck < 20_000_000
    assert held < 1_000_000
    assert total > 32_768_000
    assert sent == 32_768_000


async def test_a_slow_upstream_slows_its_client_and_memory_stays_bounded() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        head = await peer.until(b"\r\n\r\n")
        assert b"Content-Length: 40000000" in head
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        left = 40_000_000 - len(peer.seen)
        while left:
            left -= len(await peer.reader.read(1 << 20))
        await peer.send(OK)
        await peer.ended()

    async with rig(script) as it:
        client = await it.client()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n" + b"a" * 40_000_000)
        await eventually(lambda: it.calls)
        connection = next(iter(it.listener._connections))
        await eventually(lambda: not connection._reading.is_on)
        held = it.calls[0].body.size
        go_on.set()
        answer = await client.reply()

    assert held < 1_000_000
    assert answer[1] == b"ok"


async def test_a_reader_that_is_slow_over_pipelined_replies_is_waited_for() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1_000_000
    async with rig(answering(big)) as it:
        client = await it.client(buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET * 15)
        await asyncio.sleep(0.3)
        served = len(it.calls)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(15):
            await client.until(b"\r\n\r\n")
            await client.skip(1_000_000)

    assert served < 8


# Cost


@pytest.mark.parametrize("kind", ["json", "stream", "upload", "cut", "left"])
async def test_a_finished_call_leaves_no_reference_cycles(kind: str) -> None:
    async def cutting(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"5\r\nshort\r\n")

    scripts = {"stream": answering(SSE + b"2\r\nhi\r\n0\r\n\r\n"), "cut": cutting, "left": cutting}
    async with rig(scripts.get(kind, answering(OK))) as it:

        async def once() -> None:
            client = await it.client()
            for _ in range(1 if kind in ("cut", "left") else 5):
                if kind == "upload":
                    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n")
                else:
                    await client.send(post(b"{}"))
                if kind == "cut":
                    await client.rest()
                elif kind == "left":
                    await client.until(b"short")
                else:
                    await client.reply()
            client.close()
            it.clients.clear()
            it.calls.clear()
            it.upstream.peers.clear()
            await eventually(lambda: it.listener.open == 0)
            await asyncio.sleep(0.01)

        await once()
        gc.collect()
        gc.disable()
        try:
            await once()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [thing for thing in gc.garbage if type(thing).__module__.startswith("proxy.") or isinstance(thing, asyncio.Task)]
            kinds = {type(thing).__name__ for thing in left}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    assert kinds == set()


async def test_limits_of_connections_are_said_and_not_felt_by_the_others() -> None:
    async with rig(answering(OK), limits=ServerLimits(connections=2)) as it:
        first, second = await it.client(), await it.client()
        await first.send(GET)
        await first.reply()
        third = await it.client()
        head, body = await third.reply()
        assert await third.ended()
        await second.send(GET)
        await second.reply()

    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"2 connections" in body


async def test_garbage_over_sockets_kills_nothing_and_hangs_nothing() -> None:
    draw = random.Random(23)
    good = post(b"hello") + b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + GET
    async with rig(answering(OK), limits=ServerLimits(head_s=0.3, body_s=0.3, keep_s=0.3, linger_s=0.1)) as it:
        for _ in range(80):
            wire = bytearray(good)
            for _ in range(draw.randint(1, 8)):
                wire[draw.randrange(len(wire))] = draw.choice((0, 10, 13, 32, 58, 255, draw.randrange(256)))
            client = await it.client()
            at = draw.randrange(len(wire))
            client.writer.write(bytes(wire[:at]))
            await asyncio.sleep(0)
            client.writer.write(bytes(wire[at:]))
        await eventually(lambda: it.listener.open == 0)
        assert (await it.ask(GET))[1] == b"ok"
        it.upstream.failures.clear()  # what was half a request there is no concern of this test

    assert it.listener.busy == 0
