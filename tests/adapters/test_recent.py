"""The last calls are kept within bounds, without credentials, and told to whoever listens."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from proxy.adapters import recent, trace_context
from proxy.adapters.recent import Recent
from proxy.core.body import Body
from proxy.core.call import Allowance, Call, Target
from proxy.core.journal import Journal
from proxy.core.ports import Outcome
from proxy.core.request import Framing, Request
from tests.adapters.records import a_call, a_record


def ended(kept: Recent, id: str, body: bytes | None = None, **changes: Any) -> Call:
    """A call that came and went."""
    call = begun(kept, id, body)
    kept.call_ended(a_record(call, **changes))
    return call


def begun(kept: Recent, id: str, body: bytes | None = None) -> Call:
    """A call that is under way."""
    call = a_call()
    call.id = id
    if body is not None:
        kept.keep(call, body)
    return call


def test_the_newest_comes_first_and_the_oldest_goes() -> None:
    kept = Recent(3)
    for number in range(5):
        ended(kept, f"c{number}", b"{}")

    assert [call.id for call in kept.latest()] == ["c4", "c3", "c2"]
    assert [call.id for call in kept.latest(1)] == ["c4"]
    assert kept.latest(0) == kept.latest(-1) == []
    assert len(kept) == 3
    assert kept.find("c1") is None
    assert (found := kept.find("c3")) is not None
    assert found.body == b"{}"


def test_what_a_call_tells_is_what_its_log_line_tells() -> None:
    kept = Recent()
    call = a_call()
    call.journal.note("rewrite", "small", acted=True, model="gpt-4o-mini")
    call.journal.note("refuse", "later", shadow=True, status=403)
    call.journal.matched = ("small", "quiet", "later")
    call.journal.generation = 3
    kept.call_ended(a_record(call, outcome=Outcome.FAILED, fault="truncated", detail="cut after 3 bytes"))
    (only,) = kept.latest()

    assert only.told() == {
        "ts": "2026-01-01T00:00:00.000Z",
        "level": "error",
        "call": "c0ffee",
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "ms": 1500.0,
        "exchanges": 1,
        "status": 200,
        "first_byte_ms": 500.0,
        "model": "gpt-4o",
        "upstream": "openai",
        "model_sent": "gpt-4o-mini",
        "origin": "upstream",
        "fault": "truncated",
        "detail": "cut after 3 bytes",
        "policies": ["small"],
        "decisions": [
            {"kind": "rewrite", "policy": "small", "model": "gpt-4o-mini"},
            {"kind": "refuse", "policy": "later", "shadow": True, "status": 403},
        ],
        "outcome": "failed",
        "generation": 3,
        "matched": ["small", "quiet", "later"],
        "shadow": ["later"],
    }


def test_nothing_secret_is_kept() -> None:
    kept = Recent()
    kept.call_ended(a_record(headers=[(b"Set-Cookie", b"sk-canary"), (b"Content-Type", b"text/event-stream")]))
    (only,) = kept.latest()

    assert "canary" not in repr(only)
    assert only.headers == [(b"Authorization", b"Bearer ***"), (b"User-Agent", b"OpenAI/Python 2.0.0")]
    assert only.target == b"/v1/chat/completions?api-key=***"
    assert only.told()["stream"] is True


def test_a_call_is_found_by_its_trace_too() -> None:
    kept = Recent()
    trace = trace_context.begin([], lambda context: True)
    kept.call_ended(a_record(trace=trace))
    found = kept.find(f"{trace.trace_id:032x}")

    assert found is not None
    assert found.id == "c0ffee"
    assert kept.find("0" * 32) is kept.find("é" * 32) is kept.find("") is kept.find("1" * 5000) is None


def test_a_large_body_is_not_kept() -> None:
    kept = Recent()
    ended(kept, "small", b"x" * recent.BODY_BYTES)
    ended(kept, "large", b"x" * (recent.BODY_BYTES + 1))

    assert [call.body is None for call in kept.latest()] == [True, False]


def test_requests_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "HELD_BYTES", 10_000)
    kept = Recent(100)
    for number in range(100):
        ended(kept, f"c{number}", b"x" * 900)
        assert kept.held_bytes <= 10_000

    assert 9 <= len(kept) <= 11
    assert kept.held_bytes == sum(call.head_bytes + len(call.body or b"") for call in kept.latest())


def test_heads_alone_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "HELD_BYTES", 10_000)
    kept = Recent(100)
    for number in range(100):
        request = Request(b"GET", b"/" + b"x" * 800, 1, [(b"a", b"b" * 200)], Framing.NONE, 0, Body.of())
        kept.call_ended(a_record(Call(f"c{number}", "other", request, Target("a"), Journal(lambda: 0.0), Allowance())))

    assert len(kept) == 9
    assert kept.held_bytes <= 10_000


def test_calls_under_way_hold_no_more_than_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Recent(10)
    calls = [begun(kept, f"c{number}", b"x" * 1000) for number in range(10_000)]

    assert kept.held_bytes == 10 * 1000
    for call in calls:
        kept.call_ended(a_record(call))
    assert [call.body is not None for call in kept.latest()] == [True] * 10
    assert [call.id for call in kept.latest(1)] == ["c9999"]


def test_bodies_under_way_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "HELD_BYTES", 10_000)
    kept = Recent(100)
    for number in range(50):
        begun(kept, f"c{number}", b"x" * 1000)

    assert kept.held_bytes == 10_000


def test_of_a_call_its_payload_and_reply_are_let_go() -> None:
    class Weak(Body):
        __slots__ = ("__weakref__",)

    body = Weak()
    kept = Recent()
    call = a_call()
    call.request.body = body
    record = a_record(call)
    kept.call_ended(record)
    gone = weakref.ref(body)
    del call, record, body
    gc.collect()

    assert gone() is None
    assert len(kept) == 1


def test_an_endless_model_name_is_cut() -> None:
    kept = Recent()
    kept.call_ended(a_record(a_call(model="x" * 1_000_000)))
    (only,) = kept.latest()

    assert len(repr(only)) < 4000
    assert only.told()["model"] == "x" * 255 + "…"


def test_a_call_that_just_ended_is_masked_a_moment_later_at_the_latest() -> None:
    put_off: list[tuple[float, Callable[[], None]]] = []
    kept = Recent(3, lambda wait_s, act: put_off.append((wait_s, act)))
    for number in range(5):
        ended(kept, f"c{number}", b"x" * 100)
    was = len(kept)
    waits = [wait_s for wait_s, _ in put_off]
    put_off[0][1]()
    gc.collect()

    assert (was, waits) == (3, [recent.FRESH_S])
    assert "canary" not in repr(kept._calls)
    assert not kept._fresh
    assert [call.id for call in kept.latest()] == ["c4", "c3", "c2"]
    assert kept.held_bytes == sum(call.head_bytes + 100 for call in kept.latest())
    ended(kept, "c5")
    assert len(put_off) == 2
    assert "canary" not in repr(kept.latest())


def test_the_generations_of_kept_calls_are_known() -> None:
    kept = Recent(2)
    for number in (1, 2, 2):
        call = a_call()
        call.journal.generation = number
        kept.call_ended(a_record(call))

    assert kept.generations() == {2}


async def test_a_subscriber_hears_of_each_call_that_ends_from_then_on() -> None:
    kept = Recent()
    ended(kept, "before")
    heard = []
    with kept.subscribe() as calls:
        waiting = asyncio.ensure_future(anext(aiter(calls)))
        await asyncio.sleep(0)
        ended(kept, "first")
        heard.append(await waiting)
        ended(kept, "second")
        async for each in calls:
            heard.append(each)
            break

    assert [(lost, call.id) for lost, call in heard] == [(0, "first"), (0, "second")]


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    kept = Recent()
    with kept.subscribe(most=3) as calls, kept.subscribe() as other:
        for number in range(10):
            ended(kept, f"c{number}")
        mine = aiter(calls)
        first, second = await anext(mine), await anext(mine)
        others = await anext(aiter(other))

    assert (first[0], first[1].id) == (7, "c7")
    assert (second[0], second[1].id) == (0, "c8")
    assert (others[0], others[1].id) == (0, "c0")


async def test_a_closed_subscription_ends_and_costs_nothing() -> None:
    kept = Recent()
    calls = kept.subscribe()
    reading = asyncio.ensure_future(anext(aiter(calls), None))
    await asyncio.sleep(0)
    calls.close()
    calls.close()
    ended(kept, "after")

    assert await reading is None
    assert [each async for each in calls] == []
