"""What of a request must arrive alike, whichever way it came."""

from __future__ import annotations

import re

from tests.e2e.sdk.upstream import Arrival, Headers

HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
DRAWN = frozenset({b"sec-websocket-key"})  # random in every request


def seen(arrival: Arrival, authority: str) -> dict[str, object]:
    """A request as data that two runs share: all of it but hop-by-hop headers, Host's place, and what the client draws at random."""
    assert arrival.header("host") == authority
    boundary = arrival.header("content-type").partition("boundary=")[2].strip('"').encode()
    headers, body = end_to_end(arrival.headers), arrival.body
    if boundary:
        headers = [(name, value.replace(boundary, b"BOUNDARY")) for name, value in headers]
        body = body.replace(boundary, b"BOUNDARY")
    headers = [(name, b"DRAWN" if name.lower() in DRAWN else value) for name, value in headers if name.lower() != b"host"]
    return {
        "line": (arrival.method, arrival.target),
        "headers": headers,
        "framing": arrival.framing,
        "body": body,
        "messages": arrival.messages,
        "close": arrival.close_code,
        "left": arrival.left_at is not None,
    }


def end_to_end(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


def portless(text: str) -> str:
    """A message that may name the server, which differs between the runs."""
    return re.sub(r"127\.0\.0\.1:\d+", "SERVER", text)
