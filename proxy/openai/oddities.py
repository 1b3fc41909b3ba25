"""oddities -- what an upstream does that the API's own streams do not: found in passing, counted for each upstream, carried unharmed.

Cost: nothing of its own but a look at each event that is parsed anyway, and one at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WHAT = {
    "json_for_stream": "A stream was asked for, and JSON came.",
    "stream_for_json": "JSON was asked for, and a stream came.",
    "no_done": "A stream of chat or completions ended without `[DONE]`.",
    "no_finish_reason": "A stream of chat or completions came to its end without a finish reason.",
    "no_usage": "A stream was asked to include its usage, and did not.",
    "repeated_tool_index": "Two tool calls of one choice had the same `index`.",
}


class Oddities:
    """What was seen of one stream."""

    __slots__ = ("_tools", "repeats")

    def __init__(self) -> None:
        self._tools: dict[tuple[Any, Any], str] = {}
        self.repeats = False

    def content(self, event: Mapping[str, Any]) -> None:
        """An event with content: a tool call that has the index of another one is odd."""
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            calls = delta.get("tool_calls") if isinstance(delta, dict) else None
            for call in calls if isinstance(calls, list) else ():
                self._call(choice.get("index"), call)

    def _call(self, choice: object, call: object) -> None:
        if not isinstance(call, dict):
            return
        id, index = call.get("id"), call.get("index")
        if not isinstance(id, str) or not id or not isinstance(choice, int | None) or not isinstance(index, int | None):
            return
        if self._tools.setdefault((choice, index), id) != id:
            self.repeats = True

    def found(self, is_done: bool, is_finished: bool, lacks_usage: bool) -> Iterator[str]:
        """The words for what was odd, at the clean end of a stream of chat or completions."""
        if self.repeats:
            yield "repeated_tool_index"
        if not is_done:
            yield "no_done"
        if not is_finished:
            yield "no_finish_reason"
        if lacks_usage:
            yield "no_usage"
