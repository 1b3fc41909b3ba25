"""explain_served -- a call that was, explained with the policies that it ran under.

What matched and what was decided is known from the call; what each condition saw is asked again, of what is kept of the request.
Imported when somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.adapters.recent import BODY_BYTES, Ended
from proxy.assembly.explain import Explanation, asked_again, begun, facts_of, held, payload_of, sent, stacked
from proxy.assembly.load import Policies
from proxy.assembly.looking import Looking
from proxy.assembly.recorded import Asked
from proxy.assembly.rules import of_endpoint
from proxy.openai.tokens import Tokens
from proxy.policy.facts import NO_BODY
from proxy.policy.match import All

NOT_KEPT = "its body is not kept for an explanation"


async def explain_served(call: Ended, known: Mapping[int, tuple[Policies, Tokens | None]]) -> Explanation:
    """What was done with a call, and why. `known`: the policies that are remembered, by generation."""
    asked = Asked(call.method, call.target, call.headers, call.body or b"")
    payload = payload_of(asked)
    latest = max(known, default=0)
    number = call.generation if call.generation in known else latest
    policies, tokens = known[number]
    out = begun(policies, asked, payload)
    out.recorded = {**call.told(), "revision": policies.loaded.revision}
    out.model = call.told().get("model", out.model)
    out.status = call.told().get("status", 0)
    out.journal = call.entries
    matching = tuple(rule for rule in policies.rules if rule.name in call.matched and not rule.shadow)
    looking = Looking(policies, [replace(rule, condition=All("match", ())) for rule in matching], tokens)
    lost_body = call.body is None and _had_body(call)
    facts = await facts_of(asked, payload, looking, NOT_KEPT if lost_body else NO_BODY, call.started_ns)
    out.rules = await asked_again(policies.rules, facts, call.matched)
    if number != call.generation:
        out.recorded.pop("revision")
        out.notes.append(f"the policies of then (generation {call.generation}) are not kept: these are those of generation {number}")
    elif number != latest:
        out.notes.append(f"the policies have changed since: generation {latest} is in force")
    stacked(out, looking, call.matched)
    out.has_body = lost_body or bool(call.body)
    if lost_body:
        _without_body(out, call, policies)
        out.held = held(looking, asked, out, None)
    _without_skipped(out, call)
    if number == call.generation and not lost_body:
        seen = await looking.look(asked)
        out.held = held(looking, asked, out, seen.exchange)
        out.sent = sent(looking, asked, seen.exchange) if seen.exchange is not None else None
        out.headers = seen.reply.headers
        out.reply = b"" if seen.exchange is not None else await seen.reply.body.read_all()
    return out


def _without_body(out: Explanation, call: Ended, policies: Policies) -> None:
    """Says what cannot be said, where it matters."""
    mine = of_endpoint(policies.rules, out.endpoint)
    if any(rule.matches_body or rule.reads_body for rule in mine):
        out.notes.append(
            f"{NOT_KEPT} (over {BODY_BYTES >> 10} KiB, read by no policy, or younger calls took its place): what conditions"
            " saw in it is not known; which policies matched is"
        )
    out.rules = [replace(rule, verdict=rule.name in call.matched) for rule in out.rules]


def _without_skipped(out: Explanation, call: Ended) -> None:
    """What would have taken too long in shadow was not asked then."""
    skipped = {entry.policy for entry in call.entries if entry.kind == "shadow_skipped"}
    if skipped:
        out.rules = [replace(rule, verdict=None) if rule.name in skipped else rule for rule in out.rules]


def _had_body(call: Ended) -> bool:
    for name, value in call.headers:
        low = name.lower()
        if low == b"transfer-encoding" or (low == b"content-length" and value.strip() != b"0"):
            return True
    return False
