"""head -- heads: what a request may say, which headers are for one hop only, and heads as bytes again. Pure functions.

llhttp has refused malformed lines, lengths and values by the time these run; here stands what it lets through (WIRE 22, 26, 27).
Names are compared in lower case; pairs leave with their own spelling, order and repeats.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import itemgetter

from proxy.core.body import Body, Headers
from proxy.core.faults import Refusal
from proxy.core.reply import Reply
from proxy.core.request import CHUNKED, CLOSE, LENGTH, NONE, Framing, Marks, Request

HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"))
REPLACED = HOP | {b"host", b"content-length", b"http2-settings", b"expect", b"proxy-authorization"}
KEPT = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))  # Connection cannot name these away
UNNAMED = HOP | {b"close", b"http2-settings"}  # Connection's own words, and names that are marked anyway
KEEP_ALIVE = frozenset((b"keep-alive",))
REPLY_MARKS = HOP | {b"content-length"}
NO_TRAILER = HOP | {
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"host",
    b"set-cookie",
    b"trailer",
}

is_host = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?").fullmatch
is_length = re.compile(rb"[0-9]{1,18}").fullmatch
has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


first = itemgetter(0)
join_pair = b": ".join


def bad_request(what: str) -> Refusal:
    """The refusal of a request that may be read in two ways, or in none."""
    return Refusal(400, "bad_request", f"bad request: {what}")


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma list, lower case."""
    return [member.strip(b" \t").lower() for member in value.split(b",")]


def named_by(connection: list[bytes]) -> frozenset[bytes] | None:
    """Header names that Connection lists, but for those it must not take away."""
    return frozenset(connection) - KEPT or None


@lru_cache(maxsize=128)
def _places(names: tuple[bytes, ...], wanted: frozenset[bytes]) -> tuple[tuple[int, bytes], ...]:
    """Where the wanted of these names stand. Remembered, as a client sends the same names in the same order again and again."""
    return tuple((at, low) for at, name in enumerate(names) if (low := name.lower()) in wanted)


def mark(headers: Headers, names: frozenset[bytes], named: frozenset[bytes] | None) -> Marks:
    """Which of the pairs concern one hop: those of `names`, and those that Connection named."""
    return headers, len(headers), _places(tuple(map(first, headers)), names | named if named else names)


def marked(headers: Headers, marks: Marks | None, names: frozenset[bytes], named: frozenset[bytes] | None) -> tuple[tuple[int, bytes], ...]:
    """The marks that its parser made, unless the pairs are others by now."""
    if marks is None or marks[0] is not headers or marks[1] != len(headers):
        marks = mark(headers, names, named)
    return marks[2]


def read_request(method: bytes, target: bytes, minor: int, headers: Headers, body: Body) -> Request:
    """The request that a head means. Raises Refusal where RFC 9112 says that a server must or should refuse."""
    host = length = connection = upgrade = None
    chunked = expect = False
    marks = mark(headers, REPLACED, None)
    for at, low in marks[2]:
        value = headers[at][1]
        if low == b"host":
            if host is not None:
                raise bad_request("two Host headers")
            host = value
        elif low == b"content-length":
            if length is not None:
                raise bad_request("two Content-Length headers")
            if not is_length(value):
                raise bad_request("Content-Length is not a number")
            length = int(value)
        elif low == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise Refusal(501, "not_implemented", "no Transfer-Encoding but one `chunked` is served")
            chunked = True
        elif low == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif low == b"expect":
            expect = value.lower() == b"100-continue"
        elif low == b"upgrade":
            upgrade = value if upgrade is None else upgrade + b", " + value
    if chunked and (length is not None or minor == 0):
        raise bad_request("Transfer-Encoding beside Content-Length, or on HTTP/1.0")
    if host is None:
        if minor == 1:
            raise bad_request("no Host header")
    elif not is_host(host):
        raise bad_request("Host is not a host")
    if method == b"CONNECT":
        raise Refusal(501, "not_implemented", "CONNECT is not served: this is no forward proxy")
    if target[:1] != b"/":
        target = origin_form(method, target)
    framing = CHUNKED if chunked else NONE if length is None else LENGTH
    request = Request(method, target, minor, headers, framing, length or 0, body)
    request.marks = marks
    request.expect = expect and minor == 1
    if connection is not None:
        _read_connection(request, connection, upgrade)
    return request


def _read_connection(request: Request, value: bytes, upgrade: bytes | None) -> None:
    if value == b"keep-alive":  # what every SDK says
        request.named, request.keep = KEEP_ALIVE, True
        return
    connection = tokens(value)
    request.named = named_by(connection)
    if request.named is not None and not request.named <= UNNAMED:
        request.marks = None
    request.keep = b"close" not in connection and (request.minor == 1 or b"keep-alive" in connection)
    if upgrade is not None and request.minor == 1 and b"upgrade" in connection and request.method == b"GET" and request.framing is NONE:
        request.upgrade = without_h2c(upgrade)


def without_h2c(upgrade: bytes) -> bytes | None:
    """The protocols asked for, but for h2c: behind it a second request could hide from every check."""
    protocols = [name.strip(b" \t") for name in upgrade.split(b",")]
    kept = [name for name in protocols if name and not name.lower().startswith(b"h2")]
    return b", ".join(kept) or None


