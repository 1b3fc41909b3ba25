"""head -- heads: what a request may say, which headers are for one hop only, and heads as bytes again. Pure functions.

llhttp has refused malformed lines, lengths and values by the time these run; here stands what it lets through (WIRE 22, 26, 27).
Names are compared in lower case; pairs leave with their own spelling, order and repeats.
"""

from __future__ import annotations

import re

from proxy.core.body import Body, Headers
from proxy.core.faults import Refusal
from proxy.core.reply import Reply
from proxy.core.request import CHUNKED, CLOSE, LENGTH, NONE, Framing, Request

HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"))
REPLACED = HOP | {b"host", b"content-length", b"http2-settings", b"expect", b"proxy-authorization"}
KEPT = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))  # Connection cannot name these away
READ = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"))
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

is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
is_host = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?").fullmatch
is_length = re.compile(rb"[0-9]{1,18}").fullmatch
has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


def bad_request(what: str) -> Refusal:
    """The refusal of a request that may be read in two ways, or in none."""
    return Refusal(400, "bad_request", f"bad request: {what}")


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma list, lower case."""
    return [member.strip(b" \t").lower() for member in value.split(b",")]


def named_by(connection: list[bytes]) -> frozenset[bytes] | None:
    """Header names that Connection lists, but for those it must not take away."""
    return frozenset(connection) - KEPT or None


def read_request(method: bytes, target: bytes, minor: int, headers: Headers, body: Body) -> Request:
    """The request that a head means. Raises Refusal where RFC 9112 says that a server must or should refuse."""
    host = length = connection = upgrade = None
    chunked = expect = False
    for name, value in headers:
        low = name.lower()
        if low not in READ:
            continue
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
        else:
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
    request.expect = expect and minor == 1
    if connection is not None:
        named = tokens(connection)
        request.named = named_by(named)
        request.keep = b"close" not in named and (minor == 1 or b"keep-alive" in named)
        if upgrade is not None and minor == 1 and b"upgrade" in named and method == b"GET" and framing is NONE:
            request.upgrade = without_h2c(upgrade)
    return request


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
    drop = REPLACED | request.named if request.named else REPLACED
    framing = request.framing
    lines = [b"%b %b HTTP/1.1" % (request.method, request.target), b""]
    host_at = framed = asks_trailers = upgraded = False
    for pair in request.headers:
        low = pair[0].lower()
        if low not in drop:
            lines.append(b": ".join(pair))
        elif low == b"host":
            if not host_at:
                host_at = True
                lines.append(b"%b: %b" % (pair[0], authority))
        elif low == b"content-length":
            if framing is LENGTH and not framed:
                framed = True
                lines.append(b"%b: %d" % (pair[0], request.length))
        elif low == b"transfer-encoding":
            if framing is CHUNKED and not framed:
                framed = True
                lines.append(b"%b: chunked" % pair[0])
        elif low == b"expect":
            if not request.continued:
                lines.append(b": ".join(pair))
        elif low == b"te":
            asks_trailers = b"trailers" in tokens(pair[1])
        elif low == b"upgrade" and request.upgrade is not None and not upgraded:
            upgraded = True
            lines.append(b"%b: %b" % (pair[0], request.upgrade))
    if host_at:
        del lines[1]
    else:
        lines[1] = b"Host: " + authority
    if not framed and framing is not NONE:
        lines.append(b"Content-Length: %d" % request.length if framing is LENGTH else b"Transfer-Encoding: chunked")
    if upgraded:
        lines.append(b"Connection: Upgrade")
    elif asks_trailers:
        lines.append(b"TE: trailers\r\nConnection: TE")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def reply_head(reply: Reply, request: Request, close: bool) -> tuple[bytes, Framing]:
    """The head for the client, and how the body goes to it. `close`: the connection ends with this reply."""
    status = reply.status
    framing = reply.framing
    bodyless = status == 204 or status == 304 or status < 200 or request.method == b"HEAD"
    if framing >= CHUNKED and not bodyless:
        framing = CHUNKED if request.minor else CLOSE
    drop = HOP | reply.named if reply.named else HOP
    lines = [b"HTTP/1.1 %d %b" % (status, reply.reason)]
    framed = False
    for pair in reply.headers:
        low = pair[0].lower()
        if low == b"content-length":
            if framing <= LENGTH:
                framed = True
                lines.append(b": ".join(pair))
        elif low not in drop:
            lines.append(b": ".join(pair))
        elif low == b"transfer-encoding":
            if framing is CHUNKED or (bodyless and request.minor and status >= 200 and status != 204):
                framed = True
                lines.append(b"%b: chunked" % pair[0])
        elif low == b"upgrade" and status == 101:
            lines.append(b": ".join(pair))
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
