"""looking -- a set of policies at work over upstreams that only look: what would be sent, byte for byte, and nothing leaves.

The engine, the layers and the upstream adapter are those that serve; only the connection pool is not. `explain` and `diff` ask it.
Cost: about 100 us a request; loading the policies' stack is done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from proxy.adapters.upstream import Upstream
from proxy.assembly.answer import Answer
from proxy.assembly.engine import Engine
from proxy.assembly.generation import tokens_for
from proxy.assembly.load import Policies
from proxy.assembly.onion import Core
from proxy.assembly.recorded import Asked
from proxy.assembly.rules import Rule
from proxy.assembly.shelf import Shelf
from proxy.assembly.stack import INSIDE, PLACES
from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call, Target
from proxy.core.clock import LoopClock
from proxy.core.journal import Entry, Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.service import fixed
from proxy.kinds.prime import Identity
from proxy.openai.endpoints import Endpoint, endpoint_of
from proxy.openai.payload import Payload
from proxy.openai.tokens import Tokens
from proxy.openai.unread import Unread
from proxy.policy.upstreams import Upstream as Declared
from proxy.wire.head import request_head


@dataclass(slots=True)
class Exchange:
    """One exchange as it would be sent."""

    upstream: str
    origin: str  # scheme, host and port; empty where no upstream is declared
    target: bytes
    model: str | None  # that it is asked for; None where that cannot be read
    headers: Headers  # as the upstream would read them
    payload: Payload | None  # the body with all edits; None: it streams through unread


@dataclass(slots=True)
class Seen:
    """What would become of one request."""

    endpoint: Endpoint
    reply: Reply
    exchange: Exchange | None = None  # the last one; None: nothing would be sent
    matched: tuple[str, ...] = ()
    journal: list[Entry] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Whether the app would get an answer of the proxy's own."""
        return self.exchange is None


class _Pool:
    """Keeps the request that it is given."""

    def __init__(self) -> None:
        self.sent: Request | None = None

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        self.sent = request
        return Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))

    def close(self) -> None: ...


@dataclass(slots=True, frozen=True)
class _Upstream:
    """A declared upstream with its pool."""

    declared: Declared
    pool: _Pool
    service: Upstream
    authority: bytes

    @classmethod
    def of(cls, declared: Declared, home: bool) -> _Upstream:
        pool = _Pool()
        plain = replace(declared, ca=None, cert=None, cert_key=None)  # no connection is made: no certificate is read
        address = declared.address
        host = f"[{address.host}]" if ":" in address.host else address.host
        where = host if address.port == (443 if address.scheme == "https" else 80) else f"{host}:{address.port}"
        return cls(declared, pool, Upstream(plain, home, pool), where.encode("idna" if not where.isascii() else "ascii"))


class Looking:
    """The policies of one set. `rules` stand in for its own; `tokens` is a tokenizer that is loaded already. Needs a running loop."""

    def __init__(self, policies: Policies, rules: Sequence[Rule] | None = None, tokens: Tokens | None = None) -> None:
        self.policies = policies
        self.rules = tuple(policies.rules if rules is None else rules)
        self.clock = LoopClock(asyncio.get_running_loop())
        self.tokens = tokens or tokens_for(self.rules)
        self.shelf = Shelf(self.clock, PLACES)
        self._upstreams = {name: _Upstream.of(declared, name == policies.home) for name, declared in policies.upstreams.items()}
        home = policies.upstreams.get(policies.home)
        self.renames = home is not None and bool(home.spec.models)
        self._seen: dict[Journal, Exchange] = {}
        core = Core(self._send, lambda layer, bug: None, prime=Identity(), inside=INSIDE)  # what it answers is nobody's to judge
        engine = Engine(self.rules, self.shelf, core, tokens=self.tokens, holds_all=self.renames)
        self._service = fixed((Answer(),), engine)

    async def look(self, asked: Asked) -> Seen:
        """What would become of this request. Nothing is sent."""
        request = request_of(asked)
        endpoint = endpoint_of(asked.method, asked.target)
        journal = Journal(self.clock.now)
        call = Call("explain", endpoint, request, Target(self.policies.home), journal, Allowance(self.policies.exchanges))
        try:
            reply = await self._service(call)
        finally:
            exchange = self._seen.pop(journal, None)
        return Seen(endpoint, reply, exchange, journal.matched, journal.entries)

    async def _send(self, call: Call) -> Reply:
        """The innermost service: notes what leaves."""
        name = call.target.upstream
        upstream = self._upstreams.get(name)
        if upstream is None:  # none is declared: `explain` needs no url
            call.allowance.spend()
            reply = Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))
            reply.target = call.target
            self._seen[call.journal] = _exchange(call, name, "", call.request, [], call.target.model)
            return reply
        reply = await upstream.service.exchange(call)
        sent, upstream.pool.sent = upstream.pool.sent, None  # nothing was awaited in between
        assert sent is not None
        head = request_head(sent, upstream.authority).split(b"\r\n")[1:-2]
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in head)]
        model = call.target.model
        if model is None and call.payload is not None:
            model = model_of(call.payload)
        if model is not None:
            model = upstream.declared.spec.models.get(model, model)
        self._seen[call.journal] = _exchange(call, name, upstream.declared.address.origin, sent, headers, model)
        return reply


def _exchange(call: Call, name: str, origin: str, sent: Request, headers: Headers, model: str | None) -> Exchange:
    payload: Payload | None = call.payload
    with suppress(Unread):
        if payload is not None and model is None:
            model = payload.model
        elif payload is not None and model != payload.model:
            payload = payload.set("model", model)
    return Exchange(name, origin, sent.target, model, headers, payload)


def model_of(payload: Payload | None) -> str | None:
    """The model that a body names, None where it cannot be read."""
    try:
        return payload.model if payload is not None else None
    except Unread:
        return None


def request_of(asked: Asked) -> Request:
    """The request as the data port would have read it."""
    framing = Framing.LENGTH if asked.body else Framing.NONE
    request = Request(asked.method, asked.target, 1, asked.headers, framing, len(asked.body), Body.of(asked.body))
    request.upgrade = request.header(b"upgrade") if not asked.body else None
    return request
