"""hold -- keeps request bodies that a policy must read, within limits; what is over them streams on unread.

Cost: none for a body that came with its head; otherwise the call waits for its body, which the app is still sending.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from operator import itemgetter

from proxy.core.body import Headers
from proxy.core.request import Framing, Request

CALL_BYTES = 64 * 1024 * 1024  # the largest request that OpenAI's own API takes is 50 MB of images
PROCESS_BYTES = 256 * 1024 * 1024  # four of the largest at once, within a sidecar's memory limit of 512 MiB
STEP_BYTES = 1024 * 1024
PEEK_BYTES = 64 * 1024  # of a body that is here already: to read it costs less than to ask whether it is needed
UNHELD = (b"multipart/", b"application/octet-stream", b"audio/", b"image/", b"video/")

_first = itemgetter(0)


class OverLimit(Exception):
    """The body is not held. `args[0]` says over which limit."""


class Holds:
    """What all calls of the process hold together. `take` and `give_back` go in pairs."""

    __slots__ = ("_call_bytes", "_process_bytes", "held_bytes")

    def __init__(self, call_bytes: int = CALL_BYTES, process_bytes: int = PROCESS_BYTES) -> None:
        self._call_bytes = call_bytes
        self._process_bytes = process_bytes
        self.held_bytes = 0

    def peek(self, request: Request) -> bytes | None:
        """A body that is here already and small: the usual one. It is left in place, to be sent as it is. Counts as held, as with `take`.

        None for any other.
        """
        body = request.body
        if not body.ended or body.size > PEEK_BYTES or body.error is not None:
            return None
        if not self._fits(body.size, body.size):
            return None
        self.held_bytes += body.size
        return body.peek()

    async def take(self, request: Request) -> tuple[bytes, int]:
        """The whole body, taken out of the request, and the bytes to give back when the call is done with it.

        Raises OverLimit, with everything left in place to stream on; and the Failure of a body that breaks.
        """
        body = request.body
        if body.ended and body.error is None:
            self._claim(body.size, body.size)
            size = body.size
            return body.take(), size
        data = await self._arrived(request)
        return data, len(data)

    def give_back(self, size_bytes: int) -> None:
        """The call is done with its body."""
        self.held_bytes -= size_bytes

    async def _arrived(self, request: Request) -> bytes:
        """Takes the body as it comes. Room is claimed in steps, as a body may not say its length; what is claimed stays so on success.

        Copied step by step into one buffer: to join 50 MB at its end would stop the event loop for tens of milliseconds.
        """
        body = request.body
        known = request.length if request.framing is Framing.LENGTH else 0
        buffer = BytesIO()
        claimed = 0
        try:
            while True:
                wanted = max(buffer.tell() + STEP_BYTES, known)
                self._claim(wanted - claimed, max(wanted - STEP_BYTES, known))
                claimed = wanted
                request.go_on()
                await body.until(None, STEP_BYTES)
                buffer.write(body.take())
                if body.ended and not body.chunks:
                    break
        except BaseException:
            self.held_bytes -= claimed
            if buffer.tell():
                body.put_back(buffer.getvalue())
            raise
        self.held_bytes -= claimed - buffer.tell()
        return buffer.getvalue()

    def _claim(self, more_bytes: int, size_bytes: int) -> None:
        """Takes room for `more_bytes` of a body that has at least `size_bytes`. Raises OverLimit."""
        if not self._fits(more_bytes, size_bytes):
            raise OverLimit(self._why(size_bytes))
        self.held_bytes += more_bytes

    def _fits(self, more_bytes: int, size_bytes: int) -> bool:
        return size_bytes <= self._call_bytes and self.held_bytes + more_bytes <= self._process_bytes

    def _why(self, size_bytes: int) -> str:
        if size_bytes > self._call_bytes:
            return f"the body is over the hold limit of {self._call_bytes >> 20} MiB a call"
        return f"the bodies of all calls are at the hold limit of {self._process_bytes >> 20} MiB a process"


def content_of(headers: Headers) -> tuple[bytes, bytes | None]:
    """The content type, lower case and empty where there is none, and the encoding."""
    kind_at, encoding_at = _content_places(tuple(map(_first, headers)))
    kind = headers[kind_at][1].lower() if kind_at is not None else b""
    return kind, headers[encoding_at][1] if encoding_at is not None else None


@lru_cache(maxsize=128)  # a client sends the same names in the same order again and again
def _content_places(names: tuple[bytes, ...]) -> tuple[int | None, int | None]:
    low = [name.lower() for name in names]
    return tuple(low.index(name) if name in low else None for name in (b"content-type", b"content-encoding"))  # type: ignore[return-value]


def may_be_read(headers: Headers) -> bool:
    """Whether a body that is still on its way may be JSON, by its content type."""
    return not content_of(headers)[0].startswith(UNHELD)
