from __future__ import annotations

from typing import Any

import pytest

from proxy.openai.deltas import CONTENT, DONE, ERROR, FINISH, NOTHING, is_error, of_chat, of_response, says_of
from proxy.openai.endpoints import Endpoint


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT: dict[str, tuple[dict[str, Any], int]] = {
    "text": (chunk(content="Hi"), CONTENT),
    "a blank is text": (chunk(content=" "), CONTENT),
    "an empty text": (chunk(content=""), NOTHING),
    "a null text": (chunk(content=None), NOTHING),
    "a role alone": (chunk(role="assistant"), NOTHING),
    "a role with an empty text and refusal": (chunk(role="assistant", content="", refusal=None), NOTHING),
    "a refusal": (chunk(refusal="I"), CONTENT),
    "reasoning_content": (chunk(reasoning_content="Hm"), CONTENT),
    "reasoning": (chunk(reasoning="Hm"), CONTENT),
    "reasoning_details": (chunk(reasoning_details=[{"type": "reasoning.text", "text": "Hm"}]), CONTENT),
    "audio": (chunk(audio={"id": "a", "transcript": "Hi"}), CONTENT),
    "a tool call that begins": (chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]), CONTENT),
    "an empty list of tool calls": (chunk(tool_calls=[]), NOTHING),
    "the older function call": (chunk(function_call={"name": "f", "arguments": ""}), CONTENT),
    "text in parts": (chunk(content=[{"type": "text", "text": "Hi"}]), CONTENT),
    "annotations": (chunk(annotations=[{"type": "url_citation"}]), NOTHING),
    "a finish reason": (chunk("stop"), FINISH),
    "a finish reason of an upstream's own": (chunk("eos"), FINISH),
    "an empty finish reason": (chunk(""), NOTHING),
    "text with its finish reason": (chunk("stop", content="Hi"), CONTENT | FINISH),
    "a second choice has text": ({"choices": [chunk()["choices"][0], chunk(content="Hi")["choices"][0]]}, CONTENT),
    "a prompt filter": ({"choices": [], "prompt_filter_results": [{}]}, NOTHING),
    "usage": ({"choices": [], "usage": {"prompt_tokens": 1}}, NOTHING),
    "a message in the place of a delta": ({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}, CONTENT | FINISH),
    "text of completions": ({"choices": [{"text": "Hi", "finish_reason": None}]}, CONTENT),
    "no text of completions": ({"choices": [{"text": "", "finish_reason": "length"}]}, FINISH),
    "an error": ({"error": {"message": "no"}}, ERROR),
    "an error that is a text": ({"error": "no"}, ERROR),
    "an error that is null": ({"error": None, "choices": []}, NOTHING),
    "an error of older servers": ({"object": "error", "message": "no"}, ERROR),
    "a ping": ({"type": "ping"}, NOTHING),
    "nonsense for choices": ({"choices": "x"}, NOTHING),
    "nonsense for a choice": ({"choices": [1, None, {"delta": "x"}, {"delta": None}]}, NOTHING),
}


@pytest.mark.parametrize("name", CHAT)
def test_what_a_chunk_says(name: str) -> None:
    event, says = CHAT[name]

    assert of_chat(event) == says


RESPONSES: dict[str, tuple[dict[str, Any], int]] = {
    "created": ({"type": "response.created", "response": {"error": None}}, NOTHING),
    "queued": ({"type": "response.queued"}, NOTHING),
    "in progress": ({"type": "response.in_progress"}, NOTHING),
    "a message begins": ({"type": "response.output_item.added", "item": {"type": "message"}}, NOTHING),
    "a tool call begins": ({"type": "response.output_item.added", "item": {"type": "function_call"}}, CONTENT),
    "reasoning begins": ({"type": "response.output_item.added", "item": {"type": "reasoning"}}, CONTENT),
    "a part begins": ({"type": "response.content_part.added", "part": {"text": ""}}, NOTHING),
    "text": ({"type": "response.output_text.delta", "delta": "Hi"}, CONTENT),
    "an empty delta": ({"type": "response.output_text.delta", "delta": ""}, NOTHING),
    "reasoning": ({"type": "response.reasoning_summary_text.delta", "delta": "Hm"}, CONTENT),
    "a search": ({"type": "response.web_search_call.searching"}, CONTENT),
    "completed": ({"type": "response.completed", "response": {}}, DONE),
    "incomplete": ({"type": "response.incomplete", "response": {}}, DONE),
    "cancelled": ({"type": "response.cancelled", "response": {}}, DONE),
    "failed": ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, ERROR | DONE),
    "an error": ({"type": "error", "message": "no"}, ERROR | DONE),
    "an error without a type": ({"error": {"message": "no"}}, ERROR),
    "an error of another type": ({"type": "upstream", "error": {"message": "no"}}, ERROR),
    "a ping": ({"type": "ping"}, NOTHING),
    "no type": ({}, NOTHING),
    "a type that is no text": ({"type": 7}, NOTHING),
    "an item that is none": ({"type": "response.output_item.added", "item": None}, CONTENT),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_what_an_event_of_responses_says(name: str) -> None:
    event, says = RESPONSES[name]

    assert of_response(event) == says


def test_each_endpoint_has_its_reader() -> None:
    assert says_of(Endpoint.RESPONSES) is of_response
    assert says_of(Endpoint.CHAT) is says_of(Endpoint.COMPLETIONS) is of_chat


def test_a_falsy_error_is_none() -> None:
    assert not any(is_error({"error": value}) for value in (None, {}, "", False, 0, []))
