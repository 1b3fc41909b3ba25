"""A script of a test file becomes bytes, waits and endings."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from proxy.adapters.playing import Close, Playing, Reset, Silence, Step, Wait, play
from proxy.openai.endpoints import Endpoint
from proxy.policy.play_spec import PlaySpec
from proxy.policy.shape import unfold

PLAIN = {"model": "gpt-4o"}
STREAM = {"model": "gpt-4o", "stream": True}
TARGETS = {
    Endpoint.CHAT: b"/v1/chat/completions",
    Endpoint.RESPONSES: b"/v1/responses",
    Endpoint.COMPLETIONS: b"/v1/completions",
    Endpoint.EMBEDDINGS: b"/v1/embeddings",
}


def steps(script: Any, asked: Any = None, target: bytes = b"/v1/chat/completions", method: bytes = b"POST") -> list[Step]:
    value, found = unfold(PlaySpec, {"reply": script} if isinstance(script, str) else script)
    assert not found
    body = json.dumps(PLAIN if asked is None else asked).encode()
    return [step for step in play(PlaySpec.read(value), Playing(method, target, body)) if step != b""]


def sent(found: list[Step]) -> bytes:
    return b"".join(step for step in found if isinstance(step, bytes))


def body_of(found: list[Step]) -> Any:
    return json.loads(sent(found).partition(b"\r\n\r\n")[2])


def test_an_empty_script_says_ok_in_the_form_that_is_asked_for() -> None:
    plain, streamed = steps({}), steps({}, STREAM)

    assert body_of(plain)["choices"][0]["message"]["content"] == "ok"
    assert body_of(plain)["model"] == "gpt-4o"
    assert b"Transfer-Encoding: chunked" in sent(streamed)
    assert sent(streamed).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("endpoint", TARGETS)
def test_every_endpoint_has_an_answer(endpoint: Endpoint) -> None:
    assert body_of(steps({}, target=TARGETS[endpoint]))["model"] == "gpt-4o"


def test_lists_models_and_everything_else_have_an_answer() -> None:
    listed = steps({}, target=b"/v1/models?limit=1", method=b"GET")
    one = steps("gpt-9", target=b"/v1/models/gpt-9", method=b"GET")
    other = steps({}, target=b"/v1/threads")
    vectors = steps({}, {"model": "m", "input": ["a", "b"]}, b"/v1/embeddings")

    assert body_of(listed)["data"][0]["id"] == "ok"
    assert body_of(one)["id"] == "gpt-9"
    assert body_of(other) == {"text": "ok"}
    assert len(body_of(vectors)["data"]) == 2


def test_a_body_is_sent_as_it_stands_and_an_error_status_has_an_error() -> None:
    assert sent(steps({"body": "<html>"})).endswith(b"\r\n\r\n<html>")
    assert body_of(steps({"body": {"a": 1}, "status": 500})) == {"a": 1}
    assert body_of(steps({"status": 429}, STREAM))["error"]["code"] == "rate_limit_exceeded"
    assert body_of(steps({"status": 418}))["error"]["code"] == "invalid_value"


def test_a_reply_is_streamed_word_by_word_where_a_stream_is_asked_for() -> None:
    data = sent(steps("one two three", STREAM))

    assert data.count(b'"content":" t') == 2
    assert b"one two" not in data


def test_a_stream_is_one_whatever_was_asked_for() -> None:
    assert b"text/event-stream" in sent(steps({"stream": ["a"]}))


def test_usage_is_told_where_it_was_asked_for_and_not_denied() -> None:
    asks = {**STREAM, "stream_options": {"include_usage": True}}

    assert b'"usage":{"prompt_tokens":5' in sent(steps("a", asks))
    assert b"usage" not in sent(steps("a", STREAM))
    assert b"usage" not in sent(steps({"reply": "a", "usage": False}, asks))
    assert body_of(steps({"usage": {"prompt": 7, "completion": 9}}))["usage"]["total_tokens"] == 16


@pytest.mark.parametrize(
    ("end", "has_reason", "has_done", "last"),
    [("clean", True, True, None), ("no_done", True, False, None), ("no_finish", False, False, None), ("cut", False, False, Reset())],
)
def test_a_stream_ends_as_the_script_says(end: str, has_reason: bool, has_done: bool, last: Step | None) -> None:
    found = steps({"stream": ["a"], "end": end})

    assert (b'"finish_reason":"stop"' in sent(found)) is has_reason
    assert (b"[DONE]" in sent(found)) is has_done
    assert found[-1] == (last or b"0\r\n\r\n")


def test_an_error_event_is_of_the_endpoints_own_form() -> None:
    assert b'data: {"error":{' in sent(steps({"stream": ["a"], "end": "error"}))
    assert b'event: error\ndata: {"type":"error"' in sent(steps({"stream": ["a", {"error": "no"}]}, target=b"/v1/responses"))


def test_a_stream_has_pieces_of_every_kind() -> None:
    pieces = [
        {"reasoning": "Hm."},
        {"refusal": "No."},
        {"tool_call": {"name": "f", "arguments": "{}"}},
        {"comment": "keep-alive"},
        {"data": {"x": 1}},
        {"data": "raw text"},
        {"raw": "garbage"},
        {"wait": "2s"},
    ]
    found = steps({"stream": pieces})
    data = sent(found)

    for part in (
        b'"reasoning_content":"Hm."',
        b'"refusal":"No."',
        b'"name":"f"',
        b": keep-alive\n\n",
        b'data: {"x":1}\n\n',
        b"data: raw text\n\n",
    ):
        assert part in data
    assert b"7\r\ngarbage\r\n" in data
    assert Wait(2.0) in found


def test_raw_pieces_have_nothing_around_them_but_the_head() -> None:
    found = steps({"raw": ["data: {", "}\n\n"], "gap": "1s"}, STREAM)

    assert found[1:] == [b"7\r\ndata: {\r\n", Wait(1.0), b"3\r\n}\n\n\r\n", b"0\r\n\r\n"]


def test_waits_stand_where_the_script_says() -> None:
    found = steps({"stream": ["a", "b"], "delay": "2s", "first": "3s", "gap": "1s"})

    assert [place for place, step in enumerate(found) if isinstance(step, Wait)] == [0, 3, 5]
    assert [step.wait_s for step in found if isinstance(step, Wait)] == [2.0, 3.0, 1.0]


def test_a_drip_is_byte_by_byte() -> None:
    found = steps({"body": "abc", "drip": "1s"})

    assert found[1:] == [Wait(1.0), b"a", Wait(1.0), b"b", Wait(1.0), b"c"]


@pytest.mark.parametrize("asked", [PLAIN, STREAM])
@pytest.mark.parametrize(
    ("script", "before", "last"),
    [
        ({"stall": "head"}, b"", Silence()),
        ({"stall": "first"}, b"HTTP/1.1 200 OK", Silence()),
        ({"stall": "body"}, b"HTTP/1.1 200 OK", Silence()),
        ({"reset": "connect"}, b"", Reset()),
        ({"reset": "head"}, b"HTTP/1.1 200 OK", Reset()),
        ({"reset": "body"}, b"HTTP/1.1 200 OK", Reset()),
    ],
)
def test_silences_and_resets_come_where_the_script_says(script: dict[str, Any], before: bytes, last: Step, asked: Any) -> None:
    found = steps(script, asked)
    at = found.index(last)

    assert sent(found[:at]).startswith(before)
    assert (sent(found[:at]) == b"") is (before == b"")
    assert script.get("stall") or found[-1] == last


def test_a_length_of_the_script_is_sent_and_the_connection_closed_behind_the_body() -> None:
    found = steps({"body": "abc", "headers": {"content-length": "99"}})

    assert sent(found).count(b"ontent-") == 2
    assert b"content-length: 99" in sent(found)
    assert found[-1] == Close()


def test_a_header_of_the_script_replaces_ours_and_may_repeat() -> None:
    data = sent(steps({"headers": {"Content-Type": "text/html", "set-cookie": ["a=1", "b=2"]}}))

    assert data.count(b"Content-Type") == 1
    assert b"set-cookie: a=1\r\nset-cookie: b=2\r\n" in data


def test_replies_without_a_body_have_none() -> None:
    assert sent(steps({"status": 204})) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert sent(steps({}, method=b"HEAD", target=b"/v1/x")).endswith(b"\r\n\r\n")


def test_a_request_that_is_no_json_or_is_compressed_is_read_as_far_as_it_can_be() -> None:
    packed = Playing(b"POST", b"/v1/chat/completions", gzip.compress(b'{"model": "m", "stream": true}'), b"gzip")

    assert (packed.model, packed.wants_stream) == ("m", True)
    assert Playing(b"POST", b"/v1/chat/completions", b"{no").model == ""
    assert Playing(b"POST", b"/v1/chat/completions", b"x", b"br").asked == {}
    assert not Playing(b"POST", b"/v1/embeddings", b'{"stream": true}').wants_stream
