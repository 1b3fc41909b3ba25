"""settings -- the limits of the data port and of a pool, each with its default and the reason for it.

Everything that waits, buffers, queues or counts in this package is bounded by a field here. Times are in seconds.
"""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable
from dataclasses import dataclass, field

KIB = 1024


@dataclass(slots=True, frozen=True)
class ServerLimits:
    """What one listener allows its clients."""

    head_s: float = 10.0
    """From a head's first byte to its end, and from a connection to its first head: SDKs write a head at once; slow ones are an attack."""
    keep_s: float = 75.0
    """A kept connection without a request: above the 60 s after which common load balancers let go, so that theirs comes first."""
    body_s: float = 60.0
    """Without a byte of a body that we want: a phone on a bad line makes it, a dead one does not hold its call for ever. Not counted while
    we hold reading back, nor before `100 Continue`."""
    write_s: float = 300.0
    """Without a byte taken by a client that is slow to read: longer than any pause of a person, and it ends what a hung client holds."""
    linger_s: float = 2.0
    """Reading on after an early answer, so that the unread upload does not reset the answer away: some round trips to anywhere."""
    line_bytes: int = 16 * KIB
    """The request line: what aiohttp and Envoy take in practice, above every SDK's longest query."""
    head_bytes: int = 64 * KIB
    """The whole head: long bearer tokens and baggage fit; 8,192 connections in the middle of a head stay below 512 MiB."""
    headers: int = 128
    """Header lines: openai-python sends some 20."""
    connections: int = 8192
    """Open at once; beyond it each is answered 503. A file descriptor each way must be left for the upstream."""
    pipelined: int = 32
    """Requests queued behind a reply before reading stops. Not sooner: fewer would hide the leaving of a client that pipelines honestly."""
    unfed_bytes: int = 64 * KIB
    """Bytes kept unparsed behind a full queue or an upgrade, before reading stops: one socket buffer."""


@dataclass(slots=True, frozen=True)
class HttpProxy:
    """An http proxy on the way to an upstream, reached by CONNECT. Credentials are sent to it and nowhere else."""

    host: str
    port: int
    user: str | None = None
    password: str = field(default="", repr=False)


@dataclass(slots=True, frozen=True)
class PoolSettings:
    """How one upstream is reached."""

    ssl: tls.SSLContext | None = None
    """None: plain http. See `proxy.wire.tls.client_context`."""
    server_name: str | None = None
    """For SNI and verification; None: the host."""
    proxy: HttpProxy | None = None
    """None: directly. The environment's proxy variables are not read here."""
    refused: Callable[[str], str] | None = None
    """Why nothing may be sent to an IP address that the host's name led to, empty where it may: a name can be made to lead anywhere."""
    connect_s: float = 10.0
    """Name, connection, proxy and TLS together: a healthy one takes well under a second; three SYN retries (1, 2, 4 s) fit."""
    keep_s: float = 4.0
    """Idle connections kept: below the 5 s after which node and uvicorn close theirs, so that we rarely meet a closing one."""
    fresh_s: float = 1.0
    """For a body that cannot be sent twice: only a connection idle for less, as no server in use closes that soon."""
    stale_s: float = 2.0
    """After a request went out on a kept connection: a close that was under way then shows within a few round trips. One that comes later
    is of an upstream that had taken the request, and to send it again might pay twice."""
    life_s: float = 300.0
    """A connection's age at which it is not kept any more: under constant load nothing else would follow a change of DNS."""
    dns_s: float = 30.0
    """A name's addresses are asked for again after this: the usual time to live of a failover record."""
    race_s: float = 0.25
    """Before the next address is tried beside one that has not answered (RFC 8305)."""
    max_idle: int = 512
    """Idle connections kept: a burst's worth, at some 10 KiB each."""
    head_bytes: int = 64 * KIB
    """A reply's head, and the heads before it."""
    headers: int = 256
    """Header lines of a reply: CDNs add dozens, and cookies repeat."""
    interims: int = 32
    """1xx replies before the real one: servers send one or two."""
    replay_bytes: int = 256 * KIB
    """Of a streaming request body, kept until the reply begins so that it may be sent again: nearly every call without images."""
