"""How a reply's bytes are written: together where they are small, uncopied where they are not."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.body import Body
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.wire.reply_writer import JOINED_BYTES, ChunkWriter, Writer, write_beginning, write_rest, write_whole


class Transport(asyncio.WriteTransport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def test_a_small_whole_reply_is_one_write() -> None:
    transport = Transport()
    write_whole(transport, b"HEAD", Body.of([b"a", b"b"]), Framing.LENGTH)
    write_whole(transport, b"HEAD", Body.of([b"a", b"b"], [(b"T", b"1")]), Framing.CHUNKED)
    write_whole(transport, b"HEAD", Body.of(), Framing.CHUNKED)

    assert transport.writes == [b"HEADab", b"HEAD2\r\nab\r\n0\r\nT: 1\r\n\r\n", b"HEAD0\r\n\r\n"]


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
def test_a_large_whole_reply_is_written_piece_by_piece(framing: Framing) -> None:
    transport = Transport()
    big = b"a" * JOINED_BYTES
    write_whole(transport, b"HEAD", Body.of([big, b"b"]), framing)

    whole = b"".join(transport.writes)
    assert big in transport.writes
    assert whole == (b"HEAD" + big + b"b" if framing is Framing.LENGTH else b"HEAD8001\r\n" + big + b"b\r\n0\r\n\r\n")


def test_a_chunk_is_framed_in_one_write_or_in_three() -> None:
    transport = Transport()
    sink = ChunkWriter(transport)
    sink(b"hello")
    sink(b"a" * JOINED_BYTES)

    assert transport.writes == [b"5\r\nhello\r\n", b"8000\r\n" + b"a" * JOINED_BYTES + b"\r\n"]


class Gone(Transport):
    """As uvloop's, once its handle is closed: the protocol hears of it a turn of the loop later."""

    def __init__(self, closing: bool) -> None:
        super().__init__()
        self._closing = closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("the handler is closed")

    def is_closing(self) -> bool:
        return self._closing


@pytest.mark.parametrize("writer", [Writer, ChunkWriter])
@pytest.mark.parametrize("size", [5, JOINED_BYTES])
def test_a_client_that_is_gone_does_not_break_the_producer(writer: type[Writer], size: int) -> None:
    writer(Gone(closing=True))(b"a" * size)
    with pytest.raises(RuntimeError, match="closed"):  # any other trouble is a bug
        writer(Gone(closing=False))(b"a" * size)


async def test_the_first_bytes_of_a_stream_leave_with_its_head() -> None:
    transport = Transport()
    body = Body()
    body.feed(b"one")
    reply = Reply(200, b"OK", [], Framing.CHUNKED, body)
    write_beginning(transport, b"HEAD", body, Framing.CHUNKED)
    task = asyncio.ensure_future(write_rest(transport, reply, Framing.CHUNKED))
    await asyncio.sleep(0)
    body.feed(b"two")
    body.end([(b"T", b"1")])
    await task

    assert transport.writes == [b"HEAD3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\nT: 1\r\n\r\n"]


@pytest.mark.parametrize(
    ("framing", "words", "written"),
    [
        (Framing.CHUNKED, b"bye", [b"HEAD", b"3\r\nbye\r\n", b"0\r\n\r\n"]),
        (Framing.CHUNKED, b"", [b"HEAD", b"0\r\n\r\n"]),
        (Framing.CLOSE, b"bye", [b"HEAD", b"bye"]),
        (Framing.CHUNKED, None, None),
        (Framing.LENGTH, b"bye", None),
    ],
)
async def test_a_break_ends_in_last_words_or_in_its_failure(framing: Framing, words: bytes | None, written: list[bytes] | None) -> None:
    transport = Transport()
    body = Body()
    reply = Reply(200, b"OK", [], framing, body)
    reply.last_words = lambda failure: words
    write_beginning(transport, b"HEAD", body, framing)
    task = asyncio.ensure_future(write_rest(transport, reply, framing))
    await asyncio.sleep(0)
    body.fail(Failure(Fault.TRUNCATED, "up", "cut"))

    if written is None:
        with pytest.raises(Failure, match="cut"):
            await task
    else:
        await task
        assert transport.writes == written
