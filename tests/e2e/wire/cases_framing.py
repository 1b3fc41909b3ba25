"""Line 22: where a message ends, in every spelling that is allowed; what is not is in test_hostile_clients.py."""

from __future__ import annotations

import gzip
import zlib

import brotli
import zstandard

from tests.e2e.wire.cases_chat import ASK, CHAT, CHUNKED, HELLO, JSON, OLD, SSE, rewritten, stream
from tests.e2e.wire.cases_endpoints import BINARY, OK, posted
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import (
    CASE,
    LAST,
    Case,
    Do,
    Expected,
    Pause,
    Replies,
    Step,
    chunk,
    reply,
    request,
    script,
)


def single(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[i : i + 1] for i in range(len(data)))


def up(
    line: int,
    name: str,
    *steps: Step,
    path: bytes = CHAT,
    headers: tuple[bytes, ...] = (),
    first: bytes = b"",
    body: bytes = ASK,
    rewrites: bool = True,
    early: bool = False,
    script_steps: tuple[Step, ...] | None = None,
    differs: frozenset[str] = frozenset(),
    **more: object,
) -> Case:
    """A request whose body leaves in `steps` (`first` together with the head)."""
    return Case(
        line,
        name,
        (request(path, JSON, *headers) + first, *steps),
        (script(*(script_steps or (reply(b"200 OK", JSON, body=OK),)), early=early),),
        Expected(body=OK, sent=body, request_has=tuple(each for each in headers if not each.startswith(b"Transfer-Encoding")), **more),  # type: ignore[arg-type]
        rewritten=rewritten if rewrites else None,
        differs=differs,
    )


