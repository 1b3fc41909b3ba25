from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.assembly.changes import Change
from proxy.assembly.explain import Explanation, Holder, explain
from proxy.assembly.explain_json import as_json
from proxy.assembly.explain_text import as_text
from proxy.assembly.load import load_text
from proxy.assembly.recorded import Asked
from proxy.core.body import Headers
from proxy.openai.payload import MISSING
from proxy.policy.conditions import Explained
from tests.assembly.engines import JSON, UPSTREAMS, chat

POLICIES = f"""
version: 1
{UPSTREAMS}
policies:
- {{name: a, match: {{endpoint: chat, model: gpt-4o, keywords: {{any_of: [contract]}}, stream: true}}, apply: {{refuse: {{}}}}}}
- {{name: b, match: {{model: "gpt-4*"}}, apply: {{rewrite: {{model: mini}}, params: {{overrides: {{seed: 7}}}}}}}}
- {{name: c, match: {{model: gpt-4o}}, apply: {{rewrite: {{model: other, upstream: groq}}}}}}
- {{name: d, mode: shadow, match: {{endpoint: chat}}, apply: {{refuse: {{}}}}}}
- {{name: e, mode: off, apply: {{refuse: {{}}}}}}
"""


async def explained(
    body: Any = b"",
    policies: str = POLICIES,
    method: bytes = b"POST",
    target: bytes = b"/v1/chat/completions",
    headers: Headers | None = None,
) -> Explanation:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await explain(load_text(policies, "p.yaml", {}), Asked(method, target, JSON if headers is None else headers, data))


def flat(one: Explained) -> dict[str, bool | None]:
    return {each.name: each.verdict for each in one.children}


async def test_every_condition_is_shown_though_the_first_decides() -> None:
    found = await explained(chat())

    assert flat(found.rules[0].condition) == {"endpoint": True, "model": True, "stream": False, "keywords": False}
    assert [(rule.name, rule.verdict, rule.mode) for rule in found.rules] == [
        ("a", False, "enforce"),
        ("b", True, "enforce"),
        ("c", True, "enforce"),
        ("d", True, "shadow"),
    ]
    assert found.rules[1].where.startswith("p.yaml:6:")


async def test_what_would_be_sent_is_shown_with_who_won() -> None:
    found = await explained(chat())

    assert [(each.kind, each.policy, each.floor, each.fields) for each in found.stack] == [
        ("rewrite", "b", "call", ("model",)),
        ("rewrite", "c", "call", ("upstream",)),
        ("params", "b", "call", ("seed",)),
    ]
    assert [(lost.policy, lost.fields, lost.by) for lost in found.shadowed] == [("c", ("model",), "b")]
    assert found.sent is not None
    assert (found.sent.upstream, found.sent.url, found.sent.model) == ("groq", "https://b/v1/chat/completions", "mini")
    assert found.sent.body is not None
    assert found.sent.body.fields == (Change("seed", MISSING, 7), Change("model", "gpt-4o", "mini"))
    assert (found.held.request, found.status) == (True, 200)
    assert [(entry.kind, entry.shadow) for entry in found.journal if entry.policy == "d"] == [("refuse", True)]


async def test_a_refused_call_is_sent_nowhere() -> None:
    found = await explained(chat("a contract", stream=True))

    assert (found.sent, found.status) == (None, 403)
    assert json.loads(found.reply)["error"]["code"] == "policy_refused"
    assert (b"x-chassis-policies", b"a") in found.headers


async def test_a_compressed_body_is_read() -> None:
    found = await explained(gzip.compress(json.dumps(chat()).encode()), headers=[*JSON, (b"Content-Encoding", b"gzip")])

    assert found.sent is not None
    assert (found.model, found.sent.model) == ("gpt-4o", "mini")


async def test_an_unreadable_body_shows_what_is_unknown() -> None:
    found = await explained(b"{")

    assert found.model is None
    assert [rule.verdict for rule in found.rules] == [None, None, None, True]
    assert found.sent is not None
    assert found.sent.body is not None
    assert (found.sent.body.fields, found.sent.body.leaves) == ((), 1)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_call_without_a_body_is_explained(method: bytes) -> None:
    found = await explained(method=method, target=b"/v1/models")

    assert found.sent is not None
    assert (found.endpoint, found.sent.upstream, found.held.request) == ("models", "openai", False)
    assert found.sent.url == "https://a/v1/models"


async def test_what_would_not_be_held_is_not_read_here_either() -> None:
    found = await explained(b"--x\r\n{}", headers=[(b"content-type", b"Multipart/Form-Data; boundary=x")])

    assert [rule.verdict for rule in found.rules[:3]] == [None, None, None]
    assert not found.held.request


async def test_homes_own_names_of_models_are_shown_without_any_policy() -> None:
    found = await explained(chat(), "{version: 1, upstreams: {a: {url: 'https://a/v1', models: {gpt-4o: theirs}}}}")

    assert found.sent is not None
    assert found.sent.body is not None
    assert (found.sent.model, found.sent.body.fields) == ("theirs", (Change("model", "gpt-4o", "theirs"),))
    assert found.held.request_by == (Holder(None, "the model names of upstream a"),)


