"""explain -- what would be done with one request, and why: the engine itself, run over an upstream that only looks.

Nothing is sent. Conditions are all asked, none skipped, so that each shows what it saw.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from proxy.adapters.upstream import outbound
from proxy.assembly.answer import Answer
from proxy.assembly.engine import Engine
from proxy.assembly.generation import tokens_for
from proxy.assembly.hold import content_of, may_be_read
from proxy.assembly.load import Policies
from proxy.assembly.rules import Rule, Shadowed, chosen
from proxy.assembly.shelf import Shelf
from proxy.assembly.stack import ORDER
from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call, Target
from proxy.core.clock import LoopClock
from proxy.core.journal import Entry, Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.service import fixed
from proxy.openai.endpoints import endpoint_of
from proxy.openai.payload import Payload, Unread
from proxy.policy.conditions import Explained
from proxy.policy.facts import Facts, TakesLong


@dataclass(slots=True, frozen=True)
class RuleExplained:
    """One policy: whether it matched (None: it cannot be known), and each condition."""

    name: str
    where: str
    mode: str
    verdict: bool | None
    condition: Explained
    kinds: tuple[str, ...]


@dataclass(slots=True)
class Explanation:
    """All of it. `upstream`, `target` and `edits` are of the exchange that would be sent; none of them when the call is refused."""

    endpoint: str
    model: str | None
    rules: list[RuleExplained] = field(default_factory=list)
    stack: list[tuple[str, str]] = field(default_factory=list)  # (kind, policy), outermost first
    shadowed: list[Shadowed] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    holds_body: bool = False
    upstream: str | None = None
    target: str | None = None
    asks: str | None = None  # the model that the upstream would be asked for
    edits: list[tuple[str, object, object]] = field(default_factory=list)
    status: int = 200
    headers: Headers = field(default_factory=list)
    reply: bytes = b""


class _Looking:
    """The innermost service: keeps the call as it would be sent."""

    def __init__(self) -> None:
        self.call: Call | None = None

    async def __call__(self, call: Call) -> Reply:
        self.call = call.derive()  # as it is now: the engine lets go of the payload afterwards
        call.allowance.spend()
        reply = Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))
        reply.target = call.target
        return reply


async def explain(policies: Policies, method: bytes, target: bytes, headers: Headers, body: bytes) -> Explanation:
    """What would be done with this request. Nothing is sent."""
    clock = LoopClock(asyncio.get_running_loop())
    endpoint = endpoint_of(method, target)
    framing = Framing.LENGTH if body else Framing.NONE
    request = Request(method, target, 1, headers, framing, len(body), Body.of(body))
    request.upgrade = request.header(b"upgrade") if not body else None
    payload = Payload(body, endpoint, content_of(headers)[1]) if body and may_be_read(headers) else None
    tokens = tokens_for(policies.rules)
    facts = Facts(endpoint, method, target, headers, payload, tokens, wall_ns=clock.wall_ns)
    if tokens is not None:
        await facts.count()
    out = Explanation(endpoint.value, _model(payload))
    out.rules = [await _explained(rule, facts) for rule in policies.rules]
    enforced = [rule for rule, seen in zip(policies.rules, out.rules, strict=True) if seen.verdict and not rule.shadow]
    shelf = Shelf(clock, ORDER)
    layers, out.shadowed = chosen(enforced, shelf.order)
    out.stack = [(layered.part.kind.name, layered.rule.name) for layered in layers]
    looking = _Looking()
    home = policies.upstreams.get(policies.home)
    holds_all = home is not None and bool(home.spec.models)
    engine = Engine(policies.rules, shelf, looking, _raise, tokens=tokens, holds_all=holds_all)
    journal = Journal(clock.now)
    call = Call("explain", endpoint, request, Target(policies.home), journal, Allowance(policies.exchanges))
    reply = await fixed((Answer(),), engine)(call)
    out.status, out.headers, out.reply = reply.status, reply.headers, await reply.body.read_all()
    out.journal = journal.entries
    if looking.call is not None:
        _sent(out, policies, looking.call)
    return out


def _sent(out: Explanation, policies: Policies, call: Call) -> None:
    """Writes down the exchange that would be sent."""
    out.upstream = call.target.upstream
    declared = policies.upstreams.get(call.target.upstream)
    target = call.request.target
    if declared is not None:
        target = outbound(declared, declared.name == policies.home).target(target)
    out.target = (declared.address.origin if declared is not None else "") + target.decode("latin-1")
    payload: Payload | None = call.payload
    out.holds_body = payload is not None
    if payload is None:
        return
    model = call.target.model or _model(payload)
    if declared is not None and model is not None:
        model = declared.spec.models.get(model, model)
    out.asks = model
    if model is not None and model != _model(payload):
        payload = payload.set("model", model)
    out.edits = list(payload.edits)


async def _explained(rule: Rule, facts: Facts) -> RuleExplained:
    while True:
        try:
            seen = rule.condition.explain(facts)
            break
        except TakesLong as long:
            await facts.settle(long.limit)
    kinds = tuple(part.kind.name for part in rule.parts)
    return RuleExplained(rule.name, rule.where, "shadow" if rule.shadow else "enforce", seen.verdict, seen, kinds)


def _model(payload: Payload | None) -> str | None:
    try:
        return payload.model if payload is not None else None
    except Unread:
        return None


def _raise(layer: str, bug: Exception) -> None:
    raise bug
