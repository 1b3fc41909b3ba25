"""engine -- finds, for each call, which policies match, and runs the stack of their layers.

Fixed, inside `answer`: everything of a policy happens in what it chooses.
Cost: for an endpoint that no policy names, one look-up; else the conditions (cheapest first), and one look-up for the stack.
A fault in here runs the call without policies: it is counted and logged, and the app has its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cachetools import LRUCache

from proxy.assembly.hold import PEEK_BYTES, UNHELD, Holds, OverLimit, content_of
from proxy.assembly.onion import Core
from proxy.assembly.rules import Rule, Shadowed, chosen, of_endpoint
from proxy.assembly.shadow import Shadows
from proxy.assembly.shelf import Shelf
from proxy.core.call import Call
from proxy.core.journal import Labels
from proxy.core.reply import Reply
from proxy.core.request import NONE
from proxy.core.service import Service
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload, Unread
from proxy.openai.tokens import Tokens
from proxy.policy import narrowing
from proxy.policy.conditions import Condition
from proxy.policy.facts import NO_BODY, Facts, TakesLong
from proxy.policy.gates import WORTH, Gates

MODELS = 256  # names of models whose rules are remembered, for each endpoint
MODEL_CHARS = 256  # of such a name: what is longer is no model
STACKS = 1024  # sets of winners kept composed; a folder that has more at once composes again, at some 10 us


Asked = tuple[Rule, Condition]  # a rule, and what is left to ask of its condition


class Left:
    """Rules that are left to ask: those of `gates`' positions, which may have more."""

    __slots__ = ("asked", "behind", "gates")

    def __init__(self, behind: dict[int, Asked], gates: Gates | None) -> None:
        self.asked = tuple(behind.values())
        self.behind = behind
        self.gates = gates if len(behind) >= WORTH else None

    @classmethod
    def of(cls, asked: Sequence[Asked]) -> Left:
        """All of these. Their gates serve calls of every model: to build some takes milliseconds, and a call may name any model."""
        gates = Gates([narrowing.but_model(condition) for _, condition in asked]) if len(asked) >= WORTH else None
        return cls(dict(enumerate(asked)), gates)


@dataclass(slots=True, frozen=True)
class Candidates:
    """The rules that calls to one endpoint may match."""

    enforced: Left
    shadows: Shadows
    wants_body: bool  # a condition or a layer of theirs may read it
    asks_model: bool
    by_model: dict[str, Left]  # emptied when full

    def of_model(self, model: str) -> Left:
        """The rules that calls which name `model` may match."""
        left = self.by_model.get(model)
        if left is None:
            if len(model) > MODEL_CHARS:
                return self.enforced
            narrowed = ((at, rule, narrowing.of_model(condition, model)) for at, (rule, condition) in self.enforced.behind.items())
            left = Left({at: (rule, condition) for at, rule, condition in narrowed if condition is not None}, self.enforced.gates)
            if len(self.by_model) >= MODELS:
                self.by_model.clear()
            self.by_model[model] = left
        return left


@dataclass(slots=True, frozen=True)
class Stack:
    """Composed layers, and what was shadowed in composing them."""

    service: Service
    shadowed: tuple[Shadowed, ...]
    names: tuple[str, ...]  # of the policies that matched
    labels: Labels  # of those that have some


