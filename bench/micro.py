"""micro -- what single steps inside Chassis cost, in microseconds; `python -m bench.micro [WORD …]` runs those whose name has a WORD.

The whole-process bench tells that something became dearer, this tells what. To add a step: write a `prepare` function that
builds its input once and returns the call to be timed, and put a line into STEPS. A step whose module is not there is named and
left out. Median of seven batches; one core, no load beside.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

from bench import payloads

BATCHES = 7
BATCH_S = 0.05
Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Step:
    """`prepare` may import what it needs; what it returns is timed."""

    name: str
    prepare: Callable[[], Work]


def finished(awaitable: Awaitable[object]) -> object:
    """Runs what never waits. Raises RuntimeError when it does: then it is no step, and timing it means nothing."""
    running = awaitable.__await__()
    try:
        next(running)
    except StopIteration as end:
        return end.value
    raise RuntimeError("this step waits for something")


def time_us(work: Work) -> float:
    """Microseconds of one call."""
    work()
    count, spent = 1, 0.0
    while spent < BATCH_S / 4:                  # how many make a batch long enough for the clock
        count *= 2
        spent = _batch_s(work, count)
    count = max(1, int(count * BATCH_S / spent))
    return median(_batch_s(work, count) / count * 1e6 for _ in range(BATCHES))


def _batch_s(work: Work, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return time.perf_counter() - start


def _read_model(body: bytes) -> Callable[[], Work]:
    def prepare() -> Work:
        from proxy.openai.endpoints import Endpoint
        from proxy.openai.payload import Payload

        return lambda: Payload(body, Endpoint("chat"), None).model

    return prepare


def _keywords(text: str) -> Callable[[], Work]:
    def prepare() -> Work:
        from proxy.policy.keywords import Text, Word

        words = [Word(keyword) for keyword in ("contract", "lawsuit", "liability", "indemnity")]

        def absent() -> bool:
            ready = Text([text])
            return not any(word.is_in(ready) for word in words)

        return absent

    return prepare


def _layers(count: int) -> Callable[[], Work]:
    def prepare() -> Work:
        from proxy.core.body import Body
        from proxy.core.call import Allowance, Call, Target
        from proxy.core.journal import Journal
        from proxy.core.reply import Reply
        from proxy.core.request import Framing, Request
        from proxy.core.service import Service, compose

        async def through(call: Call, inner: Service) -> Reply:
            return await inner(call)

        async def innermost(call: Call) -> Reply:
            return reply

        reply = Reply(200, b"OK", [], Framing.NONE, Body.of())
        request = Request(b"POST", b"/v1/chat/completions", 1, [], Framing.NONE, 0, Body.of())
        call = Call("bench", "chat", request, Target("default"), Journal(time.monotonic), Allowance())
        service = compose([through] * count, innermost, lambda name, bug: None)
        return lambda: finished(service(call))

    return prepare


def _journal() -> Work:
    from proxy.core.journal import Journal

    return lambda: Journal(time.monotonic).note("rewrite", "short-prompts-go-small", acted=True, model="gpt-4o-mini")


def _body_chunk() -> Work:
    """A chunk that nobody has to see: from the producer to the sink of `pipe`."""
    from proxy.core.body import Body

    body, chunk, seen = Body(), b"x" * 250, [0]

    def sink(data: bytes) -> None:
        seen[0] += len(data)

    piping = body.pipe(sink)

    async def begin() -> None:
        piping.send(None)                       # up to its wait for the end, which never comes

    asyncio.run(begin())

    def feed() -> object:
        body.feed(chunk)
        return piping                           # kept alive with the step

    return feed


STEPS = (
    Step("openai: model of a 1 KB chat body", _read_model(payloads.chat(1024))),
    Step("openai: model of a 32 KB chat body", _read_model(payloads.chat(32 * 1024, turns=9))),
    Step("openai: model of a 1 MB chat body", _read_model(payloads.image(1 << 20))),
    Step("policy: four keywords in 1 KB", _keywords(payloads.prose(1024, 1))),
    Step("policy: four keywords in 32 KB", _keywords(payloads.prose(32 * 1024, 1))),
    Step("core: a stack without layers", _layers(0)),
    Step("core: a stack of ten layers that only pass on", _layers(10)),
    Step("core: a journal with one entry", _journal),
    Step("core: a chunk through a body without stages", _body_chunk),
)


def main(words: list[str]) -> int:
    chosen = [step for step in STEPS if not words or any(word in step.name for word in words)]
    for step in chosen:
        try:
            work = step.prepare()
        except ImportError as missing:
            print(f"{step.name:50}        – ({missing})")
            continue
        print(f"{step.name:50} {time_us(work):10.2f} µs")
    return 0 if chosen else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
