"""Heads: what is refused, what is for one hop only, and what leaves as it came."""

from __future__ import annotations

import pytest

from proxy.core.body import Body, Headers
from proxy.core.faults import Refusal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.wire.head import interim_head, last_chunk, origin_form, read_request, reply_head, request_head, without_h2c

HOST = (b"Host", b"proxy:4141")


def read(*headers: tuple[bytes, bytes], method: bytes = b"POST", target: bytes = b"/v1/x", minor: int = 1) -> Request:
    return read_request(method, target, minor, [HOST, *headers], Body())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        ([HOST, HOST], 400),
        ([(b"Host", b"a b")], 400),
        ([(b"Host", b"a/b")], 400),
        ([(b"Host", b"user@a")], 400),
        ([(b"Host", b"a, b")], 400),
        ([(b"Host", b"a:port")], 400),
        ([HOST, (b"Content-Length", b"+5")], 400),
        ([HOST, (b"Content-Length", b"-5")], 400),
        ([HOST, (b"Content-Length", b"5 5")], 400),
        ([HOST, (b"Content-Length", b"0x5")], 400),
        ([HOST, (b"Content-Length", b"5,5")], 400),
        ([HOST, (b"Content-Length", b"")], 400),
        ([HOST, (b"Content-Length", b"5"), (b"content-length", b"5")], 400),
        ([HOST, (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], 400),
        ([HOST, (b"Transfer-Encoding", b"gzip, chunked")], 501),
        ([HOST, (b"Transfer-Encoding", b"chunked, identity")], 501),
        ([HOST, (b"Transfer-Encoding", b"xchunked")], 501),
        ([HOST, (b"Transfer-Encoding", b"")], 501),
        ([HOST, (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], 501),
        ([HOST, (b"Transfer-Encoding", b"\x0bchunked")], 501),
    ],
)
def test_an_ambiguous_head_is_refused(headers: Headers, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        read_request(b"POST", b"/v1/x", 1, headers, Body())

    assert caught.value.status == status


def test_chunks_on_http_1_0_are_refused() -> None:
    with pytest.raises(Refusal):
        read((b"Transfer-Encoding", b"chunked"), minor=0)


def test_http_1_0_needs_no_host() -> None:
    assert read_request(b"GET", b"/", 0, [], Body()).keep is False


@pytest.mark.parametrize("host", [b"", b"a", b"a:1", b"[::1]:80", b"127.0.0.1", b"ex-ample.com:"])
def test_a_good_host_is_taken(host: bytes) -> None:
    assert read_request(b"GET", b"/", 1, [(b"Host", host)], Body()).method == b"GET"


def test_connect_is_refused_whatever_it_names() -> None:
    with pytest.raises(Refusal) as caught:
        read(method=b"CONNECT", target=b"api.openai.com:443")

    assert caught.value.status == 501


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"http://api.openai.com/v1/x?a=1", b"/v1/x?a=1"),
        (b"HTTP://h?a", b"/?a"),
        (b"https://h", b"/"),
        (b"http://[::1]:8080/%2F", b"/%2F"),
        (b"*", b"*"),
    ],
)
def test_an_absolute_target_becomes_its_path(target: bytes, sent: bytes) -> None:
    assert origin_form(b"OPTIONS", target) == sent


@pytest.mark.parametrize(
    "target", [b"http://user:pw@h/x", b"http://user@h", b"ftp://h/x", b"http:///x", b"http://", b"*", b"v1/x", b"http://a b/"]
)
def test_another_form_of_target_is_refused(target: bytes) -> None:
    with pytest.raises(Refusal):
        origin_form(b"GET", target)


@pytest.mark.parametrize("target", [b"/", b"/v1/x?", b"/v1//x", b"/../x", b"/a%2Fb", b"/a#b", b"/\xc3\xa9", b"/v1/x?q=[]&q=%41"])
def test_a_path_is_not_touched(target: bytes) -> None:
    request = read(target=target)

    assert request_head(request, b"up").startswith(b"POST %b HTTP/1.1\r\n" % target)


