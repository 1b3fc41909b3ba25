"""request -- a message from the app, or to an upstream, at the narrow port: the raw head, what it means for framing, the body."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from proxy.core.body import Body, Headers


class Framing(IntEnum):
    """How a body ends."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


NONE, LENGTH, CHUNKED, CLOSE = Framing  # each looked up in its class costs 0.1 us, and the hot path asks some twenty times a call


Marks = tuple[
    Headers, int, tuple[tuple[int, bytes], ...]
]  # a list of pairs, its length, and (index, lower-case name) of those that concern a hop


class Request:
    """One HTTP request. Header pairs are the sender's bytes, in order, repeats kept; `target` is undecoded."""

    __slots__ = (
        "body",
        "continued",
        "expect",
        "framing",
        "headers",
        "interim",
        "keep",
        "known",
        "length",
        "marks",
        "method",
        "minor",
        "named",
        "received",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, minor: int, headers: Headers, framing: Framing, length: int, body: Body) -> None:
        self.method = method
        self.target = target
        self.minor = minor  # HTTP/1.<minor>
        self.headers = headers
        self.framing = framing
        self.length = length  # bytes; meaningful for Framing.LENGTH
        self.body = body
        self.keep = minor == 1  # the sender wants the connection kept
        self.named: frozenset[bytes] | None = None  # header names that its Connection header lists, lower case
        self.marks: Marks | None = None
        self.known: Any = None  # a `proxy.wire.known_heads.Known`, while the head is as it came
        self.expect = False  # it waits for 100 Continue
        self.continued = False  # we have said it: an upstream must not see Expect
        self.upgrade: bytes | None = None  # the protocol asked for, as `websocket`
        self.interim: Callable[[int, bytes, Headers], None] | None = None  # forwards a 1xx to the sender
        self.received = 0.0  # loop time of the complete head

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` is lower case."""
        size = len(name)
        for key, value in self.headers:
            if len(key) == size and key.lower() == name:
                return value
        return None

    def go_on(self) -> None:
        """Says 100 Continue to a sender that waits for it: for whoever reads the body before an upstream does."""
        if self.expect and not self.continued and not self.body.ended:
            self.continued = True
            if self.interim is not None:
                self.interim(100, b"Continue", [])

    def derive(self, target: bytes, headers: Headers, framing: Framing, length: int, body: Body) -> Request:
        """The same request with another destination, head or body: what one exchange sends."""
        new = Request(self.method, target, self.minor, headers, framing, length, body)
        new.keep = self.keep
        new.named = self.named
        new.marks = self.marks
        new.expect = self.expect
        new.continued = self.continued
        new.upgrade = self.upgrade
        new.interim = self.interim
        new.received = self.received
        if headers is self.headers and target is self.target and framing is self.framing:
            new.known = self.known
        return new
