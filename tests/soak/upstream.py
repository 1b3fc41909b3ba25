"""upstream -- an upstream as a process of its own, to be killed, or one that misbehaves at random: `python -m tests.soak.upstream PORT`.

It answers chat calls, plain or streamed, and says in each who it is. With `--faults SHARE` so many of the exchanges go wrong, each in
one of the ways of `PLAYS`, drawn by `--seed`. It prints "ready" when it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import accumulate

STALL_S = 60.0  # longer than any limit of a test; it ends sooner, when the peer leaves
HEAD_END = b"\r\n\r\n"
JSON = b"content-type: application/json\r\n"
SSE = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
asks_stream = re.compile(rb'"stream": ?true').search
length_of = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class Manner:
    """How one upstream answers."""

    name: str
    first_s: float  # to the first byte of an answer; streams: to the first content
    gap_s: float  # between events
    events: int
    faults: float  # share of exchanges
    draw: random.Random

    @property
    def text(self) -> str:
        """What its answers say."""
        return f"I am {self.name}."


class Connection(asyncio.Protocol):
    """One client of it. A play ends with the connection."""

    transport: asyncio.Transport

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self._input = b""
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._playing is not None:
            self._playing.cancel()

    def data_received(self, data: bytes) -> None:
        self._input += data
        self._next()

    def _next(self) -> None:
        at = self._input.find(HEAD_END)
        if self._playing is not None or at < 0:
            return
        length = length_of(self._input, 0, at)
        end = at + len(HEAD_END) + (int(length[1]) if length is not None else 0)
        if len(self._input) >= end:
            body, self._input = self._input[at:end], self._input[end:]
            self._playing = asyncio.get_running_loop().create_task(self._play(asks_stream(body) is not None))

    async def _play(self, streamed: bool) -> None:
        manner = self.manner
        if manner.faults and manner.draw.random() < manner.faults:
            plays = STREAM_PLAYS if streamed else PLAIN_PLAYS
            (play,) = manner.draw.choices([each for each, _ in plays], cum_weights=list(accumulate(weight for _, weight in plays)))
            await play(self)
        else:
            await (stream if streamed else plain)(self)
        self._playing = None
        if not self.transport.is_closing():
            self._next()

    # What plays are made of

    def whole(self, status: int, body: bytes, headers: bytes = JSON) -> None:
        """A reply with a length."""
        self.transport.write(b"HTTP/1.1 %d X\r\n%scontent-length: %d\r\n\r\n%s" % (status, headers, len(body), body))

    def begin(self) -> None:
        """The head of a stream, and the event that says nothing."""
        self.transport.write(b"HTTP/1.1 200 OK\r\n%s\r\n" % SSE)
        self.event(delta(self.manner, role="assistant", content=""))

    def event(self, data: bytes) -> None:
        """An event of a stream, as one chunk."""
        data = b"data: %s\n\n" % data
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    def finish(self, last: tuple[bytes, ...]) -> None:
        """The end of a stream."""
        for data in last:
            self.event(data)
        self.transport.write(b"0\r\n\r\n")

    async def say(self, events: int | None = None) -> None:
        """Events with content, as it does."""
        manner = self.manner
        await asyncio.sleep(manner.first_s)
        words = (manner.text.split(" ") * manner.events)[: manner.events if events is None else events]
        for at, word in enumerate(words):
            if at:
                await asyncio.sleep(manner.gap_s)
            self.event(delta(manner, content=word + " "))


def delta(manner: Manner, finish: str | None = None, **said: str) -> bytes:
    """A chunk of a chat completion."""
    choice = {"index": 0, "delta": said, "finish_reason": finish}
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": manner.name}
    return json.dumps({**common, "choices": [choice]}).encode()


def completion(manner: Manner) -> bytes:
    """A whole one."""
    choice = {"index": 0, "message": {"role": "assistant", "content": manner.text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    common = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": manner.name}
    return json.dumps({**common, "choices": [choice], "usage": usage}).encode()


def problem(code: str) -> bytes:
    """An error in the API's form."""
    return json.dumps({"error": {"message": "no", "type": "server_error", "param": None, "code": code}}).encode()


# The ways to answer


async def plain(to: Connection) -> None:
    await asyncio.sleep(to.manner.first_s)
    to.whole(200, completion(to.manner))


async def stream(to: Connection) -> None:
    to.begin()
    await to.say()
    to.finish((delta(to.manner, "stop"), b"[DONE]"))


async def reset(to: Connection) -> None:
    to.transport.abort()


async def reset_in_head(to: Connection) -> None:
    to.transport.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await asyncio.sleep(0.01)
    to.transport.abort()


