from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.service import compose
from proxy.core.virtual import run
from proxy.kinds.prime import WHOLE_BYTES, Identity, Prime, unencoded
from proxy.openai.answers import Said, Tokens, whole
from proxy.openai.endpoints import Endpoint
from proxy.openai.events import stream_of
from tests.scripted import (
    DONE,
    JSON,
    ROLE,
    SSE,
    STOP,
    Bugs,
    Ending,
    Received,
    Script,
    Step,
    Upstream,
    a_call,
    chat,
    chat_stream,
    drained,
    error,
    event,
    head,
    stream,
)

PATHS = {Endpoint.CHAT: b"/v1/chat/completions", Endpoint.COMPLETIONS: b"/v1/completions", Endpoint.RESPONSES: b"/v1/responses"}
FORMS = tuple(PATHS)
SAID = Said("gpt-4o", "Hello", usage=Tokens(5, 2))
HTML = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
KEEPALIVE = b": keepalive\n\n"
LONG_S = 900.0
END, CUT = Ending.END, Ending.CUT


@dataclass(slots=True)
class Got:
    """What prime made of a reply. `primed_s`: how long it was held, in virtual time."""

    fault: Fault | None = None
    failure: Failure | None = None
    reply: Reply | None = None
    received: Received | None = None
    primed_s: float = 0.0
    words: bytes | None = None
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def said(self) -> Any:
        """The JSON of its last words."""
        assert self.words is not None
        return json.loads(self.words.rpartition(b"data: ")[2])

    @property
    def data(self) -> bytes:
        assert self.received is not None
        return self.received.data


def primed(script: Script, call: Call | None = None, *, framing: Framing = Framing.CHUNKED) -> Got:
    """Asks once, and reads what comes to its end."""
    call = call or a_call({"model": "gpt-4o"})

    async def go() -> Got:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with Upstream(openai=[script]) as upstream:

            async def framed(call: Call) -> Reply:
                reply = await upstream(call)
                reply.framing = framing
                return reply

            got = Got()
            service = compose([Prime(LoopClock(loop))], framed, Bugs())
            try:
                got.reply = reply = await service(call)
            except Failure as failure:
                got.failure, got.fault = failure.bare(), failure.fault
            else:
                got.fault = reply.fault
                got.primed_s = loop.time() - begun
                speak = reply.last_words
                got.received = await drained(reply)
                if got.received.failure is not None and speak is not None:
                    got.words = speak(got.received.failure)
            got.notes = [(entry.kind, dict(entry.what)) for entry in call.journal.entries]
        return got

    return run(go())


def asking(endpoint: Endpoint = Endpoint.CHAT, **body: Any) -> Call:
    return a_call({"model": "gpt-4o", **body}, path=PATHS[endpoint])


def streaming(endpoint: Endpoint = Endpoint.CHAT, **body: Any) -> Call:
    return asking(endpoint, stream=True, **body)


def good(endpoint: Endpoint, *steps: Step, ends: bool = True) -> list[Step]:
    """The chunks of a stream that says two words, with more steps before its end."""
    said = stream_of(endpoint, SAID)
    chunks: list[Step] = [said.opening(), said.text("Hel"), said.text("lo"), *steps]
    if ends:
        chunks += [said.closing(SAID, True), said.done]
    return [chunk for chunk in chunks if chunk != b""]


def plain(endpoint: Endpoint = Endpoint.CHAT) -> bytes:
    return json.dumps(whole(endpoint, SAID)).encode()


def joined(script: Script) -> bytes:
    return b"".join(step for step in script if isinstance(step, bytes))