GZIPPED = gzip.compress(ASK, mtime=0)
OTHER = ASK.replace(OLD, b'"gpt-5"')
TRAILERS = b"0\r\nX-Checksum: abc\r\nX-Empty:\r\nx-checksum: again\r\n\r\n"
FRAMED = [
    *(
        posted(22, f"a-request-in-{name}", b"/v1/embeddings", packed, extra=(b"Content-Encoding: " + name.encode(),))
        for name, packed in (
            ("gzip", GZIPPED),
            ("br", brotli.compress(ASK)),
            ("zstd", zstandard.compress(ASK)),
            ("deflate", zlib.compress(ASK)),
        )
    ),
    up(
        22,
        "a-chat-in-gzip-that-no-policy-wants",
        headers=(b"Content-Encoding: gzip", b"Content-Length: %d" % len(gzip.compress(OTHER, mtime=0))),
        first=gzip.compress(OTHER, mtime=0),
        body=gzip.compress(OTHER, mtime=0),
        rewrites=False,
    ),
    Case(
        22,
        "a-chat-in-gzip",
        (request(CHAT, JSON, b"Content-Encoding: gzip", b"Digest: sha-256=x", body=GZIPPED),),
        (script(reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, sent=GZIPPED, request_has=(b"Content-Encoding: gzip",)),
        rewritten=lambda body: rewritten(gzip.decompress(body)),
        differs=frozenset({"encoding", "length"}),
    ),
    up(
        22,
        "a-chat-in-an-encoding-nobody-knows",
        headers=(b"Content-Encoding: x-rot13", b"Content-Length: %d" % len(ASK)),
        first=ASK,
        rewrites=False,
    ),
    up(22, "chunked", chunk(ASK[:10]), Pause(0.02), chunk(ASK[10:]), LAST, headers=(CHUNKED,)),
    up(22, "chunked-in-one-write", headers=(CHUNKED,), first=chunk(ASK) + LAST),
    up(22, "chunked-byte-by-byte", *map(chunk, single(ASK)), LAST, headers=(CHUNKED,)),
    up(
        22,
        "chunk-sizes-spelled-oddly",
        headers=(CHUNKED,),
        first=b'00%X;a=b;c="d;\\"e"\r\n%b\r\n%x;q\r\n%b\r\n000\r\n\r\n' % (20, ASK[:20], len(ASK) - 20, ASK[20:]),
    ),
    up(22, "chunked-and-empty", headers=(CHUNKED,), first=LAST, body=b"", rewrites=False),
    up(22, "chunked-in-mixed-case", headers=(b"Transfer-Encoding: Chunked",), first=chunk(ASK) + LAST),
    up(
        22,
        "request-trailers",
        headers=(CHUNKED, b"Trailer: X-Checksum"),
        first=chunk(ASK) + TRAILERS,
        request_trailers=(b"X-Checksum: abc", b"X-Empty: ", b"x-checksum: again"),
    ),
    up(
        22,
        "request-trailers-of-an-upload",
        chunk(BINARY),
        TRAILERS,
        path=b"POST /v1/files",
        headers=(CHUNKED,),
        body=BINARY,
        rewrites=False,
        request_trailers=(b"X-Checksum: abc", b"X-Empty: ", b"x-checksum: again"),
    ),
    up(22, "length-in-single-bytes", *single(ASK), headers=(b"Content-Length: %d" % len(ASK),)),
    up(
        22,
        "leading-zeros-in-the-length",
        headers=(b"Content-Length: 000%d" % len(BINARY),),
        path=b"POST /v1/files",
        first=BINARY,
        body=BINARY,
        rewrites=False,
        differs=frozenset({"zeros"}),
    ),
    Case(
        22,
        "reply-trailers",
        (request(CHAT, JSON, b"TE: trailers", b"Connection: TE", body=ASK),),
        (
            script(
                reply(b"200 OK", SSE, CHUNKED, b"Trailer: X-Cost, Server-Timing") + chunk(HELLO),
                Do.SEEN,
                b"0\r\nX-Cost: 0.1\r\nServer-Timing: a;dur=1\r\nX-Cost: 0.2\r\n\r\n",
            ),
        ),
        Expected(
            body=HELLO,
            sent=ASK,
            trailers=(b"X-Cost: 0.1", b"Server-Timing: a;dur=1", b"X-Cost: 0.2"),
            reply_has=(b"Trailer: X-Cost, Server-Timing",),
        ),
        rewritten=rewritten,
        differs=frozenset({"te"}),
    ),
    Case(
        22,
        "reply-trailers-nobody-asked-for",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", SSE, CHUNKED), chunk(HELLO) + b"0\r\nX-A: 1\r\n\r\n"),),
        Expected(body=HELLO, sent=ASK, trailers=(b"X-A: 1",)),
        rewritten=rewritten,
    ),
    Case(
        22,
        "reply-chunks-with-extensions",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", SSE, CHUNKED), chunk(HELLO, b";sig=abc;x"), b'00A;y="z; w"\r\n0123456789\r\n', b"0;end\r\n\r\n"),),
        Expected(body=HELLO + b"0123456789", sent=ASK),
        rewritten=rewritten,
    ),
    Case(
        22,
        "head-in-single-bytes",
        single(request(b"GET /v1/models").replace(CASE, b"22-head-in-single-bytes")),
        (script(reply(b"200 OK", body=OK)),),
        Expected(body=OK, target=b"/v1/models"),
    ),
    Case(
        22,
        "reply-head-in-single-bytes",
        (request(CHAT, JSON, body=ASK),),
        (script(*single(reply(b"200 OK", JSON, body=OK))),),
        Expected(body=OK, reply_has=(JSON,)),
        rewritten=rewritten,
    ),
    up(
        22,
        "a-body-of-line-ends-in-chunks",
        *(chunk(b"\r\n" * 2000 + b"0\r\n\r\n" + b"\n" * 500) for _ in range(4)),
        LAST,
        path=b"POST /v1/files",
        headers=(CHUNKED,),
        body=(b"\r\n" * 2000 + b"0\r\n\r\n" + b"\n" * 500) * 4,
        rewrites=False,
    ),
    up(
        22,
        "ten-thousand-chunks-of-a-byte",
        b"".join(map(chunk, single(BINARY))),
        LAST,
        path=b"POST /v1/files",
        headers=(CHUNKED,),
        body=BINARY,
        rewrites=False,
    ),
    stream(22, "reply-in-ten-thousand-chunks-of-a-byte", *single(BINARY), gated=False),
    Case(
        22,
        "a-post-without-any-length",
        (request(b"POST /v1/threads"),),
        (script(reply(b"200 OK", body=OK)),),
        Expected(body=OK, sent=b"", target=b"/v1/threads"),
    ),
    Case(
        22,
        "a-post-with-a-length-of-zero",
        (request(b"POST /v1/threads", b"Content-Length: 0"),),
        (script(reply(b"200 OK", body=OK)),),
        Expected(body=OK, sent=b"", request_has=(b"Content-Length: 0",)),
    ),
    Case(
        22,
        "a-length-named-twice-in-a-body-only",
        (request(b"POST /v1/files", body=b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),),
        (script(reply(b"200 OK", body=OK)),),
        Expected(body=OK, sent=b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    ),
    Case(
        22,
        "a-request-inside-a-body",
        (request(b"POST /v1/files", body=b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n"),),
        (script(reply(b"200 OK", body=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")),),
        Expected(body=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", sent=b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    Case(
        22,
        "an-upgrade-to-h2c-with-a-body-and-a-request-behind",
        (
            request(b"POST /v1/files", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM", body=b"body")
            + request(b"GET /v1/behind"),
        ),
        (script(reply(b"200 OK", body=b"1")), script(reply(b"200 OK", body=b"2"))),
        Expected(body=b"2", target=b"/v1/behind"),
        replies=2,
        requests=2,
        check=lambda seen: _bodies(seen, b"body", b""),
    ),
    Case(
        22,
        "empty-lines-before-a-request",
        (b"\r\n\r\n" + request(b"GET /v1/models"), Replies(1), b"\r\n" + request(b"GET /v1/models")),
        (script(reply(b"200 OK", body=b"1")), script(reply(b"200 OK", body=b"2"))),
        Expected(body=b"2"),
        replies=2,
        requests=2,
    ),
]


def _bodies(seen: Seen, *bodies: bytes) -> None:
    assert tuple(bytes(each.message.body) for each in seen.arrivals) == bodies, [bytes(each.message.body) for each in seen.arrivals]


CASES = FRAMED