async def silent(to: Connection) -> None:
    await asyncio.sleep(STALL_S)


async def late(to: Connection) -> None:
    await asyncio.sleep(to.manner.draw.uniform(0.1, 1.0))
    await plain(to)


def status(number: int, headers: bytes = b"", code: str = "oh") -> Callable[[Connection], Awaitable[None]]:
    async def play(to: Connection) -> None:
        to.whole(number, problem(code), JSON + headers)

    return play


async def html(to: Connection) -> None:
    to.whole(200, b"<!doctype html><title>Sign in</title>", b"content-type: text/html\r\n")


async def empty(to: Connection) -> None:
    to.whole(200, b"")


async def cut(to: Connection) -> None:
    body = completion(to.manner)
    to.transport.write(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (JSON, len(body), body[:50]))
    await asyncio.sleep(0.01)
    to.transport.abort()


async def stall(to: Connection) -> None:
    body = completion(to.manner)
    to.transport.write(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (JSON, len(body), body[:50]))
    await asyncio.sleep(STALL_S)


async def half_json(to: Connection) -> None:
    to.whole(200, completion(to.manner)[:80])


async def stream_silent(to: Connection) -> None:
    to.begin()
    await asyncio.sleep(STALL_S)


async def stream_cut(to: Connection) -> None:
    to.begin()
    await to.say(3)
    to.transport.abort()


async def stream_cut_first(to: Connection) -> None:
    to.begin()
    await asyncio.sleep(0.01)
    to.transport.abort()


async def stream_stall(to: Connection) -> None:
    to.begin()
    await to.say(3)
    await asyncio.sleep(STALL_S)


async def stream_error_first(to: Connection) -> None:
    to.transport.write(b"HTTP/1.1 200 OK\r\n%s\r\n" % SSE)
    to.finish((problem("overloaded"),))


async def stream_error_later(to: Connection) -> None:
    to.begin()
    await to.say(3)
    to.finish((problem("overloaded"),))


async def stream_garbage(to: Connection) -> None:
    to.transport.write(b"HTTP/1.1 200 OK\r\n%s\r\n" % SSE)
    to.finish((b"\x00\xff<html>", b"not json"))


async def stream_unfinished(to: Connection) -> None:
    to.begin()
    await to.say()
    to.finish(())


async def stream_no_done(to: Connection) -> None:
    to.begin()
    await to.say()
    to.finish((delta(to.manner, "stop"),))


async def drip(to: Connection) -> None:
    to.begin()
    for _ in range(4):
        await asyncio.sleep(0.3)
        to.event(delta(to.manner, content="slow "))
    to.finish((delta(to.manner, "stop"), b"[DONE]"))


Plays = tuple[tuple[Callable[[Connection], Awaitable[None]], int], ...]  # each with its weight
PLAYS: Plays = (
    (reset, 4),
    (reset_in_head, 2),
    (silent, 1),
    (html, 2),
    (empty, 2),
    (status(408), 1),
    (status(429, b"retry-after-ms: 30\r\n"), 2),
    (status(429, b"retry-after: 1\r\n"), 1),
    (status(429, code="insufficient_quota"), 1),
    (status(500), 3),
    (status(503, b"retry-after: 20\r\n"), 2),
    (status(529), 1),
    (status(400), 1),
)
PLAIN_PLAYS: Plays = (*PLAYS, (late, 4), (cut, 3), (stall, 1), (half_json, 2))
STREAM_PLAYS: Plays = (
    *PLAYS,
    (plain, 1),
    (stream_silent, 1),
    (stream_cut, 4),
    (stream_cut_first, 3),
    (stream_stall, 1),
    (stream_error_first, 2),
    (stream_error_later, 2),
    (stream_garbage, 2),
    (stream_unfinished, 2),
    (stream_no_done, 2),
    (drip, 2),
)


async def serve(port: int, manner: Manner) -> None:
    """Until it is killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(manner), "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.upstream", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="upstream")
    parser.add_argument("--first", type=float, default=0.02, help="seconds to the first byte or content (default %(default)s)")
    parser.add_argument("--gap", type=float, default=0.01, help="seconds between events (default %(default)s)")
    parser.add_argument("--events", type=int, default=10, help="events with content of a stream (default %(default)s)")
    parser.add_argument("--faults", type=float, default=0.0, help="share of the exchanges that go wrong (default: none)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(serve(given.port, Manner(given.name, given.first, given.gap, given.events, given.faults, random.Random(given.seed))))


if __name__ == "__main__":
    main()