# What is good passes as it came


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_good_plain_reply_is_held_to_its_end_and_passes(endpoint: Endpoint) -> None:
    data = plain(endpoint)
    got = primed((head(), 1.0, data[:20], 1.0, data[20:], 1.0, END), asking(endpoint))

    assert (got.fault, got.data, got.primed_s, got.notes) == (None, data, 3.0, [])
    assert got.reply is not None
    assert got.reply.reading.usage().output_tokens == 2


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_good_stream_is_held_to_its_first_content_and_passes(endpoint: Endpoint) -> None:
    opening, *rest = [step for each in good(endpoint) for step in (1.0, each)][1:]
    script = stream(1.0, KEEPALIVE, 1.0, opening, *rest, END)
    got = primed(script, streaming(endpoint))

    assert (got.fault, got.data, got.notes) == (None, joined(script), [])
    assert got.primed_s == (2.0 if endpoint is Endpoint.COMPLETIONS else 3.0)
    assert got.reply is not None
    assert got.reply.reading.usage().finish_reasons != ()


@pytest.mark.parametrize("label", [b"text/plain", b"application/json", b"", b"text/event-stream; charset=utf-8", b"TEXT/EVENT-STREAM"])
@pytest.mark.parametrize("held", [True, False])
def test_a_stream_is_known_by_its_bytes_whatever_its_label(label: bytes, held: bool) -> None:
    call = a_call({"stream": True}, held=held)
    got = primed((head(200, [(b"Content-Type", label)]), ROLE, 1.0, event("Hi"), 1.0, STOP, DONE, END), call)

    assert (got.fault, got.primed_s) == (None, 1.0)
    assert got.reply is not None
    assert got.reply.reading.is_stream


@pytest.mark.parametrize(
    "content",
    [
        {"content": "Hi"},
        {"refusal": "No"},
        {"reasoning": "Hm"},
        {"reasoning_content": "Hm"},
        {"audio": {"data": "AA=="}},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
    ],
)
def test_each_sort_of_content_ends_the_hold(content: dict[str, Any]) -> None:
    assert primed(stream(ROLE, 2.0, event(**content), 5.0, STOP, DONE, END), streaming()).primed_s == 2.0


@pytest.mark.parametrize(
    "end", [[STOP, DONE], [DONE], [event(finish="content_filter"), DONE], [STOP], [b'data: {"choices":[],"usage":{}}\n\n', DONE]]
)
def test_an_answer_of_no_content_is_an_answer(end: list[bytes]) -> None:
    got = primed(stream(ROLE, 1.0, *end, END), streaming())

    assert got.fault is None
    assert got.data == ROLE + b"".join(end)


@pytest.mark.parametrize("endpoint", [Endpoint.RESPONSES])
@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.cancelled"])
def test_a_response_of_no_content_is_one(endpoint: Endpoint, kind: str) -> None:
    end = b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, "response": {}}).encode())

    assert primed(stream(end, END), streaming(endpoint)).fault is None


def test_tool_calls_and_reasoning_of_responses_are_content() -> None:
    item = b'data: {"type": "response.output_item.added", "item": {"type": "function_call", "arguments": ""}}\n\n'
    end = b'data: {"type": "response.completed", "response": {}}\n\n'

    assert primed(stream(1.0, item, 5.0, end, END), streaming(Endpoint.RESPONSES)).primed_s == 1.0


# What is not is a fault


@pytest.mark.parametrize("endpoint", FORMS)
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ((HTML, END), Fault.BAD_REPLY),
        ((END,), Fault.BAD_REPLY),
        ((b"\n", END), Fault.BAD_REPLY),
        ((b"upstream connect error or disconnect", END), Fault.BAD_REPLY),
        ((b'{"error": {"message": "The server is busy", "code": 503}}', END), Fault.BAD_REPLY),
        ((b"\x00\x01\x02\xff" * 20, END), Fault.BAD_REPLY),
        ((b'{"id": "x', CUT), Fault.TRUNCATED),
        ((CUT,), Fault.TRUNCATED),
    ],
)
@pytest.mark.parametrize("label", [b"text/html", b"application/json", b"text/event-stream"])
def test_what_an_endpoint_may_not_send_is_a_fault(endpoint: Endpoint, streams: bool, steps: Script, fault: Fault, label: bytes) -> None:
    got = primed((head(200, [(b"Content-Type", label)]), *steps), asking(endpoint, stream=streams))

    assert got.fault is fault
    assert got.failure is not None or got.data == joined(steps)
    assert not got.notes or (streams and got.notes[0][1]["what"] == "json_for_stream" and b"{" in joined(steps))


