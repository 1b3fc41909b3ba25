"""body -- a message body on its way: one producer, a tuple of synchronous stages, a buffer, one consumer.

Stages run in the producer's callback, before the buffer; a body without stages costs one call a chunk.
Memory is bounded by `HIGH` (or by what `until` waits for): beyond it the producer is asked to stop reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from proxy.core.faults import Abandoned, Failure, Fault
from proxy.core.stage import BugReport, Feed, Flow, Stage, feeds_of, last_words, parting, stage_of

Headers = list[tuple[bytes, bytes]]
Chunk = bytes | memoryview

HIGH = 256 * 1024  # bytes buffered before the producer stops reading: one large read of the event loop


class Body:
    """Producer -> stages -> buffer -> consumer. Whoever receives one consumes it or closes it."""

    __slots__ = (
        "_after",
        "_feeds",
        "_flow",
        "_full",
        "_high",
        "_limit",
        "_ready",
        "_sink",
        "_size",
        "_told",
        "_waiter",
        "chunks",
        "closed",
        "ended",
        "error",
        "on_bug",
        "resumed_at",
        "stages",
        "trailers",
    )

    def __init__(self, flow: Flow | None = None) -> None:
        self._flow = flow
        self._full = False
        self._size = 0
        self._high = self._limit = HIGH
        self._sink: Callable[[bytes], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ready: Callable[[], bool] | None = None
        self._feeds: tuple[Feed, ...] = ()
        self._told = 0  # stages, innermost first, that have heard their end or the break
        self._after: tuple[Callable[[Failure | None], None], ...] = ()
        self.stages: tuple[Stage, ...] = ()
        self.chunks: list[Chunk] = []  # short: it is emptied whole
        self.ended = False
        self.closed = False
        self.error: Failure | None = None
        self.trailers: Headers = []
        self.resumed_at = 0.0  # loop time of the last end of back-pressure: waiting for the consumer is nobody's idle time
        self.on_bug: BugReport | None = None

    @classmethod
    def of(cls, data: Chunk | Iterable[Chunk] = b"", trailers: Headers | None = None) -> Body:
        """A body that is already whole: one chunk, or several."""
        body = cls()
        body.chunks = [chunk for chunk in ((data,) if isinstance(data, (bytes, memoryview)) else data) if chunk]
        body._size = sum(map(len, body.chunks))
        body.trailers = trailers or []
        body.ended = True
        return body

    @property
    def size(self) -> int:
        """Bytes in the buffer."""
        return self._size

    @property
    def paused(self) -> bool:
        """True while the producer is held back."""
        return self._full

    # What layers do

    def attach(self, stage: Stage) -> None:
        """Adds an outermost stage. What is buffered goes through it now, so a layer's timing does not matter."""
        if self._sink is not None:
            raise RuntimeError("a stage was attached after the commit")
        stage.body = self
        self.stages += (stage,)
        if type(stage).feed is not Stage.feed:
            self._feeds += (stage.feed,)
            if self.chunks:
                self._refeed(stage)
        if self.error is not None:
            self._break(self.error)
        elif self.ended:
            self.ended = False
            self._end_stages()
        elif self._full and self._size <= HIGH:
            self.release()

    def _refeed(self, stage: Stage) -> None:
        """Sends what is buffered through a new stage, which may break the body or be dropped."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        self._size = 0
        self._emit(self._through(data, (stage.feed,)))

    def after(self, done: Callable[[Failure | None], None]) -> None:
        """Calls `done` once, at close: None when the consumer has it all, else why not. For what ends with the client."""
        if self.closed:
            self._tell(done)
        else:
            self._after += (done,)

    def _tell(self, done: Callable[[Failure | None], None]) -> None:
        whole = self.ended and not self.chunks
        try:
            done(None if whole else self.error or Abandoned())
        except Exception as bug:
            if self.on_bug is not None:
                self.on_bug(done, bug)

    async def until(self, ready: Callable[[], bool] | None, limit: int) -> None:
        """Waits, taking nothing, for `ready()`, the end, or `limit` bytes. A known break wins over `ready` and raises its Failure.

        Any exception (a cancellation too) closes the body.
        """
        self._limit = limit
        self._high = max(HIGH, limit)
        self._ready = ready
        if self._full and self._size < self._high:
            self.release()
        try:
            while True:
                if self.error is not None:
                    raise self.error
                if self.ended or self._size >= limit or (ready is not None and ready()):
                    return
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = self._ready = None
            self._high = HIGH
            if self._size > HIGH:
                self.hold()

    def peek(self) -> bytes:
        """All that is buffered, joined, left in place."""
        if len(self.chunks) > 1:
            data = b"".join(self.chunks)
            self.chunks.clear()
            self.chunks.append(data)
        return bytes(self.chunks[0]) if self.chunks else b""

    # What the producer does

    def feed(self, data: bytes) -> None:
        """Takes the next bytes. After a break they are nobody's."""
        if self.error is not None or not data:
            return
        if self._feeds:
            data = self._through(data, self._feeds)
            if not data or self.error is not None:
                if self._waiter is not None and self._is_ready():
                    self._wake()
                return
        if self._sink is not None:
            self._sink(data)
            return
        self.chunks.append(data)
        self._size += len(data)
        if self._waiter is not None and (self._size >= self._limit or self._is_ready()):
            self._wake()
        if self._size > self._high and not self._full:
            self.hold()

    def end(self, trailers: Headers | None = None) -> None:
        """All has come. A producer that was held back is released: whoever is slow to read must not hold up its next message."""
        if self.error is not None or self.ended:
            return
        if trailers:
            self.trailers = trailers
        self._end_stages()

    def fail(self, failure: Failure) -> None:
        """The body broke. Nothing happens after its end or an earlier break."""
        if not self.ended and self.error is None:
            self._break(failure)

    def _is_ready(self) -> bool:
        try:
            return self._ready is not None and self._ready()
        except Exception:
            return True  # `until` asks again: there it is raised to who waits, and not to the producer

    def _through(self, data: bytes, feeds: tuple[Feed, ...]) -> bytes:
        feed = feeds[0]
        try:
            for feed in feeds:
                data = feed(data)
                if not data:
                    return b""
            return data
        except Exception as exc:
            return self._broke(stage_of(feed), data, exc)

    def _broke(self, stage: Stage, data: bytes, exc: Exception) -> bytes:
        """A Failure breaks the body, and so does any bug of a critical stage. Else fail open: the stage goes, and what it held
        and what it was given flow on, through the stages outside of it."""
        if stage not in self.stages:  # it closed the body itself
            return b""
        at = self.stages.index(stage)
        name = type(stage).__name__
        if not isinstance(exc, Failure):
            if self.on_bug is not None:
                self.on_bug(stage, exc)
            if not stage.critical:
                return self._drop(stage, at, data, Failure(Fault.INVALID, name, f"dropped: {exc!r}"))
            exc = Failure(Fault.INVALID, name, f"a guard broke: {exc!r}")
        self._break(exc, at)
        return b""

    def _drop(self, stage: Stage, at: int, data: bytes, why: Failure) -> bytes:
        data = last_words(stage.rest) + data
        self.stages = self.stages[:at] + self.stages[at + 1 :]
        self._feeds = feeds_of(self.stages)
        if at < self._told:
            self._told -= 1
        else:
            last_words(stage.fail, why)
        outside = feeds_of(self.stages[at:])
        return self._through(data, outside) if data and outside else data

    def _end_stages(self) -> None:
        while self._told < len(self.stages):
            stage = self.stages[self._told]
            self._told += 1
            try:
                tail = stage.end()
            except Exception as exc:
                tail = self._broke(stage, b"", exc)
            else:
                outside = feeds_of(self.stages[self._told :])
                if tail and outside:
                    tail = self._through(tail, outside)
            if self.error is not None:
                return
            self._emit(tail)
        if self.error is None:
            self._ended()

    def _ended(self) -> None:
        self.ended = True
        if self._full:
            self.release()
        self._flow = None
        self._wake()

    def _break(self, failure: Failure, at: int = -1) -> None:
        """Each stage that has not heard its end hears of it, inside first. Last words of stages outside of `at`, where it broke, flow."""
        if self.error is None:
            self.error = failure
        tail = b""
        while self._told < len(self.stages):
            place, stage = self._told, self.stages[self._told]
            self._told += 1
            words = parting(stage, tail, failure, self.on_bug)
            if place > at:
                tail = words
        if not self.closed:
            self._emit(tail)
        self.ended = False
        self._stop()
        self._wake()

    def _emit(self, data: bytes) -> None:
        if not data:
            return
        if self._sink is not None:
            self._sink(data)
        else:
            self.chunks.append(data)
            self._size += len(data)

    def _stop(self) -> None:
        flow, self._flow = self._flow, None
        self._full = False
        if flow is not None:
            flow.let_go(self)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Back-pressure

    def hold(self) -> None:
        """Asks the producer to stop reading."""
        if not self._full and self._flow is not None and not self.ended:
            self._full = True
            self._flow.body_full()

    def release(self) -> None:
        """Lets the producer read on."""
        if self._full:
            self._full = False
            self.resumed_at = asyncio.get_running_loop().time()
            if self._flow is not None:
                self._flow.body_drained()

    # What the consumer does

    def take(self) -> bytes:
        """All that is here now, b"" if nothing."""
        chunks = self.chunks
        if not chunks:
            return b""
        data = bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size = 0
        if self._full:
            self.release()
        return data

    def take_chunks(self) -> list[Chunk]:
        """All that is here now, uncopied."""
        chunks, self.chunks = self.chunks, []
        self._size = 0
        if self._full:
            self.release()
        return chunks

    def put_back(self, data: bytes) -> None:
        """Undoes a `take`: for whoever finds that it may not keep what it took. `data` is not empty."""
        self.chunks.insert(0, data)
        self._size += len(data)

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises the Failure of a body that broke."""
        while not self.chunks:
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            self._limit = 1
            await self._wait()
        return self.take()

    async def read_all(self) -> bytes:
        """The whole body; the caller knows that it is small."""
        parts = []
        while data := await self.read():
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pipe(self, sink: Callable[[bytes], None]) -> None:
        """Gives `sink` what is buffered, then the producer calls it. Returns at the end; raises the Failure after its last byte."""
        while data := self.take():  # what a released producer feeds at once comes after it
            sink(data)
        self._sink = sink
        while not self.ended:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Idempotent. Before the end it breaks the body: stages hear Abandoned and the source stops now."""
        if self.closed:
            return
        self.closed = True
        if not self.ended and self.error is None:
            self._break(Abandoned())
        self._stop()
        if self.error is not None:
            self.error = self.error.bare()
        self.stages = self._feeds = ()  # no cycles: a finished call is freed at once
        self._told = 0
        self._sink = self._ready = None
        after, self._after = self._after, ()
        for done in after:
            self._tell(done)
