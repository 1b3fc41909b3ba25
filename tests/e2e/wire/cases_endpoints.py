"""Lines 14 to 18: the other endpoints and their bodies."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.e2e.wire.cases_chat import CHUNKED, JSON, SSE
from tests.e2e.wire.play import LAST, Case, Do, Expected, Step, chunk, reply, request, script

BINARY = bytes(range(256)) * 40
OK = b'{"ok": true}'


def posted(
    line: int,
    name: str,
    path: bytes,
    body: bytes,
    answer: bytes = OK,
    head: tuple[bytes, ...] = (JSON,),
    kind: bytes = JSON,
    first: bytes = b"200 OK",
    status: int = 200,
    method: bytes = b"POST",
    extra: tuple[bytes, ...] = (),
) -> Case:
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
        14,
        f"ends-{how}",
        RESPONSES,
        ASKED,
        named("response.created", 0, response={"id": "resp_1", "status": "in_progress"}),
        named("response.output_text.delta", 1, delta="h\u00e9"),
        named(f"response.{how}", 2, response={"status": how}),
    )


REASONING = {"id": "rs_1", "encrypted_content": "gAAAAA" * 500}
RESPONSE_CASES = [
    *map(ended, ("completed", "incomplete", "failed", "cancelled")),
    streamed(14, "an-error-event", RESPONSES, ASKED, named("response.created", 0), named("error", 1, code="server_error", message="x")),
    streamed(
        14,
        "encrypted-reasoning",
        RESPONSES,
        ASKED,
        named("response.created", 0),
        named("response.output_item.done", 1, item=REASONING),
        named("response.completed", 2),
    ),
    posted(14, "in-the-background", RESPONSES, b'{"model":"gpt-4o","input":[],"background":true}', b'{"id":"resp_1","status":"queued"}'),
    posted(14, "compacted", b"/v1/responses/compact", b'{"model":"gpt-4o"}'),
    posted(14, "cancelled-by-a-call", b"/v1/responses/resp_1/cancel", b""),
]

COMPLETIONS = b"/v1/completions"
COMPLETION_CASES = [
    *(
        posted(
            15,
            f"prompt-as-{name}",
            COMPLETIONS,
            b'{"model": "gpt-3.5-turbo-instruct", "prompt": ' + prompt + b', "suffix": null}',
            b'{"choices": [{"text": "a", "index": 0}]}',
        )
        for name, prompt in (
            ("text", b'"Say hi"'),
            ("a-list-of-texts", b'["a", "b"]'),
            ("token-ids", b"[1, 22, 333]"),
            ("lists-of-token-ids", b"[[1, 2], [3]]"),
        )
    ),
    streamed(
        15,
        "streamed",
        COMPLETIONS,
        b'{"model": "m", "prompt": "a", "stream": true}',
        b'data: {"choices": [{"text": "a", "index": 0, "logprobs": null}]}\n\n',
        b"data: [DONE]\n\n",
    ),
]

FLOATS = base64.b64encode(bytes(range(256)) * 24)
EMBEDDINGS = b"/v1/embeddings"
EMBEDDING_CASES = [
    *(
        posted(
            16,
            f"input-as-{name}",
            EMBEDDINGS,
            b'{"input":' + text + b',"model":"text-embedding-3-small","encoding_format":"base64"}',
            b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":"'
            + FLOATS
            + b'"}],"usage":{"prompt_tokens":1,"total_tokens":1}}',
        )
        for name, text in (
            ("text", b'"a"'),
            ("a-list-of-texts", b'["a","b"]'),
            ("token-ids", b"[1,2]"),
            ("lists-of-token-ids", b"[[1,2],[3]]"),
        )
    ),
    posted(
        16,
        "floats-as-they-are-spelled",
        EMBEDDINGS,
        b'{"input":"a","model":"m","encoding_format":"float"}',
        b'{"data":[{"embedding":[0.10, -1e-05, 1E5, 0.0, -0]}]}',
    ),
    posted(16, "a-deployment-path", b"/openai/deployments/my%20dep/embeddings?api-version=2024-10-21", b'{"input":"a"}'),
]

MEDIA = [
    posted(
        17,
        "speech-with-a-length",
        b"/v1/audio/speech",
        b'{"model":"tts-1","input":"hi","voice":"alloy"}',
        BINARY,
        (b"Content-Type: audio/mpeg",),
    ),
    streamed(
        17,
        "speech-of-no-stated-length",
        b"/v1/audio/speech",
        b'{"model":"tts-1","input":"hi"}',
        BINARY[:1000],
        BINARY[1000:1001],
        BINARY[1001:9000],
        BINARY[9000:],
        head=(b"Content-Type: audio/opus",),
    ),
    posted(
        17,
        "an-image-in-base64",
        b"/v1/images/generations",
        b'{"prompt":"a"}',
        b'{"data":[{"b64_json":"' + base64.b64encode(BINARY * 30) + b'"}]}',
    ),
    *(
        posted(
            17,
            f"a-transcription-as-{name}",
            b"/v1/audio/transcriptions",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + BINARY + b"\r\n--b--\r\n",
            answer,
            (b"Content-Type: " + kind,),
            b"Content-Type: multipart/form-data; boundary=b",
        )
        for name, kind, answer in (
            ("text", b"text/plain; charset=utf-8", "Gr\u00fc\u00df Gott\n".encode()),
            ("srt", b"text/plain", b"1\r\n00:00:00,000 --> 00:00:01,000\r\nhi\r\n\r\n"),
            ("vtt", b"text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nhi\n"),
        )
    ),
    Case(
        17,
        "speech-that-only-the-close-ends",
        (request(b"POST /v1/audio/speech", JSON, body=b"{}"),),
        (script(reply(b"200 OK", b"Content-Type: audio/pcm"), BINARY[:5000], Do.SEEN, BINARY[5000:], Do.FIN),),
        Expected(body=BINARY, sent=b"{}"),
    ),
]

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
    b'Content-Disposition: form-data; name="file"; filename="a b\xc3\xa9.jsonl"\r\n\r\n' + BINARY + b"\r\n--x--\r\n"
)

MULTIPART = b'Content-Type: multipart/form-data; boundary="x"'
FILES = [
    posted(18, "multipart-up", b"/v1/files", FORM, b'{"id":"file-1"}', kind=MULTIPART),
    posted(18, "multipart-with-odd-line-ends", b"/v1/files", FORM.replace(b"\r\n", b"\n"), kind=MULTIPART),
    Case(
        18,
        "any-bytes-down",
        (request(b"GET /v1/files/file-1/content"),),
        (
            script(
                reply(
                    b"200 OK",
                    b"Content-Type: application/octet-stream",
                    b'Content-Disposition: attachment; filename="r\xc3\xa9sum\xe9.jsonl"',
                    body=BINARY,
                )
            ),
        ),
        Expected(
            body=BINARY,
            target=b"/v1/files/file-1/content",
            reply_has=(b'Content-Disposition: attachment; filename="r\xc3\xa9sum\xe9.jsonl"',),
        ),
    ),
    Case(
        18,
        "jsonl-in-chunks",
        (request(b"GET /v1/files/file-2/content"),),
        (
            script(
                reply(b"200 OK", b"Content-Type: application/jsonl", CHUNKED) + chunk(b'{"a": 1}\n{"b"'), Do.SEEN, chunk(b": 2}\n") + LAST
            ),
        ),
        Expected(body=b'{"a": 1}\n{"b": 2}\n', reply_has=(b"Content-Type: application/jsonl",)),
    ),
    posted(18, "a-batch", b"/v1/batches", b'{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"}'),
    Case(
        18,
        "a-part-of-a-file",
        (request(b"GET /v1/files/file-1/content", b"Range: bytes=2-5"),),
        (script(reply(b"206 Partial Content", b"Content-Range: bytes 2-5/10", b"Accept-Ranges: bytes", body=b"\x02\x03\x04\x05")),),
        Expected(status=206, body=b"\x02\x03\x04\x05", request_has=(b"Range: bytes=2-5",), reply_has=(b"Content-Range: bytes 2-5/10",)),
    ),
    Case(
        18,
        "parts-uploaded-chunked",
        (request(b"POST /v1/uploads/upload_1/parts", MULTIPART, CHUNKED, body=b"") + chunk(FORM[:70]), chunk(FORM[70:]) + LAST),
        (script(reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, sent=FORM, request_has=(MULTIPART, CHUNKED)),
    ),
]

CASES = [*RESPONSE_CASES, *COMPLETION_CASES, *EMBEDDING_CASES, *MEDIA, *FILES]
