"""engines -- policies at work in memory: an engine over an upstream that keeps what it is sent and answers 200.

Kinds for tests break or linger where a test wants it; rules of them are made by hand, as no YAML names them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.assembly.answer import Answer
from proxy.assembly.engine import Engine
from proxy.assembly.generation import tokens_for
from proxy.assembly.hold import Holds
from proxy.assembly.load import load_text
from proxy.assembly.onion import Core
from proxy.assembly.rules import Part, Rule
from proxy.assembly.shelf import Shelf
from proxy.assembly.stack import INSIDE, PLACES
from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call, Target
from proxy.core.clock import LoopClock
from proxy.core.journal import Entry, Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.service import Service, fixed
from proxy.openai.endpoints import endpoint_of
from proxy.openai.payload import Payload
from proxy.policy.conditions import Explained
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.spec import Spec

JSON: Headers = [(b"Content-Type", b"application/json")]
UPSTREAMS = "upstreams: {openai: {url: 'https://a/v1'}, groq: {url: 'https://b/v1', key: none}, local: {url: 'https://c/v1', key: none}}"


def call_of(
    body: Any = b"",
    *,
    method: bytes = b"POST",
    path: bytes = b"/v1/chat/completions",
    headers: Headers | None = None,
    streaming: bool = False,
    length: int | None = None,
) -> Call:
    """A call of the app. `body`: JSON's value, or bytes. `streaming`: it is still to come, chunked unless `length` says how much."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    framing = Framing.LENGTH if data or length is not None else Framing.NONE
    if streaming and length is None:
        framing = Framing.CHUNKED
    source = Body() if streaming else Body.of(data)
    request = Request(method, path, 1, JSON if headers is None else headers, framing, len(data) if length is None else length, source)
    journal = Journal(asyncio.get_running_loop().time)
    return Call("call", endpoint_of(method, path), request, Target("openai"), journal, Allowance())


def chat(text: str = "Hi", **more: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


@dataclass
class Inner:
    """The upstream: reads the body that it is sent."""

    calls: list[Call] = field(default_factory=list)
    payloads: list[Payload | None] = field(default_factory=list)  # the engine lets go of a call's afterwards
    bodies: list[bytes] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    trouble: Callable[[int], Awaitable[None]] | None = None  # before the reply to the exchange of that number, from 1 on

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        self.payloads.append(call.payload)
        call.allowance.spend()
        self.bodies.append(b"".join(call.payload.pieces()) if call.payload is not None else await call.request.body.read_all())
        if self.trouble is not None:
            await self.trouble(len(self.calls))
        reply = Reply(200, b"OK", [], Framing.LENGTH, Body.of(b"ok"))
        reply.target = call.target
        self.replies.append(reply)
        return reply

    @property
    def call(self) -> Call:
        (only,) = self.calls
        return only

    @property
    def body(self) -> bytes:
        (only,) = self.bodies
        return only

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Bench:
    """An engine with what stands around it."""

    engine: Engine
    inner: Inner
    service: Service
    shelf: Shelf
    faults: list[tuple[str, Exception]]
    rules: tuple[Rule, ...]

    async def ask(self, call: Call) -> Reply:
        return await self.service(call)


def rules_of(policies: str) -> tuple[Rule, ...]:
    """The rules of a list of policies."""
    return load_text(f"version: 1\n{UPSTREAMS}\npolicies:\n{policies}", "p.yaml", {}).rules


def bench(policies: str | tuple[Rule, ...] = (), holds: Holds | None = None, wall_ns: int | None = None, **more: Any) -> Bench:
    """An engine of policies, as YAML (the list under `policies`) or as rules. `wall_ns`: the Unix time at which it begins."""
    rules = rules_of(policies) if isinstance(policies, str) else policies
    order = {**PLACES, **{part.kind.place: len(PLACES) for rule in rules for part in rule.parts if part.kind.place not in PLACES}}
    faults: list[tuple[str, Exception]] = []
    inner = Inner()
    clock = LoopClock(asyncio.get_running_loop())
    if wall_ns is not None:
        clock.anchor(wall_ns)
    shelf = Shelf(clock, order)
    core = Core(inner, lambda name, bug: faults.append((name, bug)), inside=INSIDE)
    engine = Engine(rules, shelf, core, tokens=tokens_for(rules), holds=holds, **more)
    return Bench(engine, inner, fixed((Answer(),), engine), shelf, faults, rules)


def notes(call: Call, kind: str) -> list[Entry]:
    """The journal's entries of a kind."""
    return [entry for entry in call.journal.entries if entry.kind == kind]


class NoSpec(Spec):
    """Says nothing."""


class Condition:
    """A condition for tests: `test` is what it is given."""

    name = "match"
    cost = 0

    def __init__(self, test: Callable[[Any], bool | None] = lambda facts: True, needs: frozenset[str] = frozenset()) -> None:
        self._test = test
        self.needs = needs
        self.endpoints: frozenset[str] | None = None
        self.asked = 0

    def test(self, facts: Any) -> bool | None:
        self.asked += 1
        return self._test(facts)

    def explain(self, facts: Any) -> Explained:
        return Explained(self.name, "", "", self.test(facts))


def a_kind(
    layer: Callable[..., Any] | None = None,
    observer: Callable[[Call], None] | None = None,
    *,
    name: str = "odd",
    reads_body: bool = False,
    enforce: Callable[[Any, Site], Any] | None = None,
) -> Kind:
    """A kind whose layer is `layer(call, inner)`, and whose observer is `observer(call)`."""
    return Kind(
        name,
        NoSpec,
        Floor.CALL,
        enforce=enforce or (lambda spec, site: layer),
        shadow=(lambda spec, site: observer) if observer is not None else None,
        reads_body=lambda spec: reads_body,
    )


def a_rule(kind: Kind, condition: Condition | None = None, *, name: str = "odd-one", place: int = 0, shadow: bool = False) -> Rule:
    """A rule of one part."""
    return Rule(place, name, shadow, condition or Condition(), (Part.of(kind, NoSpec.read({})),))
