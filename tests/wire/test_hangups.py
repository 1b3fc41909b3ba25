"""Hang-ups: a peer that leaves while we do not read is noticed, once, and nobody else is taken for it."""

from __future__ import annotations

import asyncio
import socket

from proxy.wire.hangups import Hangups, Reading
from tests.wire.plumbing import eventually


async def pair() -> tuple[socket.socket, asyncio.Transport]:
    """A peer's socket, and our transport to it."""
    server = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(server.getsockname())
    ours, _ = server.accept()
    server.close()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    return peer, transport


async def test_who_leaves_while_paused_is_noticed_once() -> None:
    hangups = Hangups(asyncio.get_running_loop())
    left: list[str] = []
    peer, transport = await pair()
    reading = Reading(transport, hangups, lambda: left.append("left"))
    reading.pause()
    peer.send(b"still here")
    await asyncio.sleep(0.02)
    assert left == []
    peer.close()
    await eventually(lambda: left)
    await asyncio.sleep(0.02)
    reading.over()
    transport.abort()
    hangups.close()

    assert left == ["left"]


async def test_who_is_read_again_is_not_watched() -> None:
    hangups = Hangups(asyncio.get_running_loop())
    left: list[str] = []
    peer, transport = await pair()
    reading = Reading(transport, hangups, lambda: left.append("left"))
    for _ in range(3):
        reading.pause()
        reading.pause()
        reading.resume()
        reading.resume()
    peer.close()
    await asyncio.sleep(0.02)
    transport.abort()
    hangups.close()

    assert left == []
    assert reading.is_on


async def test_a_socket_number_used_again_is_another_peer() -> None:
    hangups = Hangups(asyncio.get_running_loop())
    left: list[str] = []
    first_peer, first = await pair()
    reading = Reading(first, hangups, lambda: left.append("first"))
    reading.pause()
    reading.over()
    first.abort()
    await asyncio.sleep(0.01)
    first_peer.close()
    second_peer, second = await pair()
    Reading(second, hangups, lambda: left.append("second")).pause()
    second_peer.close()
    await eventually(lambda: left)
    second.abort()
    hangups.close()

    assert left == ["second"]


async def test_closing_twice_is_fine_and_nothing_is_watched_behind_it() -> None:
    hangups = Hangups(asyncio.get_running_loop())
    peer, transport = await pair()
    hangups.watch(transport, lambda: None)
    hangups.close()
    hangups.close()
    hangups.forget(transport)
    peer.close()
    transport.abort()

    assert hangups._epoll is None
