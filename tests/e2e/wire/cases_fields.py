"""Lines 26 and 27: header fields, hop-by-hop and others, and what the upstream is told about its own name."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.wire.cases_endpoints import OK
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import (
    Case,
    Expected,
    reply,
    request,
    script,
)

APP_FIELDS = (
    b"User-Agent: OpenAI/Python 1.99.1",
    b"Authorization: Bearer sk-test",
    b"OpenAI-Organization: org-1",
    b"OpenAI-Project: proj_1",
    b"OpenAI-Beta: assistants=v2",
    b"Idempotency-Key: stainless-retry-1",
    b"X-Stainless-Lang: python",
    b"x-stainless-raw-response: true",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"tracestate: a=b,c=d",
    b"baggage: k=v;p, k2=v2",
    b"Accept: application/json",
    b"Accept-Language: de",
    b"Cookie: a=b; c=d",
    b"Cookie: e=f",
    b"X-Request-Id: req-1",
    b"Forwarded: for=1.2.3.4",
    b"X-Forwarded-For: 1.2.3.4",
    b"Via: 1.0 fred",
    b"api-key: azure",
    b"Cache-Control: no-cache",
    b"Pragma: no-cache",
    b'If-None-Match: "x"',
    b"Range: bytes=0-",
    b"Origin: null",
    b"Referer: http://a/",
)

UPSTREAM_FIELDS = (
    b"Date: Tue, 01 Jan 2030 00:00:00 GMT",
    b"Server: uvicorn",
    b"x-request-id: req_1",
    b"openai-organization: org",
    b"openai-processing-ms: 12",
    b"openai-version: 2020-10-01",
    b"openai-model: m",
    b"x-ratelimit-limit-requests: 10000",
    b"x-ratelimit-remaining-tokens: 1",
    b"x-ratelimit-reset-tokens: 6m0s",
    b"retry-after: 2",
    b"retry-after-ms: 1999",
    b"x-should-retry: false",
    b"Set-Cookie: a=1; Path=/",
    b"Set-Cookie: b=2",
    b"set-cookie: a=3",
    b"CF-RAY: 8-FRA",
    b'alt-svc: h3=":443"',
    b"strict-transport-security: max-age=1",
    b"Via: 1.1 google",
    b"Warning: 199 - x",
    b"Access-Control-Expose-Headers: X-Request-ID",
    b"X-Empty: ",
    b'Link: <https://a>; rel="next"',
    b"Cache-Control: no-store",
    b"x-chassis-policies: from-upstream-chassis",
)


def _upgrades(asked: bytes, kept: bytes) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        [arrival] = seen.arrivals
        assert arrival.message.value(b"upgrade") == (asked if seen.is_direct else kept), arrival.message.head

    return check


def fields(name: str, *app: bytes, theirs: tuple[bytes, ...] = (), **more: object) -> Case:
    return Case(
        26,
        name,
        (request(b"POST /v1/embeddings", *app, body=b"{}"),),
        (script(reply(b"200 OK", *theirs, body=OK)),),
        Expected(body=OK, sent=b"{}", request_has=app, reply_has=theirs),
        **more,
    )  # type: ignore[arg-type]


def hop(
    name: str,
    removed: tuple[bytes, ...],
    kept: tuple[bytes, ...] = (),
    theirs_removed: tuple[bytes, ...] = (),
    theirs_kept: tuple[bytes, ...] = (),
) -> Case:
    return Case(
        26,
        name,
        (request(b"POST /v1/embeddings", *removed, *kept, body=b"{}"),),
        (script(reply(b"200 OK", *theirs_removed, *theirs_kept, body=OK)),),
        Expected(body=OK, sent=b"{}", request_has=kept, reply_has=theirs_kept),
        differs=frozenset({"te"}),
    )


FIELDS = [
    fields("all-that-an-app-sends", *APP_FIELDS),
    fields("all-that-an-upstream-sends", theirs=UPSTREAM_FIELDS),
    fields("repeats-in-order", b"X-A: 1", b"X-B: 2", b"X-A: 3", b"x-a: 4", b"X-A: 1", theirs=(b"X-A: 2", b"X-A: 1", b"x-a: 2")),
    fields("empty-values", b"X-Empty: ", b"X-None: ", theirs=(b"X-Empty: ",)),
    fields(
        "case-of-names",
        b"x-LOWER-upper: 1",
        b"CONTENT-TYPE: Application/JSON",
        b"aUTHORIZATION: bearer X",
        theirs=(b"cOnTeNt-TyPe: text/PLAIN", b"X_Under-score.dot: 1"),
    ),
    fields("odd-names", b"!#$%&'*+-.^_`|~0aZ: 1", b"X: :", theirs=(b"!#$%&'*+-.^_`|~0aZ: 1",)),
    fields(
        "latin-1-and-utf-8-values",
        b"X-Latin: caf\xe9 \xff\x80",
        b"X-Utf: h\xc3\xa9",
        theirs=(b"X-Latin: \xa0caf\xe9", b"X-Utf: \xe2\x82\xac"),
    ),
    fields(
        "marks-in-values",
        b'X-Marks: a,b; c="d, \\"e" (f) <g> {h} [i]',
        b"X-Tab: a\tb",
        b"X-Inner: a  b",
        theirs=(b'X-Marks: "a, b", c', b"X-Tab: a\tb"),
    ),
    fields("a-value-of-eight-kilobytes", b"X-Long: " + b"v" * 8000, theirs=(b"X-Long: " + b"w" * 8000,)),
    fields("a-value-of-forty-kilobytes", b"Authorization: Bearer " + b"v" * 40_000, theirs=(b"Content-Security-Policy: " + b"w" * 40_000,)),
    fields("two-hundred-cookies-set", theirs=tuple(b"Set-Cookie: c%d=%d; Path=/" % (i, i) for i in range(200))),
    fields("a-hundred-fields", *(b"X-%d: %d" % (i, i) for i in range(100)), theirs=tuple(b"X-%d: %d" % (i, i) for i in range(100))),
    fields(
        "content-fields-stay",
        b"Content-Type: a/b",
        b"Content-Language: de",
        b"Content-Location: /x",
        b"Content-Disposition: inline",
        theirs=(b"Content-Language: de", b"Content-Location: /y", b"Accept-Ranges: none"),
    ),
    hop(
        "connection-and-what-it-names",
        (b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"x-hop: 2"),
        (b"X-Stay: 1",),
        (b"Connection: keep-alive, X-Their-Hop", b"X-Their-Hop: 1"),
        (b"X-Stay: 1",),
    ),
    hop(
        "connection-twice",
        (b"Connection: X-One", b"X-One: 1", b"connection: x-two ,, x-three", b"X-Two: 2", b"X-Three: 3"),
        (b"X-Four: 4",),
        (b"Connection: X-One", b"Connection: X-Two", b"X-One: 1", b"X-Two: 1"),
        (b"X-Four: 4",),
    ),
    hop(
        "keep-alive-and-proxy-connection",
        (b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive"),
        (b"X-Stay: 1",),
        (b"Keep-Alive: timeout=5, max=100", b"Connection: keep-alive", b"Proxy-Connection: close"),
        (b"X-Stay: 1",),
    ),
    hop("te-with-other-codings", (b"TE: gzip;q=0.5", b"Connection: TE"), (b"X-Stay: 1",)),
    hop("connection-cannot-name-the-framing", (b"Connection: content-length, host, transfer-encoding",), (b"Content-Length: 2",)),
    hop(
        "an-upgrade-of-a-request-with-a-body-is-not-passed-on",
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        (b"X-Stay: 1",),
    ),
]

UPGRADES = [
    Case(
        26,
        f"an-upgrade-to-{name}",
        (request(b"GET /v1/models", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + asked, b"HTTP2-Settings: AAMAAABkAAQAAP__"),),
        (script(reply(b"200 OK", body=OK)),),
        Expected(body=OK, target=b"/v1/models"),
        check=_upgrades(asked, kept),
    )
    for name, asked, kept in (
        ("h2c-is-not-passed-on", b"h2c", b""),
        ("h2c-in-upper-case-is-not-passed-on", b"H2C", b""),
        ("h2c-or-websocket-is-to-websocket", b"h2c, websocket", b"websocket"),
        ("another-protocol-is-passed-on", b"Foo/2", b"Foo/2"),
    )
]
BARE = Case(
    27,
    "nothing-is-invented",
    (request(b"GET /v1/models"),),
    (script(reply(b"200 OK", body=b"x")),),
    Expected(body=b"x", target=b"/v1/models"),
    check=lambda seen: _only(seen, {b"host", b"x-case"}, {b"content-length"}),
)


def _only(seen: Seen, request_names: set[bytes], reply_names: set[bytes]) -> None:
    assert {name.lower() for name, _ in seen.arrivals[0].message.headers} == request_names, seen.arrivals[0].message.head
    assert {name.lower() for name, _ in seen.replies[0].headers} - {b"connection"} == reply_names, seen.replies[0].head


HOME = [
    BARE,
    *(
        Case(
            27,
            f"a-{code}-is-not-followed",
            (request(b"POST /v1/embeddings", body=b"{}"),),
            (script(reply(b"%d Moved" % code, b"Location: http://127.0.0.1:1/v1/x?a=%2F", body=b"moved")),),
            Expected(
                status=code,
                reason=b"Moved",
                body=b"moved",
                reply_has=(b"Location: http://127.0.0.1:1/v1/x?a=%2F",),
                target=b"/v1/embeddings",
            ),
        )
        for code in (301, 302, 303, 307, 308)
    ),
    Case(
        27,
        "user-agent-is-not-touched",
        (request(b"GET /v1/models", b"User-Agent:  curl/8 (x; y) "),),
        (script(reply(b"200 OK", body=OK)),),
        Expected(body=OK, request_has=(b"User-Agent: curl/8 (x; y)",)),
    ),
    *(
        Case(
            27,
            f"the-apps-host-{name}",
            (request(b"GET /v1/models", host=host),),
            (script(reply(b"200 OK", body=OK)),),
            Expected(body=OK, target=b"/v1/models"),
        )
        for name, host in (
            ("as-a-name", b"api.openai.com"),
            ("as-an-address-and-port", b"127.0.0.1:4141"),
            ("as-ipv6", b"[::1]:4141"),
            ("empty", b""),
            ("in-upper-case", b"LOCALHOST"),
        )
    ),
]

CASES = [*FIELDS, *UPGRADES, *HOME]
