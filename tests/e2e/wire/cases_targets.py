"""Line 20: unusual methods and targets pass as they are."""

from __future__ import annotations

from tests.e2e.wire.cases_chat import CHUNKED, JSON
from tests.e2e.wire.cases_endpoints import BINARY, OK
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import Case, Expected, Replies, reply, request, script


def asked(
    name: str,
    method: bytes,
    target: bytes,
    *headers: bytes,
    body: bytes | None = None,
    answer: bytes | None = OK,
    status: bytes = b"200 OK",
    methods: tuple[bytes, ...] = (),
) -> Case:
    return Case(
        20,
        name,
        (request(method + b" " + target, *headers, body=body),),
        (script(reply(status, JSON, body=answer)),),
        Expected(
            status=int(status[:3]),
            body=b"" if methods == (b"HEAD",) else answer or b"",
            sent=body or b"",
            target=target,
            request_has=headers,
        ),
        methods=methods,
        check=lambda seen: _method_is(seen, method),
    )


def _method_is(seen: Seen, method: bytes) -> None:
    assert seen.arrivals[0].message.method == method, f"method {seen.arrivals[0].message.method!r}"


def targeted(name: str, target: bytes) -> Case:
    return asked(f"target-{name}", b"GET", target)


UNUSUAL = [
    asked("delete-with-a-body", b"DELETE", b"/v1/files/file-1", JSON, body=b'{"force": true}'),
    asked("delete-without-a-body", b"DELETE", b"/v1/files/file-1"),
    asked("get-with-a-body", b"GET", b"/v1/models", JSON, body=b'{"a": 1}'),
    asked("get-with-an-empty-body", b"GET", b"/v1/models", b"Content-Length: 0"),
    Case(
        20,
        "head-with-a-length",
        (request(b"HEAD /v1/models"), Replies(1), request(b"GET /v1/models")),
        (script(reply(b"200 OK", JSON, b"Content-Length: 12345")), script(reply(b"200 OK", body=OK))),
        Expected(body=OK),
        replies=2,
        requests=2,
        methods=(b"HEAD", b"GET"),
        check=lambda seen: _announced(seen, b"12345"),
    ),
    Case(
        20,
        "head-chunked",
        (request(b"HEAD /v1/models"), Replies(1), request(b"GET /v1/models")),
        (script(reply(b"200 OK", JSON, CHUNKED)), script(reply(b"200 OK", body=OK))),
        Expected(body=OK),
        replies=2,
        requests=2,
        methods=(b"HEAD", b"GET"),
    ),
    Case(
        20,
        "head-with-no-framing",
        (request(b"HEAD /v1/models"),),
        (script(reply(b"200 OK", JSON)),),
        Expected(body=b"", reply_has=(JSON,)),
        methods=(b"HEAD",),
    ),
    Case(
        20,
        "head-not-found",
        (request(b"HEAD /v1/models/x"),),
        (script(reply(b"404 Not Found", b"Content-Length: 99")),),
        Expected(status=404, reply_has=(b"Content-Length: 99",)),
        methods=(b"HEAD",),
    ),
    Case(
        20,
        "options",
        (request(b"OPTIONS /v1/chat/completions", b"Origin: https://app.example", b"Access-Control-Request-Method: POST"),),
        (script(reply(b"204 No Content", b"Access-Control-Allow-Origin: *", b"Allow: POST, OPTIONS")),),
        Expected(status=204, body=b"", reply_has=(b"Allow: POST, OPTIONS",), reply_lacks=(b"content-length", b"transfer-encoding")),
    ),
    Case(
        20,
        "options-of-everything",
        (request(b"OPTIONS *"),),
        (script(reply(b"200 OK", b"Allow: GET", body=b"")),),
        Expected(target=b"*", reply_has=(b"Allow: GET",)),
    ),
    asked("patch", b"PATCH", b"/v1/x", JSON, body=b"{}"),
    asked("put", b"PUT", b"/v1/x", body=BINARY),
    asked("an-unknown-method", b"FROBNICATE", b"/v1/x", body=b"z"),
    asked("a-method-in-lower-case", b"get", b"/v1/models"),
    asked("a-method-with-marks", b"M-SEARCH!#$%&'*+.^_`|~1", b"/v1/x"),
    targeted("query-in-order", b"/v1/models?b=2&a=1&b=3&c"),
    targeted("query-undecoded", b"/v1/x?q=%41%2f%2F+%20&u=%C3%A9&e=&=&&%"),
    targeted("a-lone-question-mark", b"/v1/models?"),
    targeted("two-question-marks", b"/v1/models??a=?b"),
    targeted("an-encoded-slash", b"/v1/models/meta-llama%2FLlama-3%2f8B"),
    targeted("colons", b"/v1/models/ft:gpt-4o:org::id:ckpt-step-7"),
    targeted("two-slashes", b"/v1//models///x//"),
    targeted("dot-segments", b"/v1/a/../b/./c/%2e%2e/d"),
    targeted("brackets-and-more", b'/v1/x[0]{a}|b\\c^`<>"?y[]=1'),
    targeted("latin-and-utf-8-bytes", b"/v1/caf\xe9/\xc3\xa9?n=\xff"),
    targeted("a-fragment", b"/v1/models#x"),
    targeted("only-v1", b"/v1"),
    targeted("v1-and-a-slash", b"/v1/"),
    targeted("the-root", b"/"),
    targeted("outside-of-v1", b"/health/live?x=1"),
    targeted("nearly-v1", b"/v1beta/models"),
    targeted("v1-encoded", b"/%76%31/models"),
    targeted("two-slashes-first", b"//v1/models"),
    targeted("the-admin-paths-belong-to-the-upstream", b"/livez"),
    targeted("metrics-belong-to-the-upstream", b"/metrics"),
    targeted("of-eight-kilobytes", b"/v1/x?" + b"a" * 8000),
    targeted("of-fifteen-kilobytes", b"/v1/x?" + b"a" * 15000),
    asked("a-404", b"GET", b"/v1/nothing", status=b"404 Not Found", answer=b'{"error": {"message": "nope"}}'),
]


def _announced(seen: Seen, length: bytes) -> None:
    assert seen.replies[0].values(b"content-length") == [length], f"HEAD announced {seen.replies[0].head!r}"


ADDRESS = Case(
    20,
    "target-with-an-address-in-its-query",
    (request(b"GET /v1/models?a=http://b/c"),),
    (script(reply(b"200 OK", body=OK)),),
    Expected(target=b"/v1/models?a=http://b/c"),
)

CASES = [*UNUSUAL, ADDRESS]
