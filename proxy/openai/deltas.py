"""deltas -- what one event of a stream says, in each form of the API: content, an end, an error, or nothing yet. Pure functions.

Content is what a reader of the answer would miss: text, a refusal, reasoning, audio, a tool call. A role, an empty text, the results of a
prompt filter, a keepalive and usage are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy.openai.endpoints import Endpoint

# What an event says, a sum of these: it may say several things at once.
NOTHING = 0
CONTENT = 1
FINISH = 2  # a finish reason: no more content of this choice
DONE = 4  # `[DONE]`, or the terminal event of Responses: nothing follows that counts
ERROR = 8

STREAMED = frozenset((Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES))
TERMINAL = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled"))
_BEFORE_CONTENT = frozenset(("response.created", "response.queued", "response.in_progress", "response.content_part.added"))
_DELTAS = frozenset(("content", "tool_calls", "reasoning_content", "reasoning", "refusal", "audio", "function_call", "reasoning_details"))


def of_chat(event: Mapping[str, Any]) -> int:
    """A chunk of chat or of completions. What an upstream says in `message` where `delta` belongs counts too."""
    if is_error(event):
        return ERROR
    choices = event.get("choices")
    says = NOTHING
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("text"):
            says |= CONTENT
        for where in ("delta", "message"):
            delta = choice.get(where)
            if isinstance(delta, dict) and any([value for key, value in delta.items() if key in _DELTAS]):
                says |= CONTENT
        reason = choice.get("finish_reason")
        if reason and isinstance(reason, str):
            says |= FINISH
    return says


def of_response(event: Mapping[str, Any]) -> int:
    """An event of Responses. A failed response is an error; an item that is no message (a tool call, reasoning) is content."""
    kind = event.get("type")
    if not isinstance(kind, str):
        return ERROR if is_error(event) else NOTHING
    if kind == "error" or kind == "response.failed":
        return ERROR | DONE
    if kind in TERMINAL:
        return DONE
    if not kind.startswith("response."):
        return ERROR if is_error(event) else NOTHING
    if kind in _BEFORE_CONTENT:
        return NOTHING
    if kind == "response.output_item.added":
        item = event.get("item")
        return NOTHING if isinstance(item, dict) and item.get("type") == "message" else CONTENT
    if kind.endswith(".delta"):
        return CONTENT if event.get("delta") else NOTHING
    return CONTENT


def is_error(value: Mapping[str, Any]) -> bool:
    """Whether an object tells of an error, as the SDKs find it: in `error`; or as some servers of open models put it, in `object`."""
    return bool(value.get("error")) or value.get("object") == "error"


def says_of(endpoint: str) -> Callable[[Mapping[str, Any]], int]:
    """How the events of an endpoint are read."""
    return of_response if endpoint == Endpoint.RESPONSES else of_chat

