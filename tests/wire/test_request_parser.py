"""The request parser alone: every split gives the same requests, every attack a refusal, and it stops between any two heads."""

from __future__ import annotations

import random
import time

import pytest

from proxy.core.body import Body
from proxy.core.faults import Refusal
from proxy.core.request import Request
from proxy.wire.known_heads import KnownHeads
from proxy.wire.request_parser import RequestParser
from proxy.wire.settings import ServerLimits


class Client:
    """Collects requests; the bodies are never held back."""

    def __init__(self, limits: ServerLimits | None = None, heads: KnownHeads | None = None) -> None:
        self.requests: list[Request] = []
        self.parser = RequestParser(limits or ServerLimits(), self, time.monotonic, self.requests.append, heads or KnownHeads())

    def body_full(self) -> None: ...
    def body_drained(self) -> None: ...
    def let_go(self, body: Body) -> None: ...

    def feed(self, *parts: bytes) -> Client:
        for part in parts:
            self.parser.feed(part)
        return self

    def seen(self) -> list[tuple[object, ...]]:
        return [(r.method, r.target, r.minor, r.headers, r.framing, r.body.peek(), r.body.ended, r.body.trailers) for r in self.requests]


MESSAGES = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nPOST /v1/x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\r\n\r\nh",
    b"QUERY /\xc3\xa9 HTTP/1.1\r\nhost:a\r\nx:  y\t \r\nX: \r\n\r\n",
    b"PUT /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n4;a=b\r\n\r\n\r\n\r\n003\r\nxyz\r\n0\r\nT: 1\r\nU: 2\r\n\r\n",
    b"GET /h2 HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n\r\n",
    b"POST /h2 HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /h3 HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"POST /h4 HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
    b"DELETE /d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]
WIRE = b"".join(MESSAGES)


def test_pipelined_requests_are_all_read_as_they_are() -> None:
    client = Client().feed(WIRE)

    assert [(r.method, r.target) for r in client.requests] == [
        (b"GET", b"/"),
        (b"POST", b"/v1/x?y"),
        (b"QUERY", b"/\xc3\xa9"),
        (b"PUT", b"/u"),
        (b"GET", b"/h2"),
        (b"POST", b"/h2"),
        (b"POST", b"/h3"),
        (b"POST", b"/h4"),
        (b"DELETE", b"/d"),
        (b"HEAD", b"/"),
        (b"POST", b"/e"),
    ]
    assert [r.body.peek() for r in client.requests] == [b"", b"\r\n\r\nh", b"", b"\r\n\r\nxyz", b"", b"abc", b"a", b"", b"{}", b"", b""]
    assert all(r.body.ended for r in client.requests)
    assert client.requests[2].headers == [(b"host", b"a"), (b"x", b"y"), (b"X", b"")]
    assert client.requests[3].body.trailers == [(b"T", b"1"), (b"U", b"2")]


def test_a_split_at_any_byte_changes_nothing() -> None:
    whole = Client().feed(WIRE).seen()

    for at in range(1, len(WIRE)):
        assert Client().feed(WIRE[:at], WIRE[at:]).seen() == whole, at


def test_byte_by_byte_changes_nothing() -> None:
    whole = Client().feed(WIRE).seen()

    assert Client().feed(*(WIRE[at : at + 1] for at in range(len(WIRE)))).seen() == whole


