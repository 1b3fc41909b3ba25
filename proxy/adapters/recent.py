"""recent -- the last calls, for whoever asks what was decided and why: a `Recorder` that keeps them in memory, and nowhere else.

Of a request the head stays, credentials masked, and the body where policies read one and it is small; of a reply nothing but status and
type. A call under way costs its body at most, within the same bound: a stream that outlasts a few hundred younger ones is explained without
its prompt. An ended call is a tuple of references; it is masked and counted within `FRESH_S`, or when somebody asks: of a busy proxy's
calls most are forgotten before.
Cost: about 1 us a call, 5 more for at most `CALLS` of them in each `FRESH_S`; `HELD_BYTES` of requests, and some 2 KiB a call for the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import chain, islice
from types import TracebackType
from typing import Any, NamedTuple

from proxy.adapters.calllog import Line, line_of, told
from proxy.adapters.masking import masked, masked_query
from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.core.journal import Entry
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome, is_stream

CALLS = 200  # a screen or two for a person, some seconds of a busy proxy; 0.6 MiB
MOST_CALLS = 10_000
BODY_BYTES = 64 * 1024  # of one: what a policy reads without waiting (`hold.PEEK_BYTES`); a prompt of 15,000 tokens
HELD_BYTES = 4 * 1024 * 1024  # of all: under a hundredth of a sidecar's memory limit
FRESH_S = 1.0  # how long an ended call may wait, credentials and all, to be masked
WAITING = 256  # ended calls that a slow subscriber may be behind
STREAM: Headers = [(b"content-type", b"text/event-stream")]  # what is kept of a reply's headers


class Ended(NamedTuple):
    """A call that is over."""

    id: str
    line: Line  # as in the log
    method: bytes
    target: bytes  # values of its query masked
    headers: Headers  # of the request, credentials masked
    body: bytes | None  # None: there was none, no policy read it, or it is not kept
    outcome: Outcome
    trace_id: int
    generation: int  # of the policies that it ran under; 0: none did
    matched: tuple[str, ...]  # policies whose conditions held, those in shadow too
    head_bytes: int

    @property
    def started_ns(self) -> int:
        """Unix time."""
        at: int = self.line[0]
        return at

    @property
    def entries(self) -> list[Entry]:
        """Of its journal."""
        entries: list[Entry] = self.line[17]
        return entries

    def told(self) -> dict[str, Any]:
        """As its log line has it: `call` (the id), `ts`, `endpoint`, `status`, `outcome`, `policies`, `decisions` and the others.

        Besides: `shadow`, names of the shadow policies that would have acted, `matched` and `generation`.
        """
        said = told(self.line)
        said |= {"outcome": self.outcome.value, "generation": self.generation, "matched": list(self.matched)}
        shadows = (entry["policy"] for entry in said.get("decisions", ()) if entry.get("shadow") and "policy" in entry)
        if names := list(dict.fromkeys(shadows)):
            said["shadow"] = names
        return said


class Subscription:
    """Ended calls as they come. `async for lost, call in subscription`: `lost` says how many before it this reader was too slow for.

    A context manager; closed it ends its iteration.
    """

    def __init__(self, recent: Recent, most: int) -> None:
        self._recent = recent
        self._waiting: deque[Ended] = deque()
        self._most = most
        self._lost = 0
        self._wake = asyncio.Event()
        self._closed = False

    def offer(self, call: Ended) -> None:
        """Takes one; the oldest makes room."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(call)
        self._wake.set()

    def take(self) -> tuple[int, list[Ended]]:
        """All that wait, oldest first, without waiting for more; and how many were lost before them."""
        lost, self._lost = self._lost, 0
        calls = list(self._waiting)
        self._waiting.clear()
        return lost, calls

    def close(self) -> None:
        """Idempotent."""
        self._closed = True
        self._waiting.clear()
        self._recent.leave(self)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[tuple[int, Ended]]:
        while True:
            while self._waiting:
                lost, self._lost = self._lost, 0
                yield lost, self._waiting.popleft()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Recent:
    """A `Recorder` of the last `calls` calls. On the loop only. `later` is the loop's `call_later`; without it nothing is put off."""

    __slots__ = ("_bodies", "_calls", "_fresh", "_held_bytes", "_later", "_most", "_subscribers")

    def __init__(self, calls: int = CALLS, later: Callable[[float, Callable[[], None]], object] | None = None) -> None:
        self._most = calls
        self._later = later
        self._fresh: deque[_Fresh] = deque()  # newer than all of `_calls`
        self._calls: deque[Ended] = deque()
        self._bodies: dict[str, bytes] = {}  # of calls under way, oldest first
        self._held_bytes = 0
        self._subscribers: tuple[Subscription, ...] = ()

    # What calls do

    def keep(self, call: Call, body: bytes) -> None:
        """Policies read this body of a call that is under way."""
        size = len(body)
        if size > BODY_BYTES:
            return
        self._bodies[call.id] = body
        self._held_bytes += size
        if len(self._bodies) > self._most or self._held_bytes > HELD_BYTES:
            self._make_room()

    def call_ended(self, record: CallRecord) -> None:
        """Keeps one."""
        fresh = self._fresh
        fresh.append((record, self._bodies.pop(record.call.id, None)))
        if len(fresh) + len(self._calls) > self._most:
            self._forget_oldest()
        if self._subscribers or self._later is None:
            self.settle()
        elif len(fresh) == 1:
            self._later(FRESH_S, self.settle)

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """Nothing: the call says what matters."""

    def settle(self) -> None:
        """Makes what ended just now fit to be kept and shown: masked, and counted."""
        while self._fresh:
            ended = _settled(self._fresh.popleft())
            self._held_bytes += ended.head_bytes
            self._calls.append(ended)
            for each in self._subscribers:
                each.offer(ended)
        if self._held_bytes > HELD_BYTES:
            self._make_room()

    def _forget_oldest(self) -> None:
        if self._calls:
            oldest = self._calls.popleft()
            self._held_bytes -= oldest.head_bytes
            body = oldest.body
        else:
            body = self._fresh.popleft()[1]
        if body is not None:
            self._held_bytes -= len(body)

    def _make_room(self) -> None:
        """The oldest go: calls under way lose their bodies only where there are more of them than calls are kept."""
        bodies = self._bodies
        while len(bodies) > self._most:
            self._held_bytes -= len(bodies.pop(next(iter(bodies))))
        while self._held_bytes > HELD_BYTES and (self._calls or self._fresh):
            self._forget_oldest()
        while self._held_bytes > HELD_BYTES and bodies:
            self._held_bytes -= len(bodies.pop(next(iter(bodies))))

    # What readers do

    def __len__(self) -> int:
        return len(self._calls) + len(self._fresh)

    @property
    def held_bytes(self) -> int:
        """Of heads and bodies, all together."""
        self.settle()
        return self._held_bytes

    def latest(self, limit: int | None = None) -> list[Ended]:
        """Newest first."""
        self.settle()
        return list(islice(reversed(self._calls), None if limit is None else max(limit, 0)))

    def find(self, id: str) -> Ended | None:
        """The call of that id, or the last one of that trace id."""
        self.settle()
        trace = _trace_of(id)
        return next((call for call in reversed(self._calls) if call.id == id or (trace and call.trace_id == trace)), None)

    def generations(self) -> set[int]:
        """Of the policies that kept calls ran under."""
        self.settle()
        return {call.generation for call in self._calls}

    def subscribe(self, most: int = WAITING) -> Subscription:
        """Calls that end from now on. Whoever subscribes closes."""
        self.settle()
        subscription = Subscription(self, most)
        self._subscribers += (subscription,)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """It is told no more."""
        self._subscribers = tuple(each for each in self._subscribers if each is not subscription)


_Fresh = tuple[CallRecord, bytes | None]


def _settled(fresh: _Fresh) -> Ended:
    record, body = fresh
    request, journal = record.call.request, record.call.journal
    target = masked_query(request.target)
    line = line_of(record, target, STREAM if is_stream(record.headers) else [])
    told_headers = masked(request.headers)
    head_bytes = len(target) + sum(map(len, chain.from_iterable(told_headers)))
    return Ended(line[1], line, line[2], target, told_headers, body, line[8], line[18], journal.generation, journal.matched, head_bytes)


def _trace_of(id: str) -> int:
    try:
        return int(id, 16) if len(id) == 32 else 0
    except ValueError:
        return 0
