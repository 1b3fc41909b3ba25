"""Lines 1 to 13: chat completion streams, split and spelled in every way that providers use."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.wire.play import LAST, Case, Do, Expected, Pause, Step, chunk, chunked, reply, request, script

OLD, NEW = b'"gpt-4o"', b'"gpt-4o-mini-2024-07-18"'
CHAT = b"POST /v1/chat/completions"
ASK = b'{"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Say h\xc3\xa9llo \\ud83d\\ude00"}]}'
JSON = b"Content-Type: application/json"
SSE = b"Content-Type: text/event-stream; charset=utf-8"
CHUNKED = b"Transfer-Encoding: chunked"


def rewritten(body: bytes) -> bytes:
    """What the policy of the rewriting proxy makes of a chat body: the model's value, nothing else."""
    assert body.count(OLD) == 1, body[:200]
    return body.replace(OLD, NEW)


def event(**fields: Any) -> bytes:
    return (
        b"data: "
        + json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", **fields}).encode()
        + b"\n\n"
    )


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> bytes:
    return event(choices=[{"index": index, "delta": fields, "finish_reason": finish}])


DONE = b"data: [DONE]\n\n"
ROLE = delta(role="assistant", content="")
STOP = delta(finish="stop")


def stream(
    line: int, name: str, *parts: bytes, ask: bytes = ASK, head: tuple[bytes, ...] = (SSE,), gated: bool = True, **more: Any
) -> Case:
    """Each part is one chunk; a proxy that has not passed it on does not get the next one, unless it came in one piece with it."""
    steps: list[Step] = [reply(b"200 OK", *head, CHUNKED)]
    for part in parts:
        steps += [chunk(part), Do.SEEN] if gated else [chunk(part)]
    body = b"".join(parts)
    return Case(
        line,
        name,
        (request(CHAT, JSON, body=ask),),
        (script(*steps, LAST),),
        Expected(body=body, sent=ask, target=b"/v1/chat/completions", reply_has=head, **more),
        rewritten=rewritten,
    )


def together(line: int, name: str, *parts: bytes, head: tuple[bytes, ...] = (SSE,)) -> Case:
    """All parts in one write, each a chunk of its own."""
    body = b"".join(parts)
    return Case(
        line,
        name,
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", *head, CHUNKED) + chunked(*parts)),),
        Expected(body=body, sent=ASK),
        rewritten=rewritten,
    )


def bytewise(line: int, name: str, body: bytes) -> Case:
    """A chunk for every byte, each seen before the next leaves."""
    return stream(line, name, *(body[i : i + 1] for i in range(len(body))))


