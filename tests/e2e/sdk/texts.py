"""The text endpoints of the scripted upstream: chat completions, legacy completions, embeddings, moderations."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from tests.e2e.sdk.wording import BORN, Json, data_event


def text_of(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", f"<{part['type']}>")) for part in content)
    return str(content)


def instance(schema: Json, root: Json) -> Any:
    """A value that the schema allows."""
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return instance(schema["anyOf"][0], root)
    match schema.get("type"):
        case "object":
            return {name: instance(each, root) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [instance(schema["items"], root)] * 2
        case "integer":
            return 7
        case "number":
            return 2.5
        case "boolean":
            return True
        case _:
            return "Zürich"


def chat_message(request: Json) -> Json:
    last = request["messages"][-1]
    form = request.get("response_format", {})
    if request.get("tools") and last["role"] != "tool":
        calls = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {
                    "name": tool["function"]["name"],
                    "arguments": json.dumps(instance(tool["function"].get("parameters", {}), tool), ensure_ascii=False),
                },
            }
            for place, tool in enumerate(request["tools"])
        ]
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
    if form.get("type") == "json_schema":
        schema = form["json_schema"]["schema"]
        return {
            "role": "assistant",
            "content": json.dumps(instance(schema, schema), ensure_ascii=False),
            "refusal": None,
            "annotations": [],
        }
    return {"role": "assistant", "content": f"You said: {text_of(last['content'])} — naïve 👍", "refusal": None, "annotations": []}


def usage(request: Json, text: str) -> Json:
    asked = sum(len(text_of(each.get("content")).split()) for each in request["messages"])
    said = len(text.split())
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat(request: Json) -> Json:
    message = chat_message(request)
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choices = [{"index": index, "message": message, "logprobs": None, "finish_reason": reason} for index in range(request.get("n") or 1)]
    return {
        "id": "chatcmpl-BtX1",
        "object": "chat.completion",
        "created": BORN,
        "model": f"{request['model']}-2024-08-06",
        "choices": choices,
        "usage": usage(request, message["content"] or ""),
        "service_tier": "default",
        "system_fingerprint": "fp_5d58a6052a",
    }


def pieces(text: str, size: int = 5) -> Iterator[str]:
    yield from (text[at : at + size] for at in range(0, len(text), size))


def chat_deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": None if message.get("tool_calls") else "", "refusal": None}
    for piece in pieces(message["content"] or ""):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        yield {"tool_calls": [{"index": index, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]}
        for piece in pieces(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def chat_events(request: Json) -> list[bytes]:
    whole = chat(request)
    base = {
        "id": whole["id"],
        "object": "chat.completion.chunk",
        "created": BORN,
        "model": whole["model"],
        "system_fingerprint": "fp_5d58a6052a",
    }
    wants_usage = (request.get("stream_options") or {}).get("include_usage")
    ends = {"usage": None} if wants_usage else {}
    events = [b": OPENAI PROCESSING\n\n"]
    for choice in whole["choices"]:
        for delta in chat_deltas(choice["message"]):
            choices = [{"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": None}]
            events.append(data_event({**base, "choices": choices, **ends, "obfuscation": "Xq9"}))
        choices = [{"index": choice["index"], "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}]
        events.append(data_event({**base, "choices": choices, **ends}))
    if wants_usage:
        events.append(data_event({**base, "choices": [], "usage": whole["usage"]}))
    return [*events, b"data: [DONE]\n\n"]


def completion(request: Json) -> Json:
    prompts = request["prompt"] if isinstance(request["prompt"], list) else [request["prompt"]]
    choices = [
        {"index": index, "text": f" … after {prompt}", "logprobs": None, "finish_reason": "length"} for index, prompt in enumerate(prompts)
    ]
    counts = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    return {"id": "cmpl-7", "object": "text_completion", "created": BORN, "model": request["model"], "choices": choices, "usage": counts}


def completion_events(request: Json) -> list[bytes]:
    whole = completion(request)
    text = whole["choices"][0]["text"]
    parts = [
        {**whole, "usage": None, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]}
        for piece in pieces(text)
    ]
    return [*map(data_event, parts), b"data: [DONE]\n\n"]


def embedding(request: Json) -> Json:
    texts = request["input"] if isinstance(request["input"], list) and not isinstance(request["input"][0], int) else [request["input"]]
    data = []
    for index, text in enumerate(texts):
        seed = hashlib.sha256(str(text).encode()).digest()
        packed = struct.pack(
            f"<{request.get('dimensions', 32)}f", *(seed[i % 32] / 255 - 0.5 for i in range(request.get("dimensions", 32)))
        )
        vector = (
            base64.b64encode(packed).decode()
            if request.get("encoding_format") == "base64"
            else list(struct.unpack(f"<{len(packed) // 4}f", packed))
        )
        data.append({"object": "embedding", "index": index, "embedding": vector})
    return {"object": "list", "data": data, "model": request["model"], "usage": {"prompt_tokens": 8, "total_tokens": 8}}


def moderation(request: Json) -> Json:
    scores = {"violence": 0.01, "hate": 1.5e-05}
    return {
        "id": "modr-1",
        "model": request["model"],
        "results": [
            {
                "flagged": False,
                "categories": dict.fromkeys(scores, False),
                "category_scores": scores,
                "category_applied_input_types": {name: ["text"] for name in scores},
            }
        ],
    }