def test_pairs_leave_in_their_order_with_their_own_spelling() -> None:
    request = read((b"X-b", b"2"), (b"x-A", b""), (b"X-b", b"\xe9"), (b"Content-Length", b"0"))

    assert (
        request_head(request, b"up:1") == b"POST /v1/x HTTP/1.1\r\nHost: up:1\r\nX-b: 2\r\nx-A: \r\nX-b: \xe9\r\nContent-Length: 0\r\n\r\n"
    )


def test_host_is_the_upstreams_in_its_place() -> None:
    request = read_request(b"GET", b"/", 1, [(b"a", b"1"), (b"host", b"me"), (b"b", b"2")], Body())

    assert request_head(request, b"up") == b"GET / HTTP/1.1\r\na: 1\r\nhost: up\r\nb: 2\r\n\r\n"


def test_a_missing_host_is_added() -> None:
    assert request_head(read_request(b"GET", b"/", 0, [], Body()), b"up") == b"GET / HTTP/1.1\r\nHost: up\r\n\r\n"


def test_what_is_for_one_hop_stays_here() -> None:
    request = read(
        (b"Connection", b"keep-alive, X-Mine"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Proxy-Authorization", b"Basic c2VjcmV0"),
        (b"x-mine", b"1"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAA"),
        (b"X-Yours", b"2"),
    )

    assert request_head(request, b"up") == b"POST /v1/x HTTP/1.1\r\nHost: up\r\nX-Yours: 2\r\n\r\n"


def test_connection_cannot_name_framing_away() -> None:
    request = read((b"Connection", b"content-length, host, transfer-encoding"), (b"Content-Length", b"3"))

    assert b"\r\nContent-Length: 3\r\n" in request_head(request, b"up")


def test_te_trailers_is_said_anew() -> None:
    assert request_head(read((b"TE", b"trailers, deflate")), b"up").endswith(b"TE: trailers\r\nConnection: TE\r\n\r\n")
    assert b"TE" not in request_head(read((b"TE", b"deflate")), b"up")


def test_a_length_is_written_from_the_request_and_not_from_the_pair() -> None:
    request = read((b"content-length", b"3")).derive(b"/y", [HOST, (b"content-length", b"3")], Framing.LENGTH, 12, Body())

    assert request_head(request, b"up").endswith(b"content-length: 12\r\n\r\n")


def test_framing_that_no_pair_says_is_added() -> None:
    length = read().derive(b"/", [], Framing.LENGTH, 2, Body())
    chunked = read((b"Content-Length", b"9")).derive(b"/", [(b"Content-Length", b"9")], Framing.CHUNKED, 0, Body())

    assert request_head(length, b"up").endswith(b"\r\nContent-Length: 2\r\n\r\n")
    assert request_head(chunked, b"up") == b"POST / HTTP/1.1\r\nHost: up\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_expect_goes_up_unless_we_have_answered_it() -> None:
    request = read((b"Expect", b"100-continue"), (b"Content-Length", b"3"))
    before = request_head(request, b"up")
    request.continued = True

    assert b"\r\nExpect: 100-continue\r\n" in before
    assert b"Expect" not in request_head(request, b"up")


def test_an_upgrade_is_asked_for_by_a_get_only() -> None:
    pairs = ((b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"websocket"))
    request = read(*pairs, method=b"GET")

    assert request.upgrade == b"websocket"
    assert request_head(request, b"up").endswith(b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    assert read(*pairs, method=b"POST").upgrade is None
    assert read(*pairs, method=b"GET", minor=0).upgrade is None
    assert read((b"Upgrade", b"websocket"), method=b"GET").upgrade is None
    assert read(*pairs, (b"Content-Length", b"2"), method=b"GET").upgrade is None


@pytest.mark.parametrize(
    ("asked", "kept"), [(b"h2c", None), (b"h2c, websocket", b"websocket"), (b"Foo/2, bar", b"Foo/2, bar"), (b" ,", None)]
)
def test_h2c_is_never_asked_for(asked: bytes, kept: bytes | None) -> None:
    assert without_h2c(asked) == kept


def reply(status: int, framing: Framing, *headers: tuple[bytes, bytes], body: bytes = b"") -> Reply:
    return Reply(status, b"Fine", list(headers), framing, Body.of(body))


def get(minor: int = 1, method: bytes = b"GET") -> Request:
    return Request(method, b"/", minor, [], Framing.NONE, 0, Body())


def test_a_reply_head_goes_through_with_its_own_reason_and_pairs() -> None:
    got = reply(299, Framing.LENGTH, (b"set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Content-length", b"2"), body=b"ok")

    assert reply_head(got, get(), False) == (
        b"HTTP/1.1 299 Fine\r\nset-Cookie: a\r\nSet-Cookie: b\r\nContent-length: 2\r\n\r\n",
        Framing.LENGTH,
    )


def test_a_reply_loses_what_is_for_one_hop() -> None:
    got = reply(200, Framing.LENGTH, (b"Connection", b"close, X-Hop"), (b"Keep-Alive", b"1"), (b"x-hop", b"1"), (b"Content-Length", b"0"))
    got.named = frozenset((b"close", b"x-hop"))

    assert reply_head(got, get(), False)[0] == b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n"


def test_a_body_without_a_stated_end_becomes_chunks() -> None:
    head, framing = reply_head(reply(200, Framing.CLOSE), get(), False)

    assert (head, framing) == (b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n", Framing.CHUNKED)


def test_an_old_client_gets_the_close_instead_of_chunks() -> None:
    head, framing = reply_head(reply(200, Framing.CHUNKED, (b"Transfer-Encoding", b"chunked")), get(minor=0), False)

    assert (head, framing) == (b"HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n", Framing.CLOSE)


def test_an_old_client_that_asked_for_it_is_told_that_the_connection_is_kept() -> None:
    assert reply_head(reply(200, Framing.LENGTH, (b"Content-Length", b"0")), get(minor=0), False)[0].endswith(
        b"Connection: keep-alive\r\n\r\n"
    )


def test_a_length_never_stands_beside_chunks() -> None:
    head, _ = reply_head(reply(200, Framing.CHUNKED, (b"Content-Length", b"5"), (b"A", b"1")), get(), False)

    assert head == b"HTTP/1.1 200 Fine\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_known_body_without_a_length_gets_one() -> None:
    assert reply_head(reply(200, Framing.LENGTH, body=b"four"), get(), False)[0] == b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\n"
    assert reply_head(reply(200, Framing.NONE), get(), False)[0] == b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(("status", "method"), [(204, b"GET"), (304, b"GET"), (200, b"HEAD")])
def test_a_reply_without_a_body_keeps_what_it_says_of_one(status: int, method: bytes) -> None:
    head, framing = reply_head(reply(status, Framing.NONE, (b"Content-Length", b"7")), get(method=method), False)

    assert head.endswith(b"Content-Length: 7\r\n\r\n")
    assert framing is Framing.NONE


def test_the_end_of_the_connection_is_announced() -> None:
    assert reply_head(reply(200, Framing.LENGTH, (b"Content-Length", b"0")), get(), True)[0].endswith(b"Connection: close\r\n\r\n")


def test_a_101_keeps_its_upgrade() -> None:
    got = reply(101, Framing.NONE, (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Protocol", b"realtime"))

    assert reply_head(got, get(), False)[0] == (
        b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: realtime\r\nConnection: Upgrade\r\n\r\n"
    )


def test_an_interim_reply_says_nothing_of_framing() -> None:
    head = interim_head(103, b"Early Hints", [(b"Link", b"</a>"), (b"Content-Length", b"3"), (b"Connection", b"x")])

    assert head == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_trailers_cannot_reframe_a_message() -> None:
    trailers = [(b"X-Sum", b"1"), (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked"), (b"Authorization", b"x")]

    assert last_chunk(trailers) == b"0\r\nX-Sum: 1\r\n\r\n"
    assert last_chunk([]) == b"0\r\n\r\n"
