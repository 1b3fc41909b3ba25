"""What a reply says of itself, from a copy that is never the whole."""

from __future__ import annotations

import gzip
import json
import zlib

import brotli
import pytest
import zstandard

from proxy.openai.usage import HEAD_BYTES, TAIL_BYTES, ReplyReader, Usage


def read(*chunks: bytes, encoding: bytes | None = None) -> Usage:
    reader = ReplyReader(encoding)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.result()


def stream(*events: object, end: str = "data: [DONE]\n\n") -> bytes:
    return ("".join(f"data: {json.dumps(event)}\n\n" for event in events) + end).encode()


def delta(text: str | None = None, finish: str | None = None, **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "gpt-4o-2024", "choices": [choice], **more}


COUNTS = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
CHAT = {"id": "chatcmpl-1", "model": "gpt-4o-2024", "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}], "usage": COUNTS}
EXPECTED = Usage("gpt-4o-2024", 10, 5, 4, 3, ("stop",), "chatcmpl-1")
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-5",
    "status": "completed",
    "output": [],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 3},
    },
}


def test_a_chat_reply_is_read() -> None:
    assert read(json.dumps(CHAT).encode()) == EXPECTED


def test_a_reply_in_single_bytes_is_read() -> None:
    assert read(*[bytes([byte]) for byte in json.dumps(CHAT).encode()]) == EXPECTED


