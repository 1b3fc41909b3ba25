"""Finished records, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call, Target
from proxy.core.clock import LoopClock
from proxy.core.journal import Journal
from proxy.core.ports import CallRecord, ExchangeRecord, Trace
from proxy.core.request import Framing, Request

STARTED = 100.0  # loop time, seconds
WALL_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, at loop time 100
HEADERS: Headers = [(b"Authorization", b"Bearer sk-canary"), (b"User-Agent", b"OpenAI/Python 2.0.0")]
TARGET = b"/v1/chat/completions?api-key=sk-canary"


class Fixed(LoopClock):
    """A clock of that moment."""

    def __init__(self) -> None:
        pass

    def wall_of_ns(self, when: float) -> int:
        return WALL_NS + int((when - STARTED) * 1e9 + 0.5)


def a_call(method: bytes = b"POST", target: bytes = TARGET, model: str | None = "gpt-4o", endpoint: str = "chat") -> Call:
    """A call that was made at `STARTED`, whose journal is written at 100.25."""
    request = Request(method, target, 1, HEADERS, Framing.NONE, 0, Body.of())
    journal = Journal(lambda: STARTED + 0.25)
    journal.model = model
    return Call("c0ffee", endpoint, request, Target("openai"), journal, Allowance())


def a_record(call: Call | None = None, trace: Trace | None = None, **changes: Any) -> CallRecord:
    """A call that took 1.5 s, its head 0.5, and went well."""
    call = call or a_call()
    call.allowance.spent = changes.pop("spent", 1)
    record = CallRecord(
        call,
        Fixed(),
        STARTED,
        trace,
        head=STARTED + 0.5,
        ended=STARTED + 1.5,
        status=200,
        origin="upstream",
        target=Target("openai", "gpt-4o-mini"),
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def an_exchange(trace: Trace | None = None, **changes: Any) -> ExchangeRecord:
    """Its one exchange."""
    record = ExchangeRecord(
        changes.pop("call", None) or a_call(),
        Fixed(),
        Target("openai", "gpt-4o-mini"),
        STARTED + 0.1,
        trace,
        address="api.openai.com:443",
        head=STARTED + 0.5,
        ended=STARTED + 1.4,
        status=200,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record
