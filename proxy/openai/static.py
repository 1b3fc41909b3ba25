"""static -- replies of our own: an error in the API's form, or an answer that no model gave, whole or as a stream.

Each says so in a header. Pure functions. Cost: 20 µs, where something has failed.
"""

from __future__ import annotations

import orjson

from proxy.core.body import Body, Headers
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.openai.answers import Said, whole
from proxy.openai.endpoints import Endpoint
from proxy.openai.errors import error_body
from proxy.openai.events import stream_of

REASONS = {
    200: b"OK",
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
ORIGIN = (b"x-chassis-origin", b"static")


def static_reply(status: int, code: str, message: str, headers: Headers | None = None) -> Reply:
    """A reply of our own, in OpenAI's error form, marked `x-chassis-origin: static`."""
    return _reply(status, error_body(message, code), b"application/json", headers)


def said_reply(endpoint: Endpoint, said: Said, streams: bool, tells_usage: bool = True) -> Reply:
    """An answer of chat, completions or responses. `streams`: as events, all of them at once; `tells_usage`: in an event too, of chat."""
    if streams:
        events = stream_of(endpoint, said)
        data = events.opening() + events.text(said.text) + events.closing(said, tells_usage) + events.done
        return _reply(200, data, b"text/event-stream; charset=utf-8")
    return _reply(200, orjson.dumps(whole(endpoint, said)), b"application/json")


def _reply(status: int, data: bytes, kind: bytes, headers: Headers | None = None) -> Reply:
    pairs = [(b"Content-Type", kind), (b"Content-Length", b"%d" % len(data)), ORIGIN, *(headers or ())]
    reply = Reply(status, REASONS.get(status, b"Error"), pairs, Framing.LENGTH, Body.of(data))
    reply.origin = "static"
    return reply
