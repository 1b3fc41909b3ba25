"""received -- a reply as the app's developer would say what it is: its text, its events, its error, how it ended.

Reads what came over the wire in a rehearsal. Pure; nothing of it is on the path of a call.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import orjson

from proxy.assembly.compared import ABSENT
from proxy.assembly.heard import Heard
from proxy.core.sse import events as events_of

CONTENT = ("response.output_text.delta",)


class Received:
    """One reply of a rehearsal."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self.status = heard.status
        self.data = heard.data

    def header(self, name: str) -> str | None:
        """All values of a header, None where there is none."""
        values = [value for key, value in self._heard.headers if key.lower() == name.lower().encode()]
        return ", ".join(value.decode("utf-8", "replace") for value in values) if values else None

    @cached_property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return (self.header("content-type") or "").lower().startswith("text/event-stream")

    @cached_property
    def body(self) -> Any:
        """The body as JSON, ABSENT where it is none."""
        return _json(self.data)

    @cached_property
    def body_text(self) -> str:
        """The body as text."""
        return self.data.decode("utf-8", "backslashreplace")

    @cached_property
    def events(self) -> list[Any]:
        """The data of each event, parsed where it is JSON."""
        found = []
        for each in events_of(self.data) if self.is_stream else ():
            if each.data is not None:
                value = _json(each.data)
                found.append(each.data.decode("utf-8", "backslashreplace") if value is ABSENT else value)
        return found

    @cached_property
    def text(self) -> str:
        """What the answer says, streamed or not; of what is no answer of a model, the body."""
        if self.is_stream:
            return "".join(_deltas(self.events))
        said = _said(self.body)
        return self.body_text if said is None else said

    @cached_property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tool calls: name and arguments, those parsed where they are JSON."""
        calls = _streamed_calls(self.events) if self.is_stream else list(_plain_calls(self.body))
        return [{"name": name, "arguments": text if (value := _json(text.encode())) is ABSENT else value} for name, text in calls]

    @cached_property
    def error(self) -> dict[str, Any] | None:
        """The error that the body, or the last event, is."""
        value = self.body if not self.is_stream else next((each for each in reversed(self.events) if each != "[DONE]"), None)
        if not isinstance(value, dict):
            return None
        inner = value.get("error")
        if inner is None and isinstance(value.get("response"), dict):
            inner = value["response"].get("error")
        if isinstance(inner, dict):
            return inner
        return value if value.get("type") == "error" else None

    @cached_property
    def ends(self) -> str:
        """How it ended for the app."""
        if self._heard.left:
            return "left"
        if self._heard.broke is not None:
            return "cut"
        return "error" if self.is_stream and self.error is not None else "clean"


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return ABSENT


def _said(body: Any) -> str | None:
    """The text of a plain answer, None where it is none."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("choices"), list):
        return "".join(_text_of(choice) for choice in body["choices"])
    if isinstance(body.get("output"), list):
        parts = [part for item in body["output"] if isinstance(item, dict) for part in item.get("content") or ()]
        return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
    return body["text"] if isinstance(body.get("text"), str) else None


def _text_of(choice: Any) -> str:
    if not isinstance(choice, dict):
        return ""
    said = choice.get("message") or choice.get("delta") or choice
    text = said.get("content", said.get("text")) if isinstance(said, dict) else None
    return text if isinstance(text, str) else ""


def _deltas(events: list[Any]) -> Iterator[str]:
    for each in events:
        if not isinstance(each, dict):
            continue
        if each.get("type") in CONTENT and isinstance(each.get("delta"), str):
            yield each["delta"]
        elif isinstance(each.get("choices"), list):
            yield from map(_text_of, each["choices"])


def _plain_calls(body: Any) -> Iterator[tuple[str, str]]:
    for item in _items(body, "output"):
        if item.get("type") == "function_call":
            yield str(item.get("name")), str(item.get("arguments"))
    for choice in _items(body, "choices"):
        for call in _items(choice.get("message"), "tool_calls"):
            function = call.get("function") or {}
            yield str(function.get("name")), str(function.get("arguments"))


def _streamed_calls(events: list[Any]) -> list[tuple[str, str]]:
    """Deltas of chat by their index, items of Responses as they are done."""
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    done: list[tuple[str, str]] = []
    for each in events:
        if isinstance(each, dict) and each.get("type") == "response.output_item.done":
            done += _plain_calls({"output": [each.get("item")]})
        for choice in _items(each, "choices"):
            for call in _items(choice.get("delta"), "tool_calls"):
                index, function = call.get("index", 0), call.get("function") or {}
                if function.get("name"):
                    names[index] = function["name"]
                arguments[index] = arguments.get(index, "") + (function.get("arguments") or "")
    return [*done, *((names.get(index, ""), text) for index, text in sorted(arguments.items()))]


def _items(value: Any, key: str) -> list[dict[str, Any]]:
    """The mappings in a list of a mapping, wherever something else may stand."""
    listed = value.get(key) if isinstance(value, dict) else None
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
