"""events -- the same answers as server-sent events, piece by piece: each method gives the bytes of what happened.

An answer begins with `opening`, then says pieces, and ends with `closing` and `DONE` (which Responses does not have). Pure but for what a
stream must remember: its sequence number, and what it has said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from proxy.openai.answers import Said, ToolCall, call_item, content_part, head, message_item, reasoning_item, response, text_choice, usage
from proxy.openai.endpoints import Endpoint

DONE = b"data: [DONE]\n\n"


def stream_of(endpoint: Endpoint, said: Said) -> ChatEvents:
    """The events of one answer by `said`, whose content is given piece by piece."""
    kind = {Endpoint.RESPONSES: ResponseEvents, Endpoint.COMPLETIONS: TextEvents}.get(endpoint, ChatEvents)
    return kind(said.without_content())


def event(data: object, name: str | None = None) -> bytes:
    """One event of JSON."""
    line = b"data: " + orjson.dumps(data) + b"\n\n"
    return line if name is None else b"event: " + name.encode() + b"\n" + line


class ChatEvents:
    """Chunks of chat."""

    done = DONE

    def __init__(self, said: Said) -> None:
        self._said = said
        self._calls = 0

    def opening(self) -> bytes:
        """Before any content."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def text(self, piece: str) -> bytes:
        """Some words."""
        return self._chunk({"content": piece})

    def refusal(self, piece: str) -> bytes:
        """Some words of a model that will not."""
        return self._chunk({"refusal": piece})

    def reasoning(self, piece: str) -> bytes:
        """Some thoughts, as servers of open models stream them."""
        return self._chunk({"reasoning_content": piece})

    def call(self, call: ToolCall) -> bytes:
        """A tool call: its name, then its arguments in two halves."""
        index, half = self._calls, len(call.arguments) // 2
        self._calls += 1
        named = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        parts = [part for part in (call.arguments[:half], call.arguments[half:]) if part]
        rest = [{"index": index, "function": {"arguments": part}} for part in parts]
        return b"".join(self._chunk({"tool_calls": [each]}) for each in (named, *rest))

    def closing(self, said: Said, tells_usage: bool) -> bytes:
        """The finish reason of `said`, and its usage where it was asked for."""
        end = self._chunk({}, said.finish or ("tool_calls" if self._calls else "stop"))
        if tells_usage and said.usage is not None:
            end += event({**self._head, "choices": [], "usage": usage(said.usage)})
        return end

    def error(self, message: str, code: str, type: str = "server_error") -> bytes:
        """The event of a stream that breaks and says so."""
        return event({"error": {"message": message, "type": type, "param": None, "code": code}})

    @property
    def _head(self) -> dict[str, Any]:
        return head(self._said, "chatcmpl", "chat.completion.chunk")

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event({**self._head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})


class TextEvents(ChatEvents):
    """Chunks of completions, which know words only."""

    def opening(self) -> bytes:
        return b""

    @property
    def _head(self) -> dict[str, Any]:
        return head(self._said, "cmpl", "text_completion")

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        text = delta.get("content") or delta.get("refusal") or delta.get("reasoning_content") or ""
        return event({**self._head, "choices": [text_choice(text, finish)]})


class ResponseEvents(ChatEvents):
    """Events of Responses: items are added, said and done, each event with the next sequence number."""

    done = b""

    def __init__(self, said: Said) -> None:
        super().__init__(said)
        self._number = -1
        self._items: list[dict[str, Any]] = []
        self._message: Said | None = None  # the message that is being said

    def opening(self) -> bytes:
        begun = response(self._said, (), "in_progress")
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def text(self, piece: str) -> bytes:
        begun, said = self._begin(replace(self._said, text=""))
        self._message = replace(said, text=said.text + piece)
        return begun + self._event("response.output_text.delta", **self._at, delta=piece, logprobs=[])

    def refusal(self, piece: str) -> bytes:
        begun, said = self._begin(replace(self._said, refusal=""))
        self._message = replace(said, refusal=(said.refusal or "") + piece)
        return begun + self._event("response.refusal.delta", **self._at, delta=piece)

    def reasoning(self, piece: str) -> bytes:
        ended = self._end()
        item = reasoning_item(replace(self._said, reasoning=piece))
        at = {"item_id": item["id"], "output_index": len(self._items), "summary_index": 0}
        out = ended + self._event("response.output_item.added", output_index=len(self._items), item={**item, "summary": []})
        out += self._event("response.reasoning_summary_text.delta", **at, delta=piece)
        return out + self._done(item)

    def call(self, call: ToolCall) -> bytes:
        ended = self._end()
        item = call_item(call)
        at = {"item_id": item["id"], "output_index": len(self._items)}
        out = ended + self._event("response.output_item.added", output_index=len(self._items), item=call_item(call, "in_progress"))
        if call.arguments:
            out += self._event("response.function_call_arguments.delta", **at, delta=call.arguments)
        out += self._event("response.function_call_arguments.done", **at, arguments=call.arguments)
        return out + self._done(item)

    def closing(self, said: Said, tells_usage: bool) -> bytes:
        ended = self._end()
        whole = response(said, self._items)
        name = "response.completed" if whole["status"] == "completed" else "response.incomplete"
        return ended + self._event(name, response=whole)

    def error(self, message: str, code: str, type: str = "server_error") -> bytes:
        return self._event("error", code=code, message=message, param=None)

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self._said.id}", "output_index": len(self._items), "content_index": 0}

    def _begin(self, said: Said) -> tuple[bytes, Said]:
        """The message under way, begun where there is none."""
        if self._message is not None:
            return b"", self._message
        self._message = said
        item = message_item(said, "in_progress")
        out = self._event("response.output_item.added", output_index=len(self._items), item=item)
        return out + self._event("response.content_part.added", **self._at, part=content_part(said)), said

    def _end(self) -> bytes:
        """Ends the message under way."""
        said, self._message = self._message, None
        if said is None:
            return b""
        if said.refusal is None:
            out = self._event("response.output_text.done", **self._at, text=said.text, logprobs=[])
        else:
            out = self._event("response.refusal.done", **self._at, refusal=said.refusal)
        out += self._event("response.content_part.done", **self._at, part=content_part(said))
        return out + self._done(message_item(said))

    def _done(self, item: dict[str, Any]) -> bytes:
        out = self._event("response.output_item.done", output_index=len(self._items), item=item)
        self._items.append(item)
        return out

    def _event(self, name: str, **data: Any) -> bytes:
        self._number += 1
        return event({"type": name, "sequence_number": self._number, **data}, name)
