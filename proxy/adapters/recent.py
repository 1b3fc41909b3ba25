"""recent -- the last calls, for whoever asks what was decided and why: a `Recorder` that keeps them in memory, and nowhere else.

An ended call is one tuple of references in a ring. Of its request the head stays, credentials masked at once, and the body where policies
read one and it is small; of its reply nothing but status and type. A call under way costs its body at most, within the same bound: a
stream that outlasts a few hundred younger ones is explained without its prompt. All is read when it is asked for.
Cost: about 2 us a call; at most `HELD_BYTES` of requests, and some 3 KiB a call for the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from types import TracebackType
from typing import Any, NamedTuple

from proxy.adapters.calllog import Line, line_of, told
from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome, is_stream

CALLS = 200  # a screen or two for a person, some seconds of a busy proxy; 0.6 MiB
MOST_CALLS = 10_000
BODY_BYTES = 64 * 1024  # of one: what a policy reads without waiting (`hold.PEEK_BYTES`); a prompt of 15,000 tokens
HELD_BYTES = 4 * 1024 * 1024  # of all: under a hundredth of a sidecar's memory limit
WAITING = 256  # ended calls that a slow subscriber may be behind
MASK = b"***"
STREAM: Headers = [(b"content-type", b"text/event-stream")]  # what is kept of a reply's headers
SECRET_WORDS = (b"auth", b"key", b"token", b"secret", b"cookie", b"password", b"credential", b"signature")
_NOT_SECRET = frozenset((b"idempotency-key", b"sec-websocket-key"))
_IDENTITIES = frozenset((b"openai-organization", b"openai-project"))

_name = itemgetter(0)


class Ended(NamedTuple):
    """A call that is over. A tuple, as a frozen dataclass of these costs a microsecond more to make."""

    id: str
    line: Line  # as in the log
    method: bytes
    target: bytes  # values of its query masked
    headers: Headers  # credentials masked
    body: bytes | None  # None: there was none, no policy read it, or it is not kept
    outcome: Outcome
    trace_id: int
    generation: int  # of the policies that it ran under; 0: none did
    matched: tuple[str, ...]  # policies whose conditions held, those in shadow too
    size_bytes: int  # of head and body

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
    """A `Recorder` of the last `calls` calls. On the loop only."""

    __slots__ = ("_bodies", "_calls", "_held_bytes", "_most", "_subscribers")

    def __init__(self, calls: int = CALLS) -> None:
        self._most = calls
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
        call = record.call
        request, journal = call.request, call.journal
        headers, target = masked(request.headers), masked_query(request.target)
        body = self._bodies.pop(call.id, None)
        head_bytes = len(target) + sum(map(len, chain.from_iterable(headers)))
        self._held_bytes += head_bytes
        size = head_bytes + len(body) if body is not None else head_bytes
        ended = Ended(
            call.id,
            line_of(record, target, STREAM if is_stream(record.headers) else []),
            request.method,
            target,
            headers,
            body,
            record.outcome,
            record.trace.trace_id if record.trace is not None else 0,
            journal.generation,
            journal.matched,
            size,
        )
        self._calls.append(ended)
        if len(self._calls) > self._most or self._held_bytes > HELD_BYTES:
            self._make_room()
        if self._subscribers:
            for each in self._subscribers:
                each.offer(ended)

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """Nothing: the call says what matters."""

    def _make_room(self) -> None:
        """The oldest go: calls under way lose their bodies only where there are more of them than calls are kept."""
        calls, bodies = self._calls, self._bodies
        while len(bodies) > self._most:
            self._held_bytes -= len(bodies.pop(next(iter(bodies))))
        while calls and (len(calls) > self._most or self._held_bytes > HELD_BYTES):
            self._held_bytes -= calls.popleft().size_bytes
        while bodies and self._held_bytes > HELD_BYTES:
            self._held_bytes -= len(bodies.pop(next(iter(bodies))))

    # What readers do

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def held_bytes(self) -> int:
        """Of heads and bodies, all together."""
        return self._held_bytes

    def latest(self, limit: int | None = None) -> list[Ended]:
        """Newest first."""
        newest = list(reversed(self._calls))
        return newest if limit is None else newest[: max(limit, 0)]

    def find(self, id: str) -> Ended | None:
        """The call of that id, or the last one of that trace id."""
        for call in reversed(self._calls):
            if call.id == id:
                return call
        trace = _trace_of(id)
        return next((call for call in reversed(self._calls) if call.trace_id == trace), None) if trace else None

    def generations(self) -> set[int]:
        """Of the policies that kept calls ran under."""
        return {call.generation for call in self._calls}

    def subscribe(self, most: int = WAITING) -> Subscription:
        """Calls that end from now on. Whoever subscribes closes."""
        subscription = Subscription(self, most)
        self._subscribers += (subscription,)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """It is told no more."""
        self._subscribers = tuple(each for each in self._subscribers if each is not subscription)


def masked(headers: Headers) -> Headers:
    """The pairs with credentials replaced by `***`, the scheme before one kept: `Bearer ***`."""
    places = _secret_places(tuple(map(_name, headers)))
    if not places:
        return list(headers)
    out = list(headers)
    for place in places:
        name, value = out[place]
        out[place] = (name, _mask(value))
    return out


def _mask(value: bytes) -> bytes:
    scheme, space, rest = value.partition(b" ")
    return scheme + b" " + MASK if space and rest and scheme.isalpha() and len(scheme) <= 16 else MASK


@lru_cache(maxsize=128)  # a client sends the same names in the same order again and again
def _secret_places(names: tuple[bytes, ...]) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(names) if is_secret(name))


def is_secret(name: bytes) -> bool:
    """Whether a header, by its name, may hold a credential or say whose it is."""
    low = name.lower()
    return low not in _NOT_SECRET and (low in _IDENTITIES or any(word in low for word in SECRET_WORDS))


def masked_query(target: bytes) -> bytes:
    """The target with each value of its query replaced: names tell what was asked, values may be keys."""
    path, mark, query = target.partition(b"?")
    if not mark or not query:
        return target
    return path + b"?" + b"&".join(name + b"=" + MASK if equals else name for name, equals, _ in _pairs(query))


def _pairs(query: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [pair.partition(b"=") for pair in query.split(b"&")]


def _trace_of(id: str) -> int:
    try:
        return int(id, 16) if len(id) == 32 else 0
    except ValueError:
        return 0
