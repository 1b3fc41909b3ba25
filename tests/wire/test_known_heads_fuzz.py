"""Known heads against none: any requests, in any pieces, mean the same to a parser that has seen them and to one that never will."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.core.body import Body
from proxy.core.faults import Refusal
from proxy.core.request import Request
from proxy.wire.head import request_head
from proxy.wire.known_heads import Known, KnownHeads
from proxy.wire.request_parser import RequestParser
from proxy.wire.settings import ServerLimits

LINES = (
    b"POST /v1/x HTTP/1.1",
    b"POST /v1/x HTTP/1.0",
    b"GET /v1/x?q HTTP/1.1",
    b"HEAD / HTTP/1.1",
    b"GET http://h/abs HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET / HTTP/2.0",
    b"CONNECT a:1 HTTP/1.1",
)
HEADERS = (
    b"Host: a",
    b"host: b:8",
    b"Authorization: Bearer one",
    b"Authorization: Bearer two",
    b"X: Content-Length: 5",
    b"X:",
    b"X-Content-Length: 5",
    b"Content-Length-X: 5",
    b"Connection: keep-alive",
    b"Connection: close",
    b"connection: content-length, x",
    b"Connection: Upgrade",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"TE: trailers",
    b"Keep-Alive: 5",
    b"Expect: 100-continue",
    b"Expect: x",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b" Content-Length: 7",
    b"\tfolded",
    b"Content-Length : 5",
    b"X: \xff\xe9",
    b"X: a\nContent-Length: 5",
    b"X: a\rContent-Length: 5",
)
LENGTH_NAMES = (
    b"Content-Length: ",
    b"content-length: ",
    b"CONTENT-LENGTH: ",
    b"Content-length: ",
    b"Content-Length:",
    b"Content-Length:  ",
)
DIGITS = ("0", "1", "2", "5", "12", "005", "000000000000000005", "0000000000000000005", "", "+5", "5 ", "5, 5", "0x5", "5_0", "\xb2", "-1")
BODIES = (b"", b"h", b"hi", b"hello", b"\r\n\r\n", b"GET /in HTTP/1.1\r\nHost: a\r\n\r\n", b"2\r\nhi\r\n0\r\n\r\n", b"0\r\n\r\n")
BETWEEN = (b"", b"", b"", b"\r\n", b"\r\n\r\n")


class Unlearned(KnownHeads):
    """Knows none, ever."""

    __slots__ = ()

    def find(self, head: bytes) -> tuple[Known, bytes] | None:
        return None


class Reader:
    """A parser's whole story. Every `blocks`-th request blocks it, until all bytes have come or it is asked to go on."""

    def __init__(self, heads: KnownHeads, blocks: int) -> None:
        self.requests: list[Request] = []
        self.refusal: tuple[int, str, str] | None = None
        self.states: list[tuple[object, ...]] = []
        self._blocks = blocks
        self.parser = RequestParser(ServerLimits(), self, time.monotonic, self._begin, heads)

    def body_full(self) -> None: ...
    def body_drained(self) -> None: ...
    def let_go(self, body: Body) -> None: ...

    def _begin(self, request: Request) -> None:
        self.requests.append(request)
        if request.upgrade is not None or (self._blocks and len(self.requests) % self._blocks == 0):
            self.parser.blocked = True

    def read(self, pieces: Sequence[bytes]) -> Reader:
        for piece in pieces:
            self._feed(piece)
        while self.parser.blocked and not self.parser.closed and self.refusal is None:
            self.parser.blocked = False
            self._feed(b"")
        return self

    def _feed(self, piece: bytes) -> None:
        parser = self.parser
        if self.refusal is not None or parser.closed:
            return
        try:
            waits = parser.feed(piece)
        except Refusal as refusal:
            self.refusal = (refusal.status, refusal.code, refusal.message)
            waits = True
        at = self.requests.index(parser.receiving) if parser.receiving is not None else None
        self.states.append((waits, parser.closed, parser.blocked, parser.unfed, parser.head_is_open, at))

    def told(self) -> tuple[object, ...]:
        return [meaning(request) for request in self.requests], self.refusal, self.states


def meaning(request: Request) -> tuple[object, ...]:
    head = (request.method, request.target, request.minor, request.headers, request.framing, request.length)
    hop = (request.keep, request.named, request.upgrade, request.expect, request.marks[1:] if request.marks is not None else None)
    sent = [request_head(request, upstream) for upstream in (b"up:1", b"other", b"up:1")]
    body = request.body
    return (*head, *hop, sent, body.peek(), body.ended, body.trailers, body.error is None)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    headers = [b"Host: a"] if draw(st.integers(0, 9)) else []
    headers += draw(st.lists(st.sampled_from(HEADERS[2:] if draw(st.booleans()) else HEADERS[2:11]), max_size=3))
    body = draw(st.sampled_from(BODIES))
    kind = draw(st.integers(0, 9))
    if kind < 5:
        headers.append(draw(st.sampled_from(LENGTH_NAMES[:2])) + b"%d" % len(body))
    elif kind < 9:
        headers.append(draw(st.sampled_from(LENGTH_NAMES)) + draw(st.sampled_from(DIGITS)).encode("latin-1"))
    line = draw(st.sampled_from(LINES[:1] if draw(st.booleans()) else LINES))
    head = b"\r\n".join([line, *draw(st.permutations(headers))])
    return draw(st.sampled_from(BETWEEN)) + head + b"\r\n\r\n" + body


@settings(max_examples=200)
@given(
    st.lists(messages(), min_size=1, max_size=4),
    st.lists(messages(), max_size=2),
    st.lists(st.integers(0, 400), max_size=6),
    st.integers(0, 3),
)
@example([b"\r\n\r\nGET /mine HTTP/1.1\r\nHost: a\r\n\r\n"], [b"\r\n\r\n"], [4], 0)
def test_a_parser_that_knows_the_heads_reads_as_one_that_does_not(
    mine: list[bytes], others: list[bytes], places: list[int], blocks: int
) -> None:
    heads = KnownHeads()
    for message in (*mine, *others, b"".join(others)):
        Reader(heads, 0).read([message])
    wire = b"".join([*mine, *others, *mine])
    cuts = sorted({0, len(wire), *(at for at in places if at < len(wire))})
    pieces = [wire[a:b] for a, b in pairwise(cuts)]

    assert Reader(heads, blocks).read(pieces).told() == Reader(Unlearned(), blocks).read(pieces).told()


LENGTHED = st.tuples(st.sampled_from(LENGTH_NAMES[:2]), st.sampled_from(DIGITS[:7]), st.sampled_from(DIGITS))


@settings(max_examples=200)
@given(LENGTHED, st.lists(st.sampled_from(HEADERS[2:]), max_size=3), st.lists(st.sampled_from(HEADERS[2:]), max_size=3))
def test_a_head_is_known_by_another_length_only_where_that_is_a_length(
    length: tuple[bytes, str, str], before: list[bytes], after: list[bytes]
) -> None:
    name, first, second = length
    heads = KnownHeads()
    head = [LINES[0], b"Host: a", *before, name + b"%b", *after]
    known, asked = ((b"\r\n".join(head) % each.encode("latin-1")) + b"\r\n\r\nhello" for each in (first, second))
    Reader(heads, 0).read([known])

    assert Reader(heads, 0).read([asked]).told() == Reader(Unlearned(), 0).read([asked]).told()
