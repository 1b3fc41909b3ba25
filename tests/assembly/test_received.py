"""A reply is read as the app's developer would say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.assembly.asking import asked
from proxy.assembly.heard import Heard
from proxy.assembly.received import Received
from proxy.openai.answers import Said, ToolCall, whole
from proxy.openai.endpoints import Endpoint
from proxy.openai.events import stream_of
from proxy.policy.case_spec import RequestSpec

SPEC = RequestSpec.read({"path": "/v1/models"})
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')
ALL = (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES)


def received(body: Any, *, stream: bool = False, **fields: Any) -> Received:
    heard = Heard(asked(SPEC), SPEC)
    heard.status = 200
    heard.headers = [(b"Content-Type", b"text/event-stream" if stream else b"application/json")]
    heard.chunks = [(0.0, body if isinstance(body, bytes) else json.dumps(body).encode())]
    for name, value in fields.items():
        setattr(heard, name, value)
    return Received(heard)


@pytest.mark.parametrize("endpoint", ALL)
def test_the_text_is_the_same_plain_and_streamed(endpoint: Endpoint) -> None:
    said = Said("m", "Hello")
    events = stream_of(endpoint, said)
    data = events.opening() + events.text("Hel") + events.text("lo") + events.closing(said, True) + events.done

    assert received(whole(endpoint, said)).text == "Hello"
    assert received(data, stream=True).text == "Hello"
    assert received(data, stream=True).ends == "clean"


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.RESPONSES])
def test_tool_calls_are_the_same_plain_and_streamed(endpoint: Endpoint) -> None:
    said = Said("m", calls=(CALL,))
    events = stream_of(endpoint, said)
    data = events.opening() + events.call(CALL) + events.closing(said, True)

    assert received(whole(endpoint, said)).tool_calls == [{"name": "weather", "arguments": {"city": "Paris"}}]
    assert received(data, stream=True).tool_calls == [{"name": "weather", "arguments": {"city": "Paris"}}]


def test_arguments_that_are_no_json_stay_text() -> None:
    said = Said("m", calls=(ToolCall("a", "f", "{broken"),))

    assert received(whole(Endpoint.CHAT, said)).tool_calls == [{"name": "f", "arguments": "{broken"}]


@pytest.mark.parametrize("endpoint", ALL)
def test_an_error_event_is_how_a_stream_ends(endpoint: Endpoint) -> None:
    events = stream_of(endpoint, Said("m"))
    reply = received(events.opening() + events.text("a") + events.error("broke", "server_error"), stream=True)

    assert reply.ends == "error"
    assert reply.error is not None
    assert (reply.error["message"], reply.error["code"]) == ("broke", "server_error")


def test_an_error_body_is_an_error_and_an_answer_is_none() -> None:
    assert received({"error": {"code": "x"}}).error == {"code": "x"}
    assert received({"error": None, "output": []}).error is None
    assert received([1]).error is None


def test_a_failed_response_is_an_error() -> None:
    data = b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"x","message":"m"}}}\n\n'

    assert received(data, stream=True).error == {"code": "x", "message": "m"}


def test_how_it_ended_is_said_by_who_ended_it() -> None:
    assert received({}).ends == "clean"
    assert received({}, broke="reset").ends == "cut"
    assert received({}, broke="reset", left=True).ends == "left"


def test_what_is_no_answer_of_a_model_is_its_own_text() -> None:
    assert received(b"<html>").text == "<html>"
    assert received(b"\xff").text == "\\xff"
    assert received({"text": "spoken"}).text == "spoken"


@pytest.mark.parametrize("body", [{"choices": [1, {"message": 2}]}, {"output": [1, {"content": [2]}]}, {"choices": {}}, None, [], "x"])
def test_a_reply_of_any_shape_is_read_without_harm(body: Any) -> None:
    reply = received(body)
    streamed = received(b"data: " + json.dumps(body).encode() + b"\n\ndata: [DONE]\n\n", stream=True)

    assert reply.tool_calls == streamed.tool_calls == []
    assert isinstance(reply.text, str)
    assert isinstance(streamed.text, str)


def test_headers_are_joined_and_found_in_any_case() -> None:
    reply = received({}, headers=[(b"X-A", b"1"), (b"x-a", b"2")])

    assert reply.header("x-A") == "1, 2"
    assert reply.header("x-b") is None
