"""fallback -- ask other targets, one after another, where the one before failed.

Floor PLAN: outside retry (each target has its own tries), inside all that happens once a call, so that it is still the same call.
It acts inside the call only: a reply that has been returned is the app's, and no byte of it is ever asked for again.
Cost: 6 µs for a call that goes well, 14 µs where a target is at another upstream (has the request state?); nothing per chunk.
A request whose body is not held cannot be sent twice, and is not.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from random import Random
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from proxy.core.call import Call, Target
from proxy.core.faults import Failure, Fault, classify
from proxy.core.journal import Journal
from proxy.core.outcomes import Outcome, given, kept, let_go, settled, watched
from proxy.core.reply import Reply
from proxy.core.request import NONE
from proxy.core.service import Layer, Service
from proxy.openai.conversion import Convert, converted
from proxy.openai.moves import why_it_stays
from proxy.openai.patience import last_word
from proxy.openai.payload import Payload, Unread
from proxy.policy.edits import Edits, ParamsSpec, slips
from proxy.policy.kind import Floor, Kind, Place, Site
from proxy.policy.problems import Path, shortened
from proxy.policy.retry_spec import RetrySpec
from proxy.policy.spec import OneOrMany, Spec, Wrong
from proxy.policy.timeouts_spec import TriesSpec
from proxy.policy.view import View, Warned
from proxy.policy.when import FALLBACK_WHEN, When, acts_on

TURN_S = 30.0  # of the app's patience are kept for each target that is still to come: what `first_token` of the examples allows
PLANS = 256  # remembered by one policy; a model's name comes from the app
MOVES = ("chat", "responses", "completions", "embeddings", "images", "audio", "models")  # the others refer to what an upstream keeps


class FallbackTarget(Spec):
    """Where to ask when what was asked before has failed. A text alone is a model at the same upstream."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "anyOf": [{"required": ["model"]}, {"required": ["upstream"]}]})
    shorthand: ClassVar[str | None] = "model"
    model: str | None = Field(None, min_length=1, max_length=256, description="The model to ask for; left out: the one asked before.")
    upstream: str | None = Field(None, description="The upstream to ask, one of `upstreams`; left out: where the call goes anyway.")
    when: When | None = Field(
        None,
        description="The faults of the target before it after which it is asked; it is passed over after any other. Left out: those of "
        "the chain.",
        examples=["context_window"],
    )
    params: ParamsSpec | None = Field(None, description="Parameters for this target alone, as in `params`; after `convert`.")
    convert: Convert = Field(
        Convert.AUTO,
        description="What it would refuse is taken out of the request: by its name (`auto`), as from a model that thinks (`reasoning`) or "
        "does not (`classic`), or not at all (`none`).",
    )
    timeouts: TriesSpec | None = Field(
        None,
        description="Limits of each of its tries, in the place of those of `timeouts`; `total` goes on.",
        examples=[{"first_token": "60s"}],
    )
    retry: RetrySpec | None = Field(None, description="Tries of its own. Left out: it has one.", examples=[2])
    weight: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Neighbours in the chain that have a weight are equals: in each call they are asked in an order drawn by weight.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> FallbackTarget:
        if self.model is None and self.upstream is None:
            raise Wrong("needs `model` or `upstream`", got=False)
        return self


