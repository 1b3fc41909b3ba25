"""answer -- what the app gets: the reply with what was decided in its headers, or an honest error in the API's own form.

Fixed, directly inside the telemetry of the call: whatever failed below leaves here as a reply.
Cost: nothing measurable where no policy acted.
"""

from __future__ import annotations

import math
from functools import lru_cache

from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.core.faults import Failure, Refusal
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.openai.errors import CODES, code_of
from proxy.openai.static import static_reply

NOT_AGAIN: Headers = [(b"x-should-retry", b"false")]


def refused(refusal: Refusal) -> Reply:
    """The reply for a Refusal. The SDK must not try again what will be refused again; when we are merely busy it may."""
    headers = _later(refusal) if refusal.code == "overloaded" else [*_later(refusal), *NOT_AGAIN]
    return static_reply(refusal.status, refusal.code, refusal.message, headers)


def failed(failure: Failure) -> Reply:
    """The reply for a Failure: 504 for a timeout, else 502. Where our tries are spent the SDK must not multiply them."""
    code = code_of(failure.fault)
    headers = [*_later(failure), *(NOT_AGAIN if failure.spent else ())]
    reply = static_reply(CODES[code].status, code, f"{failure.fault.value}: {failure.detail}", headers)
    reply.fault = failure.fault
    return reply


def _later(said: Failure | Refusal) -> Headers:
    """When the SDK may try again, in whole seconds."""
    return [] if said.retry_after_s is None else [(b"retry-after", b"%d" % max(1, math.ceil(said.retry_after_s)))]


class Answer:
    """Turns failures into replies, and tells the app in headers what policies did."""

    __slots__ = ()

    async def __call__(self, call: Call, inner: Service) -> Reply:
        try:
            reply = await inner(call)
        except Refusal as refusal:
            reply = refused(refusal)
            if call.trace is not None:
                call.trace.detail = refusal.message
        except Failure as failure:
            reply = failed(failure)
            if call.trace is not None:
                call.trace.detail = failure.told
        entries = call.journal.entries
        if entries and (names := [entry.policy for entry in entries if entry.acted and entry.policy is not None]):
            target = reply.target
            model = target.model if target is not None and target.model != call.journal.model else None
            told = _told(tuple(names), target.upstream if target is not None else None, model, call.allowance.spent, reply.origin)
            before, marks = reply.headers, reply.marks
            reply.headers = headers = [*before, *told]
            if marks is not None and marks[0] is before and marks[1] == len(before):
                reply.marks = headers, len(headers), marks[2]  # none of ours concerns a hop
        return reply


@lru_cache(maxsize=256)  # what policies choose, of which there are few
def _told(names: tuple[str, ...], upstream: str | None, model: str | None, exchanges: int, origin: str) -> tuple[tuple[bytes, bytes], ...]:
    pairs = [(b"x-chassis-policies", ", ".join(dict.fromkeys(names)).encode("ascii", "replace"))]
    if upstream is not None:
        pairs.append((b"x-chassis-upstream", upstream.encode("ascii", "replace")))
    if model is not None:
        pairs.append((b"x-chassis-model", _one_line(model)))
    pairs.append((b"x-chassis-exchanges", b"%d" % exchanges))
    if origin != "static":
        pairs.append((b"x-chassis-origin", origin.encode()))
    return tuple(pairs)


def _one_line(text: str) -> bytes:
    """Text of a policy as a header value: UTF-8, controls replaced."""
    return "".join(c if c.isprintable() else "?" for c in text).encode("utf-8", "replace")
