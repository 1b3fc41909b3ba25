"""brakes -- what all brakes cost a call that needs none, above pass-through; `python -m bench.brakes [ROUNDS]`.

Timed is the CPU of a call through the policies, the engine and the layers, over an upstream in memory: pass-through (a policy is loaded and
does not match) and `policies/brakes.yaml` in turn, the least of all rounds. A stream's chunks come one by one, each through all stages to
the sink that a client would be; what a chunk costs is the difference between a long stream and a short one. The limits are the issue's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop

from bench import payloads
from proxy.assembly.generation import Outside, build
from proxy.assembly.load import load_text
from proxy.core.body import Body
from proxy.core.call import Allowance, Call
from proxy.core.clock import LoopClock
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request

ROUNDS = 12
CALLS = 200
SHORT, LONG = 8, 72  # events of a stream
CALL_LIMIT_US = 60.0
CHUNK_LIMIT_US = 3.0
POLICIES = Path(__file__).parent / "policies"
UPSTREAM = "upstreams: {default: {url: 'http://127.0.0.1:9/v1'}}\n"
APP = [  # of the official SDK, what matters
    (b"Host", b"127.0.0.1:4141"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"Accept", b"application/json"),
    (b"Content-Type", b"application/json"),
    (b"User-Agent", b"OpenAI/Python 2.8.0"),
    (b"X-Stainless-Retry-Count", b"0"),
    (b"X-Stainless-Read-Timeout", b"600"),
    (b"Authorization", b"Bearer sk-bench"),
]


def answer() -> bytes:
    """A chat completion of about 1 KB."""
    message = {"role": "assistant", "content": payloads.prose(800, 1)}
    usage = {"prompt_tokens": 200, "completion_tokens": 180, "total_tokens": 380}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    common = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    return json.dumps({**common, "choices": [choice], "usage": usage}).encode()


def events(count: int) -> list[bytes]:
    """The chunks of a stream: a role, `count` words, a finish reason with the end."""

    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
        return b"data: " + json.dumps({**common, "choices": [choice]}).encode() + b"\n\n"

    return [event({"role": "assistant", "content": ""}), *[event({"content": " ferry"})] * count, event({}, "stop") + b"data: [DONE]\n\n"]


class Memory:
    """An upstream that has its answer ready; a stream's chunks follow its reply, one a turn of the loop."""

    def __init__(self) -> None:
        self.answer = answer()
        self.chunks: list[bytes] = []

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        request.body.take_chunks()
        if not self.chunks:
            headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(self.answer))]
            return Reply(200, b"OK", headers, Framing.LENGTH, Body.of(self.answer))
        body = Body()
        self._play(body, iter(self.chunks))
        return Reply(200, b"OK", [(b"Content-Type", b"text/event-stream")], Framing.CHUNKED, body)

    def _play(self, body: Body, rest: Iterator[bytes]) -> None:
        for chunk in rest:
            body.feed(chunk)
            if b"[DONE]" in chunk:
                body.end()
            asyncio.get_running_loop().call_soon(self._play, body, rest)
            return

    def close(self) -> None: ...


class Subject:
    """A policy file, ready to be asked."""

    def __init__(self, name: str) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        self.memory = Memory()
        policies = load_text(UPSTREAM + (POLICIES / name).read_text(), name, {})
        self._now = clock.now
        self._generation = build(policies, Outside(clock, _raise, network=lambda declared, clock: self.memory))

    async def time_us(self, body: bytes, chunks: list[bytes], calls: int = CALLS) -> float:
        """Microseconds of a call."""
        self.memory.chunks = chunks
        headers = [*APP, (b"Content-Length", b"%d" % len(body))]
        sent = 0

        def sink(data: bytes) -> None:
            nonlocal sent
            sent += len(data)

        start = time.process_time()
        for _ in range(calls):
            request = Request(b"POST", b"/v1/chat/completions", 1, headers, Framing.LENGTH, len(body), Body.of(body))
            call = Call("bench", "chat", request, self._generation.home, Journal(self._now), Allowance())
            reply = await self._generation.service(call)
            await reply.body.pipe(sink)
            reply.close()
        spent = time.process_time() - start
        wanted = sum(map(len, chunks)) if chunks else len(self.memory.answer)
        if sent != wanted * calls:
            raise SystemExit(f"{sent} bytes came of {wanted * calls}")
        return spent / calls * 1e6


def _raise(name: str, bug: Exception) -> None:
    raise bug


Runs = dict[str, tuple[bytes, list[bytes]]]


async def measure(rounds: int, subjects: tuple[Subject, ...], runs: Runs) -> dict[str, list[float]]:
    """For each run the least µs a call of each subject."""
    least = {name: [float("inf")] * len(subjects) for name in runs}
    for _ in range(rounds):
        for name, (body, chunks) in runs.items():
            for at, subject in enumerate(subjects):
                least[name][at] = min(least[name][at], await subject.time_us(body, chunks))
    return least


async def main(rounds: int, new_subject: Callable[[str], Subject] = Subject) -> int:
    subjects = new_subject("unmatched.yaml"), new_subject("brakes.yaml")
    plain = payloads.chat(1024)
    streamed = payloads.chat(1024, stream=True)
    runs: Runs = {"plain": (plain, []), "short stream": (streamed, events(SHORT)), "long stream": (streamed, events(LONG))}
    least = await measure(rounds, subjects, runs)
    print(f"{'':14} {'through':>9} {'brakes':>9} {'above':>9}")
    for name, (through, brakes) in least.items():
        print(f"{name:14} {through:6.1f} µs {brakes:6.1f} µs {brakes - through:6.1f} µs")
    chunk = [(long - short) / (LONG - SHORT) for long, short in zip(least["long stream"], least["short stream"], strict=True)]
    print(f"{'a chunk':14} {chunk[0]:6.2f} µs {chunk[1]:6.2f} µs {chunk[1] - chunk[0]:6.2f} µs")
    call_us, chunk_us = least["plain"][1] - least["plain"][0], chunk[1] - chunk[0]
    print(f"a healthy call: {call_us:.1f} µs above pass-through, at most {CALL_LIMIT_US:g} allowed; ", end="")
    print(f"a chunk: {chunk_us:.2f} µs above, at most {CHUNK_LIMIT_US:g} allowed")
    return 0 if call_us <= CALL_LIMIT_US and chunk_us <= CHUNK_LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)))
