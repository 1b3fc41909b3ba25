"""The reply parser alone: every split gives the same reply, and what may not be used is a Failure."""

from __future__ import annotations

import random

import pytest

from proxy.core.body import Body, Headers
from proxy.core.faults import Failure, Fault
from proxy.core.request import Framing, Request
from proxy.wire.reply_parser import ReplyParser
from proxy.wire.settings import PoolSettings


class Upstream:
    """Feeds a parser as a connection does."""

    def __init__(self, method: bytes = b"GET", upgrade: bytes | None = None) -> None:
        self.parser = ReplyParser(PoolSettings(), "up", self)
        self.request = Request(method, b"/", 1, [], Framing.NONE, 0, Body())
        self.request.upgrade = upgrade
        self.interims: list[tuple[int, bytes, Headers]] = []
        self.request.interim = lambda *what: self.interims.append(what)
        self.parser.begin(self.request)
        self.body = b""

    def body_full(self) -> None: ...
    def body_drained(self) -> None: ...
    def let_go(self, body: Body) -> None: ...

    def feed(self, *parts: bytes) -> Upstream:
        for part in parts:
            self.parser.feed(part)
            self.body += b"".join(self.parser.parts)
            self.parser.parts.clear()
        return self

    def seen(self) -> tuple[object, ...]:
        reply = self.parser.reply
        assert reply is not None
        what = (
            reply.status,
            reply.reason,
            reply.headers,
            reply.framing,
            self.body,
            self.parser.complete,
            self.parser.trailers,
            self.parser.keep,
        )
        return (*what, self.interims)


CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n"
    b"HTTP/1.1 200 Gut \xe9\r\nX-A: 1 \r\nset-cookie: a\r\nSet-Cookie: b\r\nE:\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\n\r\n"
    b"5;x=y\r\nhello\r\n2\r\n\r\n\r\n0\r\nT: 1\r\n\r\n"
)
LENGTH = b"HTTP/1.1 404 \r\nContent-Length: 5\r\n\r\nhello"
WITHOUT = b"HTTP/1.1 200 OK\r\n\r\nall of it"


@pytest.mark.parametrize("wire", [CHUNKED, LENGTH, WITHOUT])
def test_a_split_at_any_byte_changes_nothing(wire: bytes) -> None:
    whole = Upstream().feed(wire).seen()

    for at in range(1, len(wire)):
        assert Upstream().feed(wire[:at], wire[at:]).seen() == whole, at
    assert Upstream().feed(*(wire[at : at + 1] for at in range(len(wire)))).seen() == whole


def test_a_reply_is_read_as_it_is() -> None:
    upstream = Upstream().feed(CHUNKED)
    reply = upstream.parser.reply

    assert reply is not None
    assert (reply.status, reply.reason, reply.framing) == (200, b"Gut \xe9", Framing.CHUNKED)
    assert reply.headers[:4] == [(b"X-A", b"1"), (b"set-cookie", b"a"), (b"Set-Cookie", b"b"), (b"E", b"")]
    assert reply.named == {b"x-hop"}
    assert upstream.body == b"hello\r\n"
    assert upstream.parser.trailers == [(b"T", b"1")]
    assert upstream.interims == [(100, b"Continue", []), (103, b"Early", [(b"Link", b"a")])]
    assert upstream.parser.complete
    assert upstream.parser.keep


def test_one_connection_serves_one_exchange_after_another() -> None:
    upstream = Upstream().feed(LENGTH)
    for wire in (CHUNKED, LENGTH, CHUNKED):
        upstream.parser.begin(upstream.request)
        upstream.body = b""
        upstream.feed(wire)
        assert upstream.parser.complete
        assert upstream.parser.keep
        assert upstream.body.startswith(b"hello")


HEAD = b"HTTP/1.1 200 OK\r\n"
BAD = [
    b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 X\r\n\r\n",
    b"HTTP/1.1 2x0 X\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"RTSP/1.0 200 OK\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"<html><body>hello</body></html>",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\x1bK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 1,1\r\n\r\na",
    HEAD + b"Content-Length: 0x1\r\n\r\na",
    HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"X: a\r\n b\r\n\r\n",
    HEAD + b" X: a\r\n\r\n",
    HEAD + b"X : a\r\n\r\n",
    HEAD + b"X: a\x00\r\n\r\n",
    HEAD + b"X: a\rb\r\n\r\n",
    HEAD + b"X\r\n\r\n",
    HEAD + b"X: 1\r\n" * 257 + b"\r\n",
    HEAD + b"X: " + b"a" * 66_000 + b"\r\n\r\n",
    HEAD + b"X: " + b"a" * 66_000,
    b"HTTP/1.1 103 A\r\n\r\n" * 40,
    b"HTTP/1.1 103 A\r\n\r\nHTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\n\r\n",
]


