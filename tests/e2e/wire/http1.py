"""A strict reader of HTTP/1 messages that keeps every byte's place and time.

The tests' own: what judges a proxy must not share a parser with it. It takes nothing that RFC 9112 forbids a sender: the first
wrong byte sets `broken`, and what was understood before stays.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Headers = list[tuple[bytes, bytes]]
Framing = Literal["none", "length", "chunked", "close", "tunnel"]

STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
REQUEST = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?)")
DIGITS = re.compile(rb"[0-9]{1,18}")


@dataclass(slots=True)
class Message:
    """One request or reply, as far as it has come."""

    head: bytes
    first: tuple[bytes, ...]
    headers: Headers
    framing: Framing
    began_at: float
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = field(default_factory=list)
    complete: bool = False
    chunks: list[int] = field(default_factory=list)
    times: list[tuple[int, float]] = field(default_factory=list)

    @property
    def method(self) -> bytes:
        return self.first[0]

    @property
    def target(self) -> bytes:
        return self.first[1]

    @property
    def status(self) -> int:
        return int(self.first[1])

    @property
    def reason(self) -> bytes:
        return self.first[2]

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: bytes) -> bytes:
        """The values of that name joined, b"" where there is none."""
        return b", ".join(self.values(name))

    def tokens(self, name: bytes) -> set[bytes]:
        return {token.strip().lower() for token in self.value(name).split(b",")} - {b""}

    def arrived_at(self, size: int) -> float:
        """When the first `size` bytes of the body were here; infinity when they never were."""
        return next((at for total, at in self.times if total >= size), float("inf"))


class Reader:
    """Feed it what arrives on a connection; `messages` grows.

    `methods` are those of the requests that replies answer; after a request for which `tunnels` holds, all is that one's body.
    """

    def __init__(
        self, kind: Literal["request", "reply"], methods: Iterable[bytes] = (), tunnels: Callable[[Message], bool] = lambda _: False
    ) -> None:
        self.kind = kind
        self.methods = deque(methods)
        self.tunnels = tunnels
        self.messages: list[Message] = []
        self.broken: str | None = None
        self._buffer = bytearray()
        self._step = self._head
        self._left = 0

    @property
    def finals(self) -> list[Message]:
        """The messages without the interim replies."""
        return [each for each in self.messages if self.kind == "request" or each.status >= 200 or each.status == 101]

    @property
    def whole(self) -> int:
        return sum(each.complete for each in self.finals)

    @property
    def last(self) -> Message | None:
        return self.messages[-1] if self.messages else None

    @property
    def pending(self) -> bytes:
        """Bytes that have not made a message yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes, at: float) -> None:
        self._buffer += data
        self._at = at
        while self.broken is None and self._step():
            pass

    def end(self) -> None:
        """The peer ended its side cleanly."""
        if self.last is not None and not self.last.complete and self.last.framing in ("close", "tunnel"):
            self.last.complete = True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._buffer[: end + 1])
        if not line.endswith(b"\r\n"):
            self.broken = f"a bare LF ends {line!r}"
            return None
        del self._buffer[: end + 1]
        return line[:-2]

    def _head(self) -> bool:
        while self.kind == "request" and self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]  # a server ignores empty lines before a request (RFC 9112, 2.2)
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        raw = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        first, *lines = raw[:-4].split(b"\r\n")
        match = (REQUEST if self.kind == "request" else STATUS).fullmatch(first)
        if match is None:
            self.broken = f"not a first line: {first!r}"
            return False
        headers = self._fields(lines)
        if headers is None:
            return False
        parts = match.groups() if self.kind == "request" else (match[1], match[2], match[3])
        message = Message(raw, parts, headers, "none", self._at)
        self.messages.append(message)
        self._frame(message)
        return True

    def _fields(self, lines: list[bytes]) -> Headers | None:
        headers: Headers = []
        for line in lines:
            match = FIELD.fullmatch(line)
            if match is None:
                self.broken = f"not a field line: {line!r}"
                return None
            headers.append((match[1], match[2]))
        return headers

    def _frame(self, message: Message) -> None:
        lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
        if self.kind == "reply":
            if message.status < 200 and message.status != 101:
                message.complete = True
                return
            method = self.methods.popleft() if self.methods else b"GET"
            if message.status == 101:
                message.framing, self._step = "tunnel", self._rest
                return
            if method == b"HEAD" or message.status in (204, 304):
                message.complete = True
                return
        elif self.tunnels(message):
            message.framing, self._step = "tunnel", self._rest
            return
        if (
            len(lengths) + len(codings) > 1
            or any(each.lower() != b"chunked" for each in codings)
            or not all(map(DIGITS.fullmatch, lengths))
        ):
            self.broken = f"ambiguous framing: {message.head!r}"
        elif codings:
            message.framing, self._step = "chunked", self._size
        elif lengths:
            message.framing, self._step, self._left = "length", self._counted, int(lengths[0])
            self._counted()
        elif self.kind == "reply":
            message.framing, self._step = "close", self._rest
        else:
            message.complete = True

    def _take(self, size: int) -> None:
        message = self.messages[-1]
        message.body += self._buffer[:size]
        del self._buffer[:size]
        message.times.append((len(message.body), self._at))

    def _rest(self) -> bool:
        if self._buffer:
            self._take(len(self._buffer))
        return False

    def _counted(self) -> bool:
        size = min(self._left, len(self._buffer))
        if size:
            self._take(size)
            self._left -= size
        if self._left:
            return False
        self.messages[-1].complete = True
        self._step = self._head
        return bool(self._buffer)

    def _size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        match = CHUNK.fullmatch(line)
        if match is None:
            self.broken = f"not a chunk size: {line!r}"
            return False
        self._left = int(match[1], 16)
        if self._left:
            self.messages[-1].chunks.append(self._left)
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self) -> bool:
        size = min(self._left, len(self._buffer))
        if size:
            self._take(size)
            self._left -= size
        if self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            self.broken = f"not the end of a chunk: {bytes(self._buffer[:20])!r}"
            return False
        del self._buffer[:2]
        self._step = self._size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            self.messages[-1].trailers += self._fields([line]) or []
        else:
            self.messages[-1].complete = True
            self._step = self._head
        return True
