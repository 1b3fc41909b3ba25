"""client_connection -- one connection from an app: its requests in order, each answered by the handler, its bytes out again.

One task serves a connection while it has requests; an idle one has none. Bodies flow by callback, without a task of their own.
Whoever leaves cancels that task at once, in every phase. Deadlines are looked at by the listener's sweep, so they cost nothing a call.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING

from proxy.core.body import Body, Headers
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.request import CLOSE, NONE, Request
from proxy.wire.deadlines import Deadlines, untaken
from proxy.wire.hangups import Reading
from proxy.wire.head import interim_head, reply_head
from proxy.wire.reply_writer import cut, write_beginning, write_rest, write_whole
from proxy.wire.request_parser import RequestParser
from proxy.wire.tunnel import ClientSide

if TYPE_CHECKING:
    from proxy.wire.listener import Listener

log = logging.getLogger("chassis.wire")
SENT: Headers = []  # the headers of a reply that is under way: they have done their work, and a stream may be open for minutes


class ClientConnection(asyncio.Protocol):
    """Made by `Listener.protocol`; the event loop owns it."""

    __slots__ = (
        "_current",
        "_drained",
        "_gone",
        "_head_out",
        "_invited",
        "_listener",
        "_paused",
        "_piping",
        "_queue",
        "_reading",
        "_task",
        "_tunnel",
        "_verdict",
        "deadlines",
        "parser",
        "transport",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.parser = RequestParser(listener.limits, self, listener.now, self._got_request, listener.heads)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[Request | Refusal] = deque()
        self._current: Request | None = None  # that the handler has, or whose reply is going out
        self._piping: Body | None = None  # the reply body that is going out
        self._head_out = False
        self._verdict: Refusal | None = None  # answers the current request instead of the handler's reply
        self._gone = False  # nobody is there to be answered
        self._reading: Reading = None  # type: ignore[assignment]
        self._paused = False  # the client is slow to read
        self._drained: asyncio.Future[None] | None = None
        self._tunnel: ClientSide | None = None
        self.deadlines = Deadlines(listener.loop.time() + listener.limits.head_s)
        self._invited = False  # the client has been told 100 Continue

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._reading = Reading(self.transport, self._listener.hangups, self._hung_up)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client whose machine vanished is found in the end
        if not self._listener.opened(self):
            limit = self._listener.limits.connections
            self._answer(Refusal(503, "overloaded", f"this proxy serves {limit} connections, and all are taken"))

    def data_received(self, data: bytes) -> None:
        parser = self.parser
        if parser.closed:
            return
        self.deadlines.heard = True
        try:
            if parser.feed(data):
                self._head_began()
        except Refusal as refusal:
            self._refuse(refusal)

    def eof_received(self) -> bool:
        """A client that ends its side has left: nothing tells its FIN from a close, and what it does not read costs tokens."""
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self.deadlines.due = 0.0
        self._listener.closed(self)
        self.parser.close()
        self._queue.clear()

    def pause_writing(self) -> None:
        self._paused = True
        if self._piping is not None:
            self._piping.hold()

    def resume_writing(self) -> None:
        self._paused = False
        if self._piping is not None:
            self._piping.release()
        self._wake()

    # Requests come

    def _got_request(self, request: Request) -> None:
        self.deadlines.due = 0.0
        if request.minor:
            request.interim = self._interim
        if request.upgrade is not None:
            self.parser.blocked = True  # what follows may be the other protocol
        if self._task is None:
            self._task = self._listener.loop.create_task(self._serve(request))
        else:
            self._queue.append(request)
            if len(self._queue) >= self._listener.limits.pipelined:
                self.parser.blocked = True

    def _head_began(self) -> None:
        """From its first byte a head has a deadline, unless calls before it are still served: then from their end."""
        parser = self.parser
        if parser.blocked:
            if len(parser.unfed) > self._listener.limits.unfed_bytes:
                self._reading.pause()
        elif self._task is None and parser.receiving is None:
            self.deadlines.at_most(self._listener.loop.time() + self._listener.limits.head_s)

    def _refuse(self, refusal: Refusal) -> None:
        """Bad bytes are answered in their turn. In a body they break it, and answer its request instead of the handler."""
        self.deadlines.due = 0.0
        request, self.parser.receiving = self.parser.receiving, None
        if request is None:
            if self._task is None:
                self._task = self._listener.loop.create_task(self._serve(refusal))
            else:
                self._queue.append(refusal)
        elif self._queue and self._queue[-1] is request:
            self._queue[-1] = refusal
        else:
            self._verdict = refusal
            request.body.fail(Failure(Fault.INVALID, "app", refusal.message))

    def body_full(self) -> None:
        """A request's body is buffered as far as it may be."""
        self._reading.pause()

    def body_drained(self) -> None:
        """It is read on."""
        if len(self.parser.unfed) <= self._listener.limits.unfed_bytes:
            self._reading.resume()

    def let_go(self, body: Body) -> None:
        """Nobody wants the rest of a request's body: it is read past, or the reply ends the connection."""
        if not self.parser.closed:
            self._reading.resume()

    def _hung_up(self) -> None:
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        """The client is not there any more: everything done for it stops now."""
        if self._gone:
            return
        self._gone = self.parser.closed = True
        self.deadlines.due = self._listener.loop.time() + self._listener.limits.linger_s
        self._reading.over()
        request, self.parser.receiving = self.parser.receiving, None
        if request is not None:
            request.body.fail(Failure(Fault.INVALID, "app", "the client left before its request was complete"))
        if self._task is not None:
            self._task.cancel()
        self._wake()

    # Calls are served, in order

    async def _serve(self, item: Request | Refusal) -> None:
        try:
            while True:
                if isinstance(item, Refusal):
                    self._answer(item)
                    return
                if not await self._call(item) or self._gone or self._listener.is_draining:
                    self._close(unread=item.keep or not item.body.ended)
                    return
                if self._paused:
                    await self._writable()
                if self.parser.blocked and not self._queue:
                    self._go_on()  # it may queue something
                if not self._queue:
                    return
                item = self._queue.popleft()
        except Exception:
            log.exception("a client connection broke")
            self.transport.abort()
        finally:
            self._task = None
            self._served()

    def _go_on(self) -> None:
        """Parses what had to wait behind a full queue, or behind an upgrade that was refused."""
        self.parser.blocked = False
        self._reading.resume()
        self.data_received(b"")

    def _served(self) -> None:
        """Idle again: the next head, or the end, is awaited from now."""
        if not self.parser.closed and not self._gone:
            limits = self._listener.limits
            self.deadlines.due = self._listener.loop.time() + (limits.head_s if self.parser.head_is_open else limits.keep_s)
        if self._listener.is_draining:
            self._listener.settle()

    async def _call(self, request: Request) -> bool:
        """Answers one request. True when the connection may be kept."""
        self._current = request
        self._head_out = self._invited = False
        reply: Reply | None = None
        try:
            try:
                if self._verdict is None:
                    reply = await self._listener.handler(request)
            except asyncio.CancelledError:
                if self._gone or self._verdict is None or self._task is None:
                    raise
                self._task.uncancel()
            except Exception as exc:
                reply = self._listener.own_fault(exc)
            if self._verdict is not None:
                if reply is not None:
                    reply.close()
                reply, self._verdict = self._listener.refuse(self._verdict), None
                request.keep = False
            return await self._send(request, reply)  # type: ignore[arg-type]
        except Failure as failure:
            failure.__traceback__ = None  # it holds the frames that hold it
            self._cut(request)
            return False
        finally:
            if reply is not None:
                reply.close()
            if not request.body.ended:
                request.body.close()
            self._current = self._piping = request.interim = None

    async def _send(self, request: Request, reply: Reply) -> bool:
        if request.upgrade is not None and reply.tunnel is not None:
            await self._splice(request, reply)
            return False
        keep = request.keep and request.body.ended and not self._listener.is_draining
        head, framing = reply_head(reply, request, not keep)
        self._head_out = True
        body = reply.body
        if framing is NONE:
            self.transport.write(head)
            return keep
        if body.ended:
            write_whole(self.transport, head, body, framing)
            return keep and framing is not CLOSE
        self._piping = body
        write_beginning(self.transport, head, body, framing)
        if self._paused:  # the first bytes may have been more than the client takes at once
            body.hold()
        head = b""
        reply.headers = SENT
        request.marks = reply.marks = None
        await write_rest(self.transport, reply, framing)
        return keep and framing is not CLOSE

    def _interim(self, status: int, reason: bytes, headers: Headers) -> None:
        if not self._head_out and not self.transport.is_closing():
            if status == 100:
                self._invited = True
            self.transport.write(interim_head(status, reason, headers))

    async def _writable(self) -> None:
        while self._paused and not self._gone:
            self._drained = self._listener.loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # Ends

    def _answer(self, refusal: Refusal) -> None:
        """Says no to bytes that are no request."""
        reply = self._listener.refuse(refusal)
        request = Request(b"GET", b"/", 1, [], NONE, 0, Body.of())
        self.transport.write(reply_head(reply, request, True)[0] + reply.body.take())
        reply.close()
        self._close(unread=True)

    def _close(self, unread: bool) -> None:
        """With unread input a plain close would reset the reply away: end our side, read on for a while."""
        self.parser.closed = True
        limits = self._listener.limits
        self.deadlines.due = self._listener.loop.time() + limits.write_s
        if self._gone or not unread or self.transport.is_closing():
            self.transport.close()
            return
        self._reading.resume()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.deadlines.due = self._listener.loop.time() + limits.linger_s

    def _cut(self, request: Request) -> None:
        """The client must see the break: no last chunk; where only a close would end the body, a reset."""
        self.parser.closed = True
        cut(self.transport, by_reset=not request.minor)

    async def _splice(self, request: Request, reply: Reply) -> None:
        """The 101 goes out, and from there on bytes are only bytes."""
        tunnel, reply.tunnel = reply.tunnel, None
        if tunnel is None:
            return
        head, _ = reply_head(reply, request, False)
        self._head_out = True
        self._reading.resume()
        rest, self.parser.unfed = self.parser.unfed, b""
        self.parser.closed = True
        self._tunnel = ClientSide(self.transport, tunnel, self._listener.hangups)
        try:
            await self._tunnel.run(head, rest)
        finally:
            self._tunnel = None
            self._gone = True
            self._listener.closed(self)

    # What the listener calls

    @property
    def is_busy(self) -> bool:
        """True while a call is served."""
        return self._task is not None

    def sweep(self, now: float) -> None:
        """Looks at every deadline of this connection."""
        deadlines, limits, parser = self.deadlines, self._listener.limits, self.parser
        if deadlines.is_stuck(now, limits.write_s, untaken(self.transport)):
            self.transport.abort()
        elif deadlines.is_past(now):
            self._late(now)
        request = parser.receiving
        if request is not None:
            uninvited = request.expect and not self._invited and not request.continued
            if deadlines.is_quiet(now, limits.body_s, not self._reading.is_on or parser.blocked or uninvited):
                self._refuse(Refusal(408, "request_timeout", f"no byte of the request's body came within {limits.body_s:g} s"))
                parser.closed = True

    def _late(self, now: float) -> None:
        limits = self._listener.limits
        self.deadlines.due = 0.0
        if self.parser.head_is_open and not self.parser.closed:
            self._answer(Refusal(408, "request_timeout", f"no complete request head within {limits.head_s:g} s"))
        elif not self.parser.closed:
            self._close(unread=False)
        elif self._gone or not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.deadlines.due = now + limits.linger_s  # it still reads: `is_stuck` ends it when it does not

    def close_if_idle(self) -> None:
        """For a drain."""
        if self._task is None and self.parser.receiving is None and not self.parser.closed:
            self._close(unread=False)

    def end(self, failure: Failure, refusal: Refusal) -> None:
        """Its time is over: a stream gets its last words, a call without a reply is refused, a tunnel is closed."""
        if self._tunnel is not None:
            self.transport.close()
        elif self._piping is not None:
            self._piping.fail(failure)
        elif self._task is not None and not self._head_out and not self._gone:
            self._verdict = refusal
            self._task.cancel()
