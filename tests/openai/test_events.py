"""Streams of made-up answers are of the form that the API and its SDK know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from proxy.core.sse import events as events_of
from proxy.openai.answers import Said, Tokens, ToolCall
from proxy.openai.endpoints import Endpoint
from proxy.openai.events import DONE, stream_of

SAID = Said("gpt-4o", usage=Tokens(5, 2))
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')


def values(data: bytes) -> list[Any]:
    return [json.loads(each.data) for each in events_of(data) if each.data not in (None, b"[DONE]")]  # type: ignore[arg-type]


def test_a_chat_stream_says_its_words_and_ends_with_a_reason_and_usage() -> None:
    stream = stream_of(Endpoint.CHAT, SAID)
    data = stream.opening() + stream.text("Hel") + stream.text("lo") + stream.closing(SAID, True) + stream.done
    chunks = [ChatCompletionChunk.model_validate(value) for value in values(data)]

    assert data.endswith(DONE)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_usage_is_told_only_where_it_was_asked_for() -> None:
    assert b"usage" not in stream_of(Endpoint.CHAT, SAID).closing(SAID, False)
    assert b"usage" not in stream_of(Endpoint.CHAT, SAID).closing(Said("m"), True)


def test_tool_calls_of_chat_have_their_indexes_and_come_in_pieces() -> None:
    stream = stream_of(Endpoint.CHAT, SAID)
    data = stream.call(CALL) + stream.call(ToolCall("call_2", "time", "")) + stream.closing(SAID, False)
    deltas = [call for value in values(data) for call in value["choices"][0]["delta"].get("tool_calls", ())]

    assert [delta["index"] for delta in deltas] == [0, 0, 0, 1]
    assert "".join(delta["function"].get("arguments", "") for delta in deltas if delta["index"] == 0) == CALL.arguments
    assert values(data)[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_completions_say_words_and_nothing_before_them() -> None:
    stream = stream_of(Endpoint.COMPLETIONS, SAID)

    assert stream.opening() == b""
    assert values(stream.text("Hi"))[0]["choices"][0]["text"] == "Hi"
    assert values(stream.text("Hi"))[0]["object"] == "text_completion"


def test_the_events_of_responses_are_numbered_and_read_by_the_sdk() -> None:
    stream = stream_of(Endpoint.RESPONSES, SAID)
    data = stream.opening() + stream.reasoning("Hm.") + stream.text("Hel") + stream.text("lo") + stream.call(CALL)
    data += stream.text("Bye") + stream.closing(SAID, True) + stream.done
    found = values(data)
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    read = [adapter.validate_python(value) for value in found]

    assert [value["sequence_number"] for value in found] == list(range(len(found)))
    assert [each.name.decode() for each in events_of(data)] == [value["type"] for value in found]
    assert read[-1].type == "response.completed"
    assert [item.type for item in read[-1].response.output] == ["reasoning", "message", "function_call", "message"]
    assert read[-1].response.output_text == "HelloBye"
    assert read[-1].response.usage.output_tokens == 2


def test_a_refusal_of_responses_is_an_item_of_its_own() -> None:
    stream = stream_of(Endpoint.RESPONSES, SAID)
    data = stream.opening() + stream.refusal("I ") + stream.refusal("cannot.") + stream.closing(SAID, True)

    assert values(data)[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]


def test_a_response_that_was_cut_ends_with_incomplete() -> None:
    stream = stream_of(Endpoint.RESPONSES, SAID)

    assert values(stream.closing(Said("m", finish="length"), True))[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS])
def test_an_error_event_of_chat_and_completions_is_an_error_object(endpoint: Endpoint) -> None:
    (value,) = values(stream_of(endpoint, SAID).error("broke", "server_error"))

    assert value["error"]["message"] == "broke"


def test_an_error_event_of_responses_has_the_next_number() -> None:
    stream = stream_of(Endpoint.RESPONSES, SAID)
    stream.opening()
    (value,) = values(stream.error("broke", "server_error"))

    assert (value["type"], value["sequence_number"], value["message"]) == ("error", 2, "broke")
