"""Made-up answers are of the form that the API and its SDK know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from proxy.openai.answers import Said, Tokens, ToolCall, embeddings, whole
from proxy.openai.endpoints import Endpoint

SAID = Said("gpt-4o", "Hello there", usage=Tokens(5, 2))
CALLED = Said("gpt-4o", calls=(ToolCall("call_1", "weather", '{"city":"Paris"}'),))


def read(kind: Any, body: dict[str, Any]) -> Any:
    return kind.model_validate(json.loads(json.dumps(body)))


def test_a_chat_answer_is_read_by_the_sdk() -> None:
    answer = read(ChatCompletion, whole(Endpoint.CHAT, SAID))

    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 7


def test_a_tool_call_is_read_by_the_sdk_in_both_apis() -> None:
    chat = read(ChatCompletion, whole(Endpoint.CHAT, CALLED))
    responses = read(Response, whole(Endpoint.RESPONSES, CALLED))

    assert chat.choices[0].finish_reason == "tool_calls"
    assert chat.choices[0].message.content is None
    assert chat.choices[0].message.tool_calls[0].function.arguments == '{"city":"Paris"}'
    assert [item.type for item in responses.output] == ["function_call"]
    assert responses.output[0].name == "weather"


def test_a_completion_and_a_response_are_read_by_the_sdk() -> None:
    completion = read(Completion, whole(Endpoint.COMPLETIONS, SAID))
    response = read(Response, whole(Endpoint.RESPONSES, SAID))

    assert completion.choices[0].text == "Hello there"
    assert response.output_text == "Hello there"
    assert response.status == "completed"
    assert response.usage.input_tokens == 5


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_a_response_that_was_cut_says_why(finish: str, reason: str) -> None:
    response = read(Response, whole(Endpoint.RESPONSES, Said("m", "Hel", finish=finish)))

    assert response.status == "incomplete"
    assert response.incomplete_details.reason == reason


def test_a_refusal_and_thoughts_stand_where_clients_look_for_them() -> None:
    said = Said("m", refusal="I cannot.", reasoning="Hm.")
    chat = read(ChatCompletion, whole(Endpoint.CHAT, said))
    response = read(Response, whole(Endpoint.RESPONSES, said))

    assert chat.choices[0].message.refusal == "I cannot."
    assert chat.choices[0].message.reasoning_content == "Hm."
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[1].content[0].refusal == "I cannot."


def test_an_answer_without_usage_tells_none() -> None:
    assert "usage" not in whole(Endpoint.CHAT, Said("m", "a"))
    assert whole(Endpoint.RESPONSES, Said("m", "a"))["usage"] is None


def test_embeddings_come_as_numbers_or_packed() -> None:
    plain = read(CreateEmbeddingResponse, embeddings("m", [[0.5, -0.5]], 3))
    packed = embeddings("m", [[0.5, -0.5]], 3, as_base64=True)

    assert plain.data[0].embedding == [0.5, -0.5]
    assert packed["data"][0]["embedding"] == "AAAAPwAAAL8="
