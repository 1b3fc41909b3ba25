"""Many policies at once against each alone: what the engine skips, behind gates and for other models, is never one that holds."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.assembly.generation import tokens_for
from proxy.assembly.load import load_text
from proxy.assembly.rules import Rule
from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.openai.tokens import Tokens
from proxy.policy.facts import Facts, TakesLong
from tests.assembly.engines import JSON, UPSTREAMS, Bench, bench, call_of
from tests.assembly.test_language import CASES, SIGNALS, TUESDAY_NOON_NS, Ask

LANGUAGE = sorted({case.match for cases in CASES.values() for case in cases})
ASKS = [ask for cases in CASES.values() for case in cases for ask in (*case.yes, *case.no, *case.unknown)]
WORDS = (
    "İstanbul",
    "STRASSE",
    "zero\u200bwidth",
    "O’Neil",
    "ice-cream",
    "root cause",
    "税金",
    "가",
    "éa",
    "a",
    "-",
    "ﬁx",
    "Ａb",
    "\u200bb",
)
MATCHES = (
    *LANGUAGE,
    *(f"keywords: {{any_of: ['{word}', nothing]}}" for word in WORDS),
    *(f"keywords: {{all_of: ['{word}', a], in: all}}" for word in WORDS),
    *(f"keywords: {{any_of: '{word}', in: [system, assistant]}}" for word in WORDS[:6]),
    *("keywords: {any_of: [" + ", ".join(f"word{i}x" for i in range(at, at + 900)) + ", İzmir]}" for at in (0, 450)),
    "model: ['gpt-4o', 'é*', '*']",
    "model: '?????*'",
    "header: {x-team: ['a', 'b']}",
    "header: {x-team: 'a'}",
    "header: {x-team: 'Ä'}",
    "prompt_tokens: {below: 9}",
    "prompt_tokens: {at_least: 3, below: 12}",
    "prompt_tokens: {at_least: 10000}",
    "has: [images, system]",
)
FILLER = "nothing to see here, "
MODELS = ("gpt-4o", "o3", "é", "", "m" * 300, 'a"b\\c', "gpt-4o\n", "ünï", 7, None, ["gpt-4o"], {"a": 1}, "\ud800")
PARTS = (
    *WORDS, *(word.upper() for word in WORDS), "ıstanbul", "i\u0307stanbul", "straße", "zerowidth", "ice\u2010cream", "root\u00a0\n cause",
    "ROOT. cause", "所得税金", "\u1100\u1161", "e\u0301a", "contracts", "contract", "word7x", "word901x", "izmir",
    FILLER * 900, "x" * 20_000, "\ud83d", "secret?",
)  # fmt: skip
texts = st.lists(st.sampled_from(PARTS), max_size=5).map(" ".join)
contents = st.one_of(
    texts,
    st.lists(texts.map(lambda text: {"type": "text", "text": text}), max_size=2),
    st.sampled_from((None, 5, [{"type": "image_url", "image_url": {"url": "data:a"}}], {"odd": 1})),
)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(("user", "user", "system", "developer", "assistant", "tool", "odd", None, ["user"])), "content": contents}
)
bodies = st.fixed_dictionaries(
    {"model": st.sampled_from(MODELS), "messages": st.one_of(st.lists(turns, max_size=4), st.just("odd"))},
    optional={"stream": st.sampled_from((True, False, None, 1)), "tools": st.just([{}]), "seed": st.just(1)},
)
teams = st.lists(st.sampled_from(("a", "b", "ab", "Ä", "")), max_size=2)


@st.composite
def asked(draw: st.DrawFn) -> tuple[bytes, Headers, bytes, bytes]:
    """A body, its headers, the path and the method."""
    headers = [*JSON, *((b"X-Team", team.encode("latin-1" if draw(st.booleans()) else "utf-8")) for team in draw(teams))]
    if draw(st.integers(0, 3)) == 0:
        ask: Ask = draw(st.sampled_from(ASKS))
        return ask.sent if ask.body else b"", [*headers, *ask.headers], ask.path, ask.method
    value = draw(bodies)
    data = json.dumps(value, separators=(",", ":") if draw(st.booleans()) else None).encode()
    odd = draw(st.integers(0, 9))
    if odd == 0:
        data = data[:-1] + b',"model":"o3"}'
    elif odd == 1:
        data = data[:-3]
    elif odd == 2:
        data = data.replace(b"nothing to see", b"nothing to see here. nothing to see here. nothing to see here. nothing")
    elif odd == 3:
        data, headers = gzip.compress(data), [*headers, (b"Content-Encoding", b"gzip")]
    return data, headers, b"/v1/chat/completions", b"POST"


@cache
def every() -> tuple[tuple[Rule, ...], Tokens | None]:
    """Policies of each condition and of some together, each twice: as it is, and in shadow."""
    some = random.Random(7)
    matches = [f"{{{match}}}" for match in MATCHES]
    matches += [f"{{all: [{', '.join(some.sample(matches, some.randint(2, 3)))}]}}" for _ in range(60)]
    listed = [
        f"  - {{name: {mode}-{at}, mode: {mode}, match: {match}, apply: {{{apply}}}}}"
        for mode, apply in (("enforce", "timeouts: {total: 1h}"), ("shadow", "refuse: {}"))
        for at, match in enumerate(matches)
    ]
    rules = load_text(f"version: 1\n{UPSTREAMS}\n{SIGNALS}\npolicies:\n" + "\n".join(listed), "p.yaml", {}).rules
    return rules, tokens_for(rules)


async def verdict(rule: Rule, facts: Facts) -> tuple[bool, bool]:
    """Whether the policy's whole condition holds, and whether that took long."""
    took_long = False
    while True:
        try:
            return rule.condition.test(facts) is True, took_long
        except TakesLong as long:
            took_long = True
            await facts.settle(long.limit)


