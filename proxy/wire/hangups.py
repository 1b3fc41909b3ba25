"""hangups -- notices that a peer has left while we do not read from it.

A paused transport is not watched by the event loop, so a client that leaves a stuck upload would be found minutes later. One epoll of
our own, itself watched by the loop, hears of it at once. Where there is no epoll, a paused client is found by the write that fails.
Cost: one system call at each pause and each resume; none while reading flows.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable


class Hangups:
    """Whom to tell, by socket. `close` it with its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._told: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None

    def watch(self, transport: asyncio.Transport, left: Callable[[], None]) -> None:
        """Calls `left` once, when the peer of `transport` has closed or reset its side."""
        if not hasattr(select, "epoll"):
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._ready)
        number = transport.get_extra_info("socket").fileno()
        if number >= 0:
            self._told[number] = left
            try:
                self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
            except FileExistsError:
                self._epoll.modify(number, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def forget(self, transport: asyncio.Transport) -> None:
        """Idempotent; before the socket is closed, or its number may be another's."""
        if not self._told or self._epoll is None:
            return
        number = transport.get_extra_info("socket").fileno()
        if self._told.pop(number, None) is not None:
            self._epoll.unregister(number)

    def close(self) -> None:
        """Idempotent."""
        self._told.clear()
        epoll, self._epoll = self._epoll, None
        if epoll is not None:
            self._loop.remove_reader(epoll.fileno())
            epoll.close()

    def _ready(self) -> None:
        if self._epoll is None:
            return
        for number, _ in self._epoll.poll(0):
            left = self._told.pop(number, None)
            if left is not None:
                self._epoll.unregister(number)
                left()


class Reading:
    """Whether a client's transport is read; while it is not, its leaving is watched for."""

    __slots__ = ("_hangups", "_left", "_transport", "is_on")

    def __init__(self, transport: asyncio.Transport, hangups: Hangups, left: Callable[[], None]) -> None:
        self._transport = transport
        self._hangups = hangups
        self._left: Callable[[], None] | None = left
        self.is_on = True

    def pause(self) -> None:
        """Idempotent."""
        if self.is_on and self._left is not None and not self._transport.is_closing():
            self.is_on = False
            self._transport.pause_reading()
            self._hangups.watch(self._transport, self._left)

    def resume(self) -> None:
        """Idempotent."""
        if not self.is_on and not self._transport.is_closing():
            self.is_on = True
            self._hangups.forget(self._transport)
            self._transport.resume_reading()

    def over(self) -> None:
        """The connection ends: nothing is watched any more."""
        self._left = None
        if not self.is_on:
            self._hangups.forget(self._transport)
