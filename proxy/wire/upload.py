"""upload -- a request body on its way to an upstream, kept until the reply begins so that it may be sent once more (WIRE 29).

A small body that is here already is one write beside its head and needs none of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy.core.body import Chunk
from proxy.core.request import CHUNKED, Request
from proxy.wire.head import last_chunk

SLICE_BYTES = 256 * 1024  # written before looking whether the upstream is slow; TLS encrypts so much in about 0.1 ms


class Upload:
    """The body of one request. `run` sends it, again from the start when it `may_repeat`."""

    __slots__ = ("_kept", "_limit", "_request", "may_repeat")

    def __init__(self, request: Request, replay_bytes: int) -> None:
        body = request.body
        self._request = request
        self._kept: list[Chunk] = list(body.take_chunks()) if body.ended else []  # a whole body is in memory anyway
        self._limit = 0 if body.ended else replay_bytes
        self.may_repeat = True

    async def run(self, write: Callable[[Chunk], None], writable: Callable[[], Awaitable[None]]) -> None:
        """Writes the body, as fast as `writable` lets it. Raises the Failure of a body that broke."""
        body = self._request.body
        chunked = self._request.framing is CHUNKED
        for data in list(self._kept):
            await self._write(data, chunked, write, writable)
        while data := await body.read():
            if self.may_repeat:
                self._limit -= len(data)
                if self._limit >= 0:
                    self._kept.append(data)
                else:
                    self.forget()
            await self._write(data, chunked, write, writable)
        if chunked:
            write(last_chunk(body.trailers))

    def forget(self) -> None:
        """It will not be sent again: the reply has begun, or it is too large to keep."""
        self.may_repeat = False
        self._kept = []

    async def _write(self, data: Chunk, chunked: bool, write: Callable[[Chunk], None], writable: Callable[[], Awaitable[None]]) -> None:
        if chunked:
            write(b"%x\r\n" % len(data))
        if len(data) <= SLICE_BYTES:
            write(data)
            await writable()
        else:
            view = memoryview(data)
            for at in range(0, len(data), SLICE_BYTES):
                write(view[at : at + SLICE_BYTES])
                await writable()
        if chunked:
            write(b"\r\n")
