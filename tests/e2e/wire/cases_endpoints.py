"""Lines 14 to 20: the other endpoints, their bodies, the WebSocket tunnel, unusual methods and targets."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.e2e.wire.cases_chat import CHUNKED, JSON, SSE
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import LAST, Await, Case, Do, Expected, Replies, Step, chunk, reply, request, script

BINARY = bytes(range(256)) * 40
OK = b'{"ok": true}'


def posted(line: int, name: str, path: bytes, body: bytes, answer: bytes = OK, head: tuple[bytes, ...] = (JSON,), kind: bytes = JSON, first: bytes = b"200 OK",
           status: int = 200, method: bytes = b"POST", extra: tuple[bytes, ...] = ()) -> Case:
    """A body up and a body down, both with a length."""
    return Case(
        line,
        name,
        (request(method + b" " + path, kind, *extra, body=body),),
        (script(reply(first, *head, body=answer)),),
        Expected(status=status, body=answer, sent=body, target=path, reply_has=head, request_has=(kind, *extra)),
    )


def streamed(line: int, name: str, path: bytes, body: bytes, *parts: bytes, head: tuple[bytes, ...] = (SSE,)) -> Case:
    """A reply in chunks, each seen before the next leaves."""
    steps: list[Step] = [reply(b"200 OK", *head, CHUNKED)]
    for part in parts:
        steps += [chunk(part), Do.SEEN]
    return Case(
        line,
        name,
        (request(b"POST " + path, JSON, body=body),),
        (script(*steps, LAST),),
        Expected(body=b"".join(parts), sent=body, target=path, reply_has=head),
    )


def named(name: str, number: int, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **fields})}\n\n".encode()


RESPONSES = b"/v1/responses"
ASKED = b'{"model": "gpt-4o", "stream": true, "input": "Hi", "previous_response_id": "resp_0", "store": true}'


def ended(how: str) -> Case:
    return streamed(
        14, f"ends-{how}", RESPONSES, ASKED,
        named("response.created", 0, response={"id": "resp_1", "status": "in_progress"}),
        named("response.output_text.delta", 1, delta="h\u00e9"),
        named(f"response.{how}", 2, response={"status": how}),
    )


REASONING = {"id": "rs_1", "encrypted_content": "gAAAAA" * 500}
RESPONSE_CASES = [
    *map(ended, ("completed", "incomplete", "failed", "cancelled")),
    streamed(14, "an-error-event", RESPONSES, ASKED, named("response.created", 0), named("error", 1, code="server_error", message="x")),
    streamed(14, "encrypted-reasoning", RESPONSES, ASKED, named("response.created", 0), named("response.output_item.done", 1, item=REASONING), named("response.completed", 2)),
    posted(14, "in-the-background", RESPONSES, b'{"model":"gpt-4o","input":[],"background":true}', b'{"id":"resp_1","status":"queued"}'),
    posted(14, "compacted", b"/v1/responses/compact", b'{"model":"gpt-4o"}'),
    posted(14, "cancelled-by-a-call", b"/v1/responses/resp_1/cancel", b""),
]

COMPLETIONS = b"/v1/completions"
COMPLETION_CASES = [
    *(posted(15, f"prompt-as-{name}", COMPLETIONS, b'{"model": "gpt-3.5-turbo-instruct", "prompt": ' + prompt + b', "suffix": null}', b'{"choices": [{"text": "a", "index": 0}]}')
      for name, prompt in (("text", b'"Say hi"'), ("a-list-of-texts", b'["a", "b"]'), ("token-ids", b"[1, 22, 333]"), ("lists-of-token-ids", b"[[1, 2], [3]]"))),
    streamed(15, "streamed", COMPLETIONS, b'{"model": "m", "prompt": "a", "stream": true}', b'data: {"choices": [{"text": "a", "index": 0, "logprobs": null}]}\n\n', b"data: [DONE]\n\n"),
]

FLOATS = base64.b64encode(bytes(range(256)) * 24)
EMBEDDINGS = b"/v1/embeddings"
EMBEDDING_CASES = [
    *(posted(16, f"input-as-{name}", EMBEDDINGS, b'{"input":' + text + b',"model":"text-embedding-3-small","encoding_format":"base64"}',
             b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":"' + FLOATS + b'"}],"usage":{"prompt_tokens":1,"total_tokens":1}}')
      for name, text in (("text", b'"a"'), ("a-list-of-texts", b'["a","b"]'), ("token-ids", b"[1,2]"), ("lists-of-token-ids", b"[[1,2],[3]]"))),
    posted(16, "floats-as-they-are-spelled", EMBEDDINGS, b'{"input":"a","model":"m","encoding_format":"float"}', b'{"data":[{"embedding":[0.10, -1e-05, 1E5, 0.0, -0]}]}'),
    posted(16, "a-deployment-path", b"/openai/deployments/my%20dep/embeddings?api-version=2024-10-21", b'{"input":"a"}'),
]

MEDIA = [
    posted(17, "speech-with-a-length", b"/v1/audio/speech", b'{"model":"tts-1","input":"hi","voice":"alloy"}', BINARY, (b"Content-Type: audio/mpeg",)),
    streamed(17, "speech-of-no-stated-length", b"/v1/audio/speech", b'{"model":"tts-1","input":"hi"}', BINARY[:1000], BINARY[1000:1001], BINARY[1001:9000], BINARY[9000:], head=(b"Content-Type: audio/opus",)),
    posted(17, "an-image-in-base64", b"/v1/images/generations", b'{"prompt":"a"}', b'{"data":[{"b64_json":"' + base64.b64encode(BINARY * 30) + b'"}]}'),
    *(posted(17, f"a-transcription-as-{name}", b"/v1/audio/transcriptions", b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + BINARY + b"\r\n--b--\r\n",
             answer, (b"Content-Type: " + kind,), b"Content-Type: multipart/form-data; boundary=b")
      for name, kind, answer in (
          ("text", b"text/plain; charset=utf-8", "Gr\u00fc\u00df Gott\n".encode()),
          ("srt", b"text/plain", b"1\r\n00:00:00,000 --> 00:00:01,000\r\nhi\r\n\r\n"),
          ("vtt", b"text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nhi\n"))),
    Case(17, "speech-that-only-the-close-ends", (request(b"POST /v1/audio/speech", JSON, body=b"{}"),),
         (script(reply(b"200 OK", b"Content-Type: audio/pcm"), BINARY[:5000], Do.SEEN, BINARY[5000:], Do.FIN),), Expected(body=BINARY, sent=b"{}")),
]

FORM = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a b\xc3\xa9.jsonl"\r\n\r\n' + BINARY + b"\r\n--x--\r\n"
MULTIPART = b'Content-Type: multipart/form-data; boundary="x"'
FILES = [
    posted(18, "multipart-up", b"/v1/files", FORM, b'{"id":"file-1"}', kind=MULTIPART),
    posted(18, "multipart-with-odd-line-ends", b"/v1/files", FORM.replace(b"\r\n", b"\n"), kind=MULTIPART),
    Case(18, "any-bytes-down", (request(b"GET /v1/files/file-1/content"),),
         (script(reply(b"200 OK", b"Content-Type: application/octet-stream", b'Content-Disposition: attachment; filename="r\xc3\xa9sum\xe9.jsonl"', body=BINARY)),),
         Expected(body=BINARY, target=b"/v1/files/file-1/content", reply_has=(b'Content-Disposition: attachment; filename="r\xc3\xa9sum\xe9.jsonl"',))),
    Case(18, "jsonl-in-chunks", (request(b"GET /v1/files/file-2/content"),),
         (script(reply(b"200 OK", b"Content-Type: application/jsonl", CHUNKED) + chunk(b'{"a": 1}\n{"b"'), Do.SEEN, chunk(b": 2}\n") + LAST),),
         Expected(body=b'{"a": 1}\n{"b": 2}\n', reply_has=(b"Content-Type: application/jsonl",))),
    posted(18, "a-batch", b"/v1/batches", b'{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"}'),
    Case(18, "a-part-of-a-file", (request(b"GET /v1/files/file-1/content", b"Range: bytes=2-5"),),
         (script(reply(b"206 Partial Content", b"Content-Range: bytes 2-5/10", b"Accept-Ranges: bytes", body=b"\x02\x03\x04\x05")),),
         Expected(status=206, body=b"\x02\x03\x04\x05", request_has=(b"Range: bytes=2-5",), reply_has=(b"Content-Range: bytes 2-5/10",))),
    Case(18, "parts-uploaded-chunked", (request(b"POST /v1/uploads/upload_1/parts", MULTIPART, CHUNKED, body=b"") + chunk(FORM[:70]), chunk(FORM[70:]) + LAST),
         (script(reply(b"200 OK", JSON, body=OK)),), Expected(body=OK, sent=FORM, request_has=(MULTIPART, CHUNKED))),
]

HANDSHAKE = (
    b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-123, openai-beta.realtime-v1",
)
REALTIME = b"GET /v1/realtime?model=gpt-4o-realtime-preview&x=%2F"
SWITCHED = reply(b"101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"Sec-WebSocket-Protocol: realtime")
MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes, final: bool = True, masked: bool = True) -> bytes:
    """A WebSocket frame (RFC 6455, 5.2); the mask is fixed, so that the bytes are known."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    if masked:
        length = bytes([length[0] | 0x80]) + length[1:]
        payload = MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + length + payload