def test_a_completion_an_embedding_and_a_responses_reply_are_read() -> None:
    completion = {
        "id": "cmpl-1",
        "model": "m",
        "choices": [{"text": "x", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    embedding = {"object": "list", "model": "e", "data": [{"embedding": "QUJD"}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}

    assert read(json.dumps(completion).encode()) == Usage("m", 1, 2, finish_reasons=("length",), response_id="cmpl-1")
    assert read(json.dumps(embedding).encode()) == Usage("e", 3)
    assert read(json.dumps(RESPONSE).encode()) == Usage("gpt-5", 10, 5, 4, 3, ("completed",), "resp_1")


def test_an_incomplete_response_says_why() -> None:
    reply = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}

    assert read(json.dumps(reply).encode()).finish_reasons == ("max_output_tokens",)


@pytest.mark.parametrize(
    "events",
    [
        [delta("a"), delta(finish="stop"), {"id": "chatcmpl-1", "model": "gpt-4o-2024", "choices": [], "usage": COUNTS}],
        [delta("a", usage=None), delta(finish="stop", usage=None), {"choices": [], "usage": COUNTS}],
        [delta("a"), delta(finish="stop", usage=COUNTS)],
        [delta("a", usage={**COUNTS, "completion_tokens": 1}), delta(finish="stop", usage=COUNTS)],
        [{"choices": [], "prompt_filter_results": []}, delta("a"), delta(finish="stop", usage=COUNTS)],
        [delta("a"), delta(finish="stop", x_groq={"usage": COUNTS})],
    ],
)
@pytest.mark.parametrize("end", ["data: [DONE]\n\n", "", "data: [DONE]  \n\ndata: [DONE]\n\n", ": keepalive\n\n"])
def test_usage_is_found_wherever_a_stream_has_it(events: list[object], end: str) -> None:
    data = stream(*events, end=end)

    assert read(data) == EXPECTED
    assert read(*[data[i : i + 7] for i in range(0, len(data), 7)]) == EXPECTED


def test_a_stream_that_was_cut_says_what_it_can() -> None:
    assert read(stream(delta("a"), end='data: {"id":')) == Usage(model="gpt-4o-2024", response_id="chatcmpl-1")


def test_several_choices_have_several_reasons() -> None:
    both = [delta(finish="stop"), delta(finish="length")]

    assert read(stream(*both)).finish_reasons == ("stop", "length")


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_a_long_stream_is_read_at_its_two_ends(size: int) -> None:
    events = [delta("x" * 100) for _ in range(2000)] + [delta(finish="stop"), {"choices": [], "usage": COUNTS}]
    data = stream(*events)
    assert len(data) > HEAD_BYTES + TAIL_BYTES

    assert read(*[data[i : i + size] for i in range(0, len(data), size)]) == EXPECTED


@pytest.mark.parametrize("before", [0, 20, 100, 200])
def test_what_comes_early_in_a_stream_is_read_too(before: int) -> None:
    texts = [delta("x" * 50) for _ in range(100)]
    first = {**delta(finish="length"), "choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}
    events = [*texts[:before], first, *texts, delta(finish="stop", usage=COUNTS), *texts[: before // 2]]
    usage = read(stream(*events))

    assert usage == Usage("gpt-4o-2024", 10, 5, 4, 3, ("length", "stop"), "chatcmpl-1")


def test_of_usages_on_every_chunk_the_last_one_counts() -> None:
    events = [delta("x", usage={"prompt_tokens": 10, "completion_tokens": i}) for i in range(300)]

    assert read(stream(*events)).output_tokens == 299


def responses_stream(text: str) -> bytes:
    created = {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "usage": None}}
    done = {"type": "response.completed", "response": {**RESPONSE, "output": [{"content": [{"text": text}]}], "usage": RESPONSE["usage"]}}
    parts = [created, {"type": "response.output_text.delta", "delta": text}, done]
    return "".join(f"event: {part['type']}\ndata: {json.dumps(part)}\n\n" for part in parts).encode()


def test_a_responses_stream_is_read() -> None:
    assert read(responses_stream("hi")) == Usage("gpt-5", 10, 5, 4, 3, ("completed",), "resp_1")


def test_a_last_event_that_is_longer_than_what_is_kept_still_says_its_usage() -> None:
    usage = read(responses_stream("long " * TAIL_BYTES))

    assert (usage.model, usage.input_tokens, usage.output_tokens, usage.cached_tokens) == ("gpt-5", 10, 5, 4)


@pytest.mark.parametrize("size", [1000, 65_536, 10_000_000])
def test_a_long_plain_reply_is_read_at_its_two_ends(size: int) -> None:
    reply = {**CHAT, "choices": [{"message": {"content": 'say "usage": {"prompt_tokens": 99} ' * 20_000}, "finish_reason": "stop"}]}
    reply["usage"] = reply.pop("usage")
    data = json.dumps(reply).encode()

    assert read(*[data[i : i + size] for i in range(0, len(data), size)]) == EXPECTED


def test_a_long_embedding_reply_names_its_model_last() -> None:
    reply = {
        "object": "list",
        "data": [{"embedding": "QUJD" * 100_000}],
        "model": "text-embedding-3",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }

    assert read(json.dumps(reply).encode()) == Usage("text-embedding-3", 8)


def test_what_is_kept_is_bounded() -> None:
    reader = ReplyReader()
    for _ in range(1000):
        reader.feed(bytes(50_000))
    reader.feed(bytes(10_000_000))

    assert sum(map(len, reader._head)) + sum(map(len, reader._tail)) < HEAD_BYTES + 3 * TAIL_BYTES + 50_000


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        (b"gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"br", brotli.compress),
        (b"zstd", zstandard.ZstdCompressor().compress),
        (b"identity", bytes),
        (b"GZIP", gzip.compress),
    ],
)
def test_a_compressed_reply_is_read(encoding: bytes, pack: object) -> None:
    assert callable(pack)
    plain, events = pack(json.dumps(CHAT).encode()), pack(stream(delta("a"), delta(finish="stop", usage=COUNTS)))

    assert read(plain, encoding=encoding) == EXPECTED
    assert read(*[events[i : i + 5] for i in range(0, len(events), 5)], encoding=encoding) == EXPECTED


def test_an_unknown_or_a_broken_encoding_says_nothing() -> None:
    assert read(b"xyz", encoding=b"snappy") == Usage()
    assert read(b"no gzip", encoding=b"gzip") == Usage()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"5",
        b'"x"',
        b"null",
        b'{"usage":5,"model":7,"choices":{},"id":[]}',
        b'{"usage":{"prompt_tokens":"x","completion_tokens":-1,"prompt_tokens_details":[]},"choices":[5,{"finish_reason":null}]}',
        b'{"usage":{"prompt_tokens":true}}',
        b'data: {"choices":\n\ndata: 5\n\ndata: [DONE]\n\n',
        b"\xff\xfe\x00",
        b"data: \xff\n\n",
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"usage":{' * 20_000,
    ],
)
def test_no_reply_is_too_strange(data: bytes) -> None:
    assert read(data) == Usage()


def test_an_error_reply_says_nothing() -> None:
    assert read(b'{"error":{"message":"no","type":"x","param":null,"code":null}}') == Usage()
    assert read(b'event: error\ndata: {"error":{"message":"no"}}\n\n') == Usage()


@pytest.mark.parametrize("size", [1, 100, 5_000, 300_000])
def test_what_came_last_is_kept_whatever_came_before(size: int) -> None:
    reader = ReplyReader()
    whole = b"".join(b"%07d" % number for number in range(size // 7 + 1))
    for at in range(0, len(whole), 100):
        reader.feed(whole[at : at + 100])
    late, kept = reader.late(), reader.kept()

    assert whole.endswith(late)
    assert len(late) >= min(len(whole), 2048)
    assert kept.endswith(late)
    assert kept.startswith(whole[:100])
