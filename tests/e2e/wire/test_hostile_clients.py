"""Line 22 from the app's side: requests that two parsers might read differently are refused, and nothing of them goes upstream.

The answer is an error in the API's own form, marked as ours, and the connection ends with it.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e.wire.client import Client
from tests.e2e.wire.conftest import MODES, Wire
from tests.e2e.wire.http1 import Message
from tests.e2e.wire.play import LAST, chunk, filled, reply, request, script
from tests.e2e.wire.runs import wait_for

BODY = b'{"model": "gpt-4o", "messages": []}'
N = b"%d" % len(BODY)
SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\nX-Case: smuggled\r\n\r\n"
CL, TE = b"Content-Length: " + N, b"Transfer-Encoding: chunked"


def post(*headers: bytes, body: bytes = BODY, **more: bytes | None) -> bytes:
    """A chat request whose framing is in `headers`, however bad."""
    return request(b"POST /v1/chat/completions", *headers, **more) + body  # type: ignore[arg-type]


def get(*headers: bytes, **more: bytes | None) -> bytes:
    return request(b"GET /v1/models", *headers, **more)  # type: ignore[arg-type]


CHUNKY = chunk(BODY) + LAST
HEADS: dict[str, bytes] = {
    # two ways to tell the body's end
    "two-lengths-that-differ": post(CL, b"Content-Length: 5"),
    "two-lengths-alike": post(CL, CL),
    "two-lengths-in-one-field": post(b"Content-Length: " + N + b", " + N),
    "two-lengths-with-another-spelling": post(CL, b"content-length: 0"),
    "length-and-chunked": post(CL, TE, body=CHUNKY),
    "chunked-and-length": post(TE, CL, body=CHUNKY),
    "length-of-zero-and-chunked": post(b"Content-Length: 0", TE, body=CHUNKY + SMUGGLED),
    # lengths that are no lengths
    **{
        f"a-length-of-{name}": post(b"Content-Length: " + value)
        for name, value in {
            "plus": b"+5",
            "minus": b"-1",
            "hex": b"0x10",
            "a-fraction": b"5.0",
            "an-exponent": b"1e1",
            "an-underscore": b"1_0",
            "words": b"five",
            "nothing": b"",
            "two-numbers": b"5 5",
            "a-list": b"5,",
            "arabic-digits": "\u0665".encode(),
            "latin-superscript": b"\xb2",
            "thirty-digits": b"9" * 30,
            "quotes": b'"5"',
            "a-semicolon": b"5;x",
        }.items()
    },
    # transfer codings
    **{
        f"chunked-as-{name}": post(b"Transfer-Encoding: " + value, body=CHUNKY)
        for name, value in {
            "gzip-chunked": b"gzip, chunked",
            "chunked-gzip": b"chunked, gzip",
            "chunked-twice": b"chunked, chunked",
            "identity": b"identity",
            "chunked-identity": b"chunked, identity",
            "quoted": b'"chunked"',
            "a-prefix": b"xchunked",
            "a-suffix": b"chunkedx",
            "with-a-parameter": b"chunked;q=1",
            "empty": b"",
            "a-comma-first": b", chunked",
            "a-comma-last": b"chunked,",
            "vertical-tab": b"\x0bchunked",
            "form-feed": b"chunked\x0c",
            "nul": b"chunked\x00",
            "a-space-inside": b"chun ked",
        }.items()
    },
    "chunked-in-two-fields": post(TE, TE, body=CHUNKY),
    "chunked-and-identity-in-two-fields": post(TE, b"Transfer-Encoding: identity", body=CHUNKY),
    "chunked-on-http-1.0": post(TE, body=CHUNKY, version=b"1.0"),
    "chunked-and-length-on-http-1.0": post(TE, CL, body=CHUNKY, version=b"1.0"),
    "chunked-folded": post(b"Transfer-Encoding:\r\n chunked", body=CHUNKY),
    "chunked-behind-a-bare-lf": post(CL, b"X: y\nTransfer-Encoding: chunked", body=CHUNKY),
    "chunked-behind-a-bare-cr": post(CL, b"X: y\rTransfer-Encoding: chunked", body=CHUNKY),
    # field lines
    "a-blank-before-the-colon": post(b"Content-Length : " + N),
    "a-tab-before-the-colon": post(b"Transfer-Encoding\t: chunked", body=CHUNKY),
    "a-blank-before-the-first-name": b"GET /v1/models HTTP/1.1\r\n Host: a\r\nX-Case: x\r\n\r\n",
    "a-folded-field": get(b"X-A: 1\r\n 2"),
    "a-field-folded-with-a-tab": get(b"X-A: 1\r\n\t2"),
    "a-field-without-a-colon": get(b"X-A"),
    "a-field-without-a-name": get(b": x"),
    "a-blank-in-a-name": get(b"X A: 1"),
    "a-nul-in-a-name": get(b"X\x00A: 1"),
    "a-nul-in-a-value": get(b"X-A: a\x00b"),
    "a-cr-in-a-value": get(b"X-A: a\rb"),
    "a-lf-in-a-value": get(b"X-A: a\nX-B: b"),
    "a-bell-in-a-value": get(b"X-A: a\x07b"),
    "a-del-in-a-value": get(b"X-A: a\x7fb"),
    "latin-1-in-a-name": get(b"X-\xe9: 1"),
    "quotes-in-a-name": get(b'"X": 1'),
    "a-bracket-in-a-name": get(b"X(: 1"),
    "bare-lf-everywhere": b"GET /v1/models HTTP/1.1\nHost: a\nX-Case: x\n\n",
    "a-bare-lf-after-the-first-line": b"GET /v1/models HTTP/1.1\nHost: a\r\nX-Case: x\r\n\r\n",
    "a-bare-lf-at-the-heads-end": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Case: x\r\n\n",
    "bare-cr-everywhere": b"GET /v1/models HTTP/1.1\rHost: a\rX-Case: x\r\r\r\n\r\n",
    "a-cr-before-crlf": b"GET /v1/models HTTP/1.1\r\r\nHost: a\r\n\r\n",
    # first lines
    "http-0.9": b"GET /v1/models\r\n\r\n",
    "http-0.9-spelled": b"GET /v1/models HTTP/0.9\r\nHost: a\r\n\r\n",
    "http-1.2": b"GET /v1/models HTTP/1.2\r\nHost: a\r\n\r\n",
    "http-2": b"GET /v1/models HTTP/2.0\r\nHost: a\r\n\r\n",
    "the-preface-of-http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a-version-of-three-digits": b"GET /v1/models HTTP/1.11\r\nHost: a\r\n\r\n",
    "a-version-with-a-blank": b"GET /v1/models HTTP/ 1.1\r\nHost: a\r\n\r\n",
    "a-version-in-lower-case": b"GET /v1/models http/1.1\r\nHost: a\r\n\r\n",
    "no-version-number": b"GET /v1/models HTTP/\r\nHost: a\r\n\r\n",
    "another-protocol": b"GET /v1/models ICY/1.1\r\nHost: a\r\n\r\n",
    "two-blanks-before-the-target": b"GET  /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "two-blanks-after-the-target": b"GET /v1/models  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-blank-after-the-version": b"GET /v1/models HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a-blank-before-the-method": b" GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-tab-for-a-blank": b"GET\t/v1/models\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "a-blank-in-the-target": b"GET /v1/a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-nul-in-the-target": b"GET /v1/a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-del-in-the-target": b"GET /v1/a\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-control-in-the-target": b"GET /v1/a\x0bb HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-cr-in-the-target": b"GET /v1/a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
    "no-target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-target-without-a-slash": b"GET v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-star-for-get": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-colon-in-the-method": b"GE:T /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "latin-1-in-the-method": b"G\xc9T /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "an-absolute-target-with-a-user": b"GET http://user@127.0.0.1/v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "an-absolute-target-of-another-scheme": b"GET ftp://a/v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "an-absolute-target-without-a-host": b"GET http:///v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "a-tls-hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 60,
    "garbage": b"\xff\xfe\x00garbage\r\n\r\n",
    # hosts
    "no-host": get(host=None),
    "two-hosts": get(b"Host: b.example"),
    "two-hosts-alike": get(b"host: app.example"),
    **{
        f"a-host-with-{name}": get(host=value)
        for name, value in {
            "a-blank": b"a b",
            "a-slash": b"a/b",
            "a-user": b"user@a",
            "a-query": b"a?b",
            "a-fragment": b"a#b",
            "a-comma-list-of-urls": b"http://a",
            "a-bad-port": b"a:b",
            "a-port-too-many": b"a:1:2",
            "a-backslash": b"a\\b",
            "latin-1": b"\xe9.example",
            "an-open-bracket": b"[::1",
            "quotes": b'"a"',
            "angle-brackets": b"<a>",
        }.items()
    },
    # too much
    "a-target-of-100-kilobytes": request(b"GET /v1/" + b"a" * 100_000),
    "a-value-of-300-kilobytes": get(b"X-A: " + b"a" * 300_000),
    "a-name-of-300-kilobytes": get(b"X" * 300_000 + b": a"),
    "five-thousand-fields": get(*(b"X-%d: a" % i for i in range(5000))),
    "a-megabyte-without-a-line-end": b"G" * 1_000_000,
}
STATUSES = {400, 405, 408, 413, 414, 417, 431, 501, 505}


def assert_refused(message: Message) -> None:
    assert message.status in STATUSES, message.head
    assert message.value(b"x-chassis-origin") == b"static"
    assert message.value(b"content-type").startswith(b"application/json")
    assert message.tokens(b"connection") == {b"close"}
    assert message.framing == "length"
    assert message.complete
    error = json.loads(message.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "chassis_error"
    assert isinstance(error["code"], str)
    assert error["code"]
    assert error["message"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", HEADS)
def test_an_ambiguous_or_broken_head_is_refused_and_goes_nowhere(wire: Wire, name: str, mode: str) -> None:
    case = f"hostile-{name}"
    run = wire.upstream.expect(case, (script(reply(b"200 OK", body=b"not refused")),))
    before = wire.upstream.received
    with Client(wire.port(mode)) as client:
        client.send(filled(HEADS[name], case))
        client.until(lambda: client.reader.whole >= 1, "no answer")
        ended = client.wait_end(4.0)

    assert client.problems == []
    [message] = client.reader.messages
    assert_refused(message)
    assert client.reader.pending == b""
    assert ended != "open"
    assert (run.arrivals, wire.upstream.strays) == ([], [])
    assert wire.upstream.received == before


BODIES: dict[str, bytes] = {
    "no-size": b"\r\nabc\r\n0\r\n\r\n",
    "a-size-that-is-no-number": b"xyz\r\nabc\r\n0\r\n\r\n",
    "a-size-with-0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a-size-with-a-plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "a-size-with-a-minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "a-size-behind-a-blank": b" 3\r\nabc\r\n0\r\n\r\n",
    "a-size-with-an-underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
    "a-size-that-overflows-64-bits": b"1" + b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n",
    "a-size-that-overflows-32-bits-to-three": b"f" * 30 + b"\r\nabc\r\n0\r\n\r\n",
    "a-bare-lf-after-the-size": b"3\nabc\r\n0\r\n\r\n",
    "a-bare-cr-after-the-size": b"3\rabc\r\n0\r\n\r\n",
    "a-bare-lf-after-the-data": b"3\r\nabc\n0\r\n\r\n",
    "data-too-long": b"3\r\nabcd\r\n0\r\n\r\n",
    "data-too-short": b"4\r\nabc\r\n0\r\n\r\n",
    "an-extension-with-a-bare-lf": b"3;a\nabc\r\n0\r\n\r\n",
    "an-extension-that-hides-a-request": b"3;\n" + b"0\r\n\r\n" + SMUGGLED,
    "an-extension-with-a-nul": b"3;a\x00b\r\nabc\r\n0\r\n\r\n",
    "an-extension-with-a-bare-cr": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "an-extension-of-a-megabyte": b"3;" + b"a" * 1_000_000 + b"\r\nabc\r\n0\r\n\r\n",
    "the-last-chunk-ended-by-lf": b"3\r\nabc\r\n0\n\n",
    "a-trailer-without-a-colon": b"3\r\nabc\r\n0\r\nX-A\r\n\r\n",
    "a-trailer-with-a-nul": b"3\r\nabc\r\n0\r\nX-A: \x00\r\n\r\n",
    "a-trailer-with-a-bare-lf": b"3\r\nabc\r\n0\r\nX-A: a\nX-B: b\r\n\r\n",
    "a-trailer-folded": b"3\r\nabc\r\n0\r\nX-A: a\r\n b\r\n\r\n",
    "a-trailer-with-a-blank-before-the-colon": b"3\r\nabc\r\n0\r\nX-A : a\r\n\r\n",
    "trailers-of-a-megabyte": b"3\r\nabc\r\n0\r\n" + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
}
ENDPOINTS = {"upload": b"POST /v1/files", "chat": b"POST /v1/chat/completions"}


@pytest.mark.parametrize("split", [False, True], ids=["one-write", "after-the-head"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", BODIES)
def test_a_broken_chunked_body_never_becomes_a_whole_request(wire: Wire, name: str, endpoint: str, split: bool) -> None:
    case = f"hostile-{endpoint}-{name}-{split}"
    run = wire.upstream.expect(case, (script(reply(b"200 OK", body=b"not refused")),))
    head = filled(request(ENDPOINTS[endpoint], TE), case)
    with Client(wire.port("rewrite")) as client:
        if split:
            client.send(head)
            if endpoint == "upload":
                wait_for(lambda: bool(run.arrivals), "the upload did not begin")
            client.send(BODIES[name])
        else:
            client.send(head + BODIES[name])
        client.until(lambda: client.reader.whole >= 1, "no answer")
        ended = client.wait_end(4.0)
    wait_for(lambda: all(each.over.is_set() for each in run.arrivals), "the upstream was not left")

    assert client.problems == []
    [message] = client.reader.messages
    assert_refused(message)
    assert ended != "open"
    assert [each.message.complete for each in run.arrivals] in ([], [False])
    assert all(each.left_at is not None for each in run.arrivals)
    assert wire.upstream.strays == []
    if endpoint == "chat":
        assert run.arrivals == []


def test_bytes_after_a_body_are_the_next_request_and_no_part_of_this_one(wire: Wire) -> None:
    run = wire.upstream.expect("hostile-after", (script(reply(b"200 OK", body=b"1")), script(reply(b"200 OK", body=b"2"))))
    first = filled(request(b"POST /v1/files", b"Content-Length: 3", body=b"abc") + request(b"GET /v1/second"), "hostile-after")
    with Client(wire.port("plain")) as client:
        client.send(first)
        client.until(lambda: client.reader.whole >= 2, "no second answer")

    assert client.problems == []
    assert [bytes(each.body) for each in client.reader.messages] == [b"1", b"2"]
    assert [(each.message.target, bytes(each.message.body)) for each in run.arrivals] == [(b"/v1/files", b"abc"), (b"/v1/second", b"")]


@pytest.mark.parametrize("name", ["two-lengths-that-differ", "chunked-on-http-1.0", "a-nul-in-a-value", "http-0.9", "a-folded-field"])
def test_a_good_request_before_a_bad_one_is_answered_and_the_bad_one_refused(wire: Wire, name: str) -> None:
    case = f"hostile-good-then-{name}"
    run = wire.upstream.expect(case, (script(reply(b"200 OK", body=b"good")),))
    with Client(wire.port("plain")) as client:
        client.send(filled(request(b"GET /v1/good") + HEADS[name] + request(b"GET /v1/never"), case))
        client.until(lambda: client.reader.whole >= 2, "no second answer")
        ended = client.wait_end(4.0)

    assert client.problems == []
    good, bad = client.reader.messages
    assert (good.status, bytes(good.body)) == (200, b"good")
    assert_refused(bad)
    assert ended != "open"
    assert [each.message.target for each in run.arrivals] == [b"/v1/good"]


def test_three_hundred_pipelined_requests_are_all_answered_in_order(wire: Wire) -> None:
    count = 300
    run = wire.upstream.expect("hostile-many", tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(count)))
    with Client(wire.port("plain")) as client:
        client.send(filled(b"".join(request(b"GET /v1/%d" % i) for i in range(count)), "hostile-many"))
        client.until(lambda: client.reader.whole >= count, "not all answers", 20.0)

    assert client.problems == []
    assert [bytes(each.body) for each in client.reader.messages] == [b"%d" % i for i in range(count)]
    assert [each.message.target for each in run.arrivals] == [b"/v1/%d" % i for i in range(count)]
