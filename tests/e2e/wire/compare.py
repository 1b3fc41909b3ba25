"""What a proxy may change between the two ends, in one place; everything else must be equal, byte for byte.

`ALLOWED` names each difference and why it is one. Those of `ALWAYS` hold for every case, the others only where a case names them.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.wire.client import Client, End
from tests.e2e.wire.http1 import Headers, Message
from tests.e2e.wire.play import Case
from tests.e2e.wire.upstream import Arrival, Run

ALLOWED = {
    "host": "the request's Host is the upstream's (WIRE 27), and may stand first",
    "hop": "hop-by-hop fields and those that Connection names end at each hop (WIRE 26); each hop says its own Connection",
    "version": "each hop speaks HTTP/1.1, whatever the other one speaks (RFC 9112, 2.3)",
    "blanks": "white space around a field's value is no part of it (RFC 9110, 5.5)",
    "chunks": "a chunk's extensions, and where it begins, belong to a hop (RFC 9112, 7.1); what it carries is compared",
    "close": "a reply that only the close ends goes on chunked: a kept connection cannot say it otherwise",
    "connection": "a connection may stay open where the other hop's closed",
    "te": "`TE: trailers` may be said to the upstream or not: it is the proxy's to choose",
    "expect": "who holds a body has said 100 itself, and does not ask again (WIRE 23)",
    "length": "a body whose model was replaced has another length",
    "encoding": "a compressed body whose model was replaced goes on plain, without the encoding and the digests that no longer hold",
    "zeros": "a Content-Length's leading zeros say nothing",
    "acted": "x-chassis-* reply fields where a policy acted, and only there",
    "unread": "the upload goes no further than to where the upstream answered or left",
    "interim": "an HTTP/1.0 client gets no 1xx: it does not know them (RFC 9110, 15.2)",
}
ALWAYS = frozenset({"host", "hop", "version", "blanks", "chunks", "close", "connection"})

HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings"}
FRAMING = {b"content-length", b"transfer-encoding"}  # compared as framing, and for replies to HEAD as fields


class Seen:
    """One run of a case: what the upstream got, what the client got, how its connection ended."""

    def __init__(self, run: Run, client: Client, ended: End, is_direct: bool) -> None:
        self.run, self.client, self.ended, self.is_direct = run, client, ended, is_direct
        self.arrivals: list[Arrival] = run.arrivals
        self.replies: list[Message] = client.reader.finals
        self.interims: list[Message] = [each for each in client.reader.messages if each not in self.replies]

    @property
    def problems(self) -> list[str]:
        found = self.run.problems + self.client.problems
        if self.client.reader.broken:
            found.append(f"the reply is not HTTP: {self.client.reader.broken}")
        if self.client.reader.pending:
            found.append(f"the reply has bytes too many: {self.client.reader.pending[:200]!r}")
        return found


def end_to_end(message: Message) -> Headers:
    """The fields that pass every hop, in their order."""
    named = message.tokens(b"connection") - {b"host", b"content-length", b"transfer-encoding"}
    return [(name, value) for name, value in message.headers if name.lower() not in HOP and name.lower() not in named]


def request_differences(direct: Message, through: Message, case: Case, rewrite: bool, authority: bytes) -> list[str]:
    found = []
    if direct.first[:2] != through.first[:2]:
        found.append(f"request line: {direct.first[:2]} became {through.first[:2]}")
    if through.values(b"host") != [authority]:
        found.append(f"Host at the upstream: {through.values(b'host')}, not {authority!r}")
    if through.first[2] != b"1":
        found.append(f"HTTP/1.{through.first[2].decode()} spoken to the upstream")
    drop = (
        {b"host"}
        | ({b"expect"} if "expect" in case.differs and rewrite else set())
        | ({b"content-length"} if rewrite and case.rewritten else set())
    )
    if "zeros" in case.differs:
        drop |= {b"content-length"}
        if int(direct.value(b"content-length")) != int(through.value(b"content-length")):
            found.append(f"Content-Length: {through.values(b'content-length')}")
    if rewrite and "encoding" in case.differs:
        drop |= {b"content-encoding", b"digest", b"content-md5", b"content-digest"}
    found += _fields("request field", end_to_end(direct), end_to_end(through), drop)
    for name, value in through.headers:
        if name.lower() in HOP - {b"transfer-encoding"} and (name.lower(), value.lower()) not in _own_hop(direct):
            found.append(f"hop-by-hop field at the upstream: {name!r}: {value!r}")
    if "unread" in case.differs:
        shorter = min(len(direct.body), len(through.body))
        if direct.body[:shorter] != through.body[:shorter]:
            found.append(_first_difference("request body", direct.body, through.body))
        return found
    if direct.framing != through.framing:
        found.append(f"request framing: {direct.framing} became {through.framing}")
    body = case.rewritten(bytes(direct.body)) if rewrite and case.rewritten else bytes(direct.body)
    if rewrite and case.rewritten and direct.framing == "length" and through.values(b"content-length") != [b"%d" % len(body)]:
        found.append(f"Content-Length of the rewritten body: {through.values(b'content-length')}, not {len(body)}")
    if body != through.body:
        found.append(_first_difference("request body", body, through.body))
    if direct.complete != through.complete:
        found.append(f"request complete: {direct.complete} became {through.complete}")
    if direct.trailers != through.trailers:
        found.append(f"request trailers: {direct.trailers} became {through.trailers}")
    return found


def _own_hop(direct: Message) -> set[tuple[bytes, bytes]]:
    """What the proxy may say of its own hop: an upgrade that the client asked for, and that it takes trailers."""
    own = {(b"te", b"trailers"), (b"connection", b"te")} if b"trailers" in direct.tokens(b"te") else set()
    protocols = [each.strip() for each in direct.value(b"upgrade").lower().split(b",")]
    kept = [each for each in protocols if each and not each.startswith(b"h2")]  # a second request could hide behind h2c
    if kept and b"upgrade" in direct.tokens(b"connection"):
        own |= {(b"connection", b"upgrade"), (b"upgrade", b", ".join(kept))}
    return own


def reply_differences(direct: Message, through: Message, case: Case, rewrite: bool) -> list[str]:
    found = []
    if direct.first[1:] != through.first[1:]:
        found.append(f"status line: {direct.first[1:]} became {through.first[1:]}")
    if through.first[0] != b"1":
        found.append("the reply is not HTTP/1.1")
    acted = rewrite and case.rewritten is not None
    theirs = [(name, value) for name, value in end_to_end(through) if not (acted and name.lower().startswith(b"x-chassis-"))]
    found += _fields("reply field", end_to_end(direct), theirs, set())
    if direct.framing != through.framing and (direct.framing, through.framing) != ("close", "chunked"):
        found.append(f"reply framing: {direct.framing} became {through.framing}")
    if direct.body != through.body:
        found.append(_first_difference("reply body", direct.body, through.body))
    if direct.complete != through.complete:
        found.append(f"reply complete: {direct.complete} became {through.complete}")
    if direct.complete and direct.trailers != through.trailers:
        found.append(f"reply trailers: {direct.trailers} became {through.trailers}")
    if acted and not through.values(b"x-chassis-policies"):
        found.append("a policy acted and x-chassis-policies does not say so")
    return found


def _fields(what: str, direct: Headers, through: Headers, drop: set[bytes]) -> list[str]:
    left = [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in direct if name.lower() not in drop]
    right = [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in through if name.lower() not in drop]
    if left == right:
        return []
    lost, added = [each for each in left if each not in right], [each for each in right if each not in left]
    return [f"{what}s: lost {lost}, added {added}" + ("" if lost or added else f"; order {left} became {right}")]


def _first_difference(what: str, direct: bytes | bytearray, through: bytes | bytearray) -> str:
    place = next((i for i, (one, two) in enumerate(zip(direct, through, strict=False)) if one != two), min(len(direct), len(through)))
    around = slice(max(0, place - 20), place + 60)
    return (
        f"{what}: {len(direct)} bytes became {len(through)}, the first difference at {place}: "
        f"{bytes(direct[around])!r} became {bytes(through[around])!r}"
    )


def differences(direct: Seen, through: Seen, case: Case, rewrite: bool, authority: bytes) -> list[str]:
    """All that is not equal and not allowed, in words with the bytes."""
    found = []
    if len(direct.arrivals) != len(through.arrivals):
        found.append(f"{len(direct.arrivals)} requests at the upstream became {len(through.arrivals)}")
    for one, two in zip(direct.arrivals, through.arrivals, strict=False):
        found += request_differences(one.message, two.message, case, rewrite, authority)
    if len(direct.replies) != len(through.replies):
        found.append(f"{len(direct.replies)} replies became {len(through.replies)}: {[each.head for each in through.replies]}")
    for one, two in zip(direct.replies, through.replies, strict=False):
        found += reply_differences(one, two, case, rewrite)
    if "interim" not in case.differs and not (rewrite and "expect" in case.differs):
        shown: Callable[[Message], object] = lambda each: (each.first[1:], end_to_end(each))  # noqa: E731
        if list(map(shown, direct.interims)) != list(map(shown, through.interims)):
            found.append(f"interim replies: {[each.head for each in direct.interims]} became {[each.head for each in through.interims]}")
    return found
