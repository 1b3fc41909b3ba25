"""upstream_connection -- one connection to an upstream: one exchange at a time, then back to its pool, or closed.

The reply's bytes go to its Body in the reading callback; no task runs unless a large or unfinished request body must be sent.
Anything unexpected closes the connection: leftovers of one reply never meet another request.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from proxy.core.body import Body
from proxy.core.faults import Abandoned, Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import CLOSE, Request
from proxy.core.tasks import spawn
from proxy.wire.head import request_head
from proxy.wire.reply_parser import ReplyParser
from proxy.wire.tls import said_goodbye
from proxy.wire.tunnel import UpstreamSide
from proxy.wire.upload import Upload

if TYPE_CHECKING:
    from proxy.wire.pool import Pool

JOINED_BYTES = 64 * 1024  # below it one write with a copy is cheaper than two writes


class Stale(Failure):
    """A kept connection was closed before any byte of a reply: the upstream has not begun to answer, one resend is fair."""


class UpstreamConnection(asyncio.Protocol):
    """Made by its Pool. `idle_since` and `born` are loop times."""

    __slots__ = (
        "_asked_at",
        "_body",
        "_busy",
        "_drained",
        "_ended_cleanly",
        "_got",
        "_paused",
        "_pool",
        "_pump",
        "_sent",
        "_upload",
        "_used",
        "_waiting",
        "born",
        "idle_since",
        "parser",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.parser = ReplyParser(pool.settings, pool.where, self)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self._busy = False  # an exchange is under way
        self._body: Body | None = None  # its reply's
        self._waiting: asyncio.Future[Reply] | None = None  # for its head
        self._upload: Upload | None = None
        self._pump: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused = False  # the upstream is slow to read
        self._sent = False  # the whole request is out
        self._got = False  # a byte of the reply has come
        self._used = 0
        self._asked_at = 0.0  # loop time
        self._ended_cleanly = False
        self.born = 0.0
        self.idle_since = 0.0

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.transport.abort()  # bytes that nobody asked for
            return
        parser = self.parser
        if not self._got:
            self._got = True
            if self._upload is not None:
                self._upload.forget()
        failure: Failure | None = None
        try:
            parser.feed(data)
        except Failure as exc:
            failure = exc
        if self._waiting is not None and parser.reply is not None:
            self._head_came(parser.reply)
        body = self._body
        if body is None:
            if failure is not None:
                self.fail(failure)
            return
        parts = parser.parts
        if parts:
            part = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            body.feed(part)
        if failure is not None:
            self.fail(failure)
        elif parser.complete and self._body is body:
            body.end(parser.trailers)
            self._finish()

    def eof_received(self) -> bool:
        tls = self.transport.get_extra_info("ssl_object")
        self._ended_cleanly = tls is None or said_goodbye(tls)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        if exc is not None and self._busy and self._waiting is not None:
            self._read_last_words()
        if self._busy:
            self._broke_off(exc)
        self.parser.close()
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    # What the reply's body calls

    def body_full(self) -> None:
        """The reader is slow."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def body_drained(self) -> None:
        """It reads on."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def let_go(self, body: Body) -> None:
        """Its reader is done with it, or it broke. By now another exchange may be here: `body` tells."""
        if body is self._body and not self.parser.complete:
            self.fail(Abandoned())

    # One exchange

    async def exchange(self, request: Request, payload: bytes | None, upload: Upload | None) -> Reply:
        """Sends `request` with its whole `payload`, or with what `upload` sends bit by bit. Raises Failure; a cancellation ends it."""
        self._busy = True
        self._got = self._sent = False
        self._used += 1
        self._asked_at = self._pool.loop.time()
        self._upload = upload
        self.parser.begin(request)
        waiting: asyncio.Future[Reply] = self._pool.loop.create_future()
        self._waiting = waiting
        head = request_head(request, self._pool.authority)
        if upload is not None:
            self.transport.write(head)
            self._pump = spawn(self._send(upload), "upload")
        else:
            self._sent = True
            if payload:
                if len(payload) < JOINED_BYTES:
                    head += payload
                    self.transport.write(head)
                else:
                    self.transport.write(head)
                    self.transport.write(payload)
            else:
                self.transport.write(head)
        try:
            return await waiting
        except BaseException:
            self.fail(Abandoned())
            raise

    async def _send(self, upload: Upload) -> None:
        try:
            await upload.run(self.transport.write, self._writable)
            self._sent = True
        except Failure as failure:
            self.fail(failure)

    async def _writable(self) -> None:
        while self._paused and not self.transport.is_closing():
            self._drained = self._pool.loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _head_came(self, reply: Reply) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():  # cancelled: `exchange` is about to close us
            return
        if reply.status == 101:
            self._pool.forget(self)
            self._busy = False
            reply.body.end()
            reply.tunnel = UpstreamSide(self.transport, self.parser.rest)
            self.parser.close()
        else:
            self._body = reply.body
        waiting.set_result(reply)

    def _finish(self) -> None:
        """The reply is whole. An upload that is still on its way ends here: its answer has come."""
        self._end_exchange()
        if self.parser.keep and self._sent and not self.transport.is_closing():
            self._pool.keep(self)
        else:
            self.transport.abort()

    def _end_exchange(self) -> None:
        self._busy = False
        self._body = self._waiting = self._upload = None
        pump, self._pump = self._pump, None
        if pump is not None and not pump.done() and pump is not asyncio.current_task(self._pool.loop):
            pump.cancel()

    def fail(self, failure: Failure) -> None:
        """Ends the exchange and the connection, now."""
        if not self._busy:
            return
        waiting, body = self._waiting, self._body
        self._end_exchange()
        self.transport.abort()
        if waiting is not None and not waiting.done():
            waiting.set_exception(failure)
        if body is not None:
            body.fail(failure)

    def _broke_off(self, exc: Exception | None) -> None:
        where = self._pool.where
        why = f": {exc}" if exc is not None and str(exc) else ""
        reply = self.parser.reply
        if self._body is None:
            if self._got:
                self.fail(Failure(Fault.BAD_REPLY, where, f"{where} closed the connection in the middle of a reply's head{why}"))
            elif self._used > 1 and self._pool.loop.time() - self._asked_at <= self._pool.settings.stale_s:
                self.fail(Stale(Fault.CONNECT, where, f"{where} closed a kept connection{why}"))
            else:
                self.fail(Failure(Fault.CONNECT, where, f"{where} closed the connection without a reply{why}"))
        elif reply is not None and reply.framing is CLOSE and exc is None and self._ended_cleanly:
            self._body.end()
            self._end_exchange()
        else:
            self.fail(Failure(Fault.TRUNCATED, where, f"{where} broke off its reply{why}"))

    def _read_last_words(self) -> None:
        """An upstream that refuses an upload and closes makes our next write fail, while its answer still lies in the socket."""
        if self._pool.settings.ssl is not None:
            return
        try:
            number = self.transport.get_extra_info("socket").fileno()
            while self._busy and (data := os.read(number, JOINED_BYTES)):
                self.data_received(data)
        except (OSError, AttributeError, ValueError):
            return
