from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.adapters.metrics import Metrics
from proxy.assembly.generation import Generation, Outside, build
from proxy.assembly.load import load_text
from proxy.assembly.reload import Reload
from proxy.core.clock import LoopClock
from proxy.policy.problems import PolicyError, Problem
from proxy.server.status import Status
from tests.assembly.engines import call_of, chat

CANARY = "sk-canary-4711"
POLICIES = f"""version: 1
upstreams:
  default: {{url: "https://a.example/v1"}}
  keyed: {{url: "https://b.example/v1", key: "${{STATUS_KEY}}", trace: true}}
  plain: {{url: "https://c.example/v1", key: {CANARY}-plain}}
  open: {{url: "https://d.example/v1", key: none}}
policies:
  - name: p
    labels: {{team: pay}}
    match: {{endpoint: chat}}
    apply: {{rewrite: {{model: m}}, params: {{max: {{max_tokens: 9}}}}}}
  - name: q
    mode: shadow
    apply: {{rewrite: {{model: n}}}}
  - name: r
    mode: "off"
    apply: {{rewrite: {{model: o}}}}
"""


@pytest.fixture
async def generation() -> Any:
    def report(layer: str, bug: Exception) -> None:
        raise bug

    policies = load_text(POLICIES, "p.yaml", {"STATUS_KEY": CANARY})
    generation = build(policies, Outside(LoopClock(asyncio.get_running_loop()), report))
    yield generation
    for upstream in generation.upstreams.values():
        upstream.close()


def status(generation: Generation | None, reload: Reload | None = None, state: str | None = None) -> Status:
    return Status(Metrics(), lambda: generation, lambda: reload, lambda: state, lambda: 1_700_000_000_123_000_000)


async def test_what_is_loaded_is_told(generation: Generation) -> None:
    told: Any = status(generation).policies()

    assert told["generation"] == 1
    assert told["revision"] == generation.policies.loaded.revision
    assert told["loaded_at"] == "2023-11-14T22:13:20.123+00:00"
    assert told["files"] == ["p.yaml"]
    assert told["policies"] == [
        {"name": "p", "mode": "enforce", "kinds": ["rewrite", "params"], "labels": {"team": "pay"}, "where": "p.yaml:8:11"},
        {"name": "q", "mode": "shadow", "kinds": ["rewrite"], "labels": {}, "where": "p.yaml:12:11"},
        {"name": "r", "mode": "off", "kinds": ["rewrite"], "labels": {}, "where": "p.yaml:15:11"},
    ]
    assert told["reload_failures"] == 0
    assert told["last_error"] is None
    assert told["warnings"][0].startswith("p.yaml:4:3: warning: upstreams.keyed: ")
    assert not any("is off" in each for each in told["warnings"])


async def test_a_key_is_told_by_its_reference_and_never_by_its_value(generation: Generation) -> None:
    told: Any = status(generation).policies()

    assert {each["name"]: (each["key"], each["home"], each["trace"]) for each in told["upstreams"]} == {
        "default": ("the caller's", True, False),
        "keyed": ("${STATUS_KEY}", False, True),
        "plain": ("written in the file", False, False),
        "open": ("none", False, False),
    }
    assert CANARY not in json.dumps(told)


async def test_a_refused_change_is_told_with_its_places(generation: Generation, tmp_path: Path) -> None:
    async def refuse() -> None:
        raise PolicyError([Problem("p.yaml", 3, 5, "policies[0]", "is wrong", "make it right")])

    reload = Reload(tmp_path, list, refuse)
    await reload.look(force=True)
    told: Any = status(generation, reload).policies()

    assert told["reload_failures"] == 1
    assert told["last_error"]["problems"] == [
        {
            "file": "p.yaml",
            "line": 3,
            "column": 5,
            "path": "policies[0]",
            "message": "is wrong",
            "hint": "make it right",
            "severity": "error",
        }
    ]


async def test_a_folder_that_cannot_be_read_is_told_too(generation: Generation, tmp_path: Path) -> None:
    async def refuse() -> None:
        raise PermissionError(13, "Permission denied", "tls.pem")

    reload = Reload(tmp_path, list, refuse)
    await reload.look(force=True)
    told: Any = status(generation, reload).policies()

    assert told["last_error"] == {"problems": [{"message": "[Errno 13] Permission denied: 'tls.pem'"}]}


def test_before_anything_is_loaded_there_is_an_answer() -> None:
    assert status(None).policies() == {"generation": 0}


def test_readiness_is_what_the_server_says() -> None:
    assert status(None).not_ready() is None
    assert status(None, state="draining").not_ready() == "draining"


def test_metrics_are_the_registrys() -> None:
    metrics = Metrics()
    metrics.loaded("abc")
    text = Status(metrics, lambda: None, lambda: None, lambda: None, lambda: 0).metrics().decode()

    assert "chassis_policies_generation 1.0" in text
    assert 'chassis_policies_info{revision="abc"} 1.0' in text


async def test_the_state_of_breakers_and_limits_is_told() -> None:
    def report(layer: str, bug: Exception) -> None:
        raise bug

    text = """version: 1
upstreams: {openai: {url: "http://127.0.0.1:9/v1"}}
policies: [{name: p, apply: {circuit_breaker: {consecutive: 1}, concurrency: 7}}]
"""
    generation = build(load_text(text, "p.yaml", {}), Outside(LoopClock(asyncio.get_running_loop()), report))
    try:
        reply = await generation.service(call_of(chat()))
        states: Any = status(generation).policies()["states"]
        reply.close()
    finally:
        for upstream in generation.upstreams.values():
            upstream.close()
    (breaker,) = [each for each in states if each["kind"] == "circuit_breaker"]
    (limit,) = [each for each in states if each["kind"] == "concurrency"]

    assert (breaker["policy"], breaker["upstream"], breaker["model"], breaker["state"]) == ("p", "openai", "gpt-4o", "open")
    assert limit == {"kind": "concurrency", "policy": "p", "upstream": "", "in_flight": 0, "queued": 0, "limit": 7}