async def at_once(data: bytes, headers: Headers, path: bytes, method: bytes, streaming: bool) -> tuple[Bench, Call]:
    """An engine of all policies, and a call that it has served."""
    proxy = bench(every()[0], wall_ns=TUESDAY_NOON_NS)
    call = call_of(data, method=method, path=path, headers=headers, streaming=streaming)
    asking = asyncio.get_running_loop().create_task(proxy.ask(call))
    if streaming:
        for at in range(0, len(data), 100_000):
            await asyncio.sleep(0)
            call.request.body.feed(data[at : at + 100_000])
        call.request.body.end()
    await (await asking).body.read_all()
    return proxy, call


@settings(max_examples=25, deadline=None)
@given(asked(), st.booleans())
def test_every_policy_that_holds_alone_matches_among_many(ask: tuple[bytes, Headers, bytes, bytes], streaming: bool) -> None:
    data, headers, path, method = ask
    proxy, call = asyncio.run(at_once(data, headers, path, method, streaming and bool(data)))
    enforced = [name for name in call.journal.matched if name.startswith("enforce")]
    shadows = {name for name in call.journal.matched if name.startswith("shadow")}
    rules, tokens = every()
    payload = Payload(data, Endpoint(call.endpoint), dict(headers).get(b"Content-Encoding")) if data else None
    facts = Facts(call.endpoint, method, path, headers, payload, tokens, wall_ns=lambda: TUESDAY_NOON_NS)
    verdicts = {rule.name: asyncio.run(verdict(rule, facts)) for rule in rules}
    alone = [name for name, (held, _) in verdicts.items() if held]
    at_length = any(took_long for _, took_long in verdicts.values())

    assert enforced == [name for name in alone if name.startswith("enforce")]
    assert shadows <= set(alone)
    assert at_length or shadows == {name for name in alone if name.startswith("shadow")}
    assert proxy.inner.bodies == [data]
    assert proxy.faults == []
    assert proxy.engine._holds.held_bytes == 0


async def test_a_model_never_heard_of_builds_no_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = bench(every()[0], wall_ns=TUESDAY_NOON_NS)
    built: list[object] = []
    monkeypatch.setattr("proxy.assembly.engine.Gates", lambda conditions: built.append(conditions))
    for model in ("never-heard-of", "m" * 300, "gpt-4o"):
        await (await proxy.ask(call_of({"model": model, "messages": []}))).body.read_all()

    assert built == []
    assert proxy.faults == []
