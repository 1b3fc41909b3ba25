"""Calls that were: explained with the policies of then, from what is kept of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.adapters.recent import Ended, Recent
from proxy.assembly import explain_calls
from proxy.assembly.explain import Explanation
from proxy.assembly.explain_calls import CallsExplained
from proxy.assembly.explain_json import as_json
from proxy.assembly.explain_text import as_text
from proxy.assembly.generation import Generation, Outside, build
from proxy.assembly.load import load_text
from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.kinds.telemetry import CallTelemetry
from proxy.openai.endpoints import endpoint_of
from tests.assembly.engines import JSON, UPSTREAMS, chat

RULES = """
- {name: legal, match: {keywords: {any_of: [contract]}}, apply: {refuse: {status: 451, message: Not here.}}}
- {name: small, match: {model: gpt-4o}, apply: {rewrite: {model: mini}, params: {max: {n: 1}}}}
- {name: keyed, match: {header: {authorization: "Bearer sk-app-*"}}, apply: {instruct: {append: Be brief.}}}
- {name: watched, mode: shadow, match: {keywords: {any_of: [hello]}}, apply: {refuse: {}}}
"""
CHAT = b"/v1/chat/completions"
CREDENTIAL = (b"Authorization", b"Bearer sk-app-canary")


class Running:
    """A proxy in memory, its upstreams answered with a 200, its last calls kept."""

    def __init__(self, rules: str = RULES, calls: int = 200) -> None:
        self.recent = Recent(calls)
        self.calls = CallsExplained(self.recent)
        clock = LoopClock(asyncio.get_running_loop())
        self.outside = Outside(
            clock, self._broke, around_call=(CallTelemetry([self.recent], clock),), notes_model=True, keep=self.recent.keep
        )
        self.clock = clock
        self.generation: Generation | None = None
        self.numbers = iter(range(1, 10_000))
        self.reload(rules)

    def _broke(self, layer: str, bug: Exception) -> None:
        raise bug

    def reload(self, rules: str) -> None:
        policies = load_text(f"version: 1\n{UPSTREAMS}\npolicies:\n{rules}", "p.yaml", {})
        self.generation = build(policies, self.outside, self.generation)
        for upstream in self.generation.upstreams.values():
            upstream._pool = Answering()
        self.calls.loaded(self.generation)

    async def serve(self, body: Any = b"", headers: Headers = JSON, path: bytes = CHAT, method: bytes = b"POST") -> Ended:
        """A call, to its end."""
        assert self.generation is not None
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = [*headers, (b"Content-Length", b"%d" % len(data))] if data else headers
        request = Request(method, path, 1, list(sent), Framing.LENGTH if data else Framing.NONE, len(data), Body.of(data))
        id = f"{next(self.numbers):016x}"
        call = Call(id, endpoint_of(method, path), request, self.generation.home, Journal(self.clock.now), Allowance())
        reply = await self.generation.service(call)
        await reply.body.read_all()
        reply.close()
        found = self.recent.find(id)
        assert found is not None
        return found

    async def explained(self, body: Any = b"", **more: Any) -> Explanation:
        return await self.calls.explain(await self.serve(body, **more))


class Answering:
    """A pool whose upstream always answers."""

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        if request.target.endswith(b"/broken"):
            raise Failure(Fault.CONNECT, "here", "refused")
        await request.body.read_all()
        return Reply(200, b"OK", [(b"Set-Cookie", b"canary")], Framing.LENGTH, Body.of(b"{}"))

    def close(self) -> None: ...


def verdicts(found: Explanation) -> dict[str, bool | None]:
    return {rule.name: rule.verdict for rule in found.rules}


async def test_what_was_done_is_what_is_explained() -> None:
    found = await Running().explained(chat("hello", n=3))

    assert found.recorded is not None
    assert (found.recorded["call"], found.recorded["status"]) == ("0000000000000001", 200)
    assert verdicts(found) == {"legal": False, "small": True, "keyed": False, "watched": True}
    assert [(each.kind, each.policy) for each in found.stack] == [("rewrite", "small"), ("params", "small")]
    assert [(entry.kind, entry.policy, entry.shadow) for entry in found.journal] == [
        ("refuse", "watched", True),
        ("rewrite", "small", False),
        ("params", "small", False),
    ]
    assert found.sent is not None
    assert (found.sent.upstream, found.sent.model) == ("openai", "mini")
    assert found.sent.body is not None
    assert {(change.path, change.old, change.new) for change in found.sent.body.fields} == {("n", 3, 1), ("model", "gpt-4o", "mini")}
    assert (found.held.request, found.notes) == (True, [])


async def test_a_refusal_shows_what_the_app_was_told() -> None:
    found = await Running().explained(chat("a contract"))

    assert (found.sent, found.status) == (None, 451)
    assert json.loads(found.reply)["error"]["message"] == "Not here."
    assert "  refused: 451, nothing was sent" in as_text(found)


async def test_a_credential_is_gone_but_what_matched_by_it_is_known() -> None:
    found = await Running().explained(chat(), headers=[*JSON, CREDENTIAL])
    text = "\n".join(as_text(found))

    assert verdicts(found)["keyed"] is True
    assert "asked again, this says no: what it read then is not kept" in text
    assert "canary" not in text + json.dumps(as_json(found), default=str) + repr(found)
    assert [each.policy for each in found.stack] == ["small", "small", "keyed"]


async def test_the_prompt_is_nowhere_in_what_is_told() -> None:
    found = await Running().explained(chat("hello zanzibar", user="zanzibar"))

    assert "zanzibar" not in "\n".join(as_text(found)) + json.dumps(as_json(found), default=str)


async def test_a_call_is_explained_with_the_policies_of_then() -> None:
    running = Running()
    call = await running.serve(chat())
    running.reload("- {name: other, apply: {rewrite: {model: other}}}")
    found = await running.calls.explain(call)
    after = await running.explained(chat())

    assert list(verdicts(found)) == ["legal", "small", "keyed", "watched"]
    assert found.sent is not None
    assert found.sent.model == "mini"
    assert found.notes == ["the policies have changed since: generation 2 is in force"]
    assert (list(verdicts(after)), after.notes) == (["other"], [])


async def test_policies_of_then_are_forgotten_with_the_last_call_that_ran_under_them() -> None:
    running = Running(calls=2)
    await running.serve(chat())
    running.reload("- {name: second, apply: {rewrite: {model: a}}}")
    running.reload("- {name: third, apply: {rewrite: {model: b}}}")
    kept = running.calls.remembered
    for _ in range(2):
        await running.serve(chat())
    running.reload("- {name: fourth, apply: {rewrite: {model: c}}}")

    assert kept == [1, 2, 3]
    assert running.calls.remembered == [3, 4]


async def test_policies_that_are_not_kept_are_said_to_be_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_calls, "GENERATIONS", 2)
    running = Running()
    call = await running.serve(chat())
    for number in range(4):
        running.reload(f"- {{name: n{number}, apply: {{rewrite: {{model: m{number}}}}}}}")
        await running.serve(chat())
    found = await running.calls.explain(call)

    assert running.calls.remembered == [4, 5]
    assert found.notes == ["the policies of then (generation 1) are not kept: these are those of generation 5"]
    assert (found.sent, [entry.policy for entry in found.journal]) == (None, ["small"])
    assert "what was sent, or answered, is not known any more" in as_text(found)


async def test_without_its_body_a_call_still_says_which_policies_matched() -> None:
    found = await Running().explained(chat("hello " * 20_000))
    text = "\n".join(as_text(found))

    assert verdicts(found) == {"legal": False, "small": True, "keyed": False, "watched": None}
    assert "its body is not kept for an explanation (over 64 KiB, read by no policy, or younger calls took its place)" in text
    assert "unknown: its body is not kept for an explanation" in text
    assert "  went to: openai, model mini" in text
    assert "  request: the body is held until it is whole\n    for legal: its match: keywords\n" in text
    assert found.sent is None


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b"null", b'{"model": 3}'])
async def test_a_body_that_is_no_request_is_explained_too(body: bytes) -> None:
    found = await Running().explained(body)

    assert found.recorded is not None
    assert found.sent is not None
    assert as_text(found)


async def test_a_call_without_a_body_is_explained() -> None:
    found = await Running().explained(path=b"/v1/models?key=canary", method=b"GET", headers=[])

    assert (found.endpoint, found.path, found.has_body) == ("models", "/v1/models?key=***", False)
    assert found.sent is not None
    assert found.sent.url == "https://a/v1/models?key=***"


async def test_a_failed_call_names_its_fault() -> None:
    found = await Running().explained(chat(), path=b"/v1/broken")
    text = "\n".join(as_text(found))

    assert "  fault: connect" in text
    assert "502" in text


async def test_explanations_at_once_do_not_mix_and_calls_go_on() -> None:
    running = Running()
    calls = [await running.serve(chat(f"hello {number}" if number % 2 else "a contract")) for number in range(40)]
    serving = asyncio.gather(*(running.serve(chat("meanwhile")) for _ in range(100)))
    found = await asyncio.gather(*map(running.calls.explain, calls))
    await serving

    for call, each in zip(calls, found, strict=True):
        assert each.recorded is not None
        assert each.recorded["call"] == call.id
    assert [each.status for each in found] == [451, 200] * 20
