"""Lines 28 and 29: bytes move in both directions as they come, pipelines, statuses, interim replies, HTTP/1.0."""

from __future__ import annotations

from tests.e2e.wire.cases_chat import ANSWER, ASK, CHAT, CHUNKED, DONE, HELLO, JSON, SSE, rewritten, stream
from tests.e2e.wire.cases_endpoints import BINARY, OK
from tests.e2e.wire.cases_uploads import UPLOAD
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import (
    LAST,
    Await,
    Case,
    Do,
    Expected,
    Pause,
    Replies,
    Script,
    chunk,
    chunked,
    reply,
    request,
    script,
)

PIPE = tuple(request(b"GET /v1/%d" % i) for i in range(8))
FLOW = [
    stream(28, "each-event-before-the-next", *(b"data: %d\n\n" % i for i in range(50))),
    Case(
        28,
        "the-head-before-the-first-byte",
        (request(CHAT, JSON, body=ASK), Await(b"\r\n\r\n")),
        (script(reply(b"200 OK", SSE, CHUNKED), Do.SEEN, chunk(HELLO), LAST),),
        Expected(body=HELLO),
        rewritten=rewritten,
    ),
    Case(
        28,
        "the-head-before-the-first-byte-of-a-length",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", JSON, b"Content-Length: %d" % len(ANSWER)), Do.SEEN, ANSWER[:9], Do.SEEN, ANSWER[9:]),),
        Expected(body=ANSWER),
        rewritten=rewritten,
    ),
    Case(
        28,
        "the-head-before-the-first-byte-until-the-close",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", SSE), Do.SEEN, HELLO, Do.SEEN, DONE, Do.FIN),),
        Expected(body=HELLO + DONE),
        rewritten=rewritten,
    ),
    Case(
        28,
        "an-upload-piece-by-piece",
        (request(b"POST /v1/files", UPLOAD) + BINARY[:100], Await(b"102 "), BINARY[100:]),
        (script(Await(BINARY[:100]), b"HTTP/1.1 102 Processing\r\n\r\n", Await(BINARY), reply(b"200 OK", body=OK), early=True),),
        Expected(body=OK, sent=BINARY, interim=(102,)),
    ),
    Case(
        28,
        "pipelined",
        (b"".join(PIPE),),
        tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(8)),
        Expected(body=b"7", target=b"/v1/7"),
        replies=8,
        requests=8,
        check=lambda seen: _in_order(seen, 8),
    ),
    Case(
        28,
        "pipelined-and-the-first-is-slow",
        (b"".join(PIPE),),
        (
            script(Pause(0.1), reply(b"200 OK", CHUNKED), chunk(b"0"), Pause(0.05), LAST),
            *(script(reply(b"200 OK", body=b"%d" % i)) for i in range(1, 8)),
        ),
        Expected(body=b"7"),
        replies=8,
        requests=8,
        check=lambda seen: _in_order(seen, 8),
    ),
    Case(
        28,
        "pipelined-with-bodies",
        (
            b"".join(request(b"POST /v1/%d" % i, body=b"body %d" % i) for i in range(5))
            + request(b"POST /v1/5", CHUNKED, body=chunked(b"body", b" 5")),
        ),
        tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(6)),
        Expected(body=b"5", sent=b"body 5"),
        replies=6,
        requests=6,
        check=lambda seen: _in_order(seen, 6),
    ),
    Case(
        28,
        "pipelined-heads-cut-anywhere",
        (PIPE[0] + PIPE[1][:20], Pause(0.02), PIPE[1][20:] + PIPE[2][:-2], Pause(0.02), PIPE[2][-2:]),
        tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(3)),
        Expected(body=b"2"),
        replies=3,
        requests=3,
        check=lambda seen: _in_order(seen, 3),
    ),
    Case(
        28,
        "pipelined-until-a-close",
        (PIPE[0] + request(b"GET /v1/1", b"Connection: close"),),
        (script(reply(b"200 OK", body=b"0")), script(reply(b"200 OK", b"Connection: close", body=b"1"), Do.FIN)),
        Expected(body=b"1", closes=True),
        replies=2,
        requests=2,
    ),
]


def _in_order(seen: Seen, count: int) -> None:
    assert [bytes(each.body) for each in seen.replies] == [b"%d" % i for i in range(count)], [bytes(each.body) for each in seen.replies]
    assert [each.message.target for each in seen.arrivals] == [b"/v1/%d" % i for i in range(count)], [
        each.message.target for each in seen.arrivals
    ]


def answered(name: str, first: bytes, *head: bytes, body: bytes | None = b"x", **more: object) -> Case:
    code, _, reason = first.partition(b" ")
    return Case(
        29,
        name,
        (request(CHAT, JSON, body=ASK),),
        (script(reply(first, *head, body=body)),),
        Expected(status=int(code), reason=reason, body=body or b"", sent=ASK, reply_has=head, **more),
        rewritten=rewritten,
    )  # type: ignore[arg-type]


