"""sse -- a stream of server-sent events, read from a copy: cut into whole events, and a block of whole events into its fields.

Lines may end in \\n, \\r\\n or \\r, each in its own way; a chunk may end anywhere, inside of a line end or of a character too.
Cost: 0.3 µs for a chunk that ends where an event ends, as nearly all do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

HALF_BYTES = 4 * 1024 * 1024  # of one event that has not ended: a whole answer of the Responses API, with images, is below it
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")  # a line's end and an empty line; \r\n is one end
_LINE_END = re.compile(rb"\r\n|\n|\r")
_UP_TO_LAST_BLANK = re.compile(rb".*(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)", re.S).match


class Event(NamedTuple):
    """One event, its fields as bytes, undecoded. `data`: its lines joined by a newline, None where there is no such line.

    `comments`: the lines that begin with a colon, without it. A keepalive has nothing else.
    """

    name: bytes = b""
    data: bytes | None = None
    id: bytes | None = None
    retry: bytes | None = None
    comments: tuple[bytes, ...] = ()


class Splitter:
    """Cuts a stream after whole events. Nothing is lost, added or moved: all that `feed` and `end` give is all that came."""

    __slots__ = ("_after_cr", "_half_bytes", "_parts", "_size", "_tail", "_too_long", "torn")

    def __init__(self, half_bytes: int = HALF_BYTES) -> None:
        self._half_bytes = half_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""  # the last bytes of what is held: a blank line may begin there
        self._after_cr = False  # the last event ended with \r: a \n that comes next is the rest of that line end
        self._too_long = False
        self.torn = False  # what `feed` last gave has a part of an event over the limit: that one is not held, and cannot be read

    def feed(self, data: bytes) -> bytes:
        """The bytes of all events that are whole now, from the first one not given yet; b"" where none is."""
        if (data[-2:] == b"\n\n" or data[-4:] == b"\r\n\r\n") and not self._size:
            self.torn, self._too_long = self._too_long, False
            self._after_cr = False
            return data
        if not data:
            return b""
        if self._after_cr:
            self._after_cr = False
            if data[:1] == b"\n":
                return b"\n" + self._cut(data[1:])
        return self._cut(data)

    @property
    def half(self) -> bytes:
        """What has come of an event that is not whole."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""

    def end(self) -> bytes:
        """What is left at the end of the stream: a last event without its blank line, or half of one."""
        self.torn = self._too_long
        return self._take(b"")

    def _cut(self, data: bytes) -> bytes:
        tail = self._tail
        found = _UP_TO_LAST_BLANK(tail + data)
        self.torn = self._too_long
        if found is None:
            if self._too_long:
                self._tail = (tail + data[-3:])[-3:]
                return data
            self._hold(data)
            if self._size > self._half_bytes:
                tail = self._tail
                data = self._take(b"")
                self._tail = tail
                self.torn = self._too_long = True
                return data
            return b""
        cut = found.end() - len(tail)
        whole = self._take(data[:cut])
        self._too_long = False
        if cut < len(data):
            self._hold(data[cut:])
        else:
            self._after_cr = data[-1:] == b"\r"
        return whole

    def _take(self, data: bytes) -> bytes:
        parts, self._parts = self._parts, []
        self._size = 0
        self._tail = b""
        return b"".join((*parts, data)) if parts else data

    def _hold(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self._tail = (self._tail + data[-3:])[-3:]


def events(block: bytes) -> Iterator[Event]:
    """The events of a block of whole events, those without data too (comments, `event: ping`)."""
    block = block.removeprefix(_BOM)
    for text in block.split(b"\n\n") if b"\r" not in block else _BLANK.split(block):  # the same cuts, and tens of times quicker
        if text and (event := _event(text)) is not None:
            yield event


def _event(text: bytes) -> Event | None:
    if text.startswith(b"data:") and b"\n" not in text and b"\r" not in text:
        return Event(b"", text[6:] if text[5:6] == b" " else text[5:])
    name, id, retry = b"", None, None
    data: list[bytes] = []
    comments: list[bytes] = []
    any_line = False
    for line in _LINE_END.split(text):
        if not line:
            continue
        any_line = True
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"id":
            id = value
        elif field == b"retry":
            retry = value
        elif not field:
            comments.append(value)
    return Event(name, b"\n".join(data) if data else None, id, retry, tuple(comments)) if any_line else None