async def test_an_upgraded_connection_is_shown_to_stay() -> None:
    policies = f"{{version: 1, {UPSTREAMS}, policies: [{{name: p, apply: {{rewrite: {{upstream: groq}}}}}}]}}"
    found = await explained(policies=policies, method=b"GET", target=b"/v1/realtime", headers=[(b"Upgrade", b"websocket")])

    assert found.sent is not None
    assert found.sent.upstream == "openai"


async def test_no_upstream_is_needed() -> None:
    found = await explained(chat(), "{version: 1, policies: [{name: p, apply: {rewrite: {model: mini}}}]}")

    assert found.sent is not None
    assert (found.sent.upstream, found.sent.model, found.sent.declared) == ("default", "mini", False)


async def test_a_prompt_that_takes_long_to_count_is_counted() -> None:
    policies = "{version: 1, policies: [{name: p, match: {prompt_tokens: {at_least: 40000}}, apply: {refuse: {}}}]}"
    found = await asyncio.wait_for(explained(chat("counting words takes a while, " * 8000), policies), 20)

    assert found.rules[0].verdict is True


async def test_who_holds_the_body_is_named_with_the_reason() -> None:
    found = await explained(chat())

    assert found.held.request_by == (
        Holder("a", "its match: model, stream, keywords"),
        Holder("b", "its match: model"),
        Holder("b", "rewrite"),
        Holder("b", "params"),
        Holder("c", "its match: model"),
        Holder("c", "rewrite"),
    )
    assert found.held.reply_by == ()


async def test_a_layer_that_keeps_a_reply_back_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = load_text(POLICIES, "p.yaml", {})
    part = policies.rules[1].parts[0]
    keeps = replace(part, kind=replace(part.kind, holds_reply=lambda spec: "until its first content"))
    rules = tuple(replace(rule, parts=(keeps, *rule.parts[1:])) if rule.name == "b" else rule for rule in policies.rules)
    found = await explain(replace(policies, rules=rules), Asked(headers=JSON, body=json.dumps(chat()).encode()))

    assert found.held.reply_by == (Holder("b", f"{part.kind.name}, until its first content"),)


async def test_a_policy_that_is_off_is_named() -> None:
    found = await explained(chat())

    assert [name for name, _ in found.off] == ["e"]
    assert found.off[0][1].startswith("p.yaml:9:")


async def test_credentials_are_nowhere_in_an_explanation() -> None:
    policies = (
        "version: 1\nupstreams:\n  home: {url: 'https://a/v1'}\n"
        "  other: {url: 'https://b/v1', key: '${K}', auth: {header: x-plain}, headers: {set: {x-tenant: '${K}', x-app: us}},"
        " query: {v: '${K}', api-version: '1'}}\n"
        "policies: [{name: p, match: {header: {x-move: '*'}}, apply: {rewrite: {upstream: other}}}]\n"
    )
    loaded = load_text(policies, "p.yaml", {"K": "sk-canary"})
    sent = [*JSON, (b"Authorization", b"Bearer sk-canary"), (b"Cookie", b"sk-canary")]
    data = json.dumps(chat(user="sk-canary")).encode()
    home = await explain(loaded, Asked(b"POST", b"/v1/chat/completions?api-key=sk-canary&v=1", sent, data))
    other = await explain(loaded, Asked(headers=[*sent, (b"x-move", b"1")], body=data))

    assert "sk-canary" not in repr(home) + repr(other)
    assert home.sent is not None
    assert other.sent is not None
    assert home.sent.url == "https://a/v1/chat/completions?api-key=***&v=1"
    assert {(line.mark, line.name, line.value) for line in home.sent.headers} >= {(" ", "Authorization", "Bearer ***"), ("+", "Host", "a")}
    assert other.sent.url == "https://b/v1/chat/completions?v=***&api-version=1"
    assert {(line.mark, line.name, line.value) for line in other.sent.headers} >= {
        ("-", "Authorization", "Bearer ***"),
        ("-", "Cookie", "***"),
        ("-", "x-move", "1"),
        ("+", "x-plain", "***"),
        ("+", "x-tenant", "***"),
        ("+", "x-app", "us"),
        (" ", "Content-Type", "application/json"),
    }


async def test_no_word_of_the_prompt_is_in_an_explanation() -> None:
    policies = (
        "version: 1\npolicies:\n- {name: p, match: {keywords: {any_of: [zebra]}}, apply: {rewrite: {model: m}, "
        "params: {overrides: {metadata: {a: b}, stop: [END]}, remove: [user], max: {n: 1}}, instruct: {append: Be brief.}}}\n"
    )
    found = await explained(chat("zebra crossing canary", user="canary", metadata={"k": "canary"}, stop=["canary"], n=3), policies)
    everything = repr(found) + "\n".join(as_text(found)) + json.dumps(as_json(found), default=str)

    assert "canary" not in everything
    assert "crossing" not in everything
    assert found.sent is not None
    assert found.sent.body is not None
    changes = {change.path: (change.old, change.new) for change in found.sent.body.fields}
    assert changes["n"] == (3, 1)
    assert changes["user"] == ("(6 characters)", MISSING)
    assert changes["stop"] == (["(6 characters)"], ["END"])
    assert changes["metadata"] == ({"k": "(6 characters)"}, {"a": "b"})
    assert ("Be brief.") in [change.new for change in found.sent.body.fields]
