"""request_parser -- one client's bytes become Requests: httptools for heads and chunks, our own eye on where each message ends.

Every head is fed alone, up to its blank line, behind a request line that we have checked (llhttp knows neither UTF-8 paths nor unknown
methods, and takes HTTP/0.9 and 2.0). So a read full of pipelined heads can be stopped between any two of them.
Cost: two calls into httptools and five back for a small POST, besides one a header.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxy.core.body import Body, Headers
from proxy.core.faults import Refusal
from proxy.core.request import CHUNKED, LENGTH, NONE, Request
from proxy.core.stage import Flow
from proxy.wire.chunks import Chunks
from proxy.wire.excess import Excess
from proxy.wire.head import bad_request, read_request
from proxy.wire.known_heads import Known, KnownHeads
from proxy.wire.settings import ServerLimits

read_line = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([^\x00-\x20\x7f]+) HTTP/1\.([01])\r\n").match
is_other_version = re.compile(rb"\S+ \S+ HTTP/(?!1\.[01]\s)[0-9.]+\s").match
CANONICAL = (b"POST / HTTP/1.0\r\n", b"POST / HTTP/1.1\r\n")
BLANK_LINE = b"\r\n\r\n"


# What the next byte belongs to. START: a request line, or empty lines before it; COUNTED: a body behind a known head, of which httptools
# knows nothing
START, HEAD, FIXED, CHUNKS, COUNTED = range(5)


class RequestParser:
    """`feed` bytes; `begin` is called at each complete head, and the Request's body fills afterwards.

    `blocked` stops it before the next request line; `closed` for ever. Both may be set from within `begin`.
    """

    __slots__ = (
        "_begin",
        "_chunks",
        "_error",
        "_excess",
        "_flow",
        "_head",
        "_head_bytes",
        "_heads",
        "_http",
        "_into",
        "_left",
        "_limits",
        "_line",
        "_now",
        "_part",
        "_primed",
        "blocked",
        "closed",
        "receiving",
        "unfed",
    )

    def __init__(
        self, limits: ServerLimits, flow: Flow, now: Callable[[], float], begin: Callable[[Request], None], heads: KnownHeads
    ) -> None:
        self._limits = limits
        self._heads = heads
        self._flow: Flow | None = flow
        self._now = now
        self._begin: Callable[[Request], None] | None = begin
        self._http: HttpRequestParser | None = HttpRequestParser(self)
        self._part = START
        self._line: re.Match[bytes] | None = None
        self._head: bytes | None = None  # that is being read, where it came in one piece
        self._head_bytes = 0
        self._into: Headers = []  # where header pairs go: the head's, then the trailers'
        self._left = 0  # bytes of a body of known length
        self._excess = Excess()
        self._chunks = Chunks()
        self._error: Refusal | None = None
        self._primed = False  # a body is read behind a head of our own making, which says nothing
        self.blocked = False
        self.closed = False
        self.receiving: Request | None = None  # whose body is coming
        self.unfed = b""  # half a request line, or what came while blocked

    @property
    def head_is_open(self) -> bool:
        """True when part of a head is here."""
        return self._part is HEAD or (self.unfed != b"" and not self.blocked)

    def feed(self, data: bytes) -> bool:
        """Takes the next bytes; `b""` to go on after a block. True when some wait: half a head, or what is behind a block.

        Raises Refusal for what must not be served; then nothing more is read.
        """
        if self.unfed:
            data = self.unfed + data if data else self.unfed
            self.unfed = b""
        at, size = 0, len(data)
        try:
            while at < size and not self.closed:
                part = self._part
                if part is START:
                    if self.blocked or (at := self._start(data, at)) < 0:
                        break
                elif part is COUNTED:
                    at = self._to_end(data, at)
                elif part is FIXED:
                    end = min(size, at + self._left)
                    self._left -= end - at
                    self._parse(data if end - at == size else memoryview(data)[at:end])
                    at = end
                elif part is CHUNKS and not self._chunks.ended:
                    at = self._to_chunks_end(data, at)
                else:
                    at = self._to_blank_line(data, at)
        except Refusal:
            self.closed = True
            raise
        if self.blocked and at < size and not self.closed:
            self.unfed = data[at:]
        return self._part == HEAD or self.unfed != b""

    def close(self) -> None:
        """Reads nothing more, and lets go of whom it would call."""
        self.closed = True
        self.unfed = b""
        self.receiving = self._begin = self._http = self._flow = None

    # Where messages begin and end

    def _start(self, data: bytes, at: int) -> int:
        """Reads a request line, and its head as far as it is here. Returns where it stopped, -1 for half a line."""
        end = data.find(BLANK_LINE, at)
        self._head = None
        if end >= 0:
            end += 4
            self._head = head = data if end - at == len(data) else data[at:end]
            if (found := self._heads.find(head)) is not None:
                self._begin_known(*found)
                return end
        line = read_line(data, at)
        while line is None:
            if not data.startswith(b"\r\n", at):
                self._check_half_line(data, at)
                self.unfed = data[at:]
                return -1
            at += 2
            self._head = None  # what was looked up is no head, or begins with an empty line
            line = read_line(data, at)
        begin = line.end()
        if begin - at > self._limits.line_bytes:
            raise Refusal(414, "uri_too_long", f"the request line is longer than {self._limits.line_bytes} bytes")
        self._line = line
        end = data.find(BLANK_LINE, begin - 2)
        end = len(data) if end < 0 else end + 4
        self._part = HEAD
        self._head_bytes = end - at
        if end - at > self._limits.head_bytes:
            self._check_head_bytes()
        self._parse(CANONICAL[line[3] == b"1"] + data[begin:end])
        return end

    def _begin_known(self, known: Known, digits: bytes) -> None:
        """The same as after a head that httptools read."""
        begin = self._begin
        if begin is None:
            return
        request = known.request(digits, Body(self._flow))
        self._began(request, COUNTED)
        begin(request)
        if request.framing is LENGTH and not request.length:
            self._complete()

    def _to_end(self, data: bytes, at: int) -> int:
        """Hands on a body by its length alone."""
        size = len(data)
        end = min(size, at + self._left)
        self._left -= end - at
        self.on_body(data if end - at == size else data[at:end])
        if not self._left:
            self._complete()
        return end

    def _began(self, request: Request, fixed: int) -> None:
        """Sets out for the body of a request. `fixed`: how one of a known length is read."""
        request.received = self._now()
        if request.framing is NONE:
            self._part = START
            request.body.end()
            if not request.keep:
                self.closed = True
        else:
            self.receiving = request
            self._left = request.length
            self._part = CHUNKS if request.framing is CHUNKED else fixed

    def _check_half_line(self, data: bytes, at: int) -> None:
        size = len(data) - at
        if data.find(b"\n", at) >= 0:
            if is_other_version(data, at):
                raise Refusal(505, "http_version", "only HTTP/1.0 and HTTP/1.1 are served")
            raise bad_request("the request line is malformed")
        if size > self._limits.line_bytes:
            raise Refusal(414, "uri_too_long", f"the request line is longer than {self._limits.line_bytes} bytes")
        if size and not 0x21 <= data[at] <= 0x7E and data[at:] != b"\r":
            raise bad_request("this is not HTTP/1.1 (this port speaks plain http, no TLS)")

    def _to_blank_line(self, data: bytes, at: int) -> int:
        """Feeds up to the next blank line: nowhere else do a head or trailers end. One may have begun in the last read."""
        if data[at] in BLANK_LINE:
            end = at + 1
        else:
            end = data.find(BLANK_LINE, at)
            end = len(data) if end < 0 else end + 4
        if self._part is HEAD:
            self._head_bytes += end - at
            self._check_head_bytes()
            self._parse(memoryview(data)[at:end])
        else:
            self._parse_chunked(memoryview(data)[at:end])
        return end

    def _to_chunks_end(self, data: bytes, at: int) -> int:
        """Feeds chunks, by their sizes, up to the last one."""
        end = self._chunks.skip(data, at)
        self._parse_chunked(memoryview(data)[at:end])
        if self._part is START and not self._chunks.ended:
            raise bad_request("the chunks of the body can be read in two ways")
        return end

    def _parse_chunked(self, data: memoryview) -> None:
        self._excess.fed(len(data))
        self._parse(data)
        if self._excess.is_too_much or len(self._into) > self._limits.headers:
            raise bad_request("too much besides data in a chunked body")

    def _check_head_bytes(self) -> None:
        if self._head_bytes > self._limits.head_bytes:
            raise Refusal(431, "headers_too_large", f"the request's head is larger than {self._limits.head_bytes} bytes")

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self._http.feed_data(data)  # type: ignore[union-attr]
        except HttpParserUpgrade:
            self._after_upgrade_head()
        except HttpParserError as error:
            refusal, self._error = self._error, None
            raise refusal or bad_request(str(error)) from None

    def _after_upgrade_head(self) -> None:
        """llhttp takes all behind an Upgrade for another protocol. It is a body, or the next request, until somebody answers 101."""
        self._http = HttpRequestParser(self)
        request = self.receiving
        if request is None:
            return
        if request.framing is LENGTH and not request.length:
            self._complete()
            return
        framing = b"Transfer-Encoding: chunked" if request.framing is CHUNKED else b"Content-Length: %d" % request.length
        self._primed = True
        self._http.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._primed = False
        self._into = []

    def _complete(self) -> None:
        self._part = START
        request, self.receiving = self.receiving, None
        if request is not None:
            trailers, self._into = self._into, []
            if not request.keep:
                self.closed = True
            request.body.end(trailers)

    # What httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._into.append((name, value.rstrip(b" \t")))  # llhttp leaves trailing blanks

    def on_headers_complete(self) -> None:
        if self._primed:
            return
        line = self._line
        if line is None or self._begin is None:
            return
        headers, self._into = self._into, []
        self._line = None
        body = Body(self._flow)
        try:
            if len(headers) > self._limits.headers:
                raise Refusal(431, "headers_too_large", f"the request has more than {self._limits.headers} header lines")
            request = read_request(line[1], line[2], 1 if line[3] == b"1" else 0, headers, body)
        except Refusal as refusal:
            self._error = refusal
            raise
        if self._head is not None:
            self._heads.learn(self._head, request)
            self._head = None
        self._began(request, FIXED)
        if self._part == CHUNKS:
            self._excess.reset()
            self._chunks.reset()
        self._begin(request)

    def on_body(self, data: bytes) -> None:
        if self._part == CHUNKS:
            self._excess.carried(len(data))
        request = self.receiving
        if request is not None:
            body = request.body
            if body.error is None and not body.closed:
                body.feed(data)

    def on_message_complete(self) -> None:
        if not self._primed and self.receiving is not None and not self._http.should_upgrade():  # type: ignore[union-attr]
            self._complete()