def raw_split(line: int, name: str, body: bytes, size: int) -> Case:
    """The chunked coding itself split anywhere: inside a size, inside a line end, inside the last chunk."""
    framed = chunk(body[: len(body) // 2]) + chunk(body[len(body) // 2 :], b";x=y") + LAST
    pieces: list[Step] = []
    for start in range(0, len(framed), size):
        pieces += [framed[start : start + size], Pause(0.0005)]
    return Case(
        line,
        name,
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", SSE, CHUNKED), *pieces),),
        Expected(body=body, sent=ASK),
        rewritten=rewritten,
    )


def plain(
    line: int, name: str, body: bytes, *head: bytes, ask: bytes = ASK, first: bytes = b"200 OK", status: int = 200, **more: Any
) -> Case:
    """A reply with a length."""
    return Case(
        line,
        name,
        (request(CHAT, JSON, body=ask),),
        (script(reply(first, *head, body=body)),),
        Expected(status=status, body=body, sent=ask, reply_has=head, **more),
        rewritten=rewritten,
    )


HELLO = 'data: {"choices":[{"index":0,"delta":{"content":"h\u00e9llo \U0001f600"}}]}\n\n'.encode()
CRLF = HELLO.replace(b"\n", b"\r\n")
LONG = delta(content="x" * 1_200_000)
WORDS = tuple(delta(content=f"word {i} ") for i in range(40))

SPLITS = [
    bytewise(1, "every-byte-alone", HELLO[-40:] + DONE),
    bytewise(1, "every-byte-alone-crlf", b": k\r\n\r\ndata: \xf0\x9f\x98\x80\r\n\r\n"),
    stream(1, "inside-the-word-data", b"da", b'ta: {"choices":[]}\n\n', DONE),
    stream(1, "inside-a-character", HELLO[: HELLO.index(b"\xc3") + 1], HELLO[HELLO.index(b"\xc3") + 1 :], DONE),
    stream(1, "inside-an-emoji", *(HELLO[: HELLO.index(b"\xf0") + 2], HELLO[HELLO.index(b"\xf0") + 2 :]), DONE),
    stream(1, "inside-crlf", CRLF[:-3], CRLF[-3:], DONE),
    stream(1, "between-the-two-newlines", HELLO[:-1], HELLO[-1:] + HELLO[:-1], HELLO[-1:], DONE),
    stream(1, "between-crlf-and-crlf", CRLF[:-2], CRLF[-2:-1], CRLF[-1:], DONE),
    stream(1, "inside-done", b"data: [DO", b"NE]\n", b"\n"),
    raw_split(1, "the-chunked-coding-in-single-bytes", HELLO, 1),
    raw_split(1, "the-chunked-coding-in-threes", HELLO + DONE, 3),
]

JOINED = [
    together(2, "many-events-in-one-write", *WORDS, DONE),
    together(2, "many-events-in-one-chunk", b"".join(WORDS) + DONE),
    stream(2, "one-event-over-many-reads", *(WORDS[0][i : i + 7] for i in range(0, len(WORDS[0]), 7)), DONE),
    stream(2, "one-event-above-a-megabyte", LONG, DONE),
    stream(2, "a-megabyte-event-over-many-reads", *(LONG[i : i + 100_001] for i in range(0, len(LONG), 100_001)), DONE),
    stream(2, "a-megabyte-event-without-an-end", LONG[:-2]),
    together(2, "a-thousand-tiny-events", *([b"data: 1\n\n"] * 1000)),
    stream(2, "an-event-and-a-half", HELLO + HELLO[:20], HELLO[20:] + DONE),
]

DATA = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}'
ENDS = [
    *(
        stream(3, f"line-end-{name}", DATA + end + end, DATA + end + end, b"data: [DONE]" + end + end)
        for name, end in (("lf", b"\n"), ("crlf", b"\r\n"), ("cr", b"\r"))
    ),
    stream(3, "line-ends-mixed", DATA + b"\r\n\n", DATA + b"\n\r\n", DATA + b"\r\r\n", DATA + b"\n\r", b"data: [DONE]\r\n\r\n"),
    stream(3, "blank-lines-first", b"\n\n\r\n\r" + DATA + b"\n\n", DONE),
    stream(3, "many-blank-lines-between", DATA + b"\n\n\n\n\n", DATA + b"\r\n\r\n\r\n", DONE),
    stream(3, "several-data-lines", b'data: {"choices":\ndata: [{"index":0,\ndata: "delta":{"content":"a"}}]}\n\n', DONE),
    stream(3, "no-space-after-data", DATA.replace(b": {", b":{") + b"\n\n", b"data:[DONE]\n\n"),
    stream(3, "two-spaces-after-data", DATA.replace(b": {", b":  {") + b"\n\n", DONE),
    stream(3, "a-data-line-without-a-colon", b"data\n\n", DATA + b"\n\n", DONE),
    stream(3, "a-bom-first", b"\xef\xbb\xbf" + DATA + b"\n\n", DONE),
    stream(3, "a-bom-split", b"\xef", b"\xbb", b"\xbf" + DATA + b"\n\n", DONE),
    stream(3, "a-last-event-without-a-blank-line", DATA + b"\n\n", b"data: [DONE]\n"),
    stream(3, "a-last-event-without-a-line-end", DATA + b"\n\n", b"data: [DONE]"),
    stream(3, "only-a-line-without-an-end", DATA),
    stream(3, "an-empty-stream"),
]

COMMENTS = [
    stream(4, "keepalives-before-the-first-token", b": keepalive\n\n", b": keepalive\n\n", ROLE, HELLO, DONE),
    stream(4, "openrouter-comments", b": OPENROUTER PROCESSING\n\n", b": OPENROUTER PROCESSING\n\n", HELLO, DONE),
    stream(4, "an-empty-comment", b":\n\n", HELLO, b":\n", DONE),
    stream(4, "a-ping-event", b'event: ping\ndata: {"type": "ping"}\n\n', HELLO, DONE),
    stream(4, "ids-and-retry", b"id: 1\nretry: 3000\n" + HELLO, b"id\n" + HELLO, b"retry: x\n\n", DONE),
    stream(4, "unknown-fields", b"foo: bar\n" + HELLO, b" data: not a field\n\n", DONE),
    stream(4, "a-comment-inside-an-event", b": in\n" + DATA + b"\n: between\n\n", DONE),
]

DONES = [
    stream(5, "trailing-blanks", HELLO, b"data: [DONE]  \t\n\n"),
    stream(5, "missing", HELLO, STOP),
    stream(5, "twice", HELLO, DONE, DONE),
    stream(5, "followed-by-events", HELLO, DONE, HELLO, STOP),
    stream(5, "followed-by-a-comment", HELLO, DONE, b": bye\n\n"),
    stream(5, "only-done", DONE),
    stream(5, "in-lower-case", HELLO, b"data: [done]\n\n"),
]

FILTER = event(
    choices=[], prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]
)
FIRSTS = [
    stream(6, "prompt-filter-results", FILTER, ROLE, HELLO, DONE),
    stream(6, "a-role-only", delta(role="assistant"), HELLO, DONE),
    stream(6, "an-empty-string", delta(content=""), HELLO, DONE),
    stream(6, "a-null-content", delta(role="assistant", content=None), HELLO, DONE),
    stream(6, "all-of-them", FILTER, delta(role="assistant"), delta(content=""), HELLO, STOP, DONE),
    stream(6, "and-nothing-after", FILTER, ROLE),
]