def interim(name: str, *first: bytes) -> Case:
    steps = [step for each in first for step in (each, Do.SEEN)]
    statuses = tuple(int(each[9:12]) for each in first)
    return Case(
        29,
        name,
        (request(CHAT, JSON, body=ASK),),
        (script(*steps, reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, sent=ASK, interim=statuses),
        rewritten=rewritten,
    )


HINTS = reply(b"103 Early Hints", b"Link: </a>; rel=preload", b"Link: </b>", b"X-Early: \xe9")
KEPT_OLD: tuple[Script, ...] = (script(reply(b"200 OK", b"Connection: keep-alive", body=b"1")), script(reply(b"200 OK", body=b"2"), Do.FIN))
STATUSES = [
    answered("a-reason-of-its-own", b"200 Fine And Dandy"),
    answered("an-empty-reason", b"200 "),
    answered("a-latin-1-reason", b"200 D\xe9j\xe0 vu"),
    *(
        answered(f"status-{first[:3].decode()}", first)
        for first in (
            b"201 Created",
            b"202 Accepted",
            b"203 x",
            b"206 Partial",
            b"299 Odd",
            b"402 Pay",
            b"418 I'm a teapot",
            b"451 No",
            b"499 Left",
            b"529 Overloaded",
            b"599 x",
            b"600 Beyond",
            b"999 Request denied",
        )
    ),
    answered("status-204", b"204 No Content", b'ETag: "x"', body=None),
    answered("status-304", b"304 Not Modified", b'ETag: "x"', body=None),
    answered("status-304-that-tells-a-length", b"304 Not Modified", b"Content-Length: 777", body=None),
    answered("status-205", b"205 Reset Content", body=b""),
    answered("a-length-of-zero", b"200 OK", body=b""),
    interim("a-102", reply(b"102 Processing")),
    interim("a-103-with-links", HINTS),
    interim("several-interim-replies", reply(b"102 Processing"), HINTS, reply(b"102 Still")),
    interim("an-unknown-1xx", reply(b"199 Odd", b"X-A: 1")),
    Case(
        29,
        "a-whole-reply-and-then-a-reset",
        (request(b"GET /v1/models"),),
        (script(reply(b"200 OK", body=BINARY), Do.RST),),
        Expected(body=BINARY),
    ),
    Case(
        29,
        "two-interim-replies-in-one-write",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"102 Processing") + HINTS, Do.SEEN, reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, interim=(102, 103)),
        rewritten=rewritten,
    ),
    Case(
        29,
        "interim-and-final-in-one-write",
        (request(CHAT, JSON, body=ASK),),
        (script(HINTS + reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, interim=(103,)),
        rewritten=rewritten,
    ),
    Case(
        29,
        "an-http-1.0-client-until-the-close",
        (request(b"GET /v1/models", version=b"1.0"),),
        (script(reply(b"200 OK", JSON), OK, Do.FIN),),
        Expected(body=OK, reply_has=(JSON,), closes=True),
    ),
    Case(
        29,
        "an-http-1.0-client-with-a-length",
        (request(b"GET /v1/models", version=b"1.0"),),
        (script(reply(b"200 OK", JSON, body=OK), Do.FIN),),
        Expected(body=OK, closes=True),
    ),
    Case(
        29,
        "an-http-1.0-client-without-a-host",
        (request(b"GET /v1/models", version=b"1.0", host=None),),
        (script(reply(b"200 OK", JSON, body=OK), Do.FIN),),
        Expected(body=OK),
    ),
    Case(
        29,
        "an-http-1.0-client-that-keeps-alive",
        (request(b"GET /v1/a", b"Connection: keep-alive", version=b"1.0"), Replies(1), request(b"GET /v1/b", version=b"1.0")),
        KEPT_OLD,
        Expected(body=b"2", target=b"/v1/b"),
        replies=2,
        requests=2,
    ),
    Case(
        29,
        "an-http-1.0-client-that-posts",
        (request(CHAT, JSON, version=b"1.0", body=ASK),),
        (script(reply(b"200 OK", JSON, body=ANSWER), Do.FIN),),
        Expected(body=ANSWER, sent=ASK),
        rewritten=rewritten,
    ),
    Case(
        29,
        "an-http-1.0-upstream",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", JSON, version=b"1.0"), ANSWER, Do.FIN),),
        Expected(body=ANSWER, sent=ASK),
        rewritten=rewritten,
    ),
    Case(
        29,
        "an-http-1.0-upstream-with-a-length",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", JSON, version=b"1.0", body=ANSWER), Do.FIN),),
        Expected(body=ANSWER),
        rewritten=rewritten,
    ),
    Case(
        29,
        "kept-alive-for-five-requests",
        tuple(each for i in range(5) for each in (request(b"GET /v1/%d" % i), Replies(i + 1))),
        tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(5)),
        Expected(body=b"4"),
        replies=5,
        requests=5,
        check=lambda seen: _in_order(seen, 5),
    ),
    Case(
        29,
        "a-client-that-says-close-and-goes-on",
        (request(b"GET /v1/models", b"Connection: close") + b"garbage that nobody reads",),
        (script(reply(b"200 OK", b"Connection: close", body=OK), Do.FIN),),
        Expected(body=OK, closes=True),
    ),
    Case(
        29,
        "a-client-that-says-close-to-a-stream",
        (request(CHAT, JSON, b"Connection: close", body=ASK),),
        (script(reply(b"200 OK", SSE, b"Connection: close", CHUNKED), chunk(HELLO), Do.SEEN, chunk(DONE) + LAST, Do.FIN),),
        Expected(body=HELLO + DONE, closes=True),
        rewritten=rewritten,
    ),
    Case(
        29,
        "a-client-that-says-close",
        (request(b"GET /v1/models", b"Connection: close"),),
        (script(reply(b"200 OK", b"Connection: close", body=OK), Do.FIN),),
        Expected(body=OK, closes=True),
    ),
]

CASES = [*FLOW, *STATUSES]
