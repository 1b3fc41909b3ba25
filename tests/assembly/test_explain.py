from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from proxy.assembly.explain import Explanation, explain
from proxy.assembly.load import load_text
from proxy.core.body import Headers
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
    return await explain(load_text(policies, "p.yaml", {}), method, target, JSON if headers is None else headers, data)


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

    assert found.stack == [("rewrite", "b"), ("rewrite", "c"), ("params", "b")]
    assert [(lost.policy, lost.fields, lost.by) for lost in found.shadowed] == [("c", ("model",), "b")]
    assert (found.upstream, found.target, found.asks) == ("groq", "https://b/v1/chat/completions", "mini")
    assert ("model", "gpt-4o", "mini") in found.edits
    assert (found.holds_body, found.status) == (True, 200)
    assert [(entry.kind, entry.shadow) for entry in found.journal if entry.policy == "d"] == [("refuse", True)]


async def test_a_refused_call_is_sent_nowhere() -> None:
    found = await explained(chat("a contract", stream=True))

    assert (found.upstream, found.target, found.status) == (None, None, 403)
    assert json.loads(found.reply)["error"]["code"] == "policy_refused"
    assert (b"x-chassis-policies", b"a") in found.headers


async def test_a_compressed_body_is_read() -> None:
    found = await explained(gzip.compress(json.dumps(chat()).encode()), headers=[*JSON, (b"Content-Encoding", b"gzip")])

    assert (found.model, found.asks) == ("gpt-4o", "mini")


async def test_an_unreadable_body_shows_what_is_unknown() -> None:
    found = await explained(b"{")

    assert found.model is None
    assert [rule.verdict for rule in found.rules] == [None, None, None, True]
    assert found.edits == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_call_without_a_body_is_explained(method: bytes) -> None:
    found = await explained(method=method, target=b"/v1/models")

    assert (found.endpoint, found.upstream, found.holds_body) == ("models", "openai", False)
    assert found.target == "https://a/v1/models"


async def test_what_would_not_be_held_is_not_read_here_either() -> None:
    found = await explained(b"--x\r\n{}", headers=[(b"content-type", b"Multipart/Form-Data; boundary=x")])

    assert [rule.verdict for rule in found.rules[:3]] == [None, None, None]
    assert not found.holds_body


async def test_homes_own_names_of_models_are_shown_without_any_policy() -> None:
    found = await explained(chat(), "{version: 1, upstreams: {a: {url: 'https://a/v1', models: {gpt-4o: theirs}}}}")

    assert (found.asks, found.edits) == ("theirs", [("model", "gpt-4o", "theirs")])


async def test_an_upgraded_connection_is_shown_to_stay() -> None:
    policies = f"{{version: 1, {UPSTREAMS}, policies: [{{name: p, apply: {{rewrite: {{upstream: groq}}}}}}]}}"
    found = await explained(policies=policies, method=b"GET", target=b"/v1/realtime", headers=[(b"Upgrade", b"websocket")])

    assert found.upstream == "openai"


async def test_no_upstream_is_needed() -> None:
    found = await explained(chat(), "{version: 1, policies: [{name: p, apply: {rewrite: {model: mini}}}]}")

    assert (found.upstream, found.asks) == ("default", "mini")


async def test_a_prompt_that_takes_long_to_count_is_counted() -> None:
    policies = "{version: 1, policies: [{name: p, match: {prompt_tokens: {at_least: 40000}}, apply: {refuse: {}}}]}"
    found = await asyncio.wait_for(explained(chat("counting words takes a while, " * 8000), policies), 20)

    assert found.rules[0].verdict is True
