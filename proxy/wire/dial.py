"""dial -- a new connection: addresses of a name (again after a while), raced (RFC 8305), through a proxy's CONNECT, under TLS.

uvloop has no happy eyeballs, so the race is aiohappyeyeballs' on either loop, and the loop is given the connected socket.
Foreign errors become Failures here.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from proxy.core.clock import Clock
from proxy.core.faults import Failure, Fault
from proxy.wire.settings import PoolSettings

P = TypeVar("P", bound=asyncio.Protocol)
PROXY_HEAD_BYTES = 16 * 1024  # of a proxy's answer to CONNECT
is_established = re.compile(rb"HTTP/1\.[01] 2[0-9][0-9][ \r]").match


class Dialler:
    """Makes connections to one host, directly or through its proxy."""

    def __init__(self, host: str, port: int, settings: PoolSettings, clock: Clock) -> None:
        self._host = host
        self._port = port
        self._settings = settings
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._addresses: list[AddrInfoType] = []
        self._resolved_at = float("-inf")

    async def connect(self, factory: Callable[[], P]) -> P:
        """A connection ready for its first request. Raises Failure(connect); has no deadline of its own."""
        proxy = self._settings.proxy
        host, port = (self._host, self._port) if proxy is None else (proxy.host, proxy.port)
        sock = await self._reach(host, port)
        try:
            if proxy is not None:
                await self._tunnel(sock)
            context = self._settings.ssl
            name = None if context is None else self._settings.server_name or self._host
            _, protocol = await self._loop.create_connection(factory, sock=sock, ssl=context, server_hostname=name)
            return protocol
        except ssl.SSLCertVerificationError as error:
            raise self._failure(f"its certificate is not trusted: {error.verify_message or error}") from error
        except ssl.SSLError as error:
            raise self._failure(f"TLS failed: {error.reason or error}") from error
        except OSError as error:
            raise self._failure(_said(error)) from error
        except BaseException:
            sock.close()
            raise

    def _failure(self, why: str) -> Failure:
        where = f"{self._host}:{self._port}"
        return Failure(Fault.CONNECT, where, f"cannot connect to {where}: {why}")

    async def _reach(self, host: str, port: int) -> socket.socket:
        addresses = await self._resolve(host, port)
        try:
            sock = await start_connection(addresses, happy_eyeballs_delay=self._settings.race_s, interleave=1, loop=self._loop)
        except OSError as error:
            self._resolved_at = float("-inf")  # they may have moved
            tried = f" ({len(addresses)} addresses tried)" if len(addresses) > 1 else ""
            raise self._failure(_said(error) + tried) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a model may think for minutes over a connection that has died
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return sock

    async def _resolve(self, host: str, port: int) -> list[AddrInfoType]:
        now = self._clock.now()
        if self._addresses and now - self._resolved_at < self._settings.dns_s:
            return self._addresses
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            if self._addresses:
                return self._addresses  # the old ones are better than none
            raise self._failure(f"the name {host} cannot be resolved: {_said(error)}") from error
        self._addresses = self._allowed(host, [(family, kind, proto, name, address) for family, kind, proto, name, address in found])
        self._resolved_at = now
        return self._addresses

    def _allowed(self, host: str, found: list[AddrInfoType]) -> list[AddrInfoType]:
        """Those that may be reached; a proxy on the way is the operator's own choice. Raises Failure where none is left."""
        refused = self._settings.refused
        if refused is None or self._settings.proxy is not None:
            return found
        kept = [address for address in found if not refused(str(address[4][0]))]
        if not kept and found:
            ip = str(found[0][4][0])
            raise self._failure(f"the name {host} leads to {ip}, {refused(ip)}; nothing is sent there")
        return kept

    async def _tunnel(self, sock: socket.socket) -> None:
        """CONNECT through the proxy. It says nothing behind its answer until we speak, so reading past the head cannot happen."""
        proxy = self._settings.proxy
        if proxy is None:
            return
        name = f"[{self._host}]" if ":" in self._host else self._host
        authority = f"{name}:{self._port}".encode("idna" if not name.isascii() else "ascii")
        credentials = b""
        if proxy.user is not None:
            pair = base64.b64encode(f"{proxy.user}:{proxy.password}".encode())
            credentials = b"Proxy-Authorization: Basic %b\r\n" % pair
        await self._loop.sock_sendall(sock, b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, credentials))
        head = b""
        while b"\r\n\r\n" not in head:
            data = await self._loop.sock_recv(sock, PROXY_HEAD_BYTES)
            head += data
            if not data or len(head) > PROXY_HEAD_BYTES:
                raise self._failure(f"the proxy {proxy.host}:{proxy.port} did not answer CONNECT")
        if not is_established(head):
            line = head.partition(b"\r\n")[0][:80].decode("latin-1")
            raise self._failure(f"the proxy {proxy.host}:{proxy.port} refused CONNECT: {line}")


def _said(error: OSError) -> str:
    """What an OSError means, in words."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
