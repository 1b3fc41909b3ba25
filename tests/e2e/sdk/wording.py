"""How the scripted upstream words its replies: heads, JSON, errors, events. The same every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.e2e.sdk.upstream import Answer, Arrival, Headers

Json = dict[str, Any]
BORN = 1_760_000_000
KEY = "sk-test-0123"


def usual(arrival: Arrival, content_type: str) -> Headers:
    """The head that api.openai.com puts on its replies, repeats and mixed case included."""
    seed = b" ".join([arrival.method, arrival.target, arrival.header("x-stainless-retry-count").encode()])
    return [
        (b"Date", b"Thu, 09 Oct 2025 08:53:20 GMT"),
        (b"Content-Type", content_type.encode()),
        (b"x-request-id", b"req_" + hashlib.sha256(seed).hexdigest()[:32].encode()),
        (b"openai-organization", b"acme-inc"),
        (b"openai-processing-ms", b"42"),
        (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-limit-requests", b"10000"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-reset-tokens", b"6m0s"),
        (b"set-cookie", b"__cf_bm=a1; path=/; HttpOnly"),
        (b"Set-Cookie", b"_cfuvid=b2; path=/; Secure"),
        (b"Server", b"cloudflare"),
        (b"CF-RAY", b"98b1c0ffee-FRA"),
        (b"X-Empty", b""),
        (b"alt-svc", b'h3=":443"; ma=86400'),
    ]


def as_json(arrival: Arrival, value: object, status: int = 200) -> Answer:
    return Answer(status, usual(arrival, "application/json"), json.dumps(value, ensure_ascii=False, indent=1).encode())


def as_error(
    arrival: Arrival, status: int, message: str, kind: str, code: str | None, param: str | None = None, extra: Headers | None = None
) -> Answer:
    body = json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()
    return Answer(status, usual(arrival, "application/json") + (extra or []), body)


def as_events(arrival: Arrival, events: list[bytes]) -> Answer:
    return Answer(200, usual(arrival, "text/event-stream; charset=utf-8"), one_by_one(events))


async def one_by_one(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def data_event(value: object, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