def test_random_splits_change_nothing() -> None:
    draw = random.Random(7)
    whole = Client().feed(WIRE).seen()

    for _ in range(300):
        cuts = sorted(draw.sample(range(1, len(WIRE)), draw.randint(1, 40)))
        parts = [WIRE[a:b] for a, b in zip([0, *cuts], [*cuts, len(WIRE)], strict=True)]
        assert Client().feed(*parts).seen() == whole, cuts


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ATTACKS = [
    (b"GET /\r\n", 400),
    (b"GET / HTTP/0.9\r\n\r\n", 505),
    (b"GET / HTTP/2.0\r\n\r\n", 505),
    (b"GET / HTTP/1.2\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"G\xe9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"G" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: a\r\n\r\n", 400),
    (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
    (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400),
    (HEAD + b"Transfer-Encoding: identity\r\n\r\n", 501),
    (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"fffffffffffffffff\r\nhello", 400),
    (CHUNKED + b"5\r\nhelloworld\r\n0\r\n\r\n", 400),
    (CHUNKED + b"5\r\nhello0\r\n\r\n", 400),
    (CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"5;a=\x00\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"0\r\nT : 1\r\n\r\n", 400),
    (CHUNKED + b"0\r\nT: 1\r\n 2\r\n\r\n", 400),
    (CHUNKED + b"0\r\nT: 1\n\r\n", 400),
    (CHUNKED + b"5;" + b"a" * 17_000 + b"\r\nhello\r\n0\r\n\r\n", 400),
    (CHUNKED + b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 700, 400),
    (CHUNKED + b"0\r\nT: " + b"a" * 17_000 + b"\r\n\r\n", 400),
    (CHUNKED + b"0\r\n" + b"T: 1\r\n" * 200 + b"X: " + b"a" * 300, 400),
    (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET /" + b"a" * 17_000, 414),
    (HEAD + b"X: " + b"a" * 66_000 + b"\r\n\r\n", 431),
    (HEAD + b"X: " + b"a" * 66_000, 431),
    (HEAD + b"X: 1\r\n" * 128 + b"\r\n", 431),
]


@pytest.mark.parametrize(("wire", "status"), ATTACKS, ids=[repr(wire[:60])[2:-1] for wire, _ in ATTACKS])
def test_an_attack_is_refused_wherever_it_is_split(wire: bytes, status: int) -> None:
    for step in (len(wire), 1, 7) if len(wire) < 1000 else (len(wire), 4096):
        client = Client()

        with pytest.raises(Refusal) as caught:
            client.feed(*(wire[at : at + step] for at in range(0, len(wire), step)))

        assert caught.value.status == status
        assert client.parser.closed


def test_a_refusal_behind_good_requests_does_not_take_them_along() -> None:
    client = Client()

    with pytest.raises(Refusal):
        client.feed(MESSAGES[0] + MESSAGES[0] + b"GET / HTTP/9.9\r\n\r\n")

    assert len(client.requests) == 2


def test_it_stops_between_two_heads_and_goes_on() -> None:
    client = Client()
    client.parser._begin = lambda request: (client.requests.append(request), setattr(client.parser, "blocked", True))  # type: ignore[func-returns-value]
    client.feed(MESSAGES[1] + MESSAGES[3] + MESSAGES[2], b"GET /last")

    assert len(client.requests) == 1
    assert client.requests[0].body.ended
    for count in (2, 3):
        client.parser.blocked = False
        client.feed(b"")
        assert len(client.requests) == count
    assert client.parser.unfed == b"GET /last"


def test_nothing_is_read_behind_a_request_that_closes() -> None:
    client = Client().feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + MESSAGES[0], MESSAGES[0])

    assert len(client.requests) == 1
    assert client.requests[0].keep is False


def test_half_a_head_is_known_as_such() -> None:
    client = Client()
    states = []
    for part in (b"\r\n", b"GE", b"T / HTTP/1.1\r\n", b"Host: a\r\n\r", b"\n"):
        client.feed(part)
        states.append(client.parser.head_is_open)

    assert states == [False, True, True, True, False]


def test_a_body_that_nobody_wants_is_read_past() -> None:
    client = Client().feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    client.requests[0].body.close()
    client.feed(b"def" + MESSAGES[0])

    assert client.requests[0].body.peek() == b"abc"
    assert len(client.requests) == 2


def test_garbage_never_breaks_it() -> None:
    draw = random.Random(11)

    for _ in range(2000):
        wire = bytearray(draw.choice(MESSAGES) + draw.choice(MESSAGES))
        for _ in range(draw.randint(1, 6)):
            wire[draw.randrange(len(wire))] = draw.choice((0, 10, 13, 32, 58, 255, draw.randrange(256)))
        client = Client()
        status = 0
        try:
            at = draw.randrange(len(wire))
            client.feed(bytes(wire[:at]), bytes(wire[at:]))
        except Refusal as refusal:
            status = refusal.status

        assert status == 0 or (400 <= status <= 505 and client.parser.closed)
        assert all(len(r.headers) < 20 for r in client.requests)


def test_a_read_full_of_blank_lines_in_a_body_is_read_in_time() -> None:
    data = b"\r\n" * 64_000
    started = time.perf_counter()
    client = Client().feed(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))

    assert client.requests[0].body.size == len(data)
    assert time.perf_counter() - started < 1.0
