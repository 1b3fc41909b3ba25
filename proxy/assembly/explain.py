"""explain -- what would be done with one request, and why, as values: `explain_text` and `explain_json` make words and JSON of them.

The engine itself runs, over upstreams that only look (`looking`). Conditions are all asked, none skipped, so that each shows what it saw.
Nothing that the app said is in an Explanation, but names, numbers, and headers that a condition asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from proxy.assembly.changes import Body, Header, body_changes, header_changes, hidden_headers, shown_target, text_of
from proxy.assembly.hold import content_of, may_be_read
from proxy.assembly.load import Policies
from proxy.assembly.looking import Exchange, Looking, Seen, model_of
from proxy.assembly.recorded import Asked
from proxy.assembly.rules import Layered, Rule, Shadowed, chosen
from proxy.core.body import Headers
from proxy.core.journal import Entry
from proxy.core.reply import Reply
from proxy.openai.endpoints import endpoint_of
from proxy.openai.payload import Payload
from proxy.policy.conditions import Condition, Explained
from proxy.policy.facts import NO_BODY, Facts


@dataclass(slots=True, frozen=True)
class RuleExplained:
    """One policy: whether it matched (None: it cannot be known), each condition, and what it then did."""

    name: str
    where: str
    mode: str
    verdict: bool | None
    condition: Explained
    kinds: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, frozen=True)
class LayerExplained:
    """A layer of the stack, and the fields that it won, where its kind has several."""

    kind: str
    policy: str
    floor: str
    fields: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Holder:
    """Who keeps a body back, and for what."""

    policy: str | None  # None: an upstream's own setting
    what: str


@dataclass(slots=True, frozen=True)
class Held:
    """What does not stream through. `request`: the body is held until it is whole."""

    has_body: bool
    request: bool
    request_by: tuple[Holder, ...] = ()
    reply_by: tuple[Holder, ...] = ()


@dataclass(slots=True, frozen=True)
class Sent:
    """The exchange that would be made. `body` is None where no policy reads it: every byte goes as it came."""

    upstream: str
    url: str  # the path alone where no upstream is declared
    declared: bool
    model: str | None
    body: Body | None
    headers: tuple[Header, ...]


@dataclass(slots=True)
class Explanation:
    """All of it. `sent` is None when the call is answered by the proxy itself, or when what was sent is not known any more."""

    endpoint: str
    method: str
    path: str
    model: str | None
    has_body: bool = False
    rules: list[RuleExplained] = field(default_factory=list)
    off: list[tuple[str, str]] = field(default_factory=list)  # policies in `mode: off`, with their places
    stack: list[LayerExplained] = field(default_factory=list)  # outermost first
    shadowed: list[Shadowed] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    held: Held = field(default_factory=lambda: Held(False, False))
    sent: Sent | None = None
    status: int = 200
    headers: Headers = field(default_factory=list)  # of the reply: ours
    reply: bytes = b""  # the answer of a refusal
    recorded: dict[str, object] | None = None  # of a call that was: its log line
    notes: list[str] = field(default_factory=list)  # where the explanation has limits


async def explain(policies: Policies, asked: Asked, looking: Looking | None = None) -> Explanation:
    """What would be done with this request. Nothing is sent."""
    looking = looking or Looking(policies)
    payload = payload_of(asked)
    facts = await facts_of(asked, payload, looking)
    out = begun(policies, asked, payload)
    out.rules = [await _explained(rule, facts) for rule in policies.rules]
    seen = await looking.look(asked)
    await told(out, looking, asked, seen)
    return out


def begun(policies: Policies, asked: Asked, payload: Payload | None) -> Explanation:
    """What is known before any policy is asked."""
    endpoint = endpoint_of(asked.method, asked.target)
    out = Explanation(endpoint.value, text_of(asked.method), shown_target(asked.target, None), model_of(payload))
    out.has_body = bool(asked.body)
    out.off = [(policy.name, str(policy.place("name"))) for policy in policies.loaded.policies if policy.mode == "off"]
    return out


def payload_of(asked: Asked) -> Payload | None:
    """The body, where its type lets policies read it."""
    if not asked.body or not may_be_read(asked.headers):
        return None
    return Payload(asked.body, endpoint_of(asked.method, asked.target), content_of(asked.headers)[1])


async def facts_of(asked: Asked, payload: Payload | None, looking: Looking, why: str = NO_BODY, wall_ns: int | None = None) -> Facts:
    """What conditions see, the prompt counted to its end."""
    wall = looking.clock.wall_ns if wall_ns is None else lambda: wall_ns
    endpoint = endpoint_of(asked.method, asked.target)
    facts = Facts(endpoint, asked.method, asked.target, asked.headers, payload, looking.tokens, why, wall_ns=wall)
    if looking.tokens is not None:
        await facts.count()
    return facts


async def _explained(rule: Rule, facts: Facts) -> RuleExplained:
    seen = await facts.answer(rule.condition.explain)
    kinds = tuple(dict.fromkeys(part.kind.name for part in rule.parts))
    return RuleExplained(rule.name, rule.where, "shadow" if rule.shadow else "enforce", seen.verdict, seen, kinds, rule.labels)


async def asked_again(rules: tuple[Rule, ...], facts: Facts, matched: tuple[str, ...]) -> list[RuleExplained]:
    """The policies of a call that was: which of them matched then is known, what their conditions saw is asked again."""
    out = []
    for rule in rules:
        await asyncio.sleep(0)  # calls go on meanwhile
        found = await _explained(rule, facts)
        out.append(replace(found, verdict=True if rule.name in matched else False if found.verdict else found.verdict))
    return out


async def told(out: Explanation, looking: Looking, asked: Asked, seen: Seen) -> None:
    """Writes down what the engine did."""
    stacked(out, looking, seen.matched)
    out.journal = seen.journal
    out.held = held(looking, asked, out, seen.exchange)
    out.status, out.headers = seen.reply.status, seen.reply.headers
    if seen.exchange is not None:
        out.sent = sent(looking, asked, seen.exchange)
    else:
        out.reply = await _whole(seen.reply)


async def _whole(reply: Reply) -> bytes:
    return await reply.body.read_all()


def stacked(out: Explanation, looking: Looking, matched: tuple[str, ...]) -> list[Layered]:
    """Writes down the layers of the policies that matched, and what an earlier one had set already."""
    enforced = [rule for rule in looking.policies.rules if not rule.shadow and rule.name in matched]
    layers, out.shadowed = chosen(enforced, looking.shelf.order)
    out.stack = [
        LayerExplained(each.part.kind.name, each.rule.name, each.part.kind.floor.value, tuple(sorted(filter(None, each.fields))))
        for each in layers
    ]
    return layers


def sent(looking: Looking, asked: Asked, exchange: Exchange) -> Sent:
    """The exchange, its credentials masked."""
    declared = looking.policies.upstreams.get(exchange.upstream)
    hidden = hidden_headers(declared) if declared is not None else frozenset()
    return Sent(
        exchange.upstream,
        exchange.origin + shown_target(exchange.target, declared),
        declared is not None,
        exchange.model,
        body_changes(exchange.payload) if exchange.payload is not None else None,
        header_changes(asked.headers, exchange.headers, hidden) if declared is not None else (),
    )


def held(looking: Looking, asked: Asked, out: Explanation, exchange: Exchange | None) -> Held:
    """What is kept back, and by whom."""
    layers = [each for each in out.stack]
    replies = tuple(Holder(each.policy, f"{each.kind}, {words}") for each in layers if (words := _keeps(looking, each.policy, each.kind)))
    if not out.has_body or not may_be_read(asked.headers):
        return Held(out.has_body, False, (), replies)
    by = list(_readers(looking, out))
    if looking.renames:
        by.append(Holder(None, f"the model names of upstream {looking.policies.home}"))
    is_held = exchange.payload is not None if exchange is not None else bool(by)
    return Held(True, is_held, tuple(by) if is_held else (), replies)


def _keeps(looking: Looking, policy: str, kind: str) -> str:
    parts = (part for rule in looking.policies.rules if rule.name == policy for part in rule.parts if part.kind.name == kind)
    return next((part.kind.holds_reply(part.spec) for part in parts), "")


def _readers(looking: Looking, out: Explanation) -> Iterator[Holder]:
    """The enforced policies that want the body: their conditions, and their layers where they match."""
    for rule, found in zip(looking.policies.rules, out.rules, strict=True):
        if rule.shadow or (rule.condition.endpoints is not None and out.endpoint not in rule.condition.endpoints):
            continue
        if rule.matches_body:
            yield Holder(rule.name, f"its match: {', '.join(dict.fromkeys(_reading(rule.condition)))}")
        if found.verdict:
            for part in rule.parts:
                if part.kind.reads_body(part.spec):
                    yield Holder(rule.name, part.kind.name)


def _reading(condition: Condition) -> Iterator[str]:
    """Names of the single conditions that read the body."""
    children: tuple[Condition, ...] = getattr(condition, "children", ())
    for child in children:
        yield from _reading(child)
    if not children and "body" in condition.needs:
        yield condition.name
