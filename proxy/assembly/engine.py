"""engine -- finds, for each call, which policies match, and runs the stack of their layers.

Fixed, inside `answer`: everything of a policy happens in what it chooses.
Cost: for an endpoint that no policy names, one look-up; else the conditions (cheapest first), and one look-up for the stack.
A fault in here runs the call without policies: it is counted and logged, and the app has its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cachetools import LRUCache

from proxy.assembly.hold import UNHELD, Holds, OverLimit, content_of
from proxy.assembly.rules import Rule, Shadowed, chosen, of_endpoint
from proxy.assembly.shadow import Shadows
from proxy.assembly.shelf import Shelf
from proxy.core.call import Call
from proxy.core.faults import Failure, Refusal
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.service import FaultReport, Service, compose
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload, Unread
from proxy.openai.tokens import Tokens
from proxy.policy.facts import NO_BODY, Facts, TakesLong

STACKS = 1024  # sets of winners kept composed; a folder that has more at once composes again, at some 10 us
SMALL_BYTES = 64 * 1024  # of a body that is here already: to hold it costs less than to ask whether it is needed


@dataclass(slots=True, frozen=True)
class Candidates:
    """The rules that calls to one endpoint may match."""

    enforced: tuple[Rule, ...]
    shadows: Shadows
    wants_body: bool  # a condition or a layer of theirs may read it


@dataclass(slots=True, frozen=True)
class Stack:
    """Composed layers, and what was shadowed in composing them."""

    service: Service
    shadowed: tuple[Shadowed, ...]


class Engine:
    """One generation of policies, at work."""

    def __init__(
        self,
        rules: Sequence[Rule],
        shelf: Shelf,
        innermost: Service,
        report: FaultReport,
        *,
        tokens: Tokens | None = None,
        holds: Holds | None = None,
        holds_all: bool = False,
        notes_model: bool = False,
    ) -> None:
        self._shelf = shelf
        self._innermost = innermost
        self._report = report
        self._tokens = tokens
        self._holds = holds or Holds()
        self._holds_all = holds_all  # an upstream has its own names for models
        self._notes_model = notes_model  # for spans and log lines: it must be read, which costs microseconds
        self._plain = compose((), innermost, report)
        self._stacks: LRUCache[tuple[int, ...], Stack] = LRUCache(STACKS)
        self._candidates = {endpoint: self._of(rules, endpoint) for endpoint in Endpoint}

    def _of(self, rules: Sequence[Rule], endpoint: Endpoint) -> Candidates | None:
        mine = of_endpoint(rules, endpoint)
        enforced = tuple(rule for rule in mine if not rule.shadow)
        holds = self._holds_all and endpoint is not Endpoint.OTHER
        if not mine and not holds:
            return None
        return Candidates(
            enforced,
            Shadows([rule for rule in mine if rule.shadow], self._shelf, self._report),
            holds or any(rule.matches_body or rule.reads_body for rule in enforced),
        )

    async def __call__(self, call: Call) -> Reply:
        candidates = self._candidates[Endpoint(call.endpoint)]
        if candidates is None:
            return await self._plain(call)
        held_bytes = 0
        request = call.request
        try:
            why = NO_BODY
            if candidates.wants_body and request.framing is not Framing.NONE:
                kind, encoding = content_of(request.headers)
                if not kind.startswith(UNHELD) and self._wants_body(candidates, call):
                    call, held_bytes, why = await self._held(call, encoding)
            facts = self._facts(call, why)
            service = await self._service(candidates, facts, call)
            if candidates.shadows:
                self._watch(candidates.shadows, call, facts)
            return await service(call)
        finally:
            if held_bytes:
                self._holds.give_back(held_bytes)

    def _wants_body(self, candidates: Candidates, call: Call) -> bool:
        """Whether the body must be here first: a condition cannot be decided without it, or a layer of a policy that may match reads it."""
        body = call.request.body
        if self._holds_all or (body.ended and body.size <= SMALL_BYTES):
            return True
        facts = self._facts(call)
        for rule in candidates.enforced:
            if not (rule.matches_body or rule.reads_body):
                continue
            try:
                verdict = rule.condition.test(facts)
            except Exception:
                return True  # the matching meets it again, and tells
            if (verdict is None and rule.matches_body) or (verdict and rule.reads_body):
                return True
        return False

    def _facts(self, call: Call, why: str = NO_BODY) -> Facts:
        request = call.request
        return Facts(call.endpoint, request.method, request.target, request.headers, call.payload, self._tokens, why)

    async def _held(self, call: Call, encoding: bytes | None) -> tuple[Call, int, str]:
        """The call with its payload, what it holds, and why there is none where there is none."""
        try:
            data, size = await self._holds.take(call.request)
        except OverLimit as over:
            call.journal.note("body_too_large", why=str(over))
            return call, 0, str(over)
        payload = Payload(data, Endpoint(call.endpoint), encoding)
        if encoding is not None and size > SMALL_BYTES:
            await asyncio.to_thread(_unpack, payload)
        if self._notes_model:
            try:
                call.journal.model = payload.model
            except Unread as unread:
                call.journal.note("body_unread", why=unread.why)
            except Exception as bug:
                self._broke(call, "body", bug)
        return call.derive(payload=payload), size, NO_BODY

    async def _service(self, candidates: Candidates, facts: Facts, call: Call) -> Service:
        try:
            matched = await self._matched(candidates.enforced, facts, call)
            if facts.unknown:
                call.journal.note("unknown", why=list(facts.unknown))
            return self._stack(matched, call) if matched else self._plain
        except (Failure, Refusal):
            raise
        except Exception as bug:
            self._broke(call, "match", bug)
            return self._plain

    async def _matched(self, rules: Sequence[Rule], facts: Facts, call: Call) -> list[Rule]:
        """The rules whose condition is true; a condition that breaks is not.

        A count of tokens that would block the loop is made in slices, and asked for again.
        """
        matched = []
        for rule in rules:
            while True:
                try:
                    if rule.condition.test(facts):
                        matched.append(rule)
                except TakesLong as long:
                    await facts.settle(long.limit)
                    continue
                except Exception as bug:
                    self._broke(call, "match", bug, rule.name)
                break
        return matched

    def _watch(self, shadows: Shadows, call: Call, facts: Facts) -> None:
        try:
            shadows.watch(call, facts, self._tokens)
        except Exception as bug:
            self._broke(call, "shadow", bug)

    def _stack(self, matched: Sequence[Rule], call: Call) -> Service:
        """The layers of these rules around the upstream. A layer that cannot be built is left out, and tried again by the next call."""
        key = tuple(rule.place for rule in matched)
        stack = self._stacks.get(key)
        if stack is None:
            layers, shadowed = chosen(matched, self._shelf.order)
            built = []
            for each in layers:
                try:
                    built.append(self._shelf.layer(each))
                except Exception as bug:
                    self._broke(call, each.part.kind.name, bug, each.rule.name)
            stack = Stack(compose(built, self._innermost, self._report), tuple(shadowed))
            if len(built) == len(layers):
                self._stacks[key] = stack
        for lost in stack.shadowed:
            call.journal.note("shadowed", lost.policy, of=lost.kind, fields=list(lost.fields), by=lost.by)
        return stack.service

    def _broke(self, call: Call, what: str, bug: Exception, policy: str | None = None) -> None:
        self._report(what, bug)
        call.journal.note("layer_fault", policy, layer=what, why=type(bug).__name__)


def _unpack(payload: Payload) -> None:
    """Decompresses a large body beside the loop, which zlib leaves free meanwhile: a bomb of 64 MiB takes half a second."""
    with suppress(Exception):  # whoever asks next meets it again, and tells
        payload.value("model")