@pytest.mark.parametrize("endpoint", FORMS)
def test_an_error_event_first_is_a_bad_reply_that_passes_as_it_came(endpoint: Endpoint) -> None:
    said = stream_of(endpoint, SAID)
    script = stream(1.0, said.opening(), said.error("Busy", "overloaded"), 5.0, END)
    got = primed(script, streaming(endpoint))

    assert (got.fault, got.data, got.primed_s) == (Fault.BAD_REPLY, joined(script), 1.0)


def test_a_failed_response_is_a_bad_reply() -> None:
    failed = b'event: response.failed\ndata: {"type": "response.failed", "response": {"error": {"code": "server_error"}}}\n\n'

    plain = b'{"object": "response", "status": "failed", "error": {"code": "x"}}'

    assert primed(stream(failed, END), streaming(Endpoint.RESPONSES)).fault is Fault.BAD_REPLY
    assert primed((head(), plain, END), asking(Endpoint.RESPONSES)).fault is Fault.BAD_REPLY


@pytest.mark.parametrize("first", [b"data: garbage\n\n", b"garbage\n\n", b"data: {\n\n", b"<html>\n\n"])
def test_a_garbled_stream_is_a_bad_reply(first: bytes) -> None:
    got = primed(stream(first, 1.0, END), streaming())

    assert (got.fault, got.data) == (Fault.BAD_REPLY, first)


@pytest.mark.parametrize("endpoint", FORMS)
def test_a_stream_for_a_plain_request_is_a_bad_reply_known_at_its_first_content(endpoint: Endpoint) -> None:
    script = stream(*good(endpoint), LONG_S, END)
    for label in (SSE, JSON):
        got = primed((head(200, label), *script[1:]), asking(endpoint))

        assert (got.fault, got.primed_s, got.data) == (Fault.BAD_REPLY, 0.0, joined(script))
        assert got.notes[0] == ("oddity", {"upstream": "openai", "what": "stream_for_json"})


def test_json_for_a_stream_is_a_bad_reply() -> None:
    got = primed(chat("Hi"), streaming())

    assert got.fault is Fault.BAD_REPLY
    assert got.notes == [("oddity", {"upstream": "openai", "what": "json_for_stream"})]


def test_where_nobody_knows_what_was_asked_either_is_right() -> None:
    for script in (chat("Hi"), chat_stream("Hi")):
        assert primed(script, a_call({"stream": True}, held=False)).fault is None
        assert primed(script, a_call(b"{not json")).fault is None


@pytest.mark.parametrize("endpoint", FORMS)
@pytest.mark.parametrize("last", [CUT, END])
def test_a_stream_that_breaks_or_ends_before_its_content_is_truncated(endpoint: Endpoint, last: Ending) -> None:
    opening = stream_of(endpoint, SAID).opening() or b'data: {"choices": [{"text": "", "finish_reason": null}]}\n\n'
    got = primed(stream(KEEPALIVE, opening, 1.0, last), streaming(endpoint))

    assert (got.fault, got.failure is not None) == (Fault.TRUNCATED, True)


@pytest.mark.parametrize("steps", [(END,), (KEEPALIVE, 1.0, END), (b"\n\n", END), (b"event: ping\n\n", END)])
def test_a_stream_of_nothing_is_no_reply_at_all(steps: Script) -> None:
    got = primed(stream(*steps), streaming())

    assert got.failure is not None
    assert (got.fault, got.failure.told) == (Fault.BAD_REPLY, "openai: the stream ended without an event")


def test_json_that_stops_is_truncated_however_its_body_ends() -> None:
    assert primed((head(), plain()[:-9], END)).fault is Fault.TRUNCATED
    assert primed((head(), plain()[:-9], CUT)).fault is Fault.TRUNCATED


