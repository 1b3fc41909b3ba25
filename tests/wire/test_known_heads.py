"""Known heads: a second request with the same head means what the first one meant, and nothing else is ever taken for it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.faults import Refusal
from proxy.core.request import LENGTH, Request
from proxy.wire.head import request_head
from proxy.wire.known_heads import HEAD_BYTES, HEADS, UPSTREAMS, KnownHeads
from proxy.wire.settings import ServerLimits
from tests.wire.test_request_parser import MESSAGES, Client

POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-b:  1 \r\nConnection: keep-alive\r\nContent-Length: %d\r\nx-B: 2\r\n\r\n%b"


def post(body: bytes) -> bytes:
    return POST % (len(body), body)


def meaning(request: Request) -> tuple[object, ...]:
    marks = request.marks[1:] if request.marks is not None else None
    head = (request.method, request.target, request.minor, request.headers, request.framing, request.length)
    return (*head, request.keep, request.named, request.upgrade, request.expect, marks, request_head(request, b"up:1"), request.body.peek())


@pytest.mark.parametrize("message", MESSAGES)
def test_what_comes_again_means_the_same(message: bytes) -> None:
    heads = KnownHeads()
    first, second = (Client(heads=heads).feed(message).requests for _ in range(2))

    assert len(first) == 1
    assert list(map(meaning, first)) == list(map(meaning, second))
    assert [r.body.ended for r in first] == [r.body.ended for r in second]
    assert [r.body.trailers for r in first] == [r.body.trailers for r in second]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.data())
def test_bodies_of_any_length_behind_one_head_are_cut_where_they_end(bodies: list[bytes], data: st.DataObject) -> None:
    heads = KnownHeads()
    wire = b"".join(map(post, bodies)) + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    cuts = sorted({0, len(wire), *data.draw(st.lists(st.integers(0, len(wire)), max_size=12))})
    client = Client(heads=heads).feed(post(b"known"), *(wire[a:b] for a, b in pairwise(cuts)))

    assert [request.body.peek() for request in client.requests] == [b"known", *bodies, b""]
    assert all(request.body.ended for request in client.requests)
    assert [request.headers[3][1] for request in client.requests[:-1]] == [b"%d" % len(body) for body in (b"known", *bodies)]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456789\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: \xb25\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        b"POST /v1/x HTTP/1.1\nHost: a\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_a_head_that_is_refused_stays_refused_beside_one_that_is_known(head: bytes) -> None:
    heads = KnownHeads()
    Client(heads=heads).feed(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")

    for _ in range(2):
        with pytest.raises(Refusal):
            Client(heads=heads).feed(head + b"hello")


def test_a_length_that_another_header_names_is_none() -> None:
    heads = KnownHeads()
    head = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-Note: 1\r\n Content-Length: 9\r\n\r\n"
    for _ in range(2):
        with pytest.raises(Refusal):
            Client(heads=heads).feed(head)


def test_what_a_layer_adds_to_the_headers_is_sent() -> None:
    heads = KnownHeads()
    Client(heads=heads).feed(post(b"hi"))
    (request,) = Client(heads=heads).feed(post(b"hello")).requests
    assert request.known is not None
    plain = request_head(request, b"up")
    other = request.derive(request.target, [*request.headers, (b"X-New", b"1")], request.framing, 5, request.body)
    longer = request.derive(request.target, request.headers, request.framing, 12, request.body)
    head_of_longer = request_head(longer, b"up")
    request.headers.append((b"X-Late", b"1"))

    assert b"X-New: 1" in request_head(other, b"up")
    assert head_of_longer == plain.replace(b"Content-Length: 5", b"Content-Length: 12")
    assert b"X-Late: 1" in request_head(request, b"up")


def test_each_upstream_has_its_own_host() -> None:
    heads = KnownHeads()
    Client(heads=heads).feed(post(b"hi"))
    (request,) = Client(heads=heads).feed(post(b"hello")).requests

    assert [request_head(request, name).count(b"\r\nHost: %b\r\n" % name) for name in (b"up", b"other:8", b"up")] == [1, 1, 1]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /w HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        b"GET /c HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"c" * HEAD_BYTES),
        b"GET /n HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: x\r\n\r\n",
    ],
)
def test_what_is_rare_is_read_each_time(head: bytes) -> None:
    heads = KnownHeads()
    Client(heads=heads).feed(head)

    assert heads.find(head) is None


def test_they_are_bounded() -> None:
    heads = KnownHeads()
    for number in range(3 * HEADS):
        Client(heads=heads).feed(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)

    known = [number for number in range(3 * HEADS) if heads.find(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)]
    assert 0 < len(known) <= HEADS
    assert known[-1] == 3 * HEADS - 1


def test_limits_hold_for_each_listener() -> None:
    small = ServerLimits(head_bytes=64)
    heads = KnownHeads()
    with pytest.raises(Refusal):
        Client(small, heads).feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"c" * 100))

    assert heads.find(b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"c" * 100)) is None


def test_a_request_of_no_bytes_is_complete_at_once() -> None:
    heads = KnownHeads()
    client = Client(heads=heads).feed(post(b"hi"), post(b""), post(b"x"))

    assert [(r.framing, r.body.ended, r.body.peek()) for r in client.requests] == [
        (LENGTH, True, b"hi"),
        (LENGTH, True, b""),
        (LENGTH, True, b"x"),
    ]
    assert client.requests[1].known is not None


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\r\n\r\n\r\n\r\n"])
def test_empty_lines_before_a_head_are_never_taken_for_it(before: bytes) -> None:
    heads = KnownHeads()
    Client(heads=heads).feed(before + b"GET /mine HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer mine\r\n\r\n")
    stranger = Client(heads=heads).feed(before, b"\r\n\r\nGET /other HTTP/1.1\r\nHost: a\r\n\r\n")

    assert [request.target for request in stranger.requests] == [b"/other"]


def test_heads_with_a_length_and_without_one_are_bounded_together() -> None:
    heads = KnownHeads()
    for number in range(2 * HEADS):
        Client(heads=heads).feed(
            b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number, b"GET /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % number
        )
    known = [
        number
        for number in range(2 * HEADS)
        for more in (b"", b"Content-Length: 3\r\n")
        if heads.find(b"GET /%d HTTP/1.1\r\nHost: a\r\n%b\r\n" % (number, more))
    ]

    assert 0 < len(known) <= HEADS


def test_the_heads_for_upstreams_are_bounded() -> None:
    heads = KnownHeads()
    Client(heads=heads).feed(post(b"hi"))
    (request,) = Client(heads=heads).feed(post(b"hello")).requests
    names = [b"up%d:80" % number for number in range(10 * UPSTREAMS)]
    sent = [request_head(request, name) for name in names]

    assert all(b"\r\nHost: %b\r\n" % name in head for name, head in zip(names, sent, strict=True))
    assert sum(request.known.sent(name) is not None for name in names) <= UPSTREAMS
