"""answers -- what a model says, in the wire form of each endpoint: one JSON object. The same as events: `proxy.openai.events`.

For whoever makes up an answer: the built-in upstream, the played upstreams of policy tests, static replies. Pure functions.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy.openai.endpoints import Endpoint

CREATED = 1_760_000_000  # Unix time; the same for all, so that the same question has the same answer
STREAMED = (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES)


@dataclass(slots=True, frozen=True)
class ToolCall:
    """One call of a tool; `arguments` is JSON's text."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True, frozen=True)
class Tokens:
    """What an answer says that it used."""

    asked: int
    answered: int


@dataclass(slots=True, frozen=True)
class Said:
    """One answer. `usage` None: it tells none. `finish` None: what its content implies."""

    model: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Tokens | None = None
    finish: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    id: str = "made-up"
    fingerprint: str | None = None
    created: int = CREATED

    @property
    def finish_reason(self) -> str:
        """Why it ends, in the words of chat."""
        return self.finish or ("tool_calls" if self.calls else "stop")

    def without_content(self) -> Said:
        """Who speaks, before it does."""
        return replace(self, text="", calls=(), refusal=None, reasoning=None)


def whole(endpoint: Endpoint, said: Said) -> dict[str, Any]:
    """The answer of chat, completions or responses as one object."""
    if endpoint is Endpoint.RESPONSES:
        return response(said, output_items(said))
    if endpoint is Endpoint.COMPLETIONS:
        return with_usage({**head(said, "cmpl", "text_completion"), "choices": [text_choice(said.text, said.finish_reason)]}, said)
    message: dict[str, Any] = {"role": "assistant", "content": said.text if said.text or not said.calls else None, "refusal": said.refusal}
    if said.reasoning is not None:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [tool_call(call) for call in said.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish_reason}
    return with_usage({**head(said, "chatcmpl", "chat.completion"), "choices": [choice]}, said)


def head(said: Said, prefix: str, kind: str) -> dict[str, Any]:
    """What every object of one answer begins with."""
    known = {"id": f"{prefix}-{said.id}", "object": kind, "created": said.created, "model": said.model}
    return known if said.fingerprint is None else {**known, "system_fingerprint": said.fingerprint}


def text_choice(text: str, finish: str | None) -> dict[str, Any]:
    """A choice of completions."""
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}


def tool_call(call: ToolCall) -> dict[str, Any]:
    """A tool call of chat."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def with_usage(body: dict[str, Any], said: Said) -> dict[str, Any]:
    """With what was used, where the answer tells it, in the words of chat."""
    return body if said.usage is None else {**body, "usage": usage(said.usage)}


def usage(tokens: Tokens, asked: str = "prompt_tokens", answered: str = "completion_tokens") -> dict[str, Any]:
    """The usage object, with the endpoint's names of the two counts."""
    return {asked: tokens.asked, answered: tokens.answered, "total_tokens": tokens.asked + tokens.answered}


# Responses


def response(said: Said, output: Sequence[dict[str, Any]], status: str | None = None) -> dict[str, Any]:
    """A Responses object; `status` where it is not complete."""
    cut = said.finish in ("length", "content_filter")
    done: dict[str, Any] = {
        **{"id": f"resp_{said.id}", "object": "response", "created_at": said.created, "model": said.model},
        **{"status": status or ("incomplete" if cut else "completed"), "error": None, "incomplete_details": None, "instructions": None},
        **{"output": list(output), "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": None},
    }
    if status is None and cut:
        done["incomplete_details"] = {"reason": "max_output_tokens" if said.finish == "length" else "content_filter"}
    if status is None and said.usage is not None:
        done["usage"] = usage(said.usage, "input_tokens", "output_tokens") | {
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
    return done


def output_items(said: Said) -> list[dict[str, Any]]:
    """The output of a Responses object."""
    items: list[dict[str, Any]] = []
    if said.reasoning is not None:
        items.append(reasoning_item(said))
    if said.text or said.refusal is not None or not said.calls:
        items.append(message_item(said))
    return [*items, *(call_item(call) for call in said.calls)]


def reasoning_item(said: Said) -> dict[str, Any]:
    """What a model thought, in short."""
    return {"id": f"rs_{said.id}", "type": "reasoning", "summary": [{"type": "summary_text", "text": said.reasoning or ""}]}


def message_item(said: Said, status: str = "completed") -> dict[str, Any]:
    """What it says; without content while it has not said anything."""
    content = [] if status == "in_progress" else [content_part(said)]
    return {"id": f"msg_{said.id}", "type": "message", "role": "assistant", "status": status, "content": content}


def content_part(said: Said) -> dict[str, Any]:
    """The one part of a message."""
    if said.refusal is not None:
        return {"type": "refusal", "refusal": said.refusal}
    return {"type": "output_text", "text": said.text, "annotations": []}


def call_item(call: ToolCall, status: str = "completed") -> dict[str, Any]:
    """A tool call of Responses."""
    arguments = "" if status == "in_progress" else call.arguments
    known = {"id": f"fc_{call.id}", "type": "function_call", "call_id": call.id, "name": call.name}
    return {**known, "arguments": arguments, "status": status}


# Embeddings


def embeddings(model: str, vectors: Sequence[Sequence[float]], tokens: int, as_base64: bool = False) -> dict[str, Any]:
    """An embeddings answer, as numbers or as little-endian 32-bit floats in base64."""
    data = [
        {"object": "embedding", "index": n, "embedding": _packed(vector) if as_base64 else list(vector)} for n, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