class FallbackSpec(Spec):
    """Ask other targets, in order, where the one before has failed. A list alone is the chain."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [[{"model": "gpt-4o-mini"}, {"when": "context_window", "model": "gpt-4.1"}]]},
    )
    shorthand: ClassVar[str | None] = "chain"
    chain: OneOrMany[FallbackTarget] = Field(min_length=1, max_length=16, description="The targets, in the order in which they are asked.")
    when: When = Field(
        tuple(fault for fault in Fault if fault in FALLBACK_WHEN), description="The faults for which targets that name none are asked."
    )

    def upstreams(self) -> Iterable[tuple[Path, str]]:
        """The upstreams that it names, each with its place."""
        for i, target in enumerate(self.chain):
            if target.upstream is not None:
                yield ("chain", i, "upstream"), target.upstream


@dataclass(slots=True, frozen=True)
class Entry:
    """One target of the chain, at work."""

    upstream: str | None
    model: str | None
    when: frozenset[Fault]
    convert: Convert
    edits: Edits | None
    weight: int | None
    limits: Layer | None
    retry: Layer | None

    @classmethod
    def of(cls, target: FallbackTarget, when: Sequence[Fault], site: Site) -> Entry:
        """With the faults of the chain where it names none."""
        edits = Edits(target.params) if target.params is not None else None
        faults = acts_on(target.when if target.when is not None else when)
        limits = _built(("timeouts", Floor.EXCHANGE), target.timeouts, site)
        retry = _built(("retry", Floor.PLAN), target.retry, site)
        return cls(target.upstream, target.model, faults, target.convert, edits, target.weight, limits, retry)


def _built(place: Place, spec: Spec | None, site: Site) -> Layer | None:
    """A layer of another kind with a target's own settings."""
    if spec is None:
        return None
    assert site.build is not None, "built without the stack"
    return site.build(place, spec, site)


@dataclass(slots=True, frozen=True)
class Turn:
    """An entry that a call may use, and the target that it then has."""

    entry: Entry
    target: Target


Plan = tuple[Sequence[Turn], Sequence[dict[str, Any]]]


