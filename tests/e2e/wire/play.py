"""A case as data: what the client sends, what the upstream plays, what must be seen at both ends.

Steps are shared by both ends: `bytes` are sent as they are (one write each), the others wait, pause or end the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

CASE = b"@case@"  # stands in the bytes for the name under which the upstream finds its script
NAME = b"X-Case"


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until these bytes have come in: the reply's at the client, this connection's at the upstream."""

    marker: bytes


@dataclass(frozen=True, slots=True)
class Replies:
    """The client waits for so many final replies to be complete."""

    count: int


@dataclass(frozen=True, slots=True)
class Big:
    """`size_bytes` of pattern, sent with back-pressure rather than held in one piece."""

    size_bytes: int


class Do(Enum):
    SEEN = auto()  # the upstream waits until the client has decoded all that was sent: a proxy that holds a byte back fails
    FIN = auto()  # end our side and close
    RST = auto()  # break the connection
    STALL = auto()  # the upstream says nothing more, until its peer leaves
    DEAF = auto()  # the upstream stops reading
    LISTEN = auto()  # and reads again


Step = bytes | Pause | Await | Replies | Big | Do


@dataclass(frozen=True, slots=True)
class Script:
    """What the upstream does for one request. `early`: from its head on, else once its body is here."""

    steps: tuple[Step, ...]
    early: bool = False


def script(*steps: Step, early: bool = False) -> Script:
    return Script(steps, early)


@dataclass(frozen=True, slots=True)
class Expected:
    """Asserted on the direct run and on the run through the proxy alike; None is not asked. Lines are `Name: value`."""

    status: int | None = 200
    reason: bytes | None = None
    body: bytes | None = None
    reply_has: tuple[bytes, ...] = ()
    reply_lacks: tuple[bytes, ...] = ()
    interim: tuple[int, ...] = ()
    trailers: tuple[bytes, ...] = ()
    complete: bool = True
    closes: bool = False
    target: bytes | None = None
    sent: bytes | None = None
    request_has: tuple[bytes, ...] = ()
    request_trailers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One numbered line of the wire, one situation. `differs` names differences of compare.ALLOWED that hold for this case only."""

    line: int
    name: str
    client: tuple[Step, ...]
    upstream: tuple[Script, ...]
    expected: Expected
    differs: frozenset[str] = frozenset()
    replies: int = 1
    requests: int = 1
    methods: tuple[bytes, ...] = ()
    tunnel: bool = False
    rewritten: Callable[[bytes], bytes] | None = None
    check: Callable[..., None] | None = None
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def id(self) -> str:
        return f"{self.line:02}-{self.name}"


def filled(data: bytes, case_id: str) -> bytes:
    return data.replace(CASE, case_id.encode()) if CASE in data else data


def request(
    first: bytes, *headers: bytes, body: bytes | None = None, version: bytes = b"1.1", host: bytes | None = b"app.example"
) -> bytes:
    """`first` is `METHOD target`; a body gets its Content-Length, unless a header frames it already."""
    lines = [first + b" HTTP/" + version]
    if host is not None:
        lines.append(b"Host: " + host)
    lines += [NAME + b": " + CASE, *headers]
    framed = any(each.lower().startswith((b"content-length:", b"transfer-encoding:")) for each in headers)
    if body is not None and not framed:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def reply(first: bytes = b"200 OK", *headers: bytes, body: bytes | None = None, version: bytes = b"1.1") -> bytes:
    """A reply's head with its body and length, or with no framing where `body` is None."""
    lines = [b"HTTP/" + version + b" " + first, *headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


LAST = b"0\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(map(chunk, parts)) + LAST