class Engine:
    """One generation of policies, at work."""

    def __init__(
        self,
        rules: Sequence[Rule],
        shelf: Shelf,
        core: Core,
        *,
        tokens: Tokens | None = None,
        holds: Holds | None = None,
        holds_all: bool = False,
        notes_model: bool = False,
        generation: int = 0,
        keep: Callable[[Call, bytes], None] | None = None,
    ) -> None:
        """`keep` is told of each body that policies read: for an explanation later."""
        self._shelf = shelf
        self._wall_ns = shelf.wall_ns
        self._core = core
        self._report = core.report
        self._tokens = tokens
        self._holds = holds or Holds()
        self._holds_all = holds_all  # an upstream has its own names for models
        self._generation = generation
        self._keep = keep
        self._notes_model = notes_model  # for spans and log lines: it must be read, which costs microseconds
        self._plain = core.compose(())
        self._stacks: LRUCache[tuple[int, ...], Stack] = LRUCache(STACKS)
        self._endpoints: dict[str, Endpoint] = {endpoint: endpoint for endpoint in Endpoint}
        self._candidates: dict[str, Candidates | None] = {endpoint: self._of(rules, endpoint) for endpoint in Endpoint}

    def _of(self, rules: Sequence[Rule], endpoint: Endpoint) -> Candidates | None:
        mine = of_endpoint(rules, endpoint)
        enforced = tuple((rule, narrowing.of_endpoint(rule.condition, endpoint)) for rule in mine if not rule.shadow)
        holds = self._holds_all and endpoint is not Endpoint.OTHER
        if not mine and not holds:
            return None
        return Candidates(
            Left.of(enforced),
            Shadows([rule for rule in mine if rule.shadow], self._shelf, self._report, self._keep),
            holds or any(rule.matches_body or rule.reads_body for rule, _ in enforced),
            any(narrowing.asks_model(condition) for _, condition in enforced),
            {},
        )

    async def __call__(self, call: Call) -> Reply:
        candidates = self._candidates[call.endpoint]
        call.journal.generation = self._generation
        if candidates is None:
            return await self._plain(call)
        held_bytes = 0
        request = call.request
        try:
            why = NO_BODY
            if candidates.wants_body and request.framing is not NONE:
                kind, encoding = content_of(request.headers)
                if not kind.startswith(UNHELD):
                    data = self._holds.peek(request) if encoding is None else None
                    if data is not None:
                        held_bytes = len(data)
                        self._name(call, self._complete(call, data, None))
                    elif self._wants_body(candidates, call):
                        held_bytes, why = await self._hold(call, encoding)
            left = self._left(candidates, call)
            if not (left.asked or candidates.shadows or self._holds_all):
                if request.body.size:
                    call.payload = None  # it was only looked at: it leaves as it came
                return await self._plain(call)
            facts = self._facts(call, why)
            matched = []
            for rule, condition in left.asked if left.gates is None else await self._behind(left, left.gates, facts, call):
                try:
                    verdict = condition.test(facts)
                except TakesLong as long:
                    verdict = await self._settled(long, condition, rule, facts, call)
                except Exception as bug:
                    verdict = None
                    self._broke(call, "match", bug, rule.name)
                if verdict:
                    matched.append(rule)
            service = self._service(matched, facts, call)
            if candidates.shadows:
                self._watch(candidates.shadows, call, facts)
            return await service(call)
        finally:
            call.payload = None  # the head is committed: a stream that goes on for minutes does not hold its prompt
            if held_bytes:
                self._holds.give_back(held_bytes)

    def _wants_body(self, candidates: Candidates, call: Call) -> bool:
        """Whether the body must be here first: a condition cannot be decided without it, or a layer of a policy that may match reads it."""
        body = call.request.body
        if self._holds_all or (body.ended and body.size <= PEEK_BYTES):
            return True
        facts = self._facts(call)
        for rule, condition in candidates.enforced.asked:
            if not (rule.matches_body or rule.reads_body):
                continue
            try:
                verdict = condition.test(facts)
            except Exception:
                return True  # the matching meets it again, and tells
            if (verdict is None and rule.matches_body) or (verdict and rule.reads_body):
                return True
        return False

    def _facts(self, call: Call, why: str = NO_BODY) -> Facts:
        request = call.request
        return Facts(call.endpoint, request.method, request.target, request.headers, call.payload, self._tokens, why, self._wall_ns)

    async def _hold(self, call: Call, encoding: bytes | None) -> tuple[int, str]:
        """Completes the call with its payload. Returns what it holds, and why there is none where there is none."""
        try:
            data, size = await self._holds.take(call.request)
        except OverLimit as over:
            call.journal.note("body_too_large", why=str(over))
            return 0, str(over)
        payload = self._complete(call, data, encoding)
        if encoding is not None and size > PEEK_BYTES:
            await asyncio.to_thread(_unpack, payload)
        self._name(call, payload)
        return size, NO_BODY

    def _complete(self, call: Call, data: bytes, encoding: bytes | None) -> Payload:
        """Gives the call its payload: it is still in the making, so not derived."""
        call.payload = payload = Payload(data, self._endpoints[call.endpoint], encoding)
        if self._keep is not None:
            self._keep(call, data)
        return payload

    def _name(self, call: Call, payload: Payload) -> None:
        """Notes the model that the app named, where somebody tells of it."""
        if self._notes_model:
            try:
                call.journal.model = payload.model
            except Unread as unread:
                call.journal.note("body_unread", why=unread.why)
            except Exception as bug:
                self._broke(call, "body", bug)

    async def _behind(self, left: Left, gates: Gates, facts: Facts, call: Call) -> Sequence[Asked]:
        """The rules behind open gates; all where that cannot be found out."""
        try:
            return [left.behind[at] for at in await facts.answer(gates.open) if at in left.behind]
        except Exception as bug:
            self._broke(call, "match", bug)
            return left.asked

    def _left(self, candidates: Candidates, call: Call) -> Left:
        """The rules to ask, without those that want another model."""
        payload: Payload | None = call.payload
        if payload is None or not candidates.asks_model:
            return candidates.enforced
        try:
            return candidates.of_model(payload.model or "")
        except Exception:
            return candidates.enforced  # the conditions meet it again, and tell

    async def _settled(self, long: TakesLong, condition: Condition, rule: Rule, facts: Facts, call: Call) -> bool | None:
        """The verdict after what would have held up the loop was done in slices. One that breaks takes no other policy with it."""
        try:
            return await facts.answer(condition.test, long)
        except Exception as bug:
            self._broke(call, "match", bug, rule.name)
            return None

    def _service(self, matched: Sequence[Rule], facts: Facts, call: Call) -> Service:
        if facts.unknown:
            call.journal.note("unknown", why=list(facts.unknown))
        try:
            return self._stack(matched, call) if matched else self._plain
        except Exception as bug:
            self._broke(call, "match", bug)
            return self._plain

    def _watch(self, shadows: Shadows, call: Call, facts: Facts) -> None:
        try:
            shadows.watch(call, facts, self._tokens)
        except Exception as bug:
            self._broke(call, "shadow", bug)

    def _stack(self, matched: Sequence[Rule], call: Call) -> Service:
        """The layers of these rules around the upstream. A layer that cannot be built is left out, and tried again by the next call."""
        key = tuple([rule.place for rule in matched])
        stack = self._stacks.get(key)
        if stack is None:
            layers, shadowed = chosen(matched, self._shelf.order)
            built = []
            for each in layers:
                try:
                    built.append((each, self._shelf.layer(each)))
                except Exception as bug:
                    self._broke(call, each.part.kind.name, bug, each.rule.name)
            names = tuple(rule.name for rule in matched)
            labels = tuple((rule.name, rule.labels) for rule in matched if rule.labels)
            stack = Stack(self._core.compose(built), tuple(shadowed), names, labels)
            if len(built) == len(layers):
                self._stacks[key] = stack
        call.journal.matched = stack.names
        call.journal.labels = stack.labels
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
