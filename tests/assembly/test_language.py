"""Every condition and every kind at work in the engine: where it holds, where it does not, where it cannot be known, and in shadow.

A field of a condition's model, or a kind, that has no case here fails by its name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from proxy.assembly.load import load_text
from proxy.assembly.stack import KINDS
from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.policy.match_spec import MatchSpec
from proxy.policy.problems import PolicyError
from tests.assembly.engines import JSON, UPSTREAMS, Bench, bench, call_of, chat, notes

SIGNALS = "signals: {legal: {keywords: {any_of: contract}}, german: {header: {accept-language: 'de*'}}}"
TUESDAY_NOON_NS = 1_772_539_200 * 10**9  # 2026-03-03 12:00 UTC
LONG = "Please summarise the following report for the board. " * 40
HARD = (
    "Prove step by step that the distributed lock is safe under partial failure, derive the bounds, and design an architecture with "
    "trade-offs between consistency and availability. Then refactor this:\n```python\ndef lock(a):\n    return a\n```"
)
GERMAN = "Bitte fasse den folgenden Bericht für den Vorstand zusammen und nenne die wichtigsten Zahlen."


@dataclass(frozen=True)
class Ask:
    """A request of the app: a chat unless it says otherwise."""

    body: Any = field(default_factory=chat)
    path: bytes = b"/v1/chat/completions"
    method: bytes = b"POST"
    headers: Headers = field(default_factory=list)

    def call(self) -> Call:
        return call_of(self.body, method=self.method, path=self.path, headers=[*JSON, *self.headers])

    @property
    def sent(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def header(name: str, value: str) -> Ask:
    return Ask(headers=[(name.encode(), value.encode())])


def said(*texts: str, role: str = "user") -> Ask:
    return Ask({"model": "gpt-4o", "messages": [{"role": role, "content": text} for text in texts]})


UNREADABLE = Ask(b"{not json")
EMBEDDING = Ask({"model": "e", "input": "x"}, b"/v1/embeddings")
LISTED = Ask(b"", b"/v1/models", b"GET")


@dataclass(frozen=True)
class Case:
    """A `match`, and requests for which it is true, false and unknown. `always_known`: the reason why there are none of the last."""

    match: str
    yes: tuple[Ask, ...]
    no: tuple[Ask, ...]
    unknown: tuple[Ask, ...] = ()
    always_known: str = ""


HEAD, CLOCK = "the head is always readable", "there is always a clock"
KEY_IN, KEY_OUT = header("authorization", "Bearer k1"), header("authorization", "Bearer k2")
CASES: dict[str, tuple[Case, ...]] = {
    "endpoint": (
        Case("endpoint: chat", (Ask(), UNREADABLE), (EMBEDDING, LISTED), always_known=HEAD),
        Case("endpoint: [embeddings, models]", (EMBEDDING, LISTED), (Ask(),), always_known=HEAD),
    ),
    "model": (
        Case("model: gpt-4o", (Ask(),), (Ask(chat() | {"model": "gpt-4o-mini"}),), (UNREADABLE, LISTED)),
        Case("model: ['gpt-4*', o3]", (Ask(), Ask(chat() | {"model": "o3"})), (Ask(chat() | {"model": "o3-pro"}),), (UNREADABLE,)),
    ),
    "path": (Case("path: /v1/chat/*", (Ask(), Ask(path=b"/v1/chat/completions?a=b")), (EMBEDDING,), always_known=HEAD),),
    "header": (
        Case("header: {x-team: pay*}", (header("X-Team", "payments"),), (header("x-team", "legal"), Ask()), always_known=HEAD),
        Case("header: {x-team: {equals: [a, b]}}", (header("x-team", "b"),), (header("x-team", "ab"),), always_known=HEAD),
        Case("header: {x-debug: {present: true}}", (header("x-debug", ""),), (Ask(),), always_known=HEAD),
        Case("header: {x-debug: {present: false}}", (Ask(),), (header("x-debug", "1"),), always_known=HEAD),
    ),
    "stream": (
        Case("stream: true", (Ask(chat(stream=True)),), (Ask(), Ask(chat(stream=False))), (UNREADABLE,)),
        Case("stream: false", (Ask(),), (Ask(chat(stream=True)),), (UNREADABLE,)),
    ),
    "has": (
        Case("has: tools", (Ask(chat(tools=[{"type": "function", "function": {"name": "f"}}])),), (Ask(),), (UNREADABLE,)),
        Case("has: [seed, stop]", (Ask(chat(stop="x")), Ask(chat(seed=1))), (Ask(chat(n=2)),), (UNREADABLE,)),
    ),
    "messages": (
        Case("messages: {below: 3}", (Ask(),), (said("a", "b", "c"),), (UNREADABLE,)),
        Case("messages: {at_least: 2}", (said("a", "b"),), (Ask(),), (UNREADABLE,)),
    ),
    "prompt_tokens": (
        Case("prompt_tokens: {below: 50}", (Ask(),), (said(LONG),), (UNREADABLE,)),
        Case("prompt_tokens: {at_least: 100}", (said(LONG),), (Ask(),), (UNREADABLE,)),
    ),
    "questions": (
        Case("questions: {below: 2}", (said("What is it?"),), (said("What is it? Why is it so? Who says so?"),), (UNREADABLE,)),
        Case("questions: {at_least: 3}", (said("What is it? Why is it so? Who says so?"),), (said("What is it?"),), (UNREADABLE,)),
    ),
    "complexity": (
        Case("complexity: {below: 0.4}", (said("What is the capital of France?"),), (said(HARD),), (UNREADABLE,)),
        Case("complexity: {at_least: 0.4}", (said(HARD),), (said("What is the capital of France?"),), (UNREADABLE,)),
    ),
    "language": (
        Case("language: de", (said(GERMAN),), (said(LONG),), (said("Hi"), UNREADABLE)),
        Case("language: [en, fr]", (said(LONG),), (said(GERMAN),), (said("ok?"), UNREADABLE)),
    ),
    "keywords": (
        Case("keywords: {any_of: contract}", (said("my CONTRACT!"), said("(contract)")), (said("contracts"),), (UNREADABLE,)),
        Case("keywords: {any_of: [root cause]}", (said("The Root  cause?"),), (said("root of the cause"),), (UNREADABLE,)),
        Case("keywords: {all_of: [a, b]}", (said("b and a"),), (said("a and c"),), (UNREADABLE,)),
        Case("keywords: {none_of: secret}", (said("hello"),), (said("a secret"),), (UNREADABLE,)),
        Case("keywords: {any_of: x, in: system}", (said("x", role="system"),), (said("x"),), (UNREADABLE,)),
        Case("keywords: {any_of: 合同}", (said("请看这份合同。"),), (said("你好"),), (UNREADABLE,)),
    ),
    "regex": (
        Case(r"regex: '(?i)\bpassword\s*[:=]'", (said("My PASSWORD: x"),), (said("my passwords"),), (UNREADABLE,)),
        Case(r"regex: {any_of: ['sk-\w+', 'AKIA\d'], in: all}", (said("sk-1", "ok"),), (said("sk", "AKIA"),), (UNREADABLE,)),
    ),
    "sample": (
        Case("sample: 100%", (Ask(), said("anything")), (), (UNREADABLE,)),
        Case("sample: {share: 0%, by: header x-user, of: trial}", (), (header("x-user", "u1"),), (Ask(),)),
        Case("sample: {share: 50%, after: 50%, by: credential, of: t}", (KEY_IN,), (KEY_OUT,), (Ask(),)),
    ),
    "schedule": (
        Case("schedule: {days: mon-fri, hours: '08:00-18:00', zone: Europe/Zurich}", (Ask(), UNREADABLE), (), always_known=CLOCK),
        Case("schedule: [{days: [sat, sun]}, {hours: '22:00-06:00'}]", (), (Ask(), UNREADABLE), always_known=CLOCK),
    ),
    "signals": (
        Case("signals: legal", (said("a contract"),), (Ask(),), (UNREADABLE,)),
        Case("signals: [legal, german]", (said("a contract"), header("accept-language", "de-CH")), (Ask(),), (UNREADABLE,)),
    ),
    "all": (Case("all: [{endpoint: chat}, {model: gpt-4o}]", (Ask(),), (EMBEDDING, Ask(chat() | {"model": "o3"})), (UNREADABLE,)),),
    "any": (Case("any: [{endpoint: embeddings}, {model: gpt-4o}]", (Ask(), EMBEDDING), (Ask(chat() | {"model": "o3"}),), (UNREADABLE,)),),
    "not": (
        Case("not: {model: gpt-4o}", (Ask(chat() | {"model": "o3"}),), (Ask(),), (UNREADABLE,)),
        Case("not: {any: [{endpoint: chat}, {not: {endpoint: embeddings}}]}", (EMBEDDING,), (Ask(), LISTED), always_known=HEAD),
    ),
}  # fmt: skip


def with_verdicts() -> list[Any]:
    found = []
    for name, cases in CASES.items():
        for i, case in enumerate(cases):
            for verdict, asks in ((True, case.yes), (False, case.no), (None, case.unknown)):
                for j, ask in enumerate(asks):
                    found.append(pytest.param(case.match, ask, verdict, id=f"{name}-{i}-{verdict}-{j}"))
    return found


def built(policy: str, mode: str) -> Bench:
    text = f"version: 1\n{UPSTREAMS}\n{SIGNALS}\npolicies:\n  - name: p\n    mode: {mode}\n{policy}\n"
    return bench(load_text(text, "p.yaml", {}).rules, wall_ns=TUESDAY_NOON_NS)


@pytest.mark.parametrize(("match", "ask", "verdict"), with_verdicts())
async def test_a_condition_decides(match: str, ask: Ask, verdict: bool | None) -> None:
    proxy = built(f"    match: {{{match}}}\n    apply: {{refuse: {{}}}}", "enforce")
    call = ask.call()
    reply = await proxy.ask(call)
    unknown = notes(call, "unknown")
    await reply.body.read_all()

    assert (reply.status == 403) is (verdict is True)
    assert proxy.inner.bodies == ([] if verdict else [ask.sent])
    assert bool(unknown) is (verdict is None)
    assert proxy.faults == []


@pytest.mark.parametrize(("match", "ask", "verdict"), with_verdicts())
async def test_a_condition_decides_in_shadow_and_nothing_changes(match: str, ask: Ask, verdict: bool | None) -> None:
    proxy = built(f"    match: {{{match}}}\n    apply: {{refuse: {{}}}}", "shadow")
    call = ask.call()
    reply = await proxy.ask(call)
    await reply.body.read_all()
    seen = notes(call, "refuse")

    assert reply.status == 200
    assert reply.headers == []
    assert proxy.inner.bodies == [ask.sent]
    assert [entry.policy for entry in seen] == (["p"] if verdict else [])
    assert all(entry.shadow and not entry.acted for entry in seen)
    assert proxy.faults == []


def test_every_condition_has_cases_for_each_verdict() -> None:
    fields = {info.alias or name for name, info in MatchSpec.model_fields.items()}

    assert CASES.keys() == fields
    for name, cases in CASES.items():
        assert any(case.yes for case in cases), f"{name}: nothing matches"
        assert any(case.no for case in cases), f"{name}: everything matches"
        assert all(case.unknown or case.always_known for case in cases), f"{name}: what cannot be read is not asked"


def inner_specs(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from inner_specs(each)


def test_every_key_inside_a_condition_has_a_case() -> None:
    for name, info in MatchSpec.model_fields.items():
        for spec in inner_specs(info.annotation):
            if spec is not MatchSpec:
                texts = " ".join(case.match for case in CASES[info.alias or name])
                keys = {field.alias or key for key, field in spec.model_fields.items()}
                short = getattr(spec, "shorthand", None)

                assert {key for key in keys if f"{key}:" not in texts and key != short} == set(), name


# Kinds


@dataclass(frozen=True)
class Act:
    """What a kind is given, and how it shows that it acted on a chat."""

    apply: str
    acted: Callable[[Reply, Bench], bool]
    trouble: Callable[[int], Awaitable[None]] | None = None
    """What goes wrong with the upstream, so that it acts."""
    before: int = 0
    """Calls that have begun before, and that nobody has read to their end."""


async def first_fails(exchange: int) -> None:
    if exchange == 1:
        raise Failure(Fault.CONNECT, "openai", "refused")


async def fails(exchange: int) -> None:
    raise Failure(Fault.CONNECT, "openai", "refused")


async def stalls(exchange: int) -> None:
    await asyncio.Event().wait()


async def first_stalls(exchange: int) -> None:
    if exchange == 1:
        await stalls(exchange)


NOTED_AS = {"timeouts": "timeout", "concurrency": "shed", "circuit_breaker": "breaker"}
OBSERVED = frozenset(name for name, kind in KINDS.items() if kind.shadow is not None)

ACTS: dict[str, tuple[Act, ...]] = {
    "degrade": (
        Act("Sorry.", lambda reply, proxy: reply.status == 200 and reply.origin == "static", fails),
        Act("{reply: Sorry., status: 503, when: connect, retry_after: 1m}", lambda reply, proxy: reply.status == 503, fails),
    ),
    "timeouts": (
        Act(
            "{connect: 2s, first_token: 1s, stream_idle: 1s, min_rate: {events: 1}, per_try: 1ms, total: 1m}",
            lambda reply, proxy: reply.status == 504 and proxy.inner.call.connect_s == 2.0,
            stalls,
        ),
        Act("{total: 1ms}", lambda reply, proxy: reply.status == 504, stalls),
    ),
    "concurrency": (
        Act("{limit: 1, queue: 0}", lambda reply, proxy: reply.status == 429 and len(proxy.inner.calls) == 1, before=1),
        Act("{adaptive: {min: 1, max: 1}, wait: 1ms, per: policy}", lambda reply, proxy: reply.status == 429, before=1),
    ),
    "circuit_breaker": (
        Act(
            "{consecutive: 2, open_for: 1m, max_open_for: 1h, probes: 2, alone: 10ms, per: upstream, when: connect}",
            lambda reply, proxy: reply.status == 502 and len(proxy.inner.calls) == 4,
            fails,
            before=3,
        ),
        Act(
            "{rate: {failures: 50%, of_at_least: 2, window: 1m}, alone: 10ms}",
            lambda reply, proxy: reply.status == 502 and len(proxy.inner.calls) == 4,
            fails,
            before=3,
        ),
    ),
    "hedge": (
        Act(
            "{after: 1ms, max_share: 10%, to: {upstream: groq}}",
            lambda reply, proxy: reply.status == 200 and proxy.inner.calls[1].target.upstream == "groq",
            first_stalls,
        ),
        Act("{after: 1ms}", lambda reply, proxy: reply.status == 200 and len(proxy.inner.calls) == 2, first_stalls),
    ),
    "race": (
        Act(
            "{targets: [gpt-4o, {upstream: groq}], share: 100%}",
            lambda reply, proxy: reply.status == 200 and proxy.inner.calls[1].target.upstream == "groq",
            first_stalls,
        ),
    ),
    "fallback": (
        Act("{chain: small, when: connect}", lambda reply, proxy: proxy.inner.calls[1].target.model == "small", first_fails),
        Act("[{upstream: groq}]", lambda reply, proxy: proxy.inner.calls[1].target.upstream == "groq", first_fails),
    ),
    "retry": (
        Act(
            "{max_attempts: 2, when: connect, backoff: {initial: 1ms}, retry_budget: {share: 10%}}",
            lambda reply, proxy: reply.status == 200 and len(proxy.inner.calls) == 2,
            first_fails,
        ),
    ),
    "refuse": (
        Act("{status: 451, code: not_here}", lambda reply, proxy: reply.status == 451 and not proxy.inner.calls),
        Act("{}", lambda reply, proxy: reply.status == 403 and not proxy.inner.calls),
    ),
    "rewrite": (
        Act("{model: small}", lambda reply, proxy: proxy.inner.call.target.model == "small"),
        Act("{upstream: groq}", lambda reply, proxy: proxy.inner.call.target.upstream == "groq"),
    ),
    "params": (
        Act("{overrides: {temperature: 0}}", lambda reply, proxy: proxy.inner.json["temperature"] == 0),
        Act("{defaults: {seed: 7}}", lambda reply, proxy: proxy.inner.json["seed"] == 7),
        Act("{remove: [top_p]}", lambda reply, proxy: "top_p" not in proxy.inner.json),
        Act("{max: {max_tokens: 10}}", lambda reply, proxy: proxy.inner.json["max_tokens"] == 10),
    ),
    "instruct": (
        Act("{append: Be brief.}", lambda reply, proxy: "Be brief." in proxy.inner.body.decode()),
        Act("{prepend: Be kind.}", lambda reply, proxy: "Be kind." in proxy.inner.body.decode()),
    ),
}
ASKED = Ask(chat(temperature=1, top_p=0.5, max_tokens=100))


def acts(*, observed: bool = False) -> list[Any]:
    names = OBSERVED if observed else ACTS.keys()
    return [pytest.param(kind, act, id=f"{kind}-{i}") for kind, each in ACTS.items() if kind in names for i, act in enumerate(each)]


@pytest.mark.parametrize(("kind", "act"), acts())
async def test_a_kind_acts_where_its_policy_matches_and_says_so(kind: str, act: Act) -> None:
    proxy = built(f"    match: {{endpoint: chat}}\n    apply: {{{kind}: {act.apply}}}", "enforce")
    proxy.inner.trouble = act.trouble
    for _ in range(act.before):
        await proxy.ask(ASKED.call())
    call = ASKED.call()
    reply = await proxy.ask(call)
    await reply.body.read_all()

    assert act.acted(reply, proxy)
    assert [entry.policy for entry in notes(call, NOTED_AS.get(kind, kind)) if entry.acted] == ["p"]
    assert (b"x-chassis-policies", b"p") in reply.headers


@pytest.mark.parametrize(("kind", "act"), acts())
async def test_a_kind_leaves_alone_what_its_policy_does_not_match(kind: str, act: Act) -> None:
    proxy = built(f"    match: {{endpoint: embeddings}}\n    apply: {{{kind}: {act.apply}}}", "enforce")
    call = ASKED.call()
    reply = await proxy.ask(call)
    await reply.body.read_all()

    assert proxy.inner.bodies == [ASKED.sent]
    assert reply.headers == []
    assert notes(call, NOTED_AS.get(kind, kind)) == []


@pytest.mark.parametrize(("kind", "act"), acts(observed=True))
async def test_a_kind_in_shadow_reports_and_changes_nothing(kind: str, act: Act) -> None:
    proxy = built(f"    match: {{endpoint: chat}}\n    apply: {{{kind}: {act.apply}}}", "shadow")
    call = ASKED.call()
    reply = await proxy.ask(call)
    await reply.body.read_all()

    assert proxy.inner.bodies == [ASKED.sent]
    assert proxy.inner.call.target.upstream == "openai"
    assert proxy.inner.call.target.model is None
    assert reply.headers == []
    assert [(entry.policy, entry.shadow, entry.acted) for entry in notes(call, kind)] == [("p", True, False)]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - OBSERVED))
def test_a_kind_that_cannot_be_observed_is_refused_in_shadow(kind: str) -> None:
    with pytest.raises(PolicyError, match="shadow"):
        built(f"    match: {{endpoint: chat}}\n    apply: {{{kind}: {ACTS[kind][0].apply}}}", "shadow")


@pytest.mark.parametrize(("kind", "act"), acts())
async def test_a_policy_that_is_off_is_not_there(kind: str, act: Act) -> None:
    proxy = built(f"    match: {{endpoint: chat}}\n    apply: {{{kind}: {act.apply}}}", "off")
    call = ASKED.call()
    reply = await proxy.ask(call)
    await reply.body.read_all()

    assert proxy.inner.bodies == [ASKED.sent]
    assert call.journal.entries == []


def test_every_kind_and_each_of_its_keys_has_a_case() -> None:
    assert ACTS.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        texts = " ".join(act.apply for act in ACTS[name])
        tried = {key for key in kind.spec.model_fields if f"{key}:" in texts}

        assert tried | {"message"} >= set(kind.spec.model_fields), name
