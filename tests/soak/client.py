"""client -- an app that makes a call in its own way: plain or streamed, patient or not, quick or slow to read; and says what became of it.

It reads HTTP by itself, as what a well-made client library hides (a cut, a chunk too few) is what has to be told apart.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

HUNG_S = 30.0  # beyond every limit of the policies
KEPT = 20  # idle connections of an app, so that a crowded moment is not seen as growth
SILENCE_S = 3.0  # longer than a good answer takes


class Fate(Enum):
    """What became of a call."""

    WHOLE = "whole"
    STATIC = "answered by a policy"
    REFUSED = "refused with an error"
    LATE_ERROR = "error event after content"
    CUT = "cut, and to be seen"
    LEFT = "left by the app"
    SILENT = "stream that ended silently"
    ODD = "200 that is no answer"
    DROPPED = "dropped without a reply"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Way:
    """How one call is made."""

    model: str
    streamed: bool
    leaves_after_s: float | None
    pause_s: float  # amid reading
    patience_s: float | None  # told to the proxy, as the SDK does


def drawn(draw: random.Random, models: tuple[str, ...], untouched: str) -> Way:
    """A way at random: each tenth app leaves, some soon, some late; and where no policy ends a silence, any app does."""
    model = draw.choice(models)
    leaves = draw.choice((0.0, 0.01, 0.05, 0.2, 1.0)) * draw.random() if draw.random() < 0.1 else None
    if leaves is None and model == untouched:
        leaves = SILENCE_S
    pause_s = draw.uniform(0.05, 0.5) if draw.random() < 0.05 else 0.0
    return Way(model, draw.random() < 0.5, leaves, pause_s, 5.0 if draw.random() < 0.3 else None)


class App:
    """Keeps its connections, as an SDK does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, way: Way) -> Fate:
        """Makes the call and reads all of its answer."""
        try:
            async with asyncio.timeout(HUNG_S if way.leaves_after_s is None else way.leaves_after_s):
                return await self._call(way)
        except TimeoutError:
            return Fate.HUNG if way.leaves_after_s is None else Fate.LEFT

    async def _call(self, way: Way) -> Fate:
        kept = self._idle.pop() if self._idle else None
        if kept is not None and (kept[0].at_eof() or kept[1].is_closing()):
            kept[1].close()
            kept = None
        reader, writer = kept or await asyncio.open_connection("127.0.0.1", self._port)
        reusable = False
        try:
            writer.write(request(way))
            head = await reader.readuntil(b"\r\n\r\n")
            status, chunked, length, static = read_head(head)
            data, whole = await read_body(reader, chunked, length, way.pause_s)
            reusable = whole and b"connection: close" not in head.lower()
            return fate_of(way, status, static, data, whole)
        except (OSError, asyncio.IncompleteReadError):
            return Fate.DROPPED
        finally:
            if reusable and len(self._idle) < KEPT:
                self._idle.append((reader, writer))
            else:
                writer.transport.abort()

    async def close(self) -> None:
        """Lets go of what is kept."""
        for _, writer in self._idle:
            writer.close()
        for _, writer in self._idle:
            with suppress(OSError):
                await writer.wait_closed()


def request(way: Way) -> bytes:
    """The bytes of a call."""
    asked = {"model": way.model, "messages": [{"role": "user", "content": "Who are you?"}], "stream": way.streamed}
    body = json.dumps(asked).encode()
    patience = b"x-stainless-read-timeout: %g\r\n" % way.patience_s if way.patience_s is not None else b""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\nauthorization: Bearer sk-soak\r\n"
    return b"%s%scontent-length: %d\r\n\r\n%s" % (head, patience, len(body), body)


def read_head(head: bytes) -> tuple[int, bool, int, bool]:
    """(status, whether it is chunked, its length, whether a policy answered)."""
    lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    static = fields.get(b"x-chassis-origin") == b"static"
    return int(lines[0].split(b" ")[1]), b"transfer-encoding" in fields, int(fields.get(b"content-length", 0)), static


async def read_body(reader: asyncio.StreamReader, chunked: bool, length: int, pause_s: float) -> tuple[bytes, bool]:
    """(what came, whether that is all)."""
    data = b""
    try:
        if not chunked:
            while len(data) < length:
                part = await reader.read(length - len(data))
                if not part:
                    return data, False
                data += part
            return data, True
        while size := int(await reader.readuntil(b"\r\n"), 16):
            data += (await reader.readexactly(size + 2))[:-2]
            if pause_s:
                await asyncio.sleep(pause_s)
                pause_s = 0.0
        await reader.readuntil(b"\r\n")
    except (OSError, asyncio.IncompleteReadError):
        return data, False
    return data, True


def fate_of(way: Way, status: int, static: bool, data: bytes, whole: bool) -> Fate:
    """What an answer is worth to an app."""
    if not whole:
        return Fate.CUT
    if status != 200:
        return Fate.REFUSED if "error" in json_of(data) else Fate.ODD
    good = Fate.STATIC if static else Fate.WHOLE
    if not way.streamed:
        return good if "choices" in json_of(data) else Fate.ODD
    events = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    if any(b'"error"' in event and "error" in json_of(event) for event in events):
        return Fate.LATE_ERROR
    if b"[DONE]" in events or any(b'"finish_reason": "stop"' in event or b'"finish_reason":"stop"' in event for event in events):
        return good
    return Fate.SILENT if events else Fate.ODD


def json_of(data: bytes) -> dict[str, object]:
    """An object, empty where it is none."""
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