@pytest.mark.parametrize("wire", BAD, ids=[repr(wire[:60])[2:-1] for wire in BAD])
def test_a_bad_head_is_a_bad_reply_wherever_it_is_split(wire: bytes) -> None:
    for step in (len(wire), 1, 7) if len(wire) < 1000 else (len(wire), 4096):
        upstream = Upstream()

        with pytest.raises(Failure) as caught:
            upstream.feed(*(wire[at : at + step] for at in range(0, len(wire), step)))

        assert caught.value.fault is Fault.BAD_REPLY


START = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"5\nworld\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"5\r\nworldly\r\n",
        b"0\r\nT : 1\r\n\r\n",
        b"5;" + b"a" * 17_000,
        b"0\r\n" + b"T: 1\r\n" * 3000,
    ],
    ids=["bare LF", "no size", "negative", "too long", "bad trailer", "long extension", "many trailers"],
)
def test_bad_chunks_truncate_the_reply_behind_its_good_bytes(rest: bytes) -> None:
    for split in (False, True):
        upstream = Upstream()

        with pytest.raises(Failure) as caught:
            upstream.feed(*((START, rest) if split else (START + rest,)))

        assert caught.value.fault is Fault.TRUNCATED
        assert (upstream.body + b"".join(upstream.parser.parts)).startswith(b"hello")


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", b"HTTP/1.1 2", b"junk", b"\x00"])
def test_bytes_behind_a_reply_are_dropped_and_its_connection_with_them(junk: bytes) -> None:
    upstream = Upstream().feed(LENGTH + junk)

    assert upstream.body == b"hello"
    assert upstream.parser.complete
    assert not upstream.parser.keep


@pytest.mark.parametrize(
    ("wire", "keep"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", False),
        (HEAD + b"Content-Length: 0\r\n\r\n", True),
        (HEAD + b"\r\n", False),
    ],
)
def test_a_reply_to_head_is_whole_at_its_head(wire: bytes, keep: bool) -> None:
    upstream = Upstream(b"HEAD").feed(wire)

    assert upstream.parser.complete
    assert upstream.parser.keep is keep
    assert upstream.parser.reply is not None
    assert upstream.parser.reply.framing is Framing.NONE


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_reply_that_has_no_body_is_whole_at_its_head(status: bytes) -> None:
    upstream = Upstream().feed(b"HTTP/1.1 " + status + b"\r\nETag: a\r\n\r\n")

    assert upstream.parser.complete
    assert upstream.parser.keep


def test_a_connection_that_says_close_is_not_kept() -> None:
    assert not Upstream().feed(HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n").parser.keep
    assert not Upstream().feed(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").parser.keep
    assert Upstream().feed(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").parser.keep


def test_a_101_that_was_asked_for_leaves_what_follows_it() -> None:
    upstream = Upstream(upgrade=b"websocket").feed(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi")

    assert upstream.parser.rest == b"\x81\x02hi"
    assert upstream.parser.reply is not None
    assert upstream.parser.reply.status == 101


def test_a_100_that_we_have_said_ourselves_is_not_said_again() -> None:
    upstream = Upstream()
    upstream.request.continued = True
    upstream.feed(CHUNKED)

    assert [status for status, _, _ in upstream.interims] == [103]


def test_garbage_never_breaks_it() -> None:
    draw = random.Random(5)

    for _ in range(2000):
        wire = bytearray(draw.choice((CHUNKED, LENGTH, WITHOUT)))
        for _ in range(draw.randint(1, 5)):
            wire[draw.randrange(len(wire))] = draw.choice((0, 10, 13, 32, 48, 255, draw.randrange(256)))
        upstream = Upstream()
        at = draw.randrange(len(wire))
        fault = None
        try:
            upstream.feed(bytes(wire[:at]), bytes(wire[at:]))
        except Failure as failure:
            fault = failure.fault

        assert fault in (None, Fault.BAD_REPLY, Fault.TRUNCATED)
        assert upstream.body == b"" or upstream.parser.reply is not None
