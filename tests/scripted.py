"""scripted -- an upstream played in memory, for tests of layers on virtual time.

    with Upstream(openai=[RESET, chat("ok")]) as upstream:
        reply = await compose([Retry(spec)], upstream, bugs)(a_call({"model": "gpt-4o"}))
        received = await drained(reply)

Each upstream has a list of scripts, one an exchange; the last one repeats. A script is a sequence of steps: `head(...)`, bytes, a
pause in seconds, and an ending; one that has no ending is silent from there on, and a test that waits for more fails as a deadlock.
On leaving the `with` block, an exchange that still runs, or a reply that nobody closed, fails the test.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

from proxy.core.body import Body, Headers
from proxy.core.call import EXCHANGES, Allowance, Call, Target
from proxy.core.faults import Failure, Fault
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.openai.endpoints import Endpoint, endpoint_of
from proxy.openai.payload import Payload

JSON: Headers = [(b"Content-Type", b"application/json")]
SSE: Headers = [(b"Content-Type", b"text/event-stream")]


class Ending(Enum):
    """How a script ends."""

    END = "end"  # the body is whole
    CUT = "cut"  # the connection breaks amid the body
    RESET = "reset"  # the connection breaks before there is a head


@dataclass(slots=True, frozen=True)
class Head:
    """The head of a reply."""

    status: int
    headers: Headers


Step = Head | bytes | float | Ending
Script = Sequence[Step]


# Scripts


def head(status: int = 200, headers: Headers | None = None) -> Head:
    """A reply's head; JSON unless said otherwise."""
    return Head(status, JSON if headers is None else headers)


def plain(status: int, value: object, *headers: tuple[bytes, bytes]) -> Script:
    """A whole JSON reply."""
    return (head(status, [*JSON, *headers]), json.dumps(value).encode(), Ending.END)


def error(status: int, message: str = "no", code: str | None = None, *headers: tuple[bytes, bytes]) -> Script:
    """An error reply in the API's form."""
    return plain(status, {"error": {"message": message, "type": "error", "param": None, "code": code}}, *headers)


def chat(text: str, model: str = "gpt-4o") -> Script:
    """A chat completion that says `text`."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return plain(200, {"id": "chatcmpl-1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage})


def event(text: str | None = None, finish: str | None = None, **delta: object) -> bytes:
    """One event of a chat stream."""
    if text is not None:
        delta["content"] = text
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


ROLE = event("", role="assistant")
STOP = event(finish="stop")
DONE = b"data: [DONE]\n\n"
RESET: Script = (Ending.RESET,)
SILENT: Script = ()


def stream(*steps: Step | str) -> Script:
    """A reply of server-sent events: a text is an event that says it."""
    return (head(200, SSE), *(event(step) if isinstance(step, str) else step for step in steps))


def chat_stream(*texts: str, gap_s: float = 0.0) -> Script:
    """A whole chat stream that says `texts`, `gap_s` apart."""
    said: list[Step | str] = []
    for text in texts:
        said += [gap_s, text] if gap_s else [text]
    return stream(ROLE, *said, STOP, DONE, Ending.END)


# The upstream


class Exchange:
    """One exchange, as it is played: the producer of its reply's body."""

    def __init__(self, upstream: str, script: Script) -> None:
        self.upstream = upstream
        self.body = Body(self)
        self.answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.over = False  # its script has ended, or it was let go
        self.let_go_at: float | None = None  # loop time
        self.stops = 0  # times that it was held back
        self._steps = list(script)
        self._held = False
        self._timer: asyncio.Handle | None = asyncio.get_running_loop().call_soon(self._play)

    def body_full(self) -> None:
        """The reader is slow."""
        self._held = True
        self.stops += 1

    def body_drained(self) -> None:
        """It reads on."""
        self._held = False
        if self._timer is None and not self.over:
            self._timer = asyncio.get_running_loop().call_soon(self._play)

    def let_go(self, body: Body) -> None:
        """Nobody wants the rest."""
        self.stop()

    def stop(self) -> None:
        """Plays no more."""
        if not self.over:
            self.over = True
            self.let_go_at = asyncio.get_running_loop().time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _play(self) -> None:
        self._timer = None
        while self._steps and not self.over and not self._held:
            step = self._steps.pop(0)
            if isinstance(step, Head):
                self.answered.set_result(Reply(step.status, b"", list(step.headers), Framing.CHUNKED, self.body))
            elif isinstance(step, bytes):
                self.body.feed(step)
            elif isinstance(step, Ending):
                self._end(step)
            else:
                self._timer = asyncio.get_running_loop().call_later(step, self._play)
                return

    def _end(self, how: Ending) -> None:
        self.over = True
        if how is Ending.END:
            self.body.end()
        elif self.answered.done():
            self.body.fail(Failure(Fault.TRUNCATED, self.upstream, "the connection broke amid the body"))
        else:
            self.answered.set_exception(Failure(Fault.CONNECT, self.upstream, "the connection broke before the reply"))


