"""answer -- what the app gets: the reply with what was decided in its headers, or an honest error in the API's own form.

Fixed, directly inside the telemetry of the call: whatever failed below leaves here as a reply.
Cost: nothing measurable where no policy acted.
"""

from __future__ import annotations

from functools import lru_cache

from proxy.core.body import Body, Headers
from proxy.core.call import Call
from proxy.core.faults import Failure, Refusal
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.service import Service
from proxy.openai.errors import CODES, code_of, error_body

REASONS = {
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    414: b"URI Too Long",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    508: b"Loop Detected",
}
NOT_AGAIN: Headers = [(b"x-should-retry", b"false")]


def static_reply(status: int, code: str, message: str, headers: Headers | None = None) -> Reply:
    """A reply of our own, in OpenAI's error form, marked `x-chassis-origin: static`."""
    data = error_body(message, code)
    pairs = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(data)),
        (b"x-chassis-origin", b"static"),
        *(headers or ()),
    ]
    reply = Reply(status, REASONS.get(status, b"Error"), pairs, Framing.LENGTH, Body.of(data))
    reply.origin = "static"
    return reply


def refused(refusal: Refusal) -> Reply:
    """The reply for a Refusal. The SDK must not try again what will be refused again; when we are merely busy it may."""
    return static_reply(refusal.status, refusal.code, refusal.message, None if refusal.code == "overloaded" else NOT_AGAIN)


def failed(failure: Failure) -> Reply:
    """The reply for a Failure: 504 for a timeout, else 502. Where our tries are spent the SDK must not multiply them."""
    code = code_of(failure.fault)
    reply = static_reply(CODES[code].status, code, f"{failure.fault.value}: {failure.detail}", NOT_AGAIN if failure.spent else None)
    reply.fault = failure.fault
    return reply


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
        if call.journal.entries and (names := call.journal.acted()):
            target = reply.target
            model = target.model if target is not None and target.model != call.journal.model else None
            told = _told(tuple(names), target.upstream if target is not None else None, model, call.allowance.spent, reply.origin)
            reply.headers = [*reply.headers, *told]
        return reply


@lru_cache(maxsize=256)  # what policies choose, of which there are few
def _told(names: tuple[str, ...], upstream: str | None, model: str | None, exchanges: int, origin: str) -> tuple[tuple[bytes, bytes], ...]:
    pairs = [(b"x-chassis-policies", ", ".join(names).encode("ascii", "replace"))]
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
