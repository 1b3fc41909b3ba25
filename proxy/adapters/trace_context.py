"""trace_context -- W3C Trace Context: reads what the app says of its trace, decides our own ids, writes what an upstream is told.

Free of the OpenTelemetry SDK. An invalid header is ignored, as the recommendation demands: a new trace starts.
Cost: two microseconds a call and half of one an exchange.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.body import Headers

_PARENT = re.compile(rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?[ \t]*").fullmatch
SAMPLED = 0x01
RANDOM = 0x02  # level 2: the trace id is random, so that others may sample by it
STATE_BYTES = 512  # the recommendation's minimum that is passed on; more is dropped whole rather than cut inside an entry


@dataclass(slots=True)
class TraceContext:
    """One span's place: implements `proxy.core.ports.Trace`. `state` is the caller's tracestate, "" where there is none."""

    trace_id: int
    span_id: int
    parent_id: int | None
    flags: int
    state: str = ""
    is_remote: bool = False  # the parent is the caller's

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> bytes:
        return b"00-%032x-%016x-%02x" % (self.trace_id, self.span_id, self.flags)

    def exchange(self) -> TraceContext:
        return TraceContext(self.trace_id, _new_id(64), self.span_id, self.flags, self.state)


Sampler = Callable[[TraceContext], bool]


def begin(headers: Headers, sample: Sampler) -> TraceContext:
    """Our own place in the caller's trace, or in a new one. `sample` sees it with the caller's flags and says whether to tell it."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        size = len(name)
        if size == 11 and name.lower() == b"traceparent":
            parents.append(value)
        elif size == 10 and name.lower() == b"tracestate":
            states.append(value)
    context = _under(parents[0]) if len(parents) == 1 else None
    if context is None:
        context = TraceContext(_new_id(128), _new_id(64), None, RANDOM)
    elif states:
        state = b",".join(states)
        context.state = state.decode("ascii", "replace") if len(state) <= STATE_BYTES else ""
    told = sample(context)
    context.flags = context.flags & ~SAMPLED | (SAMPLED if told else 0)
    return context


def _under(parent: bytes) -> TraceContext | None:
    match = _PARENT(parent)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    trace_id, parent_id = int(trace, 16), int(span, 16)
    if version == b"ff" or (version == b"00" and more) or not trace_id or not parent_id:
        return None
    return TraceContext(trace_id, _new_id(64), parent_id, int(flags, 16) & (SAMPLED | RANDOM), is_remote=True)


def _new_id(bits: int) -> int:
    return random.getrandbits(bits) or 1
