"""Lines 21 to 29: encodings, framing, Expect, multipart, large and oddly spelled bodies, fields, flow, statuses."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib

import brotli
import zstandard

from tests.e2e.wire.cases_chat import ANSWER, ASK, CHAT, CHUNKED, DONE, HELLO, JSON, NEW, OLD, SSE, STOP, plain, rewritten, stream
from tests.e2e.wire.cases_endpoints import BINARY, FORM, MULTIPART, OK, posted
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import CASE, LAST, Await, Big, Case, Do, Expected, Pause, Replies, Script, Step, chunk, chunked, reply, request, script


def single(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[i : i + 1] for i in range(len(data)))


def compressed_stream(name: str, parts: list[bytes], encoding: bytes) -> Case:
    """Each part is what the compressor had out after a flush; the next follows when the client has it."""
    return stream(21, f"sse-in-{name}", *parts, head=(SSE, b"Content-Encoding: " + encoding, b'ETag: "abc"', b"Vary: Accept-Encoding"))


def flushed(events: list[bytes], wbits: int) -> list[bytes]:
    packer = zlib.compressobj(wbits=wbits)
    return [*(packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH) for each in events), packer.flush()]


def brotlied(events: list[bytes]) -> list[bytes]:
    packer = brotli.Compressor()
    return [*(packer.process(each) + packer.flush() for each in events), packer.finish()]


def zstandarded(events: list[bytes]) -> list[bytes]:
    packer = zstandard.ZstdCompressor().compressobj()
    return [*(packer.compress(each) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for each in events), packer.flush()]


EVENTS = [HELLO, HELLO * 3, STOP, DONE]
PACKED = {
    "gzip": gzip.compress(ANSWER, mtime=0), "br": brotli.compress(ANSWER), "zstd": zstandard.compress(ANSWER), "deflate": zlib.compress(ANSWER),
}
TAGS = (b'ETag: W/"a-b"', b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==", b"Digest: sha-256=abc=", b"Vary: Accept-Encoding")
ENCODED = [
    *(plain(21, f"json-in-{name}", packed, JSON, b"Content-Encoding: " + name.encode(), *TAGS) for name, packed in PACKED.items()),
    compressed_stream("gzip", flushed(EVENTS, 31), b"gzip"),
    compressed_stream("deflate", flushed(EVENTS, 15), b"deflate"),
    compressed_stream("bare-deflate", flushed(EVENTS, -15), b"deflate"),
    compressed_stream("br", brotlied(EVENTS), b"br"),
    compressed_stream("zstd", zstandarded(EVENTS), b"zstd"),
    plain(21, "two-encodings", gzip.compress(PACKED["br"], mtime=0), JSON, b"Content-Encoding: br, gzip"),
    plain(21, "an-encoding-that-it-is-not", b"not gzip at all", JSON, b"Content-Encoding: gzip"),
    plain(21, "an-encoding-nobody-knows", BINARY, JSON, b"Content-Encoding: x-rot13"),
    plain(21, "gzip-cut-short", PACKED["gzip"][:-9], JSON, b"Content-Encoding: gzip"),
    plain(21, "an-error-in-gzip", gzip.compress(b'{"error": {"message": "no", "code": "context_length_exceeded"}}', mtime=0), JSON, b"Content-Encoding: gzip", first=b"400 Bad Request", status=400),
    Case(21, "accept-encoding-is-the-clients", (request(CHAT, JSON, b"Accept-Encoding: br;q=0.5, x-none", body=ASK),),
         (script(reply(b"200 OK", JSON, b"Content-Encoding: br", body=PACKED["br"])),), Expected(body=PACKED["br"], sent=ASK, request_has=(b"Accept-Encoding: br;q=0.5, x-none",)), rewritten=rewritten),
    Case(21, "no-accept-encoding-is-none", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", JSON, body=ANSWER)),), Expected(body=ANSWER), rewritten=rewritten,
         check=lambda seen: _lacks(seen, b"accept-encoding", b"user-agent", b"accept", b"connection", b"via", b"x-forwarded-for", b"forwarded")),
]


def _lacks(seen: Seen, *names: bytes) -> None:
    for name in names:
        assert not seen.arrivals[0].message.values(name), f"invented: {seen.arrivals[0].message.head!r}"


def up(line: int, name: str, *steps: Step, path: bytes = CHAT, headers: tuple[bytes, ...] = (), first: bytes = b"", body: bytes = ASK, rewrites: bool = True, early: bool = False,
       script_steps: tuple[Step, ...] | None = None, differs: frozenset[str] = frozenset(), **more: object) -> Case:
    """A request whose body leaves in `steps` (`first` together with the head)."""
    return Case(
        line, name, (request(path, JSON, *headers) + first, *steps), (script(*(script_steps or (reply(b"200 OK", JSON, body=OK),)), early=early),),
        Expected(body=OK, sent=body, request_has=tuple(each for each in headers if not each.startswith(b"Transfer-Encoding")), **more),  # type: ignore[arg-type]
        rewritten=rewritten if rewrites else None, differs=differs,
    )


GZIPPED = gzip.compress(ASK, mtime=0)
OTHER = ASK.replace(OLD, b'"gpt-5"')
TRAILERS = b"0\r\nX-Checksum: abc\r\nX-Empty:\r\nx-checksum: again\r\n\r\n"
FRAMED = [
    *(posted(22, f"a-request-in-{name}", b"/v1/embeddings", packed, extra=(b"Content-Encoding: " + name.encode(),))
      for name, packed in (("gzip", GZIPPED), ("br", brotli.compress(ASK)), ("zstd", zstandard.compress(ASK)), ("deflate", zlib.compress(ASK)))),
    up(22, "a-chat-in-gzip-that-no-policy-wants", headers=(b"Content-Encoding: gzip", b"Content-Length: %d" % len(gzip.compress(OTHER, mtime=0))), first=gzip.compress(OTHER, mtime=0),
       body=gzip.compress(OTHER, mtime=0), rewrites=False),
    Case(22, "a-chat-in-gzip", (request(CHAT, JSON, b"Content-Encoding: gzip", b"Digest: sha-256=x", body=GZIPPED),), (script(reply(b"200 OK", JSON, body=OK)),),
         Expected(body=OK, sent=GZIPPED, request_has=(b"Content-Encoding: gzip",)), rewritten=lambda body: rewritten(gzip.decompress(body)), differs=frozenset({"encoding", "length"})),
    up(22, "a-chat-in-an-encoding-nobody-knows", headers=(b"Content-Encoding: x-rot13", b"Content-Length: %d" % len(ASK)), first=ASK, rewrites=False),
    up(22, "chunked", chunk(ASK[:10]), Pause(0.02), chunk(ASK[10:]), LAST, headers=(CHUNKED,)),
    up(22, "chunked-in-one-write", headers=(CHUNKED,), first=chunk(ASK) + LAST),
    up(22, "chunked-byte-by-byte", *map(chunk, single(ASK)), LAST, headers=(CHUNKED,)),
    up(22, "chunk-sizes-spelled-oddly", headers=(CHUNKED,), first=b"00%X;a=b;c=\"d;\\\"e\"\r\n%b\r\n%x;q\r\n%b\r\n000\r\n\r\n" % (20, ASK[:20], len(ASK) - 20, ASK[20:])),
    up(22, "chunked-and-empty", headers=(CHUNKED,), first=LAST, body=b"", rewrites=False),
    up(22, "chunked-in-mixed-case", headers=(b"Transfer-Encoding: Chunked",), first=chunk(ASK) + LAST),
    up(22, "request-trailers", headers=(CHUNKED, b"Trailer: X-Checksum"), first=chunk(ASK) + TRAILERS, request_trailers=(b"X-Checksum: abc", b"X-Empty: ", b"x-checksum: again")),
    up(22, "request-trailers-of-an-upload", chunk(BINARY), TRAILERS, path=b"POST /v1/files", headers=(CHUNKED,), body=BINARY, rewrites=False, request_trailers=(b"X-Checksum: abc", b"X-Empty: ", b"x-checksum: again")),
    up(22, "length-in-single-bytes", *single(ASK), headers=(b"Content-Length: %d" % len(ASK),)),
    up(22, "leading-zeros-in-the-length", headers=(b"Content-Length: 000%d" % len(BINARY),), path=b"POST /v1/files", first=BINARY, body=BINARY, rewrites=False, differs=frozenset({"zeros"})),
    Case(22, "reply-trailers", (request(CHAT, JSON, b"TE: trailers", b"Connection: TE", body=ASK),),
         (script(reply(b"200 OK", SSE, CHUNKED, b"Trailer: X-Cost, Server-Timing") + chunk(HELLO), Do.SEEN, b"0\r\nX-Cost: 0.1\r\nServer-Timing: a;dur=1\r\nX-Cost: 0.2\r\n\r\n"),),
         Expected(body=HELLO, sent=ASK, trailers=(b"X-Cost: 0.1", b"Server-Timing: a;dur=1", b"X-Cost: 0.2"), reply_has=(b"Trailer: X-Cost, Server-Timing",)), rewritten=rewritten, differs=frozenset({"te"})),
    Case(22, "reply-trailers-nobody-asked-for", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", SSE, CHUNKED), chunk(HELLO) + b"0\r\nX-A: 1\r\n\r\n"),),
         Expected(body=HELLO, sent=ASK, trailers=(b"X-A: 1",)), rewritten=rewritten),
    Case(22, "reply-chunks-with-extensions", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", SSE, CHUNKED), chunk(HELLO, b";sig=abc;x"), b"00A;y=\"z; w\"\r\n0123456789\r\n", b"0;end\r\n\r\n"),),
         Expected(body=HELLO + b"0123456789", sent=ASK), rewritten=rewritten),
    Case(22, "head-in-single-bytes", single(request(b"GET /v1/models").replace(CASE, b"22-head-in-single-bytes")),
         (script(reply(b"200 OK", body=OK)),), Expected(body=OK, target=b"/v1/models")),
    Case(22, "reply-head-in-single-bytes", (request(CHAT, JSON, body=ASK),), (script(*single(reply(b"200 OK", JSON, body=OK))),), Expected(body=OK, reply_has=(JSON,)), rewritten=rewritten),
    up(22, "a-body-of-line-ends-in-chunks", *(chunk(b"\r\n" * 2000 + b"0\r\n\r\n" + b"\n" * 500) for _ in range(4)), LAST, path=b"POST /v1/files", headers=(CHUNKED,),
       body=(b"\r\n" * 2000 + b"0\r\n\r\n" + b"\n" * 500) * 4, rewrites=False),
    up(22, "ten-thousand-chunks-of-a-byte", b"".join(map(chunk, single(BINARY))), LAST, path=b"POST /v1/files", headers=(CHUNKED,), body=BINARY, rewrites=False),
    stream(22, "reply-in-ten-thousand-chunks-of-a-byte", *single(BINARY), gated=False),
    Case(22, "a-post-without-any-length", (request(b"POST /v1/threads"),), (script(reply(b"200 OK", body=OK)),), Expected(body=OK, sent=b"", target=b"/v1/threads")),
    Case(22, "a-post-with-a-length-of-zero", (request(b"POST /v1/threads", b"Content-Length: 0"),), (script(reply(b"200 OK", body=OK)),), Expected(body=OK, sent=b"", request_has=(b"Content-Length: 0",))),
    Case(22, "a-length-named-twice-in-a-body-only", (request(b"POST /v1/files", body=b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),), (script(reply(b"200 OK", body=OK)),),
         Expected(body=OK, sent=b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n")),
    Case(22, "a-request-inside-a-body", (request(b"POST /v1/files", body=b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n"),), (script(reply(b"200 OK", body=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")),),
         Expected(body=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", sent=b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")),
    Case(22, "an-upgrade-to-h2c-with-a-body-and-a-request-behind", (request(b"POST /v1/files", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM", body=b"body") + request(b"GET /v1/behind"),),
         (script(reply(b"200 OK", body=b"1")), script(reply(b"200 OK", body=b"2"))), Expected(body=b"2", target=b"/v1/behind"), replies=2, requests=2,
         check=lambda seen: _bodies(seen, b"body", b"")),
    Case(22, "empty-lines-before-a-request", (b"\r\n\r\n" + request(b"GET /v1/models"), Replies(1), b"\r\n" + request(b"GET /v1/models")),
         (script(reply(b"200 OK", body=b"1")), script(reply(b"200 OK", body=b"2"))), Expected(body=b"2"), replies=2, requests=2),
]

def _bodies(seen: Seen, *bodies: bytes) -> None:
    assert tuple(bytes(each.message.body) for each in seen.arrivals) == bodies, [bytes(each.message.body) for each in seen.arrivals]


EXPECT = b"Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
WITH_LENGTH = b"Content-Length: %d" % len(ASK)
UPLOAD = b"Content-Length: %d" % len(BINARY)
TOO_LARGE = b'{"error": {"message": "too large"}}'
EXPECTS = [
    up(23, "the-upstream-says-100", Await(CONTINUE), ASK, headers=(EXPECT, WITH_LENGTH), early=True, script_steps=(CONTINUE, Await(ASK[-9:]), reply(b"200 OK", JSON, body=OK)), differs=frozenset({"expect"})),
    up(23, "an-upload-waits-for-the-upstreams-100", Await(CONTINUE), BINARY, path=b"POST /v1/files", headers=(EXPECT, UPLOAD), body=BINARY, rewrites=False, early=True,
       script_steps=(Pause(0.05), CONTINUE, Await(BINARY[-9:]), reply(b"200 OK", JSON, body=OK)), interim=(100,)),
    up(23, "chunked-after-100", Await(CONTINUE), chunk(BINARY), LAST, path=b"POST /v1/files", headers=(EXPECT, CHUNKED), body=BINARY, rewrites=False, early=True,
       script_steps=(CONTINUE, Await(BINARY[-9:]), reply(b"200 OK", JSON, body=OK)), interim=(100,)),
    up(23, "a-client-that-does-not-wait", first=BINARY, path=b"POST /v1/files", headers=(EXPECT, UPLOAD), body=BINARY, rewrites=False),
    *(Case(23, f"an-early-{status[:3].decode()}-instead-of-100", (request(b"POST /v1/files", EXPECT, UPLOAD),), (script(reply(status, JSON, body=TOO_LARGE), early=True),),
           Expected(status=int(status[:3]), body=TOO_LARGE, request_has=(EXPECT,)), differs=frozenset({"unread"}))
      for status in (b"413 Content Too Large", b"401 Unauthorized", b"417 Expectation Failed")),
    *(Case(23, f"an-early-{status[:3].decode()}-while-uploading", (request(b"POST /v1/files", UPLOAD) + BINARY[:500], Await(TOO_LARGE)),
           (script(Await(BINARY[:500]), reply(status, JSON, b"Connection: close", body=TOO_LARGE), Do.FIN, early=True),),
           Expected(status=int(status[:3]), body=TOO_LARGE), differs=frozenset({"unread"}))
      for status in (b"413 Content Too Large", b"401 Unauthorized", b"200 OK")),
    Case(23, "an-early-answer-to-a-chunked-upload", (request(b"POST /v1/files", CHUNKED, body=chunk(BINARY)), Await(TOO_LARGE)),
         (script(Await(BINARY), reply(b"413 Content Too Large", JSON, body=TOO_LARGE), early=True),), Expected(status=413, body=TOO_LARGE), differs=frozenset({"unread"})),
    Case(23, "both-directions-at-once", (request(b"POST /v1/files", CHUNKED, body=chunk(b"up 1 ")), Await(b"down 1"), chunk(b"up 2 "), Await(b"down 2"), chunk(b"up 3") + LAST),
         (script(Await(b"up 1 "), reply(b"200 OK", CHUNKED) + chunk(b"down 1 "), Await(b"up 2 "), chunk(b"down 2 "), Await(b"up 3"), chunk(b"down 3") + LAST, early=True),),
         Expected(body=b"down 1 down 2 down 3", sent=b"up 1 up 2 up 3")),
    Case(23, "an-early-answer-and-the-client-goes-on", (request(b"POST /v1/files", UPLOAD) + BINARY[:500], Await(TOO_LARGE), BINARY[500:]),
         (script(Await(BINARY[:500]), reply(b"413 Content Too Large", JSON, body=TOO_LARGE), Pause(0.1), early=True),), Expected(status=413, body=TOO_LARGE), differs=frozenset({"unread"})),
]

PREAMBLE = b"preamble\r\n" + FORM + b"epilogue \n"
FORMS = [
    posted(24, "preamble-and-epilogue", b"/v1/files", PREAMBLE, kind=MULTIPART),
    posted(24, "a-boundary-with-blanks-and-quotes", b"/v1/audio/transcriptions", FORM.replace(b"--x", b"--a b'c"), kind=b"Content-Type: Multipart/Form-Data; charset=utf-8;  boundary=\"a b'c\""),
    posted(24, "the-wrong-boundary", b"/v1/files", FORM, kind=b"Content-Type: multipart/form-data; boundary=other"),
    posted(24, "no-boundary", b"/v1/images/edits", FORM, kind=b"Content-Type: multipart/form-data"),
    posted(24, "to-the-chat-endpoint", b"/v1/chat/completions", FORM, kind=MULTIPART),
    up(24, "in-chunks-that-cut-the-boundary", *(chunk(FORM[i : i + 11]) for i in range(0, len(FORM), 11)), LAST, path=b"POST /v1/files", headers=(CHUNKED,), body=FORM, rewrites=False),
]

SIZE = 24 * 1024 * 1024
IMAGE = b"data:image/png;base64," + b"iVBORw0KGgo" * 1_900_000
LARGE_ASK = b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "' + IMAGE + b'"}}]}], "model": "gpt-4o"}'
DIGEST = hashlib.sha256(bytes(range(256)) * (SIZE // 256)).hexdigest()


def _hashes(seen: Seen) -> None:
    assert hashlib.sha256(seen.replies[0].body).hexdigest() == DIGEST, f"{len(seen.replies[0].body)} bytes down"


def _hashes_up(seen: Seen) -> None:
    assert hashlib.sha256(seen.arrivals[0].message.body).hexdigest() == DIGEST, f"{len(seen.arrivals[0].message.body)} bytes up"


def spelled(name: str, ask: bytes, old: bytes = OLD, rewrites: bool = True) -> Case:
    """A chat body spelled oddly: whatever happens to its model, every other byte stays."""
    return Case(
        25, f"spelling-{name}", (request(CHAT, JSON, body=ask),), (script(reply(b"200 OK", JSON, body=OK)),), Expected(body=OK, sent=ask),
        rewritten=(lambda body: body.replace(old, NEW)) if rewrites else None,
    )


SPELLED = [
    spelled("numbers", b'{"temperature": 1.0, "top_p": 1e3, "seed": 123456789012345678901234567890, "n": 1E+2, "x": -0.0, "y": 0.10, "model": "gpt-4o", "messages": []}'),
    spelled("escapes", b'{"messages": [{"role": "user", "content": "\\u00e9 \\/ \\ud83d\\ude00 \\b\\f\\n\\r\\t \\\\ \\""}], "model": "gpt-4o"}'),
    spelled("a-lone-surrogate", b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud83d half"}]}'),
    spelled("white-space", b'\r\n {\t"model"  :\n"gpt-4o"\t,\r\n"messages" : [ ] } \n\n'),
    spelled("key-order", b'{"z": 1, "messages": [], "a": 2, "model": "gpt-4o", "b": 3}'),
    spelled("another-key-twice", b'{"a": 1, "model": "gpt-4o", "a": 2, "messages": []}'),
    spelled("the-model-twice", b'{"model": "gpt-4o", "messages": [], "model": "gpt-4o"}', rewrites=False),
    spelled("the-models-key-escaped", b'{"\\u006dodel": "gpt-4o", "messages": []}'),
    spelled("the-models-value-escaped", b'{"model": "gpt\\u002d4o", "messages": []}', old=b'"gpt\\u002d4o"'),
    spelled("models-elsewhere", b'{"metadata": {"model": "x"}, "model": "gpt-4o", "messages": [{"role": "user", "content": "\\"model\\": \\"y\\""}], "tools": [{"model": "z"}]}'),
    spelled("not-a-number", b'{"model": "gpt-4o", "temperature": NaN, "x": Infinity, "messages": []}', rewrites=True),
    spelled("not-json", b'{"model": "gpt-4o", "messages": [', rewrites=False),
    spelled("not-utf-8", b'{"messages": [{"role": "user", "content": "caf\xe9"}], "model": "gpt-5"}', rewrites=False),
    spelled("an-array", b'[{"model": "gpt-4o"}]', rewrites=False),
    spelled("a-model-that-is-no-text", b'{"model": ["gpt-4o"], "messages": []}', rewrites=False),
    spelled("a-model-of-null", b'{"model": null, "messages": []}', rewrites=False),
    spelled("empty", b"", rewrites=False),
    spelled("another-model", b'{"model": "gpt-4o-audio", "messages": [], "x": 1.0}', rewrites=False),
    spelled("a-thousand-keys", json.dumps({**{f"k{i}": i for i in range(1000)}, "model": "gpt-4o"}).encode()),
    spelled("deeply-nested", b'{"metadata": ' + b"[" * 400 + b"]" * 400 + b', "model": "gpt-4o", "messages": []}'),
]
LARGE = [
    Case(25, "a-large-chat", (request(CHAT, JSON, body=LARGE_ASK),), (script(reply(b"200 OK", JSON, body=OK)),), Expected(body=OK, sent=LARGE_ASK), rewritten=rewritten),
    Case(25, "a-large-chat-in-chunks", (request(CHAT, JSON, CHUNKED), *(chunk(LARGE_ASK[i : i + 3_000_001]) for i in range(0, len(LARGE_ASK), 3_000_001)), LAST),
         (script(reply(b"200 OK", JSON, body=OK)),), Expected(body=OK, sent=LARGE_ASK), rewritten=rewritten),
    Case(25, "a-large-upload", (request(b"POST /v1/files", b"Content-Length: %d" % SIZE), Big(SIZE)), (script(reply(b"200 OK", JSON, body=OK)),), Expected(body=OK), check=_hashes_up),
    Case(25, "a-large-reply", (request(b"GET /v1/files/f/content"),), (script(reply(b"200 OK", b"Content-Length: %d" % SIZE), Big(SIZE)),), Expected(), check=_hashes),
    Case(25, "a-large-reply-that-the-close-ends", (request(b"GET /v1/files/f/content"),), (script(reply(b"200 OK"), Big(SIZE), Do.FIN),), Expected(), check=_hashes),
    Case(25, "a-large-chunk", (request(b"GET /v1/files/f/content"),), (script(reply(b"200 OK", CHUNKED), b"%x\r\n" % SIZE, Big(SIZE), b"\r\n" + LAST),), Expected(), check=_hashes),
]

APP_FIELDS = (
    b"User-Agent: OpenAI/Python 1.99.1", b"Authorization: Bearer sk-test", b"OpenAI-Organization: org-1", b"OpenAI-Project: proj_1", b"OpenAI-Beta: assistants=v2", b"Idempotency-Key: stainless-retry-1",
    b"X-Stainless-Lang: python", b"x-stainless-raw-response: true", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"tracestate: a=b,c=d", b"baggage: k=v;p, k2=v2",
    b"Accept: application/json", b"Accept-Language: de", b"Cookie: a=b; c=d", b"Cookie: e=f", b"X-Request-Id: req-1", b"Forwarded: for=1.2.3.4", b"X-Forwarded-For: 1.2.3.4", b"Via: 1.0 fred",
    b"api-key: azure", b"Cache-Control: no-cache", b"Pragma: no-cache", b"If-None-Match: \"x\"", b"Range: bytes=0-", b"Origin: null", b"Referer: http://a/",
)
UPSTREAM_FIELDS = (
    b"Date: Tue, 01 Jan 2030 00:00:00 GMT", b"Server: uvicorn", b"x-request-id: req_1", b"openai-organization: org", b"openai-processing-ms: 12", b"openai-version: 2020-10-01", b"openai-model: m",
    b"x-ratelimit-limit-requests: 10000", b"x-ratelimit-remaining-tokens: 1", b"x-ratelimit-reset-tokens: 6m0s", b"retry-after: 2", b"retry-after-ms: 1999", b"x-should-retry: false",
    b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2", b"set-cookie: a=3", b"CF-RAY: 8-FRA", b"alt-svc: h3=\":443\"", b"strict-transport-security: max-age=1", b"Via: 1.1 google", b"Warning: 199 - x",
    b"Access-Control-Expose-Headers: X-Request-ID", b"X-Empty: ", b"Link: <https://a>; rel=\"next\"", b"Cache-Control: no-store", b"x-chassis-policies: from-upstream-chassis",
)


def fields(name: str, *app: bytes, theirs: tuple[bytes, ...] = (), **more: object) -> Case:
    return Case(26, name, (request(b"POST /v1/embeddings", *app, body=b"{}"),), (script(reply(b"200 OK", *theirs, body=OK)),),
                Expected(body=OK, sent=b"{}", request_has=app, reply_has=theirs), **more)  # type: ignore[arg-type]


def hop(name: str, removed: tuple[bytes, ...], kept: tuple[bytes, ...] = (), theirs_removed: tuple[bytes, ...] = (), theirs_kept: tuple[bytes, ...] = ()) -> Case:
    return Case(26, name, (request(b"POST /v1/embeddings", *removed, *kept, body=b"{}"),), (script(reply(b"200 OK", *theirs_removed, *theirs_kept, body=OK)),),
                Expected(body=OK, sent=b"{}", request_has=kept, reply_has=theirs_kept), differs=frozenset({"te"}))


FIELDS = [
    fields("all-that-an-app-sends", *APP_FIELDS),
    fields("all-that-an-upstream-sends", theirs=UPSTREAM_FIELDS),
    fields("repeats-in-order", b"X-A: 1", b"X-B: 2", b"X-A: 3", b"x-a: 4", b"X-A: 1", theirs=(b"X-A: 2", b"X-A: 1", b"x-a: 2")),
    fields("empty-values", b"X-Empty: ", b"X-None: ", theirs=(b"X-Empty: ",)),
    fields("case-of-names", b"x-LOWER-upper: 1", b"CONTENT-TYPE: Application/JSON", b"aUTHORIZATION: bearer X", theirs=(b"cOnTeNt-TyPe: text/PLAIN", b"X_Under-score.dot: 1")),
    fields("odd-names", b"!#$%&'*+-.^_`|~0aZ: 1", b"X: :", theirs=(b"!#$%&'*+-.^_`|~0aZ: 1",)),
    fields("latin-1-and-utf-8-values", b"X-Latin: caf\xe9 \xff\x80", b"X-Utf: h\xc3\xa9", theirs=(b"X-Latin: \xa0caf\xe9", b"X-Utf: \xe2\x82\xac")),
    fields("marks-in-values", b'X-Marks: a,b; c="d, \\"e" (f) <g> {h} [i]', b"X-Tab: a\tb", b"X-Inner: a  b", theirs=(b'X-Marks: "a, b", c', b"X-Tab: a\tb")),
    fields("a-value-of-eight-kilobytes", b"X-Long: " + b"v" * 8000, theirs=(b"X-Long: " + b"w" * 8000,)),
    fields("a-value-of-forty-kilobytes", b"Authorization: Bearer " + b"v" * 40_000, theirs=(b"Content-Security-Policy: " + b"w" * 40_000,)),
    fields("two-hundred-cookies-set", theirs=tuple(b"Set-Cookie: c%d=%d; Path=/" % (i, i) for i in range(200))),
    fields("a-hundred-fields", *(b"X-%d: %d" % (i, i) for i in range(100)), theirs=tuple(b"X-%d: %d" % (i, i) for i in range(100))),
    fields("content-fields-stay", b"Content-Type: a/b", b"Content-Language: de", b"Content-Location: /x", b"Content-Disposition: inline", theirs=(b"Content-Language: de", b"Content-Location: /y", b"Accept-Ranges: none")),
    hop("connection-and-what-it-names", (b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"x-hop: 2"), (b"X-Stay: 1",), (b"Connection: keep-alive, X-Their-Hop", b"X-Their-Hop: 1"), (b"X-Stay: 1",)),
    hop("connection-twice", (b"Connection: X-One", b"X-One: 1", b"connection: x-two ,, x-three", b"X-Two: 2", b"X-Three: 3"), (b"X-Four: 4",), (b"Connection: X-One", b"Connection: X-Two", b"X-One: 1", b"X-Two: 1"), (b"X-Four: 4",)),
    hop("keep-alive-and-proxy-connection", (b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive"), (b"X-Stay: 1",), (b"Keep-Alive: timeout=5, max=100", b"Connection: keep-alive", b"Proxy-Connection: close"), (b"X-Stay: 1",)),
    hop("te-with-other-codings", (b"TE: gzip;q=0.5", b"Connection: TE"), (b"X-Stay: 1",)),
    hop("connection-cannot-name-the-framing", (b"Connection: content-length, host, transfer-encoding",), (b"Content-Length: 2",)),
    hop("an-upgrade-to-another-protocol-is-not-passed-on", (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"), (b"X-Stay: 1",)),
]

BARE = Case(27, "nothing-is-invented", (request(b"GET /v1/models"),), (script(reply(b"200 OK", body=b"x")),), Expected(body=b"x", target=b"/v1/models"),
            check=lambda seen: _only(seen, {b"host", b"x-case"}, {b"content-length"}))


def _only(seen: Seen, request_names: set[bytes], reply_names: set[bytes]) -> None:
    assert {name.lower() for name, _ in seen.arrivals[0].message.headers} == request_names, seen.arrivals[0].message.head
    assert {name.lower() for name, _ in seen.replies[0].headers} - {b"connection"} == reply_names, seen.replies[0].head


HOME = [
    BARE,
    *(Case(27, f"a-{code}-is-not-followed", (request(b"POST /v1/embeddings", body=b"{}"),), (script(reply(b"%d Moved" % code, b"Location: http://127.0.0.1:1/v1/x?a=%2F", body=b"moved")),),
           Expected(status=code, reason=b"Moved", body=b"moved", reply_has=(b"Location: http://127.0.0.1:1/v1/x?a=%2F",), target=b"/v1/embeddings")) for code in (301, 302, 303, 307, 308)),
    Case(27, "user-agent-is-not-touched", (request(b"GET /v1/models", b"User-Agent:  curl/8 (x; y) "),), (script(reply(b"200 OK", body=OK)),), Expected(body=OK, request_has=(b"User-Agent: curl/8 (x; y)",))),
    *(Case(27, f"the-apps-host-{name}", (request(b"GET /v1/models", host=host),), (script(reply(b"200 OK", body=OK)),), Expected(body=OK, target=b"/v1/models"))
      for name, host in (("as-a-name", b"api.openai.com"), ("as-an-address-and-port", b"127.0.0.1:4141"), ("as-ipv6", b"[::1]:4141"), ("empty", b""), ("in-upper-case", b"LOCALHOST"))),
]

PIPE = tuple(request(b"GET /v1/%d" % i) for i in range(8))
FLOW = [
    stream(28, "each-event-before-the-next", *(b"data: %d\n\n" % i for i in range(50))),
    Case(28, "the-head-before-the-first-byte", (request(CHAT, JSON, body=ASK), Await(b"\r\n\r\n")), (script(reply(b"200 OK", SSE, CHUNKED), Do.SEEN, chunk(HELLO), LAST),), Expected(body=HELLO), rewritten=rewritten),
    Case(28, "the-head-before-the-first-byte-of-a-length", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", JSON, b"Content-Length: %d" % len(ANSWER)), Do.SEEN, ANSWER[:9], Do.SEEN, ANSWER[9:]),), Expected(body=ANSWER), rewritten=rewritten),
    Case(28, "the-head-before-the-first-byte-until-the-close", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", SSE), Do.SEEN, HELLO, Do.SEEN, DONE, Do.FIN),), Expected(body=HELLO + DONE), rewritten=rewritten),
    Case(28, "an-upload-piece-by-piece", (request(b"POST /v1/files", UPLOAD) + BINARY[:100], Await(b"102 "), BINARY[100:]),
         (script(Await(BINARY[:100]), b"HTTP/1.1 102 Processing\r\n\r\n", Await(BINARY), reply(b"200 OK", body=OK), early=True),), Expected(body=OK, sent=BINARY, interim=(102,))),
    Case(28, "pipelined", (b"".join(PIPE),), tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(8)), Expected(body=b"7", target=b"/v1/7"), replies=8, requests=8,
         check=lambda seen: _in_order(seen, 8)),
    Case(28, "pipelined-and-the-first-is-slow", (b"".join(PIPE),), (script(Pause(0.1), reply(b"200 OK", CHUNKED), chunk(b"0"), Pause(0.05), LAST), *(script(reply(b"200 OK", body=b"%d" % i)) for i in range(1, 8))),
         Expected(body=b"7"), replies=8, requests=8, check=lambda seen: _in_order(seen, 8)),
    Case(28, "pipelined-with-bodies", (b"".join(request(b"POST /v1/%d" % i, body=b"body %d" % i) for i in range(5)) + request(b"POST /v1/5", CHUNKED, body=chunked(b"body", b" 5")),),
         tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(6)), Expected(body=b"5", sent=b"body 5"), replies=6, requests=6, check=lambda seen: _in_order(seen, 6)),
    Case(28, "pipelined-heads-cut-anywhere", (PIPE[0] + PIPE[1][:20], Pause(0.02), PIPE[1][20:] + PIPE[2][:-2], Pause(0.02), PIPE[2][-2:]), tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(3)),
         Expected(body=b"2"), replies=3, requests=3, check=lambda seen: _in_order(seen, 3)),
    Case(28, "pipelined-until-a-close", (PIPE[0] + request(b"GET /v1/1", b"Connection: close"),), (script(reply(b"200 OK", body=b"0")), script(reply(b"200 OK", b"Connection: close", body=b"1"), Do.FIN)),
         Expected(body=b"1", closes=True), replies=2, requests=2),
]


def _in_order(seen: Seen, count: int) -> None:
    assert [bytes(each.body) for each in seen.replies] == [b"%d" % i for i in range(count)], [bytes(each.body) for each in seen.replies]
    assert [each.message.target for each in seen.arrivals] == [b"/v1/%d" % i for i in range(count)], [each.message.target for each in seen.arrivals]


def answered(name: str, first: bytes, *head: bytes, body: bytes | None = b"x", **more: object) -> Case:
    code, _, reason = first.partition(b" ")
    return Case(29, name, (request(CHAT, JSON, body=ASK),), (script(reply(first, *head, body=body)),),
                Expected(status=int(code), reason=reason, body=body or b"", sent=ASK, reply_has=head, **more), rewritten=rewritten)  # type: ignore[arg-type]


def interim(name: str, *first: bytes) -> Case:
    steps = [step for each in first for step in (each, Do.SEEN)]
    statuses = tuple(int(each[9:12]) for each in first)
    return Case(29, name, (request(CHAT, JSON, body=ASK),), (script(*steps, reply(b"200 OK", JSON, body=OK)),), Expected(body=OK, sent=ASK, interim=statuses), rewritten=rewritten)


HINTS = reply(b"103 Early Hints", b"Link: </a>; rel=preload", b"Link: </b>", b"X-Early: \xe9")
KEPT_OLD: tuple[Script, ...] = (script(reply(b"200 OK", b"Connection: keep-alive", body=b"1")), script(reply(b"200 OK", body=b"2"), Do.FIN))
STATUSES = [
    answered("a-reason-of-its-own", b"200 Fine And Dandy"),
    answered("an-empty-reason", b"200 "),
    answered("a-latin-1-reason", b"200 D\xe9j\xe0 vu"),
    *(answered(f"status-{first[:3].decode()}", first) for first in (b"201 Created", b"202 Accepted", b"203 x", b"206 Partial", b"299 Odd", b"402 Pay", b"418 I'm a teapot", b"451 No", b"499 Left", b"529 Overloaded", b"599 x", b"600 Beyond", b"999 Request denied")),
    answered("status-204", b"204 No Content", b"ETag: \"x\"", body=None),
    answered("status-304", b"304 Not Modified", b"ETag: \"x\"", body=None),
    answered("status-304-that-tells-a-length", b"304 Not Modified", b"Content-Length: 777", body=None),
    answered("status-205", b"205 Reset Content", body=b""),
    answered("a-length-of-zero", b"200 OK", body=b""),
    interim("a-102", reply(b"102 Processing")),
    interim("a-103-with-links", HINTS),
    interim("several-interim-replies", reply(b"102 Processing"), HINTS, reply(b"102 Still")),
    interim("an-unknown-1xx", reply(b"199 Odd", b"X-A: 1")),
    Case(29, "two-interim-replies-in-one-write", (request(CHAT, JSON, body=ASK),), (script(reply(b"102 Processing") + HINTS, Do.SEEN, reply(b"200 OK", JSON, body=OK)),),
         Expected(body=OK, interim=(102, 103)), rewritten=rewritten),
    Case(29, "interim-and-final-in-one-write", (request(CHAT, JSON, body=ASK),), (script(HINTS + reply(b"200 OK", JSON, body=OK)),), Expected(body=OK, interim=(103,)), rewritten=rewritten),
    Case(29, "an-http-1.0-client-until-the-close", (request(b"GET /v1/models", version=b"1.0"),), (script(reply(b"200 OK", JSON), OK, Do.FIN),), Expected(body=OK, reply_has=(JSON,), closes=True)),
    Case(29, "an-http-1.0-client-with-a-length", (request(b"GET /v1/models", version=b"1.0"),), (script(reply(b"200 OK", JSON, body=OK), Do.FIN),), Expected(body=OK, closes=True)),
    Case(29, "an-http-1.0-client-without-a-host", (request(b"GET /v1/models", version=b"1.0", host=None),), (script(reply(b"200 OK", JSON, body=OK), Do.FIN),), Expected(body=OK)),
    Case(29, "an-http-1.0-client-that-keeps-alive", (request(b"GET /v1/a", b"Connection: keep-alive", version=b"1.0"), Replies(1), request(b"GET /v1/b", version=b"1.0")), KEPT_OLD,
         Expected(body=b"2", target=b"/v1/b"), replies=2, requests=2),
    Case(29, "an-http-1.0-client-that-posts", (request(CHAT, JSON, version=b"1.0", body=ASK),), (script(reply(b"200 OK", JSON, body=ANSWER), Do.FIN),), Expected(body=ANSWER, sent=ASK), rewritten=rewritten),
    Case(29, "an-http-1.0-upstream", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", JSON, version=b"1.0"), ANSWER, Do.FIN),), Expected(body=ANSWER, sent=ASK), rewritten=rewritten),
    Case(29, "an-http-1.0-upstream-with-a-length", (request(CHAT, JSON, body=ASK),), (script(reply(b"200 OK", JSON, version=b"1.0", body=ANSWER), Do.FIN),), Expected(body=ANSWER), rewritten=rewritten),
    Case(29, "kept-alive-for-five-requests", tuple(each for i in range(5) for each in (request(b"GET /v1/%d" % i), Replies(i + 1))), tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(5)),
         Expected(body=b"4"), replies=5, requests=5, check=lambda seen: _in_order(seen, 5)),
    Case(29, "a-client-that-says-close-and-goes-on", (request(b"GET /v1/models", b"Connection: close") + b"garbage that nobody reads",), (script(reply(b"200 OK", b"Connection: close", body=OK), Do.FIN),), Expected(body=OK, closes=True)),
    Case(29, "a-client-that-says-close-to-a-stream", (request(CHAT, JSON, b"Connection: close", body=ASK),), (script(reply(b"200 OK", SSE, b"Connection: close", CHUNKED), chunk(HELLO), Do.SEEN, chunk(DONE) + LAST, Do.FIN),),
         Expected(body=HELLO + DONE, closes=True), rewritten=rewritten),
    Case(29, "a-client-that-says-close", (request(b"GET /v1/models", b"Connection: close"),), (script(reply(b"200 OK", b"Connection: close", body=OK), Do.FIN),), Expected(body=OK, closes=True)),
]

CASES = [*ENCODED, *FRAMED, *EXPECTS, *FORMS, *SPELLED, *LARGE, *FIELDS, *HOME, *FLOW, *STATUSES]