# Errors


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (error(400, "maximum context length is 8192 tokens", "context_length_exceeded"), Fault.CONTEXT_WINDOW),
        (error(400, "filtered", "content_filter"), Fault.CONTENT_FILTER),
        (error(400, "Unknown parameter"), None),
        (error(401, "Incorrect API key"), Fault.AUTH),
        (error(402, "insufficient balance"), Fault.QUOTA),
        (error(404, "The model `x` does not exist", "model_not_found"), Fault.MODEL_MISSING),
        (error(408), Fault.TIMEOUT),
        (error(409), None),
        (error(413, "prompt is too long"), Fault.CONTEXT_WINDOW),
        (error(422), None),
        (error(429), Fault.RATE_LIMITED),
        (error(429, "You exceeded your current quota", "insufficient_quota"), Fault.QUOTA),
        (error(500), Fault.SERVER_ERROR),
        (error(503), Fault.OVERLOADED),
        (error(529), Fault.OVERLOADED),
        ((head(502, [(b"Content-Type", b"text/html")]), HTML, END), Fault.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_an_error_is_told_by_its_status_and_its_text(script: Script, fault: Fault | None, streams: bool) -> None:
    at, data, end = script
    got = primed((at, data[:5], 1.0, data[5:], end), asking(stream=streams))

    assert (got.fault, got.data, got.primed_s) == (fault, joined(script), 1.0)


def test_a_long_error_is_held_to_its_first_64_kib() -> None:
    data = b"x" * 40_000
    got = primed((head(500), data, 1.0, data, 1.0, data, END))

    assert (got.fault, got.primed_s, got.data) == (Fault.SERVER_ERROR, 1.0, data * 3)


@pytest.mark.parametrize(
    ("status", "fault"), [(401, Fault.AUTH), (429, Fault.RATE_LIMITED), (503, Fault.OVERLOADED), (422, Fault.TRUNCATED)]
)
def test_an_error_that_breaks_off_keeps_its_head_and_its_break(status: int, fault: Fault) -> None:
    got = primed((head(status, [*JSON, (b"retry-after", b"7")]), b'{"error": {"mess', 1.0, CUT))

    assert got.fault is fault
    assert got.received is not None
    assert (got.received.status, got.received.headers[-1], got.data) == (status, (b"retry-after", b"7"), b'{"error": {"mess')
    assert got.received.failure is not None
    assert got.words is None


# What is never held or judged


@pytest.mark.parametrize("status", [100, 101, 204, 205, 301, 304, 307])
def test_what_has_no_answer_is_not_looked_at(status: int) -> None:
    assert primed((head(status), LONG_S, END)).primed_s == 0.0


def test_an_answer_to_head_is_not_looked_at() -> None:
    got = primed((head(404), END), a_call(method=b"HEAD", path=b"/v1/models"))

    assert got.fault is None


@pytest.mark.parametrize(
    ("method", "path", "label"),
    [
        (b"GET", b"/v1/files/f-1/content", b"application/octet-stream"),
        (b"GET", b"/v1/files/f-1/content", b"text/html"),
        (b"POST", b"/v1/audio/speech", b"audio/mpeg"),
        (b"POST", b"/v1/audio/transcriptions", b"text/plain"),
        (b"POST", b"/v1/images/generations", b"image/png"),
        (b"POST", b"/v1/images/generations", b"text/event-stream"),
        (b"GET", b"/anything", b"text/html"),
        (b"POST", b"/v1/threads/t-1/runs", b"text/event-stream"),
        (b"POST", b"/api/chat", b"application/json"),
    ],
)
def test_files_sounds_images_and_what_is_unknown_pass_at_once(method: bytes, path: bytes, label: bytes) -> None:
    call = a_call({"model": "x"} if method == b"POST" else None, method=method, path=path)
    got = primed((head(200, [(b"Content-Type", label)]), b"<x", LONG_S, b"y", END), call)

    assert (got.fault, got.primed_s, got.data, got.notes) == (None, 0.0, b"<xy", [])


def test_json_of_a_length_is_awaited_everywhere_but_not_judged_where_nothing_is_known() -> None:
    at = head(200, [*JSON, (b"Content-Length", b"9")])
    call = a_call({"prompt": "x"}, path=b"/v1/images/generations")

    assert primed((at, b"<html", 1.0, b"more", END), call, framing=Framing.LENGTH).fault is None
    assert primed((at, b"<html", 1.0, CUT), call, framing=Framing.LENGTH).fault is Fault.TRUNCATED


def test_a_background_stream_is_not_held_but_read() -> None:
    got = primed(stream(LONG_S, *good(Endpoint.RESPONSES, ends=False), CUT), streaming(Endpoint.RESPONSES, background=True))

    assert got.primed_s == 0.0
    assert got.said["code"] == "upstream_truncated"


def test_a_large_reply_passes_from_its_head_on() -> None:
    large = head(200, [*JSON, (b"Content-Length", b"%d" % (WHOLE_BYTES + 1))])
    got = primed((large, LONG_S, b"{" + b" " * (WHOLE_BYTES - 1) + b"}", END), framing=Framing.LENGTH)

    assert (got.fault, got.primed_s) == (None, 0.0)


def test_one_that_turns_out_large_passes_from_there_on() -> None:
    part = b'{"x":"' + b"x" * (WHOLE_BYTES // 2)
    got = primed((head(), part, 1.0, part, 1.0, part, END))

    assert (got.fault, got.primed_s, got.data) == (None, 1.0, part * 3)


@pytest.mark.parametrize("filler", [KEEPALIVE, ROLE])
def test_a_stream_without_content_passes_after_64_kib(filler: bytes) -> None:
    fillers: list[Step] = [filler * (8192 // len(filler) + 1), 1.0] * 20
    got = primed(stream(*fillers, event("Hi"), STOP, DONE, END), streaming())

    assert got.fault is None
    assert got.primed_s == 7.0


def test_lists_of_models_and_embeddings_are_judged() -> None:
    models = a_call(method=b"GET", path=b"/v1/models")
    embeddings = a_call({"input": "x"}, path=b"/v1/embeddings")

    assert primed((head(), b'{"data": []}', END), models).fault is None
    assert primed((head(), b'[{"id": "m"}]', END), models).fault is None
    assert primed((head(), HTML, END), a_call(method=b"GET", path=b"/v1/models")).fault is Fault.BAD_REPLY
    assert primed((head(), b'{"data": []}', END), embeddings).fault is None
    assert primed((head(), b'{"error": "no"}', END), a_call({"input": "x"}, path=b"/v1/embeddings")).fault is Fault.BAD_REPLY


# After the commit


@pytest.mark.parametrize("endpoint", FORMS)
@pytest.mark.parametrize("last", [CUT, END])
def test_a_stream_that_stops_after_its_content_ends_with_an_error_event(endpoint: Endpoint, last: Ending) -> None:
    script = stream(*good(endpoint, ends=False), 1.0, last)
    got = primed(script, streaming(endpoint))

    assert (got.fault, got.data) == (None, joined(script))
    assert got.received is not None
    assert got.received.failure is not None
    assert got.received.failure.fault is Fault.TRUNCATED
    assert got.said["error"]["code"] == "upstream_truncated"
    if endpoint is Endpoint.RESPONSES:
        numbers = [json.loads(line[6:])["sequence_number"] for line in got.data.split(b"\n") if line.startswith(b"data:")]
        assert [*numbers, got.said["sequence_number"]] == list(range(len(numbers) + 1))


@given(cuts=st.lists(st.integers(1, 2000), max_size=30), endpoint=st.sampled_from(FORMS), cut=st.integers(1, 3000))
def test_wherever_a_stream_breaks_the_app_hears_whole_events_and_then_an_error(cuts: list[int], endpoint: Endpoint, cut: int) -> None:
    data = b"".join(step for step in good(endpoint) if isinstance(step, bytes))
    cut = min(cut, len(data))
    at = sorted({0, cut, *(each for each in cuts if each < cut)})
    steps: list[Step] = [step for a, b in pairwise(at) for step in (data[a:b], 0.5)]
    got = primed(stream(*steps, CUT), streaming(endpoint))
    first_content = data.index(b"\n\n", data.index(b"Hel")) + 2

    assert (got.failure is not None) == (cut < first_content)
    if got.failure is not None:
        assert got.fault is Fault.TRUNCATED
        return
    assert data.startswith(got.data)
    assert got.data.endswith(b"\n\n")
    is_done = b"[DONE]" in got.data or b"response.completed" in got.data
    assert (got.words is None) == is_done


def test_an_error_event_after_content_is_the_streams_own_end() -> None:
    own = b'data: {"error": {"message": "overheated"}}\n\n'
    clean = primed(stream(ROLE, event("Hi"), 1.0, own, END), streaming())
    broken = primed(stream(ROLE, event("Hi"), 1.0, own, CUT), streaming())

    assert (clean.fault, clean.received and clean.received.failure, clean.notes) == (None, None, [])
    assert broken.words is None


# Oddities


@pytest.mark.parametrize(
    ("end", "what"),
    [
        ([STOP], ["no_done"]),
        ([DONE], ["no_finish_reason"]),
        ([STOP, DONE], []),
        ([event(tool_calls=[{"index": 0, "id": "a"}]), event(tool_calls=[{"index": 0, "id": "b"}]), STOP, DONE], ["repeated_tool_index"]),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_what_is_odd_passes_and_is_noted(end: list[bytes], what: list[str], together: bool) -> None:
    chunks = [ROLE, event("Hi"), b"".join(end)] if together else [ROLE, event("Hi"), *end]
    got = primed(stream(*chunks, END), streaming())

    assert (got.fault, got.data) == (None, b"".join(chunks))
    assert [note["what"] for kind, note in got.notes if kind == "oddity" and note["upstream"] == "openai"] == what


def test_usage_that_was_asked_for_is_missed() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    asked = {"stream_options": {"include_usage": True}}

    assert [note["what"] for _, note in primed(stream(ROLE, event("Hi"), STOP, DONE, END), streaming(**asked)).notes] == ["no_usage"]
    assert primed(stream(ROLE, event("Hi"), STOP, usage, DONE, END), streaming(**asked)).notes == []
    assert primed(stream(ROLE, event("Hi"), STOP, DONE, END), streaming(stream_options={"include_usage": False})).notes == []


# Encodings


def test_what_is_read_is_asked_for_unencoded_in_the_place_of_what_the_app_said() -> None:
    headers = [(b"Host", b"x"), (b"accept-encoding", b"gzip, br"), (b"X-After", b""), (b"Accept-Encoding", b"zstd")]
    call = a_call({"stream": True}, headers=headers)

    async def go() -> list[Call]:
        asked = []
        for layer in (Identity(), Prime(LoopClock(asyncio.get_running_loop()))):
            with Upstream(openai=[chat_stream("Hi")]) as upstream:
                await drained(await compose([layer], upstream, Bugs())(call))
            asked.append(upstream.asked[0].call)
        return asked

    for asked in run(go()):
        assert asked.request.headers == [(name, b"identity" if b"ncod" in name else value) for name, value in headers]
        assert asked.payload is call.payload
    assert call.request.headers == headers


@pytest.mark.parametrize("headers", [[], [(b"Host", b"x")], [(b"Accept-Encoding", b"identity")]])
def test_a_request_that_asks_for_no_encoding_goes_as_it_came(headers: list[tuple[bytes, bytes]]) -> None:
    call = a_call({}, headers=headers)

    assert unencoded(call) is call


def test_what_is_not_read_may_come_encoded() -> None:
    call = a_call({}, path=b"/v1/audio/speech", headers=[(b"Accept-Encoding", b"gzip")])

    assert unencoded(call) is call


@pytest.mark.parametrize(
    ("data", "fault"), [(plain(), None), (HTML, Fault.BAD_REPLY), (b'{"error": "no"}', Fault.BAD_REPLY), (plain()[:-5], Fault.TRUNCATED)]
)
def test_a_plain_reply_that_came_encoded_is_read_as_a_copy(data: bytes, fault: Fault | None) -> None:
    packed = gzip.compress(data)
    got = primed((head(200, [*JSON, (b"Content-Encoding", b"GZIP ")]), packed, END))

    assert (got.fault, got.data) == (fault, packed)


def test_a_stream_that_came_encoded_is_read_as_a_copy_and_its_cut_stays_one() -> None:
    at = head(200, [*SSE, (b"Content-Encoding", b"gzip")])
    packed = gzip.compress(b"".join(step for step in chat_stream("Hi")[1:] if isinstance(step, bytes)))
    error_first = gzip.compress(b'data: {"error": {"message": "no"}}\n\n')
    good = primed((at, packed[:30], 1.0, packed[30:], END), streaming())
    cut = primed((at, packed[:-6], 1.0, CUT), streaming())

    assert (good.fault, good.data, good.notes) == (None, packed, [])
    assert primed((at, error_first, END), streaming()).fault is Fault.BAD_REPLY
    assert (cut.data, cut.words) == (packed[:-6], None)


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"deflate"])
def test_each_encoding_that_is_known_is_read(encoding: bytes) -> None:
    packed = {b"br": brotli.compress, b"zstd": zstandard.compress, b"deflate": zlib.compress}[encoding](HTML)

    assert primed((head(200, [*JSON, (b"Content-Encoding", encoding)]), packed, END)).fault is Fault.BAD_REPLY


@pytest.mark.parametrize("streams", [False, True])
def test_an_encoding_that_nobody_knows_passes_and_is_noted(streams: bool) -> None:
    label = SSE if streams else JSON
    got = primed((head(200, [*label, (b"Content-Encoding", b"x-odd")]), b"\x01\x02", 1.0, b"\x03", END), asking(stream=streams))

    assert (got.fault, got.data, got.notes) == (None, b"\x01\x02\x03", [("unreadable", {"why": "x-odd"})])


def test_what_is_not_what_its_encoding_says() -> None:
    encoded = [(b"Content-Encoding", b"gzip")]

    assert primed((head(200, [*JSON, *encoded]), plain(), END)).fault is Fault.BAD_REPLY
    got = primed((head(200, [*SSE, *encoded]), ROLE, 1.0, event("Hi"), END), streaming())
    assert (got.fault, got.data, got.notes) == (None, ROLE + event("Hi"), [("unreadable", {"why": "gzip"})])


# Failing open, cancelling


def test_a_bug_of_prime_lets_the_reply_pass() -> None:
    async def go() -> tuple[list[Received], list[str]]:
        loop = asyncio.get_running_loop()
        layer = Prime(LoopClock(loop))
        layer._now = None  # type: ignore[assignment]
        bugs: list[str] = []
        with Upstream(openai=[chat("Hi"), chat_stream("Hi")]) as upstream:
            service = compose([layer], upstream, lambda name, bug: bugs.append(name))
            received = []
            for call in (asking(), streaming()):
                reply = await service(call)
                faults.append(reply.fault)
                received.append(await drained(reply))
        return received, bugs

    faults: list[Fault | None] = []
    (first, second), bugs = run(go())

    assert first.text == "Hi"
    assert second.data == joined(chat_stream("Hi"))
    assert faults == [None, None]
    assert bugs == ["Prime"]


def test_who_leaves_while_it_is_held_ends_the_exchange() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        scripts = (stream(ROLE, LONG_S, END), (head(), b"{", LONG_S, END), (head(500), LONG_S, END))
        for call, script in zip((streaming(), asking(), asking()), scripts, strict=True):
            with Upstream(openai=[script]) as upstream:
                service = compose([Prime(LoopClock(loop))], upstream, Bugs())
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(5):
                        await service(call)

    run(go())
