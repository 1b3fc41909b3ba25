"""An upload: framed as announced, kept as far as it may be, paced by its reader."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.body import Body, Chunk
from proxy.core.faults import Failure, Fault
from proxy.core.request import Framing, Request
from proxy.wire.upload import SLICE_BYTES, Upload


class Wire:
    """Takes what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.largest = 0
        self.waits = 0

    def write(self, data: Chunk) -> None:
        self.data += bytes(data)
        self.largest = max(self.largest, len(data))

    async def writable(self) -> None:
        self.waits += 1
        await asyncio.sleep(0)


def request(body: Body, framing: Framing = Framing.CHUNKED) -> Request:
    return Request(b"POST", b"/", 1, [], framing, 0, body)


async def sent(upload: Upload) -> Wire:
    wire = Wire()
    await upload.run(wire.write, wire.writable)
    return wire


async def test_a_whole_body_may_be_sent_as_often_as_needed() -> None:
    upload = Upload(request(Body.of([b"a" * 600_000, memoryview(b"bc")], [(b"T", b"1")])), 0)
    first, second = await sent(upload), await sent(upload)

    assert first.data == second.data == b"927c0\r\n" + b"a" * 600_000 + b"\r\n2\r\nbc\r\n0\r\nT: 1\r\n\r\n"
    assert first.largest == SLICE_BYTES
    assert first.waits == 4


async def test_a_body_of_known_length_is_not_framed() -> None:
    assert (await sent(Upload(request(Body.of(b"abc"), Framing.LENGTH), 0))).data == b"abc"


async def test_what_came_is_kept_for_a_second_time_and_what_comes_follows() -> None:
    body = Body()
    upload = Upload(request(body), 100)
    body.feed(b"first")
    wire = Wire()
    task = asyncio.ensure_future(upload.run(wire.write, wire.writable))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    body.feed(b"second")
    body.end()
    again = await sent(upload)

    assert wire.data == b"5\r\nfirst\r\n"
    assert again.data == b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"


async def test_more_than_is_kept_is_sent_once() -> None:
    body = Body()
    upload = Upload(request(body), 10)
    body.feed(b"a" * 11)
    body.end()
    await sent(upload)

    assert not upload.may_repeat


async def test_a_body_that_breaks_raises_its_failure() -> None:
    body = Body()
    body.feed(b"some")
    body.fail(Failure(Fault.INVALID, "app", "it left"))

    with pytest.raises(Failure, match="it left"):
        await sent(Upload(request(body), 10))