class Fallback:
    """The chain of one policy."""

    __slots__ = ("_clock", "_entries", "_faults", "_has_equals", "_moves", "_plans", "_policy")

    def __init__(self, spec: FallbackSpec, site: Site) -> None:
        self._policy = site.policy
        self._clock = site.clock
        self._entries = tuple(Entry.of(target, spec.when, site) for target in spec.chain)
        self._faults = frozenset(fault for entry in self._entries for fault in entry.when)
        self._has_equals = any(entry.weight is not None for entry in self._entries)
        self._moves = any(entry.upstream is not None for entry in self._entries)
        self._plans: dict[tuple[str, str | None, str | None, bool, str | None], Plan] = {}  # by what they depend on: the calls are alike

    async def __call__(self, call: Call, inner: Service) -> Reply:
        turns, skipped = self._turns(call)
        outcome = await self._ask(call, inner, turns) if turns else await settled(call, inner)
        fault = classify(outcome)
        if fault is None or fault not in self._faults:
            return self._watched(call.journal, given(outcome)) if turns else given(outcome)
        for what in skipped:
            call.journal.note("fallback", self._policy, why=fault.value, **what)
        if not turns:
            return given(outcome)
        return await self._fall(call, inner, turns if not self._has_equals else drawn(turns, call.id), outcome)

    async def _fall(self, call: Call, inner: Service, turns: Sequence[Turn], outcome: Outcome) -> Reply:
        """Goes down the chain from the first outcome, which is a fault."""
        tried = [_told(call.target, call, outcome)]
        out = False
        for place, turn in enumerate(turns):
            fault = classify(outcome)
            if fault is None:
                break
            if fault not in turn.entry.when:
                self._skip(call, turn, fault, "its `when` does not name this fault")
                continue
            if why := self._is_over(call):
                self._skip(call, turn, fault, why)
                out = True
                break
            before = kept(outcome)
            try:
                latest = await self._ask(self._next(call, turn, fault), _tried(turn.entry, inner), turns[place + 1 :])
            except BaseException:
                let_go(before)
                raise
            tried.append(_told(turn.target, call, latest))
            if before is not None and isinstance(latest, Failure) and latest.fault is Fault.BREAKER_OPEN:
                outcome = before  # nothing was sent: what the one before said is the last word
                continue
            let_go(before)
            outcome = latest
        if classify(outcome) is not None and (out or len(tried) > 1):
            return last_word(outcome, f" (tried: {'; '.join(tried)})" if len(tried) > 1 else "")
        return self._watched(call.journal, given(outcome))

    def _watched(self, journal: Journal, reply: Reply) -> Reply:
        """The reply; if its body breaks it is noted that nobody is asked any more."""
        return watched(reply, lambda failure: self._late(journal, failure))

    def _late(self, journal: Journal, failure: Failure) -> None:
        if failure.fault in self._faults:
            journal.note("too_late", self._policy, why=failure.fault.value)

    def _turns(self, call: Call) -> Plan:
        """The entries that this call could use, in order; and of the others why not."""
        payload: Payload | None = call.payload
        if payload is None and call.request.framing is not NONE:
            return [], [{"skipped": "not_replayable"}]
        target, model = call.target, _model(call.target, payload)
        key = (target.upstream, target.model, model, payload is None, why_it_stays(call) if self._moves else None)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._planned(target, model, payload is None, key[-1])
        return plan

    def _planned(self, asked: Target, model: str | None, is_bare: bool, stays: str | None) -> Plan:
        turns: list[Turn] = []
        skipped: list[dict[str, Any]] = []
        seen = {(asked.upstream, model)}
        for entry in self._entries:
            upstream = entry.upstream or asked.upstream
            if upstream != asked.upstream and stays is not None:
                skipped.append({"skipped": "stays", "upstream": upstream, "reason": stays})
                continue
            target = Target(upstream, entry.model or asked.model)
            key = (upstream, entry.model or model)
            if entry.edits is None and (key in seen or (is_bare and upstream == asked.upstream)):
                skipped.append({"skipped": "same_target", "upstream": upstream, "model": key[1]})
                continue
            seen.add(key)
            turns.append(Turn(entry, target))
        return turns, skipped

    def _is_over(self, call: Call) -> str | None:
        """Why nothing more is asked, None where something may be."""
        if call.allowance.left <= call.reserved:
            return f"no exchange left ({call.allowance.spent} were made)"
        latest = call.latest
        return "no time left" if latest is not None and self._clock.now() >= latest else None

    def _skip(self, call: Call, turn: Turn, fault: Fault, reason: str) -> None:
        target = turn.target
        call.journal.note("fallback", self._policy, why=fault.value, skipped=reason, upstream=target.upstream, model=target.model)

    def _next(self, call: Call, turn: Turn, fault: Fault) -> Call:
        """The call of an entry: its target, and the request as that takes it. Notes what is no longer said, or said otherwise."""
        entry, target = turn.entry, turn.target
        what: dict[str, Any] = {"why": fault.value, "upstream": target.upstream}
        payload: Payload | None = call.payload
        if payload is not None:
            model = what["model"] = _model(target, payload)
            try:
                out = converted(payload, model, entry.convert, target.upstream != call.target.upstream)
                payload = out.payload
                what |= {name: list(names) for name, names in (("removed", out.removed), ("renamed", out.renamed)) if names}
            except Unread as unread:
                what["unread"] = unread.why
            if entry.edits is not None:
                payload, done, _ = entry.edits.apply(payload)
                for name, fields in done.items():
                    known = what.get(name)
                    what[name] = [*known, *fields] if isinstance(known, list) else fields
        call.journal.note("fallback", self._policy, acted=True, **what)
        return call.derive(target=target, payload=payload, tries=1 if entry.retry is None else None, limits=entry.limits)

    def _ask(self, call: Call, inner: Service, rest: Sequence[Turn]) -> Awaitable[Outcome]:
        """One target, within what leaves those that are still to come their exchange, and their turn of the app's patience."""
        latest, left = call.latest, len(rest)
        call = call.derive(reserved=call.reserved + left, lone=not any(Fault.BREAKER_OPEN in turn.entry.when for turn in rest))
        if left and latest is not None and (here_s := latest - self._clock.now()) > 0:
            call.answer_by = latest - left * min(TURN_S, here_s / (left + 1))
        return settled(call, inner)


