"""An explanation for tools: plain values, and the same facts as the text has."""

from __future__ import annotations

import json

import orjson

from proxy.assembly.explain import Explanation, explain
from proxy.assembly.explain_json import as_json
from proxy.assembly.load import load_text
from proxy.assembly.recorded import Asked
from proxy.core.journal import Entry
from tests.assembly.engines import JSON, UPSTREAMS, chat

POLICIES = f"""
version: 1
{UPSTREAMS}
policies:
- {{name: a, labels: {{team: x}}, match: {{model: "gpt-*", not: {{stream: true}}}},
   apply: {{rewrite: {{model: mini}}, params: {{remove: [n]}}}}}}
- {{name: b, mode: off, apply: {{refuse: {{}}}}}}
"""


async def told(body: object, policies: str = POLICIES) -> dict[str, object]:
    found = await explain(load_text(policies, "p.yaml", {}), Asked(headers=JSON, body=json.dumps(body).encode()))
    value: dict[str, object] = orjson.loads(orjson.dumps(as_json(found), default=str))
    return value


async def test_each_policy_with_its_tree() -> None:
    said = await told(chat(n=1))

    assert said["policies"] == [
        {
            "name": "a",
            "where": "p.yaml:5:10",
            "mode": "enforce",
            "labels": {"team": "x"},
            "matches": True,
            "kinds": ["rewrite", "params"],
            "conditions": [
                {"name": "model", "expected": "gpt-*", "seen": "gpt-4o", "holds": True},
                {
                    "name": "not",
                    "expected": "does not hold",
                    "seen": "0 of 1",
                    "holds": True,
                    "conditions": [
                        {
                            "name": "match",
                            "expected": "each of them",
                            "seen": "0 of 1",
                            "holds": False,
                            "conditions": [{"name": "stream", "expected": "true", "seen": "false", "holds": False}],
                        }
                    ],
                },
            ],
        }
    ]
    assert said["off"] == [{"name": "b", "where": "p.yaml:7:10"}]


async def test_what_would_be_sent_with_what_was_and_will_be() -> None:
    said = await told(chat(n=1))
    exchange = said["exchange"]

    assert isinstance(exchange, dict)
    assert (exchange["upstream"], exchange["target"], exchange["model"]) == ("openai", "https://a/v1/chat/completions", "mini")
    assert {"path": "n", "old": 1} in exchange["edits"]
    assert {"path": "model", "old": "gpt-4o", "new": "mini"} in exchange["edits"]
    assert ["+", "Host", "a"] in exchange["headers"]
    assert exchange["body"]["came"] > exchange["body"]["leaves"] > 0
    assert len(exchange["body"]["spans"]) == 2
    assert said["holds_body"] is True
    assert said["held"] == {
        "request": [
            {"policy": "a", "for": "its match: model, stream"},
            {"policy": "a", "for": "rewrite"},
            {"policy": "a", "for": "params"},
        ],
        "reply": [],
    }


async def test_a_refusal_has_its_body_and_no_exchange() -> None:
    said = await told(chat(), "{version: 1, policies: [{name: p, apply: {refuse: {message: No.}}}]}")
    reply = said["reply"]

    assert said["exchange"] is None
    assert isinstance(reply, dict)
    assert json.loads(reply["body"])["error"]["message"] == "No."


async def test_what_cannot_be_told_is_null() -> None:
    found = await explain(load_text(POLICIES, "p.yaml", {}), Asked(headers=JSON, body=b"{"))
    said = as_json(found)

    assert said["policies"][0]["matches"] is None
    assert said["policies"][0]["conditions"][0]["holds"] is None


def test_a_decisions_own_fields_hide_none_of_ours() -> None:
    found = Explanation("chat", "POST", "/", None, journal=[Entry(0, "rewrite", "p", True, what={"kind": "x", "model": "m"})])

    assert as_json(found)["journal"] == [{"kind": "rewrite", "policy": "p", "acted": True, "shadow": False, "model": "m"}]