USE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}}
NO_USAGE = b'{"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": false}, "messages": []}'
YES_USAGE = NO_USAGE.replace(b"false", b"true")
USAGE = [
    stream(7, "on-a-chunk-of-its-own", HELLO, STOP, event(choices=[], usage=USE), DONE, ask=YES_USAGE),
    stream(
        7,
        "null-on-the-others",
        event(choices=[{"index": 0, "delta": {"content": "a"}}], usage=None),
        event(choices=[], usage=USE),
        DONE,
        ask=YES_USAGE,
    ),
    stream(7, "on-a-non-empty-last-chunk", HELLO, event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USE), DONE),
    stream(7, "on-every-chunk", *(event(choices=[{"index": 0, "delta": {"content": str(i)}}], usage=USE) for i in range(5)), DONE),
    stream(7, "refused-explicitly", HELLO, STOP, DONE, ask=NO_USAGE),
    stream(7, "sent-although-refused", HELLO, STOP, event(choices=[], usage=USE), DONE, ask=NO_USAGE),
    stream(7, "not-asked-and-not-sent", HELLO, STOP, DONE),
    Case(
        7,
        "absent-after-an-interruption",
        (request(CHAT, JSON, body=YES_USAGE),),
        (script(reply(b"200 OK", SSE, CHUNKED), chunk(ROLE), chunk(HELLO), Do.SEEN, Do.FIN),),
        Expected(body=ROLE + HELLO, sent=YES_USAGE, complete=False),
        rewritten=rewritten,
    ),
]


def calls(*tool_calls: dict[str, Any]) -> bytes:
    return delta(tool_calls=list(tool_calls))


TOOLS = [
    stream(
        8,
        "id-and-name-only-first",
        ROLE,
        calls({"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}),
        *(calls({"index": 0, "function": {"arguments": part}}) for part in ('{"a"', ": 1", "}")),
        delta(finish="tool_calls"),
        DONE,
    ),
    stream(
        8,
        "arguments-split-inside-an-escape",
        calls({"index": 0, "function": {"arguments": '{"a": "\\'}}),
        calls({"index": 0, "function": {"arguments": "n\\u00"}}),
        calls({"index": 0, "function": {"arguments": 'e9"}'}}),
        DONE,
    ),
    stream(8, "parallel-calls-interleaved", *(calls({"index": i % 2, "function": {"arguments": str(i)}}) for i in range(8)), DONE),
    stream(8, "two-calls-in-one-delta", calls({"index": 0, "id": "a"}, {"index": 1, "id": "b"}), DONE),
    stream(
        8,
        "one-index-used-twice",
        calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
        calls({"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}}),
        DONE,
    ),
    stream(8, "no-index", calls({"id": "a", "function": {"name": "f", "arguments": "{}"}}), DONE),
    stream(
        8, "empty-arguments", calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}), delta(finish="tool_calls"), DONE
    ),
    stream(8, "an-empty-object", calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}), DONE),
    stream(
        8,
        "a-legacy-function-call",
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": '{"x":'}),
        delta(function_call={"arguments": "1}"}, finish="function_call"),
        DONE,
    ),
]