def _tried(entry: Entry, inner: Service) -> Service:
    """The service as a target asks it: with tries of its own where it has some, in the place of the policy's."""
    retry = entry.retry
    if retry is None:
        return inner

    async def once(call: Call) -> Reply:
        return await inner(call.derive(tries=0))

    return partial(retry, inner=once)


def _told(target: Target, call: Call, outcome: Outcome) -> str:
    """`openai gpt-4o: timeout`, for a person."""
    model = _model(target, call.payload)
    fault = classify(outcome)
    return f"{target.upstream}{f' {shortened(model)}' if model else ''}: {fault.value if fault is not None else 'ok'}"


def _model(target: Target, payload: Payload | None) -> str | None:
    """The model that is asked for, where it can be told."""
    if target.model is not None or payload is None:
        return target.model
    try:
        return payload.model
    except Unread:
        return None


def drawn(turns: Sequence[Turn], seed: str) -> list[Turn]:
    """The turns, each run of equals in an order drawn by weight without putting back. The same call draws the same."""
    draw = Random(seed).random
    out: list[Turn] = []
    for is_equal, run in groupby(turns, lambda turn: turn.entry.weight is not None):
        neighbours = list(run)
        if is_equal:
            neighbours.sort(key=lambda turn: _lateness(turn, draw()))
        out.extend(neighbours)
    return out


def _lateness(turn: Turn, uniform: float) -> float:
    """Exponential waits, whose order is a weighted draw (Efraimidis and Spirakis 2006)."""
    return -math.log(1.0 - uniform) / (turn.entry.weight or 1)


def _warn(spec: FallbackSpec, view: View) -> Iterable[Warned]:
    yield from view.idle(MOVES, "`fallback`")
    for i, target in enumerate(spec.chain):
        at: Path = ("chain", i)
        if target.params is not None:
            yield from (Warned((*at, "params", *each.path), each.message, each.hint) for each in slips(target.params))
        if target.upstream is None and target.model in view.upstreams:
            yield Warned(at, f"asks home for a model named '{target.model}', which is an upstream", f"write {{upstream: {target.model}}}")
        yield from _repeats(spec, view, i, at)
        yield from _unreached(spec, view, i, at)


def _repeats(spec: FallbackSpec, view: View, place: int, at: Path) -> Iterator[Warned]:
    """An entry that asks what was asked already."""
    target = spec.chain[place]
    if target.params is not None:
        return
    home = view.home
    where = target.upstream or home
    for before, other in enumerate(spec.chain[:place]):
        same_upstream = (other.upstream or home) == where
        if same_upstream and other.model == target.model and other.params is None:
            yield Warned(at, f"asks the same as entry {before + 1} of the chain", "take one out, or give it `params`")
            return
    if target.upstream is None and target.model is not None and view.models == (target.model,):
        message = f"asks for '{shortened(target.model)}', which every call that the policy matches has asked for already"
        yield Warned(at, message, "name another model or an upstream")


def _unreached(spec: FallbackSpec, view: View, place: int, at: Path) -> Iterator[Warned]:
    """An entry that no fault reaches, or no exchange."""
    whens = [acts_on(target.when if target.when is not None else spec.when) for target in spec.chain[: place + 1]]
    if whens[place] == {Fault.BREAKER_OPEN} and not view.is_used("circuit_breaker"):
        yield Warned(at, "is never asked: no policy has a `circuit_breaker`, so `breaker_open` never happens", "name other faults")
    elif place + 2 > view.exchanges and all(when == whens[place] for when in whens):
        message = f"is never asked: a call has {view.exchanges} exchanges, and those before it take them all"
        yield Warned(at, message, "raise `limits: {exchanges: …}`, or shorten the chain")


KIND = Kind(
    "fallback",
    FallbackSpec,
    Floor.PLAN,
    enforce=Fallback,
    shadow=None,
    reads_body=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
    primes=lambda spec: True,
    warn=_warn,
)
