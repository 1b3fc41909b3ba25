"""reply_parser -- an upstream's bytes become one Reply at a time: httptools, and what llhttp lets through refused.

Body bytes are gathered per read, so chunks that arrive together leave together; httptools appends them without a Python frame.
Cost: one call into httptools a read; back out once a header and four times a reply.
"""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.core.body import Body, Headers
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import CHUNKED, CLOSE, LENGTH, NONE, Framing, Request
from proxy.core.stage import Flow
from proxy.wire.excess import Excess
from proxy.wire.head import REPLY_MARKS, UNNAMED, has_control, mark, named_by, tokens
from proxy.wire.settings import PoolSettings

is_start = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9][ \r]").match
START_BYTES = 13


class ReplyParser:
    """`begin` an exchange, `feed` bytes; then look at `reply`, `parts` and `complete`. Raises Failure for what may not be used."""

    __slots__ = (
        "_begun",
        "_error",
        "_excess",
        "_flow",
        "_head_bytes",
        "_http",
        "_interims",
        "_into",
        "_reason",
        "_request",
        "_settings",
        "_skipping",
        "_start",
        "complete",
        "keep",
        "on_body",
        "parts",
        "reply",
        "rest",
        "trailers",
        "where",
    )

    def __init__(self, settings: PoolSettings, where: str, flow: Flow) -> None:
        self._settings = settings
        self.where = where
        self._flow: Flow | None = flow
        self.parts: list[bytes] = []  # body bytes of the last read
        self.on_body = self.parts.append  # httptools calls it
        self._http: HttpResponseParser | None = HttpResponseParser(self)
        self._into: Headers = []  # where header pairs go: the head's, then the trailers'
        self._reason = b""
        self._excess = Excess()
        self._request: Request | None = None
        self.reply: Reply | None = None  # its head is here
        self.trailers: Headers = []
        self.rest = b""  # what follows a 101
        self._start = b""
        self._begun = self._skipping = False
        self.complete = False
        self.keep = False  # nothing speaks against another exchange on this connection
        self._head_bytes = self._interims = 0
        self._error: Failure | None = None

    def begin(self, request: Request) -> None:
        """The next bytes answer `request`."""
        self._request = request
        self.reply = None
        self._begun = self._skipping = self.complete = False
        self.keep = True
        self._head_bytes = self._interims = 0

    def close(self) -> None:
        """Lets go of whom it would call."""
        self._http = self._request = self._flow = self.reply = self._error = None

    def feed(self, data: bytes) -> None:
        """Takes the next bytes; what they had of the body is then in `parts`, which the caller empties."""
        if self.reply is None:
            self._head_bytes += len(data)
            if not self._begun:
                data = self._start + data
                if len(data) < START_BYTES and (b"HTTP/1." + data[7:]).startswith(data):
                    self._start = data
                    return
                self._start = b""
                if not is_start(data):
                    raise self._bad(f"it begins with {data[:24]!r}")
                self._begun = True
        try:
            self._http.feed_data(data)  # type: ignore[union-attr]
        except HttpParserUpgrade as upgrade:
            if self.reply is None or self.reply.status != 101:
                raise self._bad("it switched protocols unasked") from None
            self.rest = data[upgrade.args[0] :]
            return
        except HttpParserError as error:
            failure, self._error = self._error, None
            if not self.complete:
                raise failure or self._bad(str(error)) from None
            self.keep = False
        reply = self.reply
        if reply is None:
            if self._head_bytes > self._settings.head_bytes:
                raise self._bad(f"its head is larger than {self._settings.head_bytes} bytes")
        elif reply.framing is CHUNKED and not self.complete:
            excess = self._excess
            excess.fed(len(data))
            for part in self.parts:
                excess.carried(len(part))
            if excess.is_too_much or len(self._into) > self._settings.headers:
                raise self._bad("too much besides data in a chunked body")

    def _bad(self, what: str) -> Failure:
        if self.reply is None:
            return Failure(Fault.BAD_REPLY, self.where, f"{self.where} sent what is no HTTP reply: {what}")
        return Failure(Fault.TRUNCATED, self.where, f"{self.where} broke the framing of its reply: {what}")

    # What httptools calls

    def on_message_begin(self) -> None:
        if self.complete:
            raise self._stop("bytes that nobody asked for")  # and that must reach nobody

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._into.append((name, value.rstrip(b" \t")))  # llhttp leaves trailing blanks

    def on_headers_complete(self) -> None:
        headers, self._into = self._into, []
        reason, self._reason = self._reason, b""
        if self.complete:
            return
        status = self._http.get_status_code()  # type: ignore[union-attr]
        if reason != b"OK" and has_control(reason):
            raise self._stop("control characters in its reason")
        if status < 200 and status != 101:
            self._interim(status, reason, headers)
            return
        settings = self._settings
        if len(headers) > settings.headers:
            raise self._stop(f"it has more than {settings.headers} header lines")
        if self._head_bytes > settings.head_bytes and sum(len(k) + len(v) + 4 for k, v in headers) > settings.head_bytes:
            raise self._stop(f"its head is larger than {settings.head_bytes} bytes")
        self._final(status, reason, headers)

    def on_message_complete(self) -> None:
        if self._skipping:
            self._skipping = False
        elif not self.complete:
            self._complete()

    # Heads

    def _interim(self, status: int, reason: bytes, headers: Headers) -> None:
        self._interims += 1
        if status < 100 or self._interims > self._settings.interims or self._http.get_http_version() != "1.1":  # type: ignore[union-attr]
            raise self._stop(f"a status of {status:03} (the {self._interims}. before a reply)")
        self._skipping = True
        request = self._request
        if request is not None and request.interim is not None and not (status == 100 and request.continued):
            request.interim(status, reason, headers)

    def _final(self, status: int, reason: bytes, headers: Headers) -> None:
        request = self._request
        if request is None:
            return
        if self._interims and self._http.get_http_version() not in ("1.1", "1.0"):  # type: ignore[union-attr]
            raise self._stop("an unknown version")
        marks = mark(headers, REPLY_MARKS, None)
        framing, length, connection = self._framing(headers, marks[2])
        bodyless = status in (204, 304, 101) or request.method == b"HEAD"
        if bodyless:
            if framing is CHUNKED or (framing is LENGTH and length != b"0"):
                self.keep = False  # it announced bytes that must not come: what follows is not to be trusted
            framing = NONE
        if status == 101 and request.upgrade is None:
            raise self._stop("it switched protocols unasked")
        self._excess.reset()
        reply = Reply(status, reason, headers, framing, Body(self._flow))
        reply.marks = marks
        if connection:
            reply.named = named_by(connection)
            if reply.named is not None and not reply.named <= UNNAMED:
                reply.marks = None
        self.reply = reply
        self._request = None  # a stream may be open for minutes: what it does not need is let go
        if bodyless and status not in (204, 304, 101):
            self._complete()  # httptools cannot be told that no body follows
            self._http = HttpResponseParser(self)

    def _framing(self, headers: Headers, marks: tuple[tuple[int, bytes], ...]) -> tuple[Framing, bytes, list[bytes]]:
        """How the body ends, its length as sent, and the members of Connection. llhttp has checked digits, repeats, and both at once."""
        framing = CLOSE
        length = b""
        connection: list[bytes] = []
        for at, low in marks:
            if low == b"content-length":
                framing, length = LENGTH, headers[at][1]
            elif low == b"connection":
                connection += tokens(headers[at][1])
            elif low == b"transfer-encoding":
                if framing is CHUNKED or headers[at][1].lower() != b"chunked":
                    raise self._stop("a Transfer-Encoding other than one `chunked`")
                framing = CHUNKED
        return framing, length, connection

    def _stop(self, what: str) -> Failure:
        """httptools hides what its callbacks raise: kept for `feed` to raise."""
        self._error = self._bad(what)
        return self._error

    def _complete(self) -> None:
        self.complete = True
        self.trailers, self._into = self._into, []
        if not self._http.should_keep_alive():  # type: ignore[union-attr]
            self.keep = False