@dataclass(slots=True, frozen=True)
class Asked:
    """One exchange, as the upstream saw it. `body` is what would leave; the name in `target.model` is not put into it."""

    target: Target
    body: bytes
    call: Call

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Upstream:
    """The innermost service of a test: plays a script for each exchange, spends the allowance, remembers what it was asked."""

    def __init__(self, **scripts: Sequence[Script]) -> None:
        self.scripts: Mapping[str, Sequence[Script]] = scripts
        self.asked: list[Asked] = []
        self.exchanges: list[Exchange] = []
        self.replies: list[Reply] = []
        self._played: Counter[str] = Counter()

    async def __call__(self, call: Call) -> Reply:
        call.allowance.spend()
        name = call.target.upstream
        scripts = self.scripts[name]
        script = scripts[min(self._played[name], len(scripts) - 1)]
        self._played[name] += 1
        self.asked.append(Asked(call.target, await _sent(call), call))
        exchange = Exchange(name, script)
        self.exchanges.append(exchange)
        try:
            reply = await exchange.answered
        except BaseException:
            exchange.stop()
            raise
        reply.target = call.target
        self.replies.append(reply)
        return reply

    def left_open(self) -> list[str]:
        """What still runs, or was not closed by whoever received it."""
        running = [f"exchange {i} with {exchange.upstream} still runs" for i, exchange in enumerate(self.exchanges, 1) if not exchange.over]
        unclosed = [f"a reply {reply.status} of {_whose(reply)} was not closed" for reply in self.replies if not reply.body.closed]
        return running + unclosed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            left = self.left_open()
            assert not left, "; ".join(left)


def _whose(reply: Reply) -> str:
    return reply.target.upstream if reply.target is not None else "nobody"


async def _sent(call: Call) -> bytes:
    payload: Payload | None = call.payload
    if payload is not None:
        return b"".join(payload.pieces())
    return await call.request.body.read_all()


# The two ends of a call


def a_call(
    body: object = None,
    *,
    method: bytes = b"POST",
    path: bytes = b"/v1/chat/completions",
    headers: Headers | None = None,
    upstream: str = "openai",
    exchanges: int = EXCHANGES,
    held: bool = True,
) -> Call:
    """A call of the app. `body` is JSON's value, or bytes as they are; `held=False` leaves it unread, as one over the limit is."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    framing = Framing.LENGTH if data else Framing.NONE
    endpoint = endpoint_of(method, path)
    pairs = [(b"Host", b"proxy"), (b"Content-Type", b"application/json")] if headers is None else headers
    request = Request(method, path, 1, pairs, framing, len(data), Body.of(data))
    call = Call("call-1", endpoint, request, Target(upstream), Journal(_loop_time), Allowance(exchanges))
    if data and held:
        call.payload = Payload(request.body.take(), Endpoint(endpoint))
    return call


def _loop_time() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # the call is made before its loop runs
        return 0.0


@dataclass(slots=True, frozen=True)
class Received:
    """What the app got of a reply. `took_s` is virtual time since the reply was given."""

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]
    failure: Failure | None
    took_s: float

    @property
    def data(self) -> bytes:
        """The whole body, as far as it came."""
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.data)

    @property
    def text(self) -> str:
        """What a chat reply says, streamed or not."""
        if dict(self.headers).get(b"Content-Type") != b"text/event-stream":
            return str(self.json["choices"][0]["message"]["content"])
        lines = (line[6:] for line in self.data.split(b"\n") if line.startswith(b"data: {"))
        return "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines)


async def drained(reply: Reply) -> Received:
    """Reads a reply to its end or its break and closes it, as the app's side of the proxy does."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    chunks: list[bytes] = []
    failure: Failure | None = None
    try:
        await reply.body.pipe(chunks.append)
    except Failure as broke:
        failure = broke.bare()
    finally:
        reply.close()
    return Received(reply.status, reply.headers, tuple(chunks), failure, loop.time() - begun)


@dataclass(slots=True)
class Bugs:
    """A `FaultReport` that fails the test at once, as a layer under test must not break."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, name: str, bug: Exception) -> None:
        self.seen.append(f"{name}: {bug!r}")
        raise AssertionError(f"{name} broke: {bug!r}") from bug
