"""reply -- an answer at the narrow port: status, raw head, body, and where it came from. A 429 or a 500 is a reply too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from proxy.core.body import Body, Headers
from proxy.core.call import Target
from proxy.core.faults import Failure, Fault
from proxy.core.request import Framing, Marks


class Tunnel(Protocol):
    """The upstream's side of a connection that has switched protocols (after a 101)."""

    def splice(self, peer: TunnelPeer) -> bytes:
        """Joins the two sides; returns what the upstream has already sent."""

    def send(self, data: bytes) -> None:
        """Bytes from the app."""

    def hold(self) -> None:
        """The app is slow: stop reading."""

    def release(self) -> None:
        """Read on."""

    def end(self) -> None:
        """The app has left."""


class TunnelPeer(Protocol):
    """The app's side of a tunnel."""

    def tunnel_data(self, data: bytes) -> None:
        """Bytes from the upstream."""

    def tunnel_hold(self) -> None:
        """The upstream is slow: stop reading."""

    def tunnel_release(self) -> None:
        """Read on."""

    def tunnel_ended(self) -> None:
        """The upstream has closed."""


class Reply:
    """One HTTP reply. Whoever receives it returns it or closes it."""

    __slots__ = (
        "body",
        "fault",
        "framing",
        "headers",
        "last_words",
        "marks",
        "named",
        "origin",
        "reading",
        "reason",
        "status",
        "target",
        "tunnel",
    )

    def __init__(self, status: int, reason: bytes, headers: Headers, framing: Framing, body: Body) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.framing = framing
        self.body = body
        self.named: frozenset[bytes] | None = None  # header names that its Connection header lists, lower case
        self.marks: Marks | None = None
        self.tunnel: Tunnel | None = None
        self.origin = "upstream"  # or `static`, `cache`
        self.target: Target | None = None  # that answered
        self.fault: Fault | None = None  # classified once, by who looked at its beginning
        self.reading: Any = None  # a `proxy.openai.reply_reading.Reading` of it, where `prime` has looked: one parser for whoever asks
        self.last_words: Callable[[Failure], bytes | None] | None = None  # what to tell a client whose stream breaks after the commit

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` is lower case."""
        size = len(name)
        for key, value in self.headers:
            if len(key) == size and key.lower() == name:
                return value
        return None

    def close(self) -> None:
        """Idempotent. Before the body's end the source stops at once."""
        self.body.close()
        if self.tunnel is not None:
            self.tunnel.end()
            self.tunnel = None