def origin_form(method: bytes, target: bytes) -> bytes:
    """absolute-form becomes origin-form: the destination is ours to choose. Raises Refusal for anything else."""
    if target == b"*" and method == b"OPTIONS":
        return target
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https") or not rest or rest[:1] in b"/?#":
        raise bad_request("the target is neither a path nor a url")
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?"), rest.find(b"#")) if at >= 0), default=len(rest))
    if not is_host(rest[:cut]):
        raise bad_request("the target's host is not a host, or has user information")
    path = rest[cut:]
    return path if path[:1] == b"/" else b"/" + path


def request_head(request: Request, authority: bytes) -> bytes:
    """The head for an upstream. Host is the upstream's own; what is for one hop is made anew, in its place."""
    known, marks = request.known, request.marks
    if known is not None and marks is not None and marks[0] is request.headers and marks[1] == len(request.headers):
        sent = known.sent(authority)
        if sent is None:
            known.sends(authority, _request_head(request, authority))
            sent = known.sent(authority)
        if sent is not None:
            return sent[0] + b"%d" % request.length + sent[1] if sent[1] else sent[0]  # type: ignore[no-any-return]
    return _request_head(request, authority)


def _request_head(request: Request, authority: bytes) -> bytes:
    framing = request.framing
    headers = request.headers
    lines = list(map(join_pair, headers))
    gone = []
    has_host = framed = asks_trailers = upgraded = False
    for at, low in marked(headers, request.marks, REPLACED, request.named):
        name = headers[at][0]
        if low == b"host" and not has_host:
            has_host = True
            lines[at] = b"%b: %b" % (name, authority)
        elif low == b"content-length" and framing is LENGTH and not framed:
            framed = True
            lines[at] = b"%b: %d" % (name, request.length)
        elif low == b"transfer-encoding" and framing is CHUNKED and not framed:
            framed = True
            lines[at] = b"%b: chunked" % name
        elif low == b"upgrade" and request.upgrade is not None and not upgraded:
            upgraded = True
            lines[at] = b"%b: %b" % (name, request.upgrade)
        elif low != b"expect" or request.continued:
            gone.append(at)
            asks_trailers = asks_trailers or (low == b"te" and b"trailers" in tokens(headers[at][1]))
    for at in reversed(gone):
        del lines[at]
    lines.insert(0, b"%b %b HTTP/1.1" % (request.method, request.target) if has_host else _line_and_host(request, authority))
    if not framed and framing is not NONE:
        lines.append(b"Content-Length: %d" % request.length if framing is LENGTH else b"Transfer-Encoding: chunked")
    if upgraded:
        lines.append(b"Connection: Upgrade")
    elif asks_trailers:
        lines.append(b"TE: trailers\r\nConnection: TE")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _line_and_host(request: Request, authority: bytes) -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: %b" % (request.method, request.target, authority)


def reply_head(reply: Reply, request: Request, close: bool) -> tuple[bytes, Framing]:
    """The head for the client, and how the body goes to it. `close`: the connection ends with this reply."""
    status = reply.status
    framing = reply.framing
    headers = reply.headers
    bodyless = status == 204 or status == 304 or status < 200 or request.method == b"HEAD"
    if framing >= CHUNKED and not bodyless:
        framing = CHUNKED if request.minor else CLOSE
    chunks = framing is CHUNKED or (bodyless and request.minor and status >= 200 and status != 204)
    lines = list(map(join_pair, headers))
    framed = False
    gone = []
    for at, low in marked(headers, reply.marks, REPLY_MARKS, reply.named):
        if low == b"content-length" and framing <= LENGTH:
            framed = True
        elif low == b"transfer-encoding" and chunks and not framed:
            framed = True
            lines[at] = b"%b: chunked" % headers[at][0]
        elif low != b"upgrade" or status != 101:
            gone.append(at)
    for at in reversed(gone):
        del lines[at]
    lines.insert(0, b"HTTP/1.1 %d %b" % (status, reply.reason))
    if not framed and not bodyless:
        if framing is CHUNKED:
            lines.append(b"Transfer-Encoding: chunked")
        elif framing <= LENGTH:
            lines.append(b"Content-Length: %d" % reply.body.size)
    if status == 101:
        lines.append(b"Connection: Upgrade")
    elif close or (framing is CLOSE and not bodyless):
        lines.append(b"Connection: close")
    elif not request.minor:
        lines.append(b"Connection: keep-alive")
    lines.append(b"\r\n")
    return b"\r\n".join(lines), NONE if bodyless else framing


def interim_head(status: int, reason: bytes, headers: Headers) -> bytes:
    """A 1xx for the client."""
    lines = [b"%b: %b\r\n" % pair for pair in headers if pair[0].lower() not in REPLACED]
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, b"".join(lines))


def chunk(data: bytes) -> bytes:
    """`data` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with those trailers that may be some."""
    if not trailers:
        return b"0\r\n\r\n"
    lines = [b"%b: %b\r\n" % pair for pair in trailers if pair[0].lower() not in NO_TRAILER]
    return b"0\r\n%b\r\n" % b"".join(lines)
