"""reply_writer -- a reply's bytes for a client: small ones in one write with the head, large ones uncopied, chunks framed."""

from __future__ import annotations

import asyncio
import socket
import struct

from proxy.core.body import Body
from proxy.core.faults import Failure
from proxy.core.reply import Reply
from proxy.core.request import CHUNKED, LENGTH, Framing
from proxy.wire.head import chunk, last_chunk

JOINED_BYTES = 32 * 1024  # below it one write with a copy is cheaper than two writes
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


def write_whole(transport: asyncio.WriteTransport, head: bytes, body: Body, framing: Framing) -> None:
    """Head and body of a reply that is all here."""
    size = body.size
    if size < JOINED_BYTES:
        data = body.take()
        if framing is CHUNKED:
            data = (chunk(data) if data else b"") + last_chunk(body.trailers)
        transport.write(head + data)
        return
    chunked = framing is CHUNKED
    transport.write(head + b"%x\r\n" % size if chunked else head)
    for part in body.take_chunks():
        transport.write(part)
    if chunked:
        transport.write(b"\r\n" + last_chunk(body.trailers))


class Writer:
    """A sink: what it is given leaves as it is. A client that is gone is not the producer's trouble, which is the one who calls:
    between the break of its connection and our hearing of it uvloop's `write` raises."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def __call__(self, data: bytes) -> None:
        try:
            self._transport.write(data)
        except RuntimeError:
            if not self._transport.is_closing():
                raise


class ChunkWriter(Writer):
    """A sink that frames what it is given."""

    __slots__ = ()

    def __call__(self, data: bytes) -> None:
        try:
            if len(data) < JOINED_BYTES:
                self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                self._transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        except RuntimeError:
            if not self._transport.is_closing():
                raise


def write_beginning(transport: asyncio.WriteTransport, head: bytes, body: Body, framing: Framing) -> None:
    """Head of a reply that goes on, and what is here of its body."""
    first = body.take()
    transport.write(head + (chunk(first) if framing is CHUNKED and first else first))


async def write_rest(transport: asyncio.WriteTransport, reply: Reply, framing: Framing) -> None:
    """The body as it comes. A break ends in the reply's last words where its framing can carry them, else raises its Failure."""
    body = reply.body
    chunked = framing is CHUNKED
    sink = ChunkWriter(transport) if chunked else Writer(transport)
    try:
        await body.pipe(sink)
    except Failure as failure:
        words = None
        if reply.last_words is not None and framing is not LENGTH and not transport.is_closing():
            words = reply.last_words(failure)
        if words is None:
            raise
        failure.__traceback__ = None  # it holds the frames that hold it
        if words:
            sink(words)
    if chunked:
        transport.write(last_chunk(body.trailers))


def cut(transport: asyncio.Transport, by_reset: bool) -> None:
    """Ends a reply in its middle, so that it shows: without the last chunk, or, where only a close would end the body, with a reset."""
    if by_reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.close()
