"""Lines 30 and 31: what the official SDK reads and sends, and replies that end without their end."""

from __future__ import annotations

from tests.e2e.wire.cases_chat import ANSWER, ASK, CHAT, CHUNKED, DONE, ERROR, HELLO, JSON, SSE, plain, rewritten, stream
from tests.e2e.wire.cases_endpoints import BINARY
from tests.e2e.wire.play import Case, Do, Expected, Pause, Step, chunk, reply, request, script

STAINLESS = (
    b"x-stainless-lang: python",
    b"x-stainless-package-version: 2.0.0",
    b"x-stainless-os: Linux",
    b"x-stainless-arch: x64",
    b"x-stainless-runtime: CPython",
    b"x-stainless-runtime-version: 3.11.7",
    b"x-stainless-async: false",
    b"x-stainless-retry-count: 2",
    b"x-stainless-read-timeout: 600",
    b"X-Stainless-Timeout: 600",
    b"X-Stainless-Helper-Method: chat.completions.stream",
    b"x-stainless-poll-helper: true",
)
ADVICE = (b"retry-after: 3", b"retry-after-ms: 2500.5", b"x-request-id: req_9")


def refused(status: bytes, *head: bytes) -> Case:
    """A reply that the SDK retries: it must come through once, and the proxy must not retry on its own (one request upstream)."""
    return plain(30, f"a-{status[:3].decode()}-is-the-apps-to-retry", ERROR, JSON, *ADVICE, *head, first=status, status=int(status[:3]))


SDK = [
    *map(
        refused,
        (
            b"408 Request Timeout",
            b"409 Conflict",
            b"429 Too Many Requests",
            b"500 Internal Server Error",
            b"502 Bad Gateway",
            b"503 Service Unavailable",
            b"504 Gateway Timeout",
            b"529 Overloaded",
        ),
    ),
    plain(30, "x-should-retry-true", ERROR, JSON, b"x-should-retry: true", first=b"400 Bad Request", status=400),
    plain(30, "x-should-retry-false", ERROR, JSON, b"x-should-retry: false", first=b"429 Too Many Requests", status=429),
    plain(
        30,
        "retry-after-as-a-date",
        ERROR,
        JSON,
        b"Retry-After: Tue, 01 Jan 2030 00:00:00 GMT",
        first=b"503 Service Unavailable",
        status=503,
    ),
    Case(
        30,
        "stainless-fields",
        (request(CHAT, JSON, *STAINLESS, body=ASK),),
        (script(reply(b"200 OK", JSON, body=ANSWER)),),
        Expected(body=ANSWER, sent=ASK, request_has=STAINLESS),
        rewritten=rewritten,
    ),
    Case(
        30,
        "the-same-call-again",
        (request(CHAT, JSON, b"x-stainless-retry-count: 1", b"Idempotency-Key: k", body=ASK),),
        (script(reply(b"200 OK", JSON, body=ANSWER)),),
        Expected(body=ANSWER, request_has=(b"x-stainless-retry-count: 1", b"Idempotency-Key: k")),
        rewritten=rewritten,
    ),
]


def cut(name: str, head: bytes, *steps: Step, body: bytes) -> Case:
    """The upstream breaks off: what came must arrive, and it must not look whole."""
    return Case(
        31,
        f"cut-{name}",
        (request(CHAT, JSON, body=ASK),),
        (script(head, *steps),),
        Expected(body=body, sent=ASK, complete=False),
        rewritten=rewritten,
    )


CHUNKY, SIZED, OPEN = reply(b"200 OK", SSE, CHUNKED), reply(b"200 OK", JSON, b"Content-Length: %d" % len(ANSWER)), reply(b"200 OK", SSE)
ENDS = [
    stream(31, "quietly-without-done", HELLO, HELLO),
    Case(
        31,
        "quietly-by-the-close",
        (request(CHAT, JSON, body=ASK),),
        (script(OPEN, HELLO, Do.SEEN, HELLO, Do.FIN),),
        Expected(body=HELLO * 2, sent=ASK),
        rewritten=rewritten,
    ),
    stream(31, "an-event-with-an-error", HELLO, b"data: " + ERROR + b"\n\n", DONE),
    cut("chunked-after-an-event", CHUNKY, chunk(HELLO), Do.SEEN, Do.FIN, body=HELLO),
    cut("chunked-inside-a-chunk", CHUNKY, chunk(HELLO) + b"40\r\n" + HELLO[:10], Do.SEEN, Do.FIN, body=HELLO + HELLO[:10]),
    cut("chunked-after-done", CHUNKY, chunk(HELLO), chunk(DONE), Do.SEEN, Do.FIN, body=HELLO + DONE),
    cut("chunked-inside-the-last-chunk", CHUNKY, chunk(HELLO), Do.SEEN, b"0\r\n", Pause(0.02), Do.FIN, body=HELLO),
    cut("chunked-inside-a-trailer", CHUNKY, chunk(HELLO), Do.SEEN, b"0\r\nX-A: 1\r\n", Pause(0.02), Do.FIN, body=HELLO),
    cut("chunked-right-after-the-head", CHUNKY, Do.SEEN, Do.FIN, body=b""),
    cut("chunked-by-a-reset", CHUNKY, chunk(HELLO), Do.SEEN, Do.RST, body=HELLO),
    cut("a-length-not-reached", SIZED, ANSWER[:50], Do.SEEN, Do.FIN, body=ANSWER[:50]),
    cut("a-length-one-byte-short", SIZED, ANSWER[:-1], Do.SEEN, Do.FIN, body=ANSWER[:-1]),
    cut("a-length-and-no-byte", SIZED, Do.SEEN, Do.FIN, body=b""),
    cut("a-length-by-a-reset", SIZED, ANSWER[:50], Do.SEEN, Do.RST, body=ANSWER[:50]),
    cut("by-a-reset-where-the-close-ends", OPEN, HELLO, Do.SEEN, Do.RST, body=HELLO),
    Case(
        31,
        "cut-a-download",
        (request(b"GET /v1/files/f/content"),),
        (script(reply(b"200 OK", b"Content-Length: 99999"), BINARY, Do.SEEN, Do.FIN),),
        Expected(body=BINARY, complete=False),
    ),
]

CASES = [*SDK, *ENDS]
