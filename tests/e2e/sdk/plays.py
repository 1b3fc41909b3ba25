"""Trouble on demand: what the scripted upstream does when a request names a play in `x-play`.

A play that is over after some tries reads the SDK's own count of them (`x-stainless-retry-count`), so nothing is remembered.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import brotli
import zstandard

from tests.e2e.sdk.answers import Api
from tests.e2e.sdk.upstream import Answer, Arrival, Cut
from tests.e2e.sdk.wording import as_error, as_events, data_event, usual

RETRY_AFTER_MS = (b"retry-after-ms", b"20")
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


class Stage:
    """The upstream's route: the API, unless the request asks for a play."""

    def __init__(self) -> None:
        self.api = Api()
        self._released = asyncio.Event()

    async def __call__(self, arrival: Arrival) -> Answer:
        play, _, argument = arrival.header("x-play").partition(" ")
        if arrival.path.endswith("/models/gpt-4o-mini"):
            self._released.set()
        if not play:
            return self.api(arrival)
        answer = getattr(self, play.replace("-", "_"))(arrival, argument)
        if asyncio.iscoroutine(answer):
            answer = await answer
        assert isinstance(answer, Answer)
        return answer

    # -- statuses

    def _failing(self, arrival: Arrival, times: str, failure: Answer) -> Answer:
        return failure if int(arrival.header("x-stainless-retry-count") or 0) < int(times) else self.api(arrival)

    def rate_limited(self, arrival: Arrival, argument: str) -> Answer:
        """`N NAME VALUE`: 429 for the first N tries, with one more header."""
        times, name, value = argument.split(" ", 2)
        extra = [(name.encode(), value.encode()), (b"x-ratelimit-remaining-requests", b"0")]
        return self._failing(
            arrival, times, as_error(arrival, 429, "Rate limit reached for gpt-4o", "requests", "rate_limit_exceeded", None, extra)
        )

    def failing(self, arrival: Arrival, argument: str) -> Answer:
        """`STATUS N`: that status for the first N tries, soon to be tried again."""
        status, times = argument.split()
        error = as_error(
            arrival, int(status), "The server had an error while processing your request.", "server_error", None, None, [RETRY_AFTER_MS]
        )
        return self._failing(arrival, times, error)

    def broken(self, arrival: Arrival, argument: str) -> Answer:
        return as_error(arrival, 500, "The server had an error while processing your request.", "server_error", None)

    def told(self, arrival: Arrival, argument: str) -> Answer:
        """`STATUS true|false`: an error with x-should-retry; one that says true is gone at the second try."""
        status, verdict = argument.split()
        error = as_error(
            arrival, int(status), "As told.", "server_error", "told", "model", [(b"x-should-retry", verdict.encode()), RETRY_AFTER_MS]
        )
        return self._failing(arrival, "1" if verdict == "true" else "9", error)

    def html(self, arrival: Arrival, argument: str) -> Answer:
        return Answer(503, usual(arrival, "text/html"), b"<html><h1>503 Service Unavailable</h1></html>")

    # -- encodings and odd streams

    def encoded(self, arrival: Arrival, encoding: str) -> Answer:
        plain = self.api(arrival)
        encode = ENCODERS[encoding]
        headers = [*plain.headers, (b"Content-Encoding", encoding.encode()), (b"Vary", b"Accept-Encoding"), (b"ETag", b'W/"1f"')]
        if isinstance(plain.body, bytes):
            return Answer(plain.status, headers, encode(plain.body))
        return Answer(plain.status, headers, self._gzipped(plain.body))

    async def _gzipped(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        packer = zlib.compressobj(wbits=31)
        packed = b""
        async for data in body:
            if packed:
                yield packed
            packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packed + packer.flush()  # with the last event: the client leaves once it has read that

    def shredded(self, arrival: Arrival, size: str) -> Answer:
        """The same stream, cut anywhere: inside a character, inside a line end."""
        plain = self.api(arrival)
        assert not isinstance(plain.body, bytes)
        return Answer(plain.status, plain.headers, self._shreds(plain.body, int(size)))

    async def _shreds(self, body: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
        whole = b"".join([data async for data in body])
        for at in range(0, len(whole), size):
            yield whole[at : at + size]

    def erring(self, arrival: Arrival, after: str) -> Answer:
        """An error event in the middle of a stream."""
        error = {"error": {"message": "The model overheated.", "type": "server_error", "param": None, "code": "overheated"}}
        plain = self.api(arrival)
        assert not isinstance(plain.body, bytes)
        return Answer(plain.status, plain.headers, self._some(plain.body, int(after), [data_event(error)]))

    def failed_response(self, arrival: Arrival, argument: str) -> Answer:
        error = {"type": "error", "code": "server_error", "message": "The response failed.", "param": None, "sequence_number": 0}
        return as_events(arrival, [data_event(error, "error")])

    async def _some(self, body: AsyncIterator[bytes], count: int, more: list[bytes]) -> AsyncIterator[bytes]:
        async for data in body:
            if not count:
                break
            yield data
            count -= 1
        for data in more:
            yield data

    # -- bodies that break off, and silence

    def cut(self, arrival: Arrival, after: str) -> Answer:
        """A stream without its end, or a plain reply shorter than announced; in the middle of an event or a string."""
        plain = self.api(arrival)
        if isinstance(plain.body, bytes):
            return Answer(plain.status, plain.headers, plain.body[: int(after)], announced=len(plain.body))
        return Answer(plain.status, plain.headers, self._breaking(self._some(plain.body, int(after), [b'data: {"id":"chatcmpl-B'])))

    async def _breaking(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in body:
            yield data
        raise Cut

    async def silent(self, arrival: Arrival, argument: str) -> Answer:
        """No reply at all."""
        await asyncio.Event().wait()
        raise AssertionError("nobody ends the silence")

    def stalled(self, arrival: Arrival, after: str) -> Answer:
        """Some events, then nothing."""
        plain = self.api(arrival)
        assert not isinstance(plain.body, bytes)
        return Answer(plain.status, plain.headers, self._stalling(self._some(plain.body, int(after), [])))

    async def _stalling(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in body:
            yield data
        await asyncio.Event().wait()

    def lockstep(self, arrival: Arrival, after: str) -> Answer:
        """Some events, and the rest only when the model gpt-4o-mini has been asked for: a stream held back never ends."""
        self._released.clear()
        plain = self.api(arrival)
        assert not isinstance(plain.body, bytes)
        return Answer(plain.status, plain.headers, self._released_later(plain.body, int(after)))

    async def _released_later(self, body: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
        async for data in body:
            if not count:
                await self._released.wait()
            yield data
            count -= 1

    def endless(self, arrival: Arrival, argument: str) -> Answer:
        """A stream that never stops speaking."""
        plain = self.api(arrival)
        assert not isinstance(plain.body, bytes)
        return Answer(plain.status, plain.headers, self._repeating(plain.body))

    async def _repeating(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        events = [data async for data in body]
        for data in events[:2]:
            yield data
        while True:
            yield events[2]
            await asyncio.sleep(0.01)
