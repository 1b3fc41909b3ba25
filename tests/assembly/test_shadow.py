from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from proxy.assembly import shadow as module
from proxy.core.call import Call, Target
from proxy.core.faults import Failure, Fault
from tests.assembly.engines import JSON, Bench, Condition, a_kind, a_rule, bench, call_of, chat, notes

WOULD = "- {name: s, mode: shadow, match: {keywords: {any_of: [contract]}}, apply: {rewrite: {upstream: groq, model: llama}}}\n"
SMALL = "- {name: e, match: {model: gpt-4o}, apply: {rewrite: {model: gpt-4o-mini}}}\n"
CONTRACT = json.dumps(chat("Is this contract fair?")).encode()


def reported(call: Call) -> list[tuple[str | None, bool, bool]]:
    return [(entry.policy, entry.acted, entry.shadow) for entry in notes(call, "rewrite")]


async def started(it: Bench, call: Call) -> asyncio.Future[Any]:
    asked = asyncio.ensure_future(it.ask(call))
    await asyncio.sleep(0.01)
    return asked


async def test_it_reports_and_changes_nothing() -> None:
    it, call = bench(WOULD), call_of(CONTRACT)
    reply = await it.ask(call)

    assert reported(call) == [("s", False, True)]
    assert notes(call, "rewrite")[0].what == {"upstream": "groq", "model": "llama", "asked": "gpt-4o"}
    assert (it.inner.call.target, it.inner.body, reply.headers) == (Target("openai"), CONTRACT, [])


async def test_it_does_not_report_what_does_not_match() -> None:
    it, call = bench(WOULD), call_of(chat("Hi"))
    await it.ask(call)

    assert call.journal.entries == []


async def test_a_body_streams_past_unheld_and_is_reported_on_when_it_is_whole() -> None:
    it, call = bench(WOULD), call_of(streaming=True)
    asked = await started(it, call)
    assert it.inner.calls == [call]

    for byte in CONTRACT:
        call.request.body.feed(bytes((byte,)))
        assert reported(call) == []
    call.request.body.end()
    await asked
    assert reported(call) == [("s", False, True)]
    assert it.inner.body == CONTRACT


async def test_it_takes_no_part_in_precedence() -> None:
    it, call = bench(WOULD + SMALL), call_of(CONTRACT)
    reply = await it.ask(call)

    assert it.inner.call.target == Target("openai", "gpt-4o-mini")
    assert notes(call, "shadowed") == []
    assert sorted(reported(call)) == [("e", True, False), ("s", False, True)]
    assert reply.header(b"x-chassis-policies") == b"e"


async def test_a_compressed_body_is_read_as_it_passes() -> None:
    it = bench(WOULD)
    call = call_of(streaming=True, headers=[*JSON, (b"content-encoding", b"gzip")])
    asked = await started(it, call)
    packed = gzip.compress(CONTRACT)
    call.request.body.feed(packed)
    call.request.body.end()
    await asked

    assert reported(call) == [("s", False, True)]
    assert it.inner.body == packed


@pytest.mark.parametrize("body", [b"{", b"\xff", b""])
async def test_an_unreadable_body_passes(body: bytes) -> None:
    it, call = bench(WOULD), call_of(streaming=True)
    asked = await started(it, call)
    call.request.body.feed(body)
    call.request.body.end()
    reply = await asked

    assert (reply.status, it.inner.body, reported(call)) == (200, body, [])
    assert it.faults == []


async def test_a_larger_body_than_it_copies_passes_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COPY_BYTES", 1024 * 1024)
    it, call = bench(WOULD), call_of(streaming=True)
    asked = await started(it, call)
    for _ in range(20):
        call.request.body.feed(b"x" * 100_000)
    call.request.body.end()
    await asked

    assert len(it.inner.body) == 2_000_000
    assert notes(call, "shadow_skipped")[0].what["why"] == "the body is over 1 MiB"


async def test_a_body_that_breaks_is_not_reported_on() -> None:
    it, call = bench(WOULD), call_of(streaming=True)
    asked = await started(it, call)
    call.request.body.feed(CONTRACT)
    call.request.body.fail(Failure(Fault.INVALID, "app", "left"))
    reply = await asked

    assert reply.status == 502
    assert reported(call) == []


async def test_an_observer_that_breaks_is_passed_over_and_the_next_one_heard() -> None:
    def breaks(call: Call) -> None:
        raise ZeroDivisionError

    def tells(call: Call) -> None:
        call.journal.note("odd", "fine", shadow=True)

    kinds = (a_kind(observer=breaks, reads_body=True), a_kind(observer=tells, name="fine"))
    it = bench(tuple(a_rule(kind, name=kind.name, place=i, shadow=True) for i, kind in enumerate(kinds)))
    for streaming in (False, True):
        call = call_of(b"" if streaming else chat(), streaming=streaming)
        asked = await started(it, call)
        call.request.body.end()
        reply = await asked

        assert reply.status == 200
        assert len(notes(call, "odd")) == 1
        assert notes(call, "layer_fault")
    assert [name for name, _ in it.faults] == ["shadow", "shadow"]


async def test_a_condition_that_breaks_is_passed_over() -> None:
    def breaks(facts: Any) -> bool:
        raise ZeroDivisionError

    it = bench((a_rule(a_kind(observer=lambda call: None), Condition(breaks), shadow=True),))
    reply = await it.ask(call_of(chat()))

    assert reply.status == 200
    assert [name for name, _ in it.faults] == ["shadow"]


async def test_a_count_that_would_take_long_is_skipped_and_told() -> None:
    it = bench("- {name: s, mode: shadow, match: {prompt_tokens: {at_least: 40000}}, apply: {refuse: {}}}\n")
    call = call_of(chat("counting words takes a while, " * 8000))
    await it.ask(call)

    assert notes(call, "shadow_skipped")[0].policy == "s"


async def test_what_reads_the_head_alone_reports_at_once() -> None:
    it = bench("- {name: s, mode: shadow, match: {endpoint: chat}, apply: {refuse: {}}}\n")
    call = call_of(streaming=True)
    asked = await started(it, call)

    assert len(notes(call, "refuse")) == 1
    call.request.body.end()
    await asked


async def test_a_call_without_a_body_is_reported_on() -> None:
    it = bench("- {name: s, mode: shadow, match: {endpoint: models}, apply: {rewrite: {upstream: groq}}}\n")
    call = call_of(method=b"GET", path=b"/v1/models")
    await it.ask(call)

    assert reported(call) == [("s", False, True)]
    assert it.inner.call.target == Target("openai")
