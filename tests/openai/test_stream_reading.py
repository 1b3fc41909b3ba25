from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.body import Body
from proxy.core.faults import Failure, Fault
from proxy.core.sse import events
from proxy.openai.answers import Said, Tokens
from proxy.openai.deltas import DONE as DONE_BIT
from proxy.openai.deltas import FINISH
from proxy.openai.encoding import unpacker
from proxy.openai.endpoints import Endpoint
from proxy.openai.events import stream_of
from proxy.openai.stream_reading import HALF_BYTES, StreamReading
from tests.scripted import DONE, ROLE, STOP, event

FORMS = (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES)
CUT = Failure(Fault.TRUNCATED, "openai", "the connection broke")
SAID = Said("gpt-4o", "", usage=Tokens(5, 2))
KEEPALIVE = b": keepalive\n\n"


class Time:
    """The clock of a test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def streamed(endpoint: Endpoint, *pieces: str, ends: bool = True) -> list[bytes]:
    """The chunks of a good stream: an opening, pieces, and the closing."""
    said = stream_of(endpoint, SAID)
    chunks = [said.opening(), *map(said.text, pieces)]
    if ends:
        chunks += [said.closing(SAID, True), said.done]
    return [chunk for chunk in chunks if chunk]


def reading_of(
    endpoint: Endpoint = Endpoint.CHAT, now: Callable[[], float] = lambda: 1.0, encoding: bytes = b""
) -> tuple[StreamReading, Body, list[StreamReading]]:
    """A reading at work, its body, and where it is put at its clean end."""
    over: list[StreamReading] = []
    reading = StreamReading(endpoint, now, "openai", unpacker(encoding) if encoding else None, over.append)
    body = Body()
    body.attach(reading)
    return reading, body, over


def fed(chunks: Iterable[bytes], endpoint: Endpoint = Endpoint.CHAT, end: bool = True) -> tuple[StreamReading, Body]:
    reading, body, _ = reading_of(endpoint)
    for chunk in chunks:
        body.feed(chunk)
    if end:
        body.end()
    return reading, body


def said_last(reading: StreamReading, body: Body) -> dict[str, object]:
    """The JSON of the error event that follows what has left."""
    assert body.error is not None
    words = reading.last_words(body.error)
    assert words is not None
    (last,) = list(events(words))[-1:]
    assert last.data is not None
    said: dict[str, object] = json.loads(last.data)
    return said


def shredded(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(at) if a < b]


# What is known, and when


@pytest.mark.parametrize("endpoint", FORMS)
def test_the_first_content_is_known_when_its_event_is_whole(endpoint: Endpoint) -> None:
    time = Time()
    reading, body, _ = reading_of(endpoint, time)
    opening, *rest = streamed(endpoint, "", "Hel", "lo")
    body.feed(opening)
    if endpoint is Endpoint.COMPLETIONS:
        body.feed(KEEPALIVE)
    before = (reading.is_known, reading.content_at)
    time.now = 105.0
    chunk = next(chunk for chunk in rest if b"Hel" in chunk)
    body.feed(chunk[:-1])
    half = reading.is_known
    body.feed(chunk[-1:])

    assert before == (False, None)
    assert not half
    assert (reading.is_known, reading.began_at, reading.content_at) == (True, 100.0, 105.0)


@pytest.mark.parametrize(
    "first", [ROLE, KEEPALIVE, b"event: ping\ndata: {}\n\n", b'data: {"choices":[]}\n\n', b"data:\n\n", b"\n\n", b"id: 1\n\n"]
)
def test_what_is_no_content_tells_nothing(first: bytes) -> None:
    reading, body, _ = reading_of()
    body.feed(first)

    assert not reading.is_known
    assert reading.content_at is None
    assert body.take() == first


@pytest.mark.parametrize("endpoint", FORMS)
@pytest.mark.parametrize("spaced", [False, True])
def test_content_moves_its_time_and_all_else_does_not(endpoint: Endpoint, spaced: bool) -> None:
    time = Time()
    reading, body, _ = reading_of(endpoint, time)
    for chunk in streamed(endpoint, "One", " two", ' "three": "" ', "\n", ends=False):
        if spaced:
            chunk = b"".join(b"data: " + json.dumps(json.loads(one.data or b"")).encode() + b"\n\n" for one in events(chunk))
        time.now += 1
        at = time.now
        body.feed(chunk)
        moved = reading.content_at == at
        time.now += 1
        body.feed(KEEPALIVE + b"event: ping\ndata: {}\n\n")
        body.feed(b'data: {"choices": [{"delta": {"content": ""}}], "delta": "", "text": ""}\n\n')
        body.feed(b'data: {"choices":[{"delta":{"content":""}}],"delta":"","text":""}\n\n')

        assert moved == any(word in chunk for word in (b"One", b"two", b"three", b"\\n"))
        assert reading.content_at in (None, at)


def test_content_of_another_sort_is_content_too() -> None:
    time = Time()
    reading, body, _ = reading_of(now=time)
    for chunk in (
        event(reasoning_content="Hm"),
        event("Hi"),
        event(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]),
        event(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
        event(refusal="No"),
        event("again") + event(""),
        event("") + event("again"),
    ):
        time.now += 1
        body.feed(chunk)

        assert reading.content_at == time.now


@pytest.mark.parametrize("first", [STOP, DONE, b"data: [DONE]  \n\n", b"data:[DONE]\r\n\r\n"])
def test_an_end_without_content_is_known(first: bytes) -> None:
    reading, body, over = reading_of()
    body.feed(first)
    known = reading.is_known
    body.end()

    assert known
    assert reading.finished
    assert not reading.error
    assert over == [reading]


@pytest.mark.parametrize(
    "first",
    [
        b'data: {"error": {"message": "no"}}\n\n',
        b'event: error\ndata: {"message": "no"}\n\n',
        b'data: {"error": "no"}\r\n\r\n',
    ],
)
@pytest.mark.parametrize("endpoint", FORMS)
def test_an_error_first_is_known(first: bytes, endpoint: Endpoint) -> None:
    reading, body = fed([first], endpoint)

    assert reading.is_known
    assert reading.error
    assert body.error is None


@pytest.mark.parametrize("first", [b"data: nonsense\n\n", b"data: [1]\n\n", b"data: 7\n\n", b'data: {"choices": [\n\n'])
def test_data_that_no_sdk_can_read_is_bad(first: bytes) -> None:
    reading, body = fed([first])

    assert reading.is_known
    assert reading.bad
    assert body.error is None


def test_what_only_lenient_parsers_read_is_not_bad() -> None:
    reading, _ = fed([b'data: {"choices": [{"delta": {"content": "\\ud800"}, "logprob": NaN}]}\n\n', DONE])

    assert not reading.bad
    assert reading.content_at is not None


@pytest.mark.parametrize(
    ("data", "is_json"), [(b'{"id": "x"}', True), (b" [1]", True), (b"<html>\n\n</html>", False), (b"\xef\xbb\xbf{}", True)]
)
def test_what_is_no_stream_of_events_passes_at_once(data: bytes, is_json: bool) -> None:
    reading, body, over = reading_of()
    body.feed(data[:4])
    body.feed(data[4:])
    out = body.take()
    body.end()

    assert out == data
    assert (reading.is_known, reading.is_events, reading.is_json) == (True, False, is_json)
    assert reading.last_words(CUT) is None
    assert over == []


def test_text_that_is_no_event_is_garbage() -> None:
    assert fed([b"upstream connect error\n\n"])[0].is_garbage
    assert fed([b"upstream connect error"])[0].is_garbage
    assert not fed([KEEPALIVE])[0].is_garbage
    assert not fed([b"\xef\xbb\xbf", DONE])[0].is_garbage


# Bytes


@given(cuts=st.lists(st.integers(0, 100_000), max_size=40), endpoint=st.sampled_from(FORMS), line=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_chunking_of_a_good_stream_leaves_in_whole_events_and_says_the_same(cuts: list[int], endpoint: Endpoint, line: bytes) -> None:
    chunks = [KEEPALIVE, *streamed(endpoint, "Grüße", '"content":""', "\N{GRINNING FACE}")]
    data = b"".join(chunks).replace(b"\n", line)
    reading, body, over = reading_of(endpoint)
    left = []
    for chunk in shredded(data, cuts):
        body.feed(chunk)
        left.append(body.take())
        assert not b"".join(left).rstrip(b"\r\n") or data.startswith(b"".join(left))
        assert b"".join(left).endswith((line * 2, b"")) or b"".join(left) == b""
    body.end()

    assert b"".join(left) + body.take() == data
    assert body.ended
    assert over == [reading]
    assert reading.content_at is not None
    assert reading.finished
    assert not reading.error
    if endpoint is not Endpoint.RESPONSES:
        assert list(reading.oddities.found(bool(reading.said & DONE_BIT), bool(reading.said & FINISH), not reading.tells_usage)) == []
    assert reading.usage().output_tokens == 2


@given(cut=st.integers(0, 100_000), cuts=st.lists(st.integers(0, 100_000), max_size=20), endpoint=st.sampled_from(FORMS))
def test_any_cut_leaves_whole_events_and_an_error_event_unless_it_is_done(cut: int, cuts: list[int], endpoint: Endpoint) -> None:
    data = b"".join(streamed(endpoint, "Grüße", "\N{GRINNING FACE}", '"content":""'))
    cut %= len(data) + 1
    reading, body, over = reading_of(endpoint)
    for chunk in shredded(data[:cut], cuts):
        body.feed(chunk)
    body.fail(CUT)
    left = body.take()
    words = reading.last_words(CUT)
    is_done = b"[DONE]" in left or b"response.completed" in left

    assert data.startswith(left)
    assert left == b"" or left.endswith(b"\n\n")
    assert len(data[:cut]) - len(left) < 4096
    assert over == []
    if cut and reading.is_events:
        assert (words is None) == is_done
    if words is not None:
        ended = [json.loads(each.data) for each in events(left + words) if each.data]
        assert ended[-1]["error"]["code"] == "upstream_truncated"
        if endpoint is Endpoint.RESPONSES:
            assert [each["sequence_number"] for each in ended] == list(range(len(ended)))


@given(cuts=st.lists(st.integers(0, 100_000), max_size=20), data=st.binary(max_size=300))
def test_nothing_is_lost_of_what_is_no_stream_at_all(cuts: list[int], data: bytes) -> None:
    reading, body = fed(shredded(data, cuts))

    left = body.take()
    assert left == data or body.error is not None
    assert data.startswith(left)
    assert not reading.blind


def test_a_last_event_without_its_blank_line_counts() -> None:
    reading, body, over = reading_of()
    body.feed(event("Hi"))
    body.feed(b"data: [DONE]")
    body.end()

    assert body.take() == event("Hi") + b"data: [DONE]"
    assert over == [reading]


def test_an_event_too_long_to_wait_for_leaves_in_parts() -> None:
    long = event("x" * 3 * HALF_BYTES)
    reading, body, _ = reading_of()
    body.feed(long[: HALF_BYTES // 2])
    nothing = body.take()
    body.feed(long[HALF_BYTES // 2 : 2 * HALF_BYTES])
    part = body.take()
    amid = reading.last_words(CUT)
    body.feed(long[2 * HALF_BYTES :])
    whole = body.take()
    after = reading.last_words(CUT)

    assert nothing == b""
    assert part + whole == long
    assert reading.content_at is not None
    assert amid is None
    assert after is not None


@pytest.mark.parametrize("endpoint", FORMS)
def test_an_end_in_an_event_too_long_to_wait_for_is_an_end(endpoint: Endpoint) -> None:
    said = stream_of(endpoint, SAID)
    chunks = [said.opening(), said.text("x")]
    long = b"y" * 2 * HALF_BYTES
    whole = {"type": "response.completed", "sequence_number": 9, "response": {"output": long.decode()}}
    if endpoint is not Endpoint.RESPONSES:
        whole = {"choices": [{"index": 0, "delta": {"content": long.decode()}, "text": "", "finish_reason": "stop"}]}
    chunks.append(b"data: " + json.dumps(whole).encode() + b"\n\n")
    data = b"".join(chunks)
    reading, body = fed(shredded(data, range(0, len(data), 10_000)), endpoint)

    assert body.error is None
    assert body.take() == data
    assert reading.finished


# Ends


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_clean_end_that_says_nothing_of_an_end_breaks_the_body(endpoint: Endpoint) -> None:
    chunks = streamed(endpoint, "Hel", "lo", ends=False)
    reading, body = fed(chunks, endpoint)

    assert body.error is not None
    assert (body.error.fault, body.error.where) == (Fault.TRUNCATED, "openai")
    assert body.take() == b"".join(chunks)
    assert said_last(reading, body)["error"] == {
        "message": "truncated: the stream ended with neither a finish reason nor its closing event",
        "type": "chassis_error",
        "param": None,
        "code": "upstream_truncated",
    }


def test_a_last_event_that_lacks_its_blank_line_is_said_before_the_error() -> None:
    last = event("lo")[:-2]
    reading, body = fed([event("Hel"), last])
    assert body.error is not None
    words = reading.last_words(body.error)

    assert words is not None
    assert words.startswith(last + b"\n\ndata: {")
    assert len(list(events(words))) == 2


def test_half_an_event_at_the_end_is_not() -> None:
    reading, body = fed([event("Hel"), event("lo")[:-9]])
    assert body.error is not None
    words = reading.last_words(body.error)

    assert words is not None
    assert len(list(events(words))) == 1
    assert body.take() == event("Hel")


@pytest.mark.parametrize(
    "last",
    [
        [event("Hi") + STOP],
        [event("Hi") + DONE],
        [event("Hi"), STOP],
        [event("Hi") + STOP, KEEPALIVE * 20],
        [event("Hi") + STOP + b'data: {"choices": [], "obfuscation": "%b"}\n\n' % (b"x" * 3000)],
        [event("Hi", "stop")],
        [event("Hi") + b'data: {"error": {"message": "no"}}\n\n'],
        [event("Hi"), b'event: error\ndata: {"message": "no"}\n\n'],
        [event("Hi") + b'event: error\ndata: {"error": {"message": "no"}}\n\n'],
    ],
)
def test_an_end_in_one_chunk_with_content_is_an_end(last: list[bytes]) -> None:
    reading, body = fed([event("One"), *last])

    assert body.error is None
    assert body.ended
    assert reading.finished or reading.error


@pytest.mark.parametrize("last", [DONE, event("Hi") + DONE, b'data: {"error": {"message": "no"}}\n\n', b'event: error\ndata: {"x": 1}\n\n'])
def test_nothing_is_said_after_an_end_or_an_error_of_its_own(last: bytes) -> None:
    reading, body = fed([event("One"), last], end=False)
    body.fail(CUT)

    assert reading.last_words(CUT) is None


def test_text_that_looks_like_an_end_is_none() -> None:
    text = 'data: [DONE]\n\ndata: [DONE] "finish_reason":"stop" "type":"response.completed" {"error":{}}'
    reading, body = fed([event("One"), event(text)])

    assert body.error is not None
    assert reading.last_words(CUT) is not None


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.TRUNCATED, Fault.INVALID, Fault.CONNECT])
@pytest.mark.parametrize("endpoint", FORMS)
def test_the_last_words_say_what_broke(fault: Fault, endpoint: Endpoint) -> None:
    reading, body = fed(streamed(endpoint, "Hi", ends=False), endpoint, end=False)
    body.fail(Failure(fault, "openai", "why"))
    said = said_last(reading, body)
    code = {"timeout": "upstream_timeout", "truncated": "upstream_truncated", "invalid": "invalid_reply"}.get(fault, "upstream_unavailable")

    assert said["error"] == {"message": f"{fault.value}: why", "type": "chassis_error", "param": None, "code": code}
    if endpoint is Endpoint.RESPONSES:
        assert (said["type"], said["code"], said["message"], said["param"]) == ("error", code, f"{fault.value}: why", None)


def test_a_stream_of_responses_that_has_no_numbers_yet_begins_at_none() -> None:
    reading, body = fed([KEEPALIVE], Endpoint.RESPONSES, end=False)
    body.fail(CUT)

    assert said_last(reading, body)["sequence_number"] == 0


# Encoded


PACKED = {b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("encoding", PACKED)
@given(cuts=st.lists(st.integers(0, 2_000), max_size=10))
def test_an_encoded_stream_is_read_as_a_copy_and_leaves_as_it_came(encoding: bytes, cuts: list[int]) -> None:
    data = PACKED[encoding](b"".join(streamed(Endpoint.CHAT, "Hel", "lo")))
    reading, body, over = reading_of(encoding=encoding)
    left = []
    for chunk in shredded(data, cuts):
        body.feed(chunk)
        left.append(body.take())
        assert left[-1] == chunk
    body.end()

    assert reading.content_at is not None
    assert reading.finished
    assert reading.usage().output_tokens == 2
    assert over == [reading]
    assert reading.last_words(CUT) is None


@pytest.mark.parametrize("encoding", PACKED)
def test_what_is_not_what_its_encoding_says_passes_unread(encoding: bytes) -> None:
    data = b"\x00\x01this is no such thing\n\n" * 3
    reading, body, over = reading_of(encoding=encoding)
    body.feed(data)
    body.feed(DONE)
    body.end()

    assert body.take() == data + DONE
    assert reading.blind
    assert reading.is_known
    assert over == []


# Bugs


def test_a_bug_ends_the_reading_and_loses_nothing() -> None:
    seen: list[object] = []
    reading, body, over = reading_of()
    body.on_bug = lambda who, bug: seen.append(bug)
    body.feed(event("One") + event("tw")[:20])
    reading.mark = None  # type: ignore[assignment]
    reading._says = lambda value: 1 // 0
    body.feed(event("tw")[20:])
    body.feed(b"data: nonsense")
    body.end()

    assert body.take() == event("One") + event("tw") + b"data: nonsense"
    assert [type(bug) for bug in seen] == [ZeroDivisionError]
    assert reading.blind
    assert body.error is None
    assert reading.last_words(CUT) is None
    assert over == []