def tunnel(name: str, client: tuple[Step, ...], upstream: tuple[Step, ...], up: bytes, down: bytes, switched: bytes = SWITCHED) -> Case:
    """After the 101 each side's bytes must arrive as they are; `upstream` starts with what goes out together with the 101."""
    first, *rest = upstream
    assert isinstance(first, bytes)
    return Case(
        19, name, (request(REALTIME, *HANDSHAKE), *client), (script(switched + first, *rest, early=True),),
        Expected(
            status=101, body=down, sent=up, complete=True, target=REALTIME[4:],
            request_has=(b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-123, openai-beta.realtime-v1",),
            reply_has=(b"Sec-WebSocket-Protocol: realtime", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ),
        tunnel=True,
    )


HI, HELLO = frame(1, b"hi"), frame(1, b"hello", masked=False)
BLOB_UP, BLOB_DOWN = frame(2, BINARY * 20), frame(2, BINARY * 20, masked=False)
PING, PONG = frame(9, b"are you there", masked=False), frame(10, b"are you there")
CLOSE_UP, CLOSE_DOWN = frame(8, (4321).to_bytes(2, "big") + b"bye \xc3\xa9"), frame(8, (1008).to_bytes(2, "big") + b"policy", masked=False)
FRAGMENTS = frame(1, b"a", final=False) + frame(0, b"b", final=False) + PONG + frame(0, b"c")


def refused(status: bytes, body: bytes) -> Case:
    head = (JSON, b"WWW-Authenticate: Bearer", b"X-Request-Id: req_1")
    return Case(
        19, f"refused-with-{status[:3].decode()}", (request(REALTIME, *HANDSHAKE),), (script(reply(status, *head, body=body)),),
        Expected(status=int(status[:3]), body=body, reply_has=head, request_has=HANDSHAKE[4:]),
    )


TUNNELS = [
    tunnel("text-both-ways", (Await(b"Upgrade"), HI, Await(HELLO), CLOSE_UP), (b"", Await(HI), HELLO, Await(CLOSE_UP), CLOSE_DOWN, Do.FIN), HI + CLOSE_UP, HELLO + CLOSE_DOWN),
    tunnel("frames-together-with-the-101", (Await(HELLO), HI), (HELLO, Await(HI), CLOSE_DOWN, Do.FIN), HI, HELLO + CLOSE_DOWN),
    tunnel("binary-frames", (Await(b"\r\n\r\n"), BLOB_UP, Await(BLOB_DOWN), CLOSE_UP), (b"", Await(BLOB_UP), BLOB_DOWN, Await(CLOSE_UP), Do.FIN), BLOB_UP + CLOSE_UP, BLOB_DOWN),
    tunnel("a-ping-and-its-pong", (Await(PING), PONG), (PING, Await(PONG), Do.FIN), PONG, PING),
    tunnel("fragments", (Await(b"\r\n\r\n"), FRAGMENTS), (b"", Await(FRAGMENTS), HELLO, Do.FIN), FRAGMENTS, HELLO),
    tunnel("a-close-code-of-its-own", (Await(b"\r\n\r\n"), CLOSE_UP), (b"", Await(CLOSE_UP), CLOSE_UP, Do.FIN), CLOSE_UP, CLOSE_UP),
    tunnel("the-upstream-closes-first", (Await(CLOSE_DOWN),), (CLOSE_DOWN, Do.FIN), b"", CLOSE_DOWN),
    tunnel("bytes-that-are-no-frames", (Await(b"\r\n\r\n"), b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n", Await(b"\xff" * 9)), (b"", Await(b"HTTP/1.1\r\n\r\n"), b"HTTP/1.1 200 OK\r\n\r\n" + b"\xff" * 9, Do.FIN),
           b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"\xff" * 9),
    tunnel("frames-before-the-101", (HI, Await(HELLO)), (b"", Await(HI), HELLO, Do.FIN), HI, HELLO),
    refused(b"401 Unauthorized", b'{"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}'),
    refused(b"403 Forbidden", b'{"error": {"message": "no"}}'),
    refused(b"426 Upgrade Required", b""),
    Case(19, "a-request-behind-a-refused-upgrade", (request(REALTIME, *HANDSHAKE) + request(b"GET /v1/models"),),
         (script(reply(b"401 Unauthorized", body=b"no")), script(reply(b"200 OK", body=b"models"))), Expected(body=b"models", target=b"/v1/models"), replies=2, requests=2),
    Case(19, "the-connection-goes-on-after-a-refusal", (request(REALTIME, *HANDSHAKE), Replies(1), request(b"GET /v1/models")),
         (script(reply(b"401 Unauthorized", body=b"no")), script(reply(b"200 OK", body=b"models"))), Expected(body=b"models", target=b"/v1/models"), replies=2, requests=2),
]


def asked(name: str, method: bytes, target: bytes, *headers: bytes, body: bytes | None = None, answer: bytes | None = OK, status: bytes = b"200 OK", methods: tuple[bytes, ...] = ()) -> Case:
    return Case(
        20, name, (request(method + b" " + target, *headers, body=body),), (script(reply(status, JSON, body=answer)),),
        Expected(status=int(status[:3]), body=b"" if methods == (b"HEAD",) else answer or b"", sent=body or b"", target=target, request_has=headers), methods=methods,
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
    Case(20, "head-with-a-length", (request(b"HEAD /v1/models"), Replies(1), request(b"GET /v1/models")),
         (script(reply(b"200 OK", JSON, b"Content-Length: 12345")), script(reply(b"200 OK", body=OK))), Expected(body=OK), replies=2, requests=2, methods=(b"HEAD", b"GET"),
         check=lambda seen: _announced(seen, b"12345")),
    Case(20, "head-chunked", (request(b"HEAD /v1/models"), Replies(1), request(b"GET /v1/models")),
         (script(reply(b"200 OK", JSON, CHUNKED)), script(reply(b"200 OK", body=OK))), Expected(body=OK), replies=2, requests=2, methods=(b"HEAD", b"GET")),
    Case(20, "head-with-no-framing", (request(b"HEAD /v1/models"),), (script(reply(b"200 OK", JSON)),), Expected(body=b"", reply_has=(JSON,)), methods=(b"HEAD",)),
    Case(20, "head-not-found", (request(b"HEAD /v1/models/x"),), (script(reply(b"404 Not Found", b"Content-Length: 99")),), Expected(status=404, reply_has=(b"Content-Length: 99",)), methods=(b"HEAD",)),
    Case(20, "options", (request(b"OPTIONS /v1/chat/completions", b"Origin: https://app.example", b"Access-Control-Request-Method: POST"),),
         (script(reply(b"204 No Content", b"Access-Control-Allow-Origin: *", b"Allow: POST, OPTIONS")),), Expected(status=204, body=b"", reply_has=(b"Allow: POST, OPTIONS",), reply_lacks=(b"content-length", b"transfer-encoding"))),
    Case(20, "options-of-everything", (request(b"OPTIONS *"),), (script(reply(b"200 OK", b"Allow: GET", body=b"")),), Expected(target=b"*", reply_has=(b"Allow: GET",))),
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
    targeted("brackets-and-more", b"/v1/x[0]{a}|b\\c^`<>\"?y[]=1"),
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
    20, "target-with-an-address-in-its-query", (request(b"GET /v1/models?a=http://b/c"),), (script(reply(b"200 OK", body=OK)),), Expected(target=b"/v1/models?a=http://b/c")
)

CASES = [*RESPONSE_CASES, *COMPLETION_CASES, *EMBEDDING_CASES, *MEDIA, *FILES, *TUNNELS, *UNUSUAL, ADDRESS]
