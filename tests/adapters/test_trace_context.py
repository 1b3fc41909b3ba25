"""W3C Trace Context: what is believed, what is ignored, and what an upstream is told."""

from __future__ import annotations

import re

import pytest

from proxy.adapters.trace_context import TraceContext, begin
from proxy.core.body import Headers

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def always(context: TraceContext) -> bool:
    return True


def as_told(context: TraceContext) -> bool:
    return context.sampled


def test_a_call_joins_its_callers_trace() -> None:
    context = begin([(b"TraceParent", GOOD), (b"tracestate", b"vendor=1"), (b"TRACESTATE", b"other=2")], as_told)

    assert (f"{context.trace_id:032x}", f"{context.parent_id:016x}") == (TRACE, SPAN)
    assert context.sampled
    assert context.is_remote
    assert context.state == "vendor=1,other=2"
    assert f"{context.span_id:016x}" != SPAN


def test_without_a_caller_a_trace_begins() -> None:
    first, second = begin([], always), begin([], always)

    assert first.parent_id is None
    assert not first.is_remote
    assert first.trace_id != second.trace_id
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-03", first.traceparent)


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + b"-extra",
        b"ff" + GOOD[2:],
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-0g".encode(),
        f"00_{TRACE}_{SPAN}_01".encode(),
        f"01-{TRACE}-{SPAN}-01x".encode(),
        b"\xff" * 55,
    ],
)
def test_an_invalid_traceparent_is_ignored_with_its_tracestate(parent: bytes) -> None:
    context = begin([(b"traceparent", parent), (b"tracestate", b"a=1")], as_told)

    assert f"{context.trace_id:032x}" != TRACE
    assert (context.parent_id, context.state, context.sampled) == (None, "", False)


def test_two_traceparents_are_none() -> None:
    assert begin([(b"traceparent", GOOD), (b"traceparent", GOOD)], always).parent_id is None


@pytest.mark.parametrize("parent", [b"cc" + GOOD[2:], b"cc" + GOOD[2:] + b"-what-the-future-holds", b" " + GOOD + b"\t"])
def test_a_future_version_and_white_space_are_understood(parent: bytes) -> None:
    context = begin([(b"traceparent", parent)], as_told)

    assert f"{context.trace_id:032x}" == TRACE
    assert context.traceparent.startswith(b"00-")


def test_the_sampler_sees_the_callers_flag_and_decides_ours() -> None:
    seen: list[bool] = []

    def contrary(context: TraceContext) -> bool:
        seen.append(context.sampled)
        return not context.sampled

    headers: Headers = [(b"traceparent", GOOD)]
    context = begin(headers, contrary)

    assert seen == [True]
    assert not context.sampled
    assert context.traceparent.endswith(b"-00")


def test_only_known_flags_are_passed_on() -> None:
    assert begin([(b"traceparent", GOOD[:-2] + b"ff")], as_told).flags == 3


def test_an_oversized_tracestate_is_dropped_whole() -> None:
    assert begin([(b"traceparent", GOOD), (b"tracestate", b"a=" + b"x" * 600)], always).state == ""


def test_an_exchange_is_a_child_and_says_so_to_the_upstream() -> None:
    context = begin([(b"traceparent", GOOD), (b"tracestate", b"a=1")], always)
    exchange = context.exchange()

    assert (exchange.trace_id, exchange.parent_id, exchange.state) == (context.trace_id, context.span_id, "a=1")
    assert exchange.traceparent == f"00-{TRACE}-{exchange.span_id:016x}-01".encode()
    assert not exchange.is_remote
