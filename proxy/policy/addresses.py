"""addresses -- which URLs an upstream may have: what a request must never be able to reach is refused here.

Stands under the upstreams' model; the connection's side asks `refused_ip` again for what a name resolved to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.policy.units import Wrong

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA_NAMES = frozenset(("metadata.google.internal", "metadata", "metadata.goog", "instance-data", "instance-data.ec2.internal"))
METADATA_IPS = frozenset(
    (
        "fd00:ec2::254",  # EC2's, over IPv6
        "fd20:ce::254",  # Google's, over IPv6
        "100.100.100.200",  # Alibaba's
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle's
    )
)
_LOCAL_NAMES = frozenset(("localhost", "ip6-localhost"))
_HOST = re.compile(r"(?=.{1,253}\.?$)(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)\.?").fullmatch
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+").fullmatch
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*").fullmatch
_V4_IN_V6 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))


@dataclass(slots=True, frozen=True)
class Address:
    """A checked URL in parts. `path` has no trailing slash; `loopback` is judged by name or literal, not by resolving."""

    scheme: str
    host: str
    port: int
    path: str
    loopback: bool

    @property
    def origin(self) -> str:
        """`https://host:port`, the port left out where it is the scheme's."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}.get(self.scheme)
        return f"{self.scheme}://{host}" if self.port == usual else f"{self.scheme}://{host}:{self.port}"


def address(url: str, schemes: tuple[str, ...] = ("https", "http")) -> Address:
    """The parts of an upstream's `url`. Raises Wrong, without quoting what may hold a password."""
    if "${" in url:
        raise Wrong("nothing is resolved in a url", "write it out; `key`, `query` and `headers` take ${NAME}", got=False)
    if not url.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f' for c in url):
        raise Wrong("a url may hold no spaces, control or non-ASCII characters", "write international names in punycode (xn--…)", got=False)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise Wrong(f"must start with {' or '.join(f'{s}://' for s in schemes)}", got="@" not in url)
    authority, path_at = rest, len(rest)
    for i, c in enumerate(rest):
        if c in "/?#":
            authority, path_at = rest[:i], i
            break
    if "@" in authority:
        raise Wrong("a url may not hold a user name or password", "use `key`", got=False)
    tail = rest[path_at:]
    if "?" in tail or "#" in tail:
        raise Wrong("a url may not hold a query or fragment", "use `query`" if "?" in tail else "", got=False)
    host, port = _host_and_port(url, scheme.lower())
    if not _PATH(tail) or any(part in (".", "..") for part in tail.lower().replace("%2e", ".").split("/")):
        raise Wrong("the path of the url is not one that can be sent", got=True)
    ip = literal_ip(host)
    if ip is not None and (why := refused_ip(ip)):
        raise Wrong(f"{host} is {why}", "no upstream may be there", got=False)
    if host.rstrip(".") in METADATA_NAMES:
        raise Wrong(f"{host} is a metadata service", "no upstream may be there", got=False)
    loopback = ip.is_loopback if ip is not None else host.rstrip(".") in _LOCAL_NAMES or host.rstrip(".").endswith(".localhost")
    return Address(scheme.lower(), str(ip) if ip is not None else host, port, tail.rstrip("/"), loopback)


def _host_and_port(url: str, scheme: str) -> tuple[str, int]:
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise Wrong("the host or port of the url cannot be read; a port is 1 to 65535", got=True) from None
    host = (split.hostname or "").lower()
    if not host:
        raise Wrong("the url has no host", got=True)
    if port == 0 or split.netloc.endswith(":"):
        raise Wrong("the port of the url must be 1 to 65535", got=True)
    if ":" not in host and literal_ip(host) is None:
        if not _HOST(host):
            raise Wrong(f"'{host[:80]}' is not a host name", got=False)
        if _NUMBER(host.rstrip(".").rsplit(".", 1)[-1]):
            raise Wrong(f"'{host[:80]}' is neither a host name nor an IP address", got=False)
    return host, port if port is not None else {"https": 443, "http": 80}[scheme]


def literal_ip(host: str) -> Ip | None:
    """The address that `host` spells in any form that resolvers take: decimal, octal, hexadecimal, short.

    An IPv4 address inside an IPv6 one comes out as IPv4.
    """
    text = host.strip("[]").partition("%")[0]
    try:
        ip: Ip = ipaddress.ip_address(text)
    except ValueError:
        number = _loose_v4(text.rstrip("."))
        return ipaddress.IPv4Address(number) if number is not None else None
    return unmapped(ip)


def unmapped(ip: Ip) -> Ip:
    """The IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4), or `ip` itself."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return inner
        if int(ip) > 1 and any(ip in network for network in _V4_IN_V6):
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def refused_ip(ip: Ip | str) -> str:
    """Why nothing may be sent to `ip`, empty when it may."""
    ip = unmapped(ipaddress.ip_address(ip.partition("%")[0]) if isinstance(ip, str) else ip)
    if str(ip) in METADATA_IPS:
        return "a metadata service"
    if ip.is_link_local:
        return "a link-local address, where metadata services live"
    if ip.is_unspecified or (isinstance(ip, ipaddress.IPv4Address) and int(ip) >> 24 == 0):
        return "not an address of a host"
    return "a multicast or broadcast address" if ip.is_multicast or str(ip) == "255.255.255.255" else ""


def _c_number(text: str) -> int:
    """As C's strtoul with base 0. Raises ValueError."""
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text[0] == "0" else 10)


def _loose_v4(text: str) -> int | None:
    """As inet_aton reads it: one to four numbers, the last one fills what is left."""
    parts = text.lower().split(".")
    if not 1 <= len(parts) <= 4 or not all(_NUMBER(part) for part in parts):
        return None
    try:
        numbers = [_c_number(part) for part in parts]
    except ValueError:
        return None
    if any(n > 255 for n in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        return None
    return sum(n << (24 - 8 * i) for i, n in enumerate(numbers[:-1])) + numbers[-1]