SEVERAL = [
    stream(
        9,
        "choices-interleaved",
        *(delta(index=i % 3, content=str(i)) for i in range(9)),
        *(delta(index=i, finish=why) for i, why in enumerate(("stop", "length", "stop"))),
        event(choices=[], usage=USE),
        DONE,
    ),
    stream(
        9,
        "two-choices-in-one-chunk",
        event(choices=[{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]),
        DONE,
    ),
    stream(9, "the-second-first", delta(index=1, content="b"), delta(index=0, content="a"), DONE),
]

EXTRAS = [
    stream(
        10,
        "logprobs",
        event(
            choices=[
                {
                    "index": 0,
                    "delta": {"content": "a"},
                    "logprobs": {"content": [{"token": "a", "logprob": -1e-07, "bytes": [97], "top_logprobs": []}]},
                }
            ]
        ),
        DONE,
    ),
    stream(10, "a-refusal", delta(role="assistant", refusal=""), delta(refusal="I can't"), DONE),
    stream(
        10,
        "audio-and-annotations",
        delta(audio={"id": "a", "data": "UklGRg==", "expires_at": 1}),
        delta(annotations=[{"type": "url_citation"}]),
        DONE,
    ),
    stream(10, "reasoning", delta(reasoning="hm"), delta(reasoning_content="hmm"), HELLO, DONE),
    stream(
        10, "obfuscation-and-tiers", event(choices=[], obfuscation="aZ9x", service_tier="default", system_fingerprint="fp_1"), HELLO, DONE
    ),
    stream(
        10, "numbers-as-they-are-spelled", b'data: {"choices":[],"a":1.0,"b":1e3,"c":12345678901234567890,"d":"\\u00e9","a":2}\n\n', DONE
    ),
]

FINISHES = [
    stream(11, "outside-the-known-five", HELLO, delta(finish="eos"), DONE),
    stream(11, "null-for-ever", HELLO, delta(content="a"), DONE),
    stream(11, "the-key-absent", event(choices=[{"index": 0, "delta": {"content": "a"}}]), DONE),
    stream(11, "an-empty-string", delta(finish=""), DONE),
]

ERROR = b'{"error": {"message": "overloaded", "type": "server_error", "code": null, "param": null}}'
TROUBLES = [
    stream(12, "an-error-event-first", b"data: " + ERROR + b"\n\n"),
    stream(12, "an-error-event-later", HELLO, b"data: " + ERROR + b"\n\n", DONE),
    stream(12, "a-named-error-event", HELLO, b"event: error\ndata: " + ERROR + b"\n\n"),
    plain(12, "plain-json-to-a-stream", ERROR, JSON),
    plain(12, "plain-json-labelled-as-a-stream", ERROR, SSE),
    plain(12, "html-from-a-middlebox", b"<html><body>Blocked by policy</body></html>\r\n", b"Content-Type: text/html"),
    stream(12, "a-stream-labelled-text-plain", ROLE, HELLO, DONE, head=(b"Content-Type: text/plain",)),
    stream(12, "a-stream-without-a-label", ROLE, HELLO, DONE, head=()),
    plain(12, "an-empty-body", b"", SSE),
    plain(
        12,
        "a-429-with-advice",
        ERROR,
        JSON,
        b"retry-after: 2",
        b"retry-after-ms: 1500",
        b"x-should-retry: true",
        first=b"429 Too Many Requests",
        status=429,
    ),
    plain(12, "a-500", ERROR, JSON, first=b"500 Internal Server Error", status=500),
    plain(
        12,
        "html-with-a-502",
        b"<html>bad gateway</html>",
        b"Content-Type: text/html",
        b"Server: cloudflare",
        first=b"502 Bad Gateway",
        status=502,
    ),
    stream(12, "garbage-in-a-stream", b"\x00\xff\xfe garbage \r\n", b"data: {not json\n\n", b"data: \xff\xfe\n\n"),
]

NOT_STREAMED = b'{"messages": [], "model" : "gpt-4o"}'
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":['
    b'{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)
CROSSED = [
    stream(13, "a-stream-to-a-plain-request", ROLE, HELLO, DONE, ask=NOT_STREAMED),
    plain(13, "json-to-a-stream-request", ANSWER, JSON),
    plain(13, "json-to-a-plain-request", ANSWER, JSON, ask=NOT_STREAMED),
    plain(13, "a-stream-with-a-length", HELLO + DONE, SSE),
    stream(13, "chunked-json", ANSWER[:50], ANSWER[50:], ask=NOT_STREAMED, head=(JSON,)),
]

CASES = [*SPLITS, *JOINED, *ENDS, *COMMENTS, *DONES, *FIRSTS, *USAGE, *TOOLS, *SEVERAL, *EXTRAS, *FINISHES, *TROUBLES, *CROSSED]
