"""The Responses API of the scripted upstream: whole answers, and streams of named events with rising sequence numbers."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.sdk.texts import instance, pieces, text_of
from tests.e2e.sdk.wording import BORN, Json, data_event


def asked(request: Json) -> str:
    given = request["input"]
    return given if isinstance(given, str) else text_of(given[-1].get("content", given[-1].get("output")))


def text_for(request: Json) -> str:
    form = request.get("text", {}).get("format", {})
    if form.get("type") == "json_schema":
        return json.dumps(instance(form["schema"], form["schema"]), ensure_ascii=False)
    return f"Response to: {asked(request)} — naïve 👍"


def output(request: Json) -> list[Json]:
    answered = not isinstance(request["input"], str) and request["input"][-1].get("type") == "function_call_output"
    if request.get("tools") and not answered:
        return [
            {
                "type": "function_call",
                "id": f"fc_{place}",
                "call_id": f"call_{place}",
                "name": tool["name"],
                "status": "completed",
                "arguments": json.dumps(instance(tool.get("parameters", {}), tool), ensure_ascii=False),
            }
            for place, tool in enumerate(request["tools"])
        ]
    part = {"type": "output_text", "text": text_for(request), "annotations": [], "logprobs": []}
    return [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}]


def response(request: Json, status: str = "completed") -> Json:
    done = status == "completed"
    counts = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 11,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20,
    }
    return {
        "id": "resp_68e7",
        "object": "response",
        "created_at": BORN,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": request["model"],
        "instructions": request.get("instructions"),
        "metadata": {},
        "output": output(request) if done else [],
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": request.get("tools", []),
        "top_p": 1.0,
        "text": request.get("text", {"format": {"type": "text"}}),
        "truncation": "disabled",
        "usage": counts if done else None,
    }


def item_events(place: int, item: Json) -> list[Json]:
    at: Json = {"output_index": place, "item_id": item["id"]}
    if item["type"] == "function_call":
        added: Any = {**item, "arguments": "", "status": "in_progress"}
        deltas = [{"type": "response.function_call_arguments.delta", **at, "delta": piece} for piece in pieces(item["arguments"])]
        closing = [{"type": "response.function_call_arguments.done", **at, "name": item["name"], "arguments": item["arguments"]}]
    else:
        part = item["content"][0]
        at["content_index"] = 0
        added = {**item, "content": [], "status": "in_progress"}
        deltas = [{"type": "response.content_part.added", **at, "part": {**part, "text": ""}}]
        deltas += [
            {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": [], "obfuscation": "k2"}
            for piece in pieces(part["text"])
        ]
        closing = [
            {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    return [
        {"type": "response.output_item.added", "output_index": place, "item": added},
        *deltas,
        *closing,
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]


def events(request: Json) -> list[bytes]:
    """The whole stream, which ends with `response.completed` and no [DONE]."""
    whole = response(request)
    said: list[Json] = [
        {"type": f"response.{status}", "response": response(request, "in_progress")} for status in ("created", "in_progress")
    ]
    for place, item in enumerate(whole["output"]):
        said += item_events(place, item)
    said.append({"type": "response.completed", "response": whole})
    return [data_event({**event, "sequence_number": number}, event["type"]) for number, event in enumerate(said)]
