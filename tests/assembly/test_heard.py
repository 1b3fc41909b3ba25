"""The app of a rehearsal writes down what it gets, when, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from proxy.assembly.asking import asked
from proxy.assembly.heard import PATIENCE_S, Heard, ask
from proxy.core.body import Body
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.virtual import run
from proxy.openai.static import static_reply
from proxy.policy.case_spec import RequestSpec
from proxy.wire.listener import Listener
from proxy.wire.settings import ServerLimits
from tests.policy.specs import read

Handler = Callable[[Request], Awaitable[Reply]]


def heard(handler: Handler, request: str = "{prompt: Hi}") -> Heard:
    """What an app gets from a data port with this handler."""
    spec = read(RequestSpec, request)
    found = Heard(asked(spec), spec)

    async def main() -> None:
        listener = Listener(handler, ServerLimits(), static_reply)
        try:
            await ask(found, listener, LoopClock(asyncio.get_running_loop()))
        finally:
            listener.close()

    run(main())
    return found


def streamed(body: Body) -> Reply:
    return Reply(200, b"OK", [(b"Content-Type", b"text/event-stream")], Framing.CHUNKED, body)


async def slow(request: Request) -> Reply:
    """A head after a second, and then a piece a second."""
    await asyncio.sleep(1)
    body = Body()
    loop = asyncio.get_running_loop()
    for place in range(3):
        loop.call_later(place + 1, body.feed, b"piece %d\n" % place)
    loop.call_later(3.5, body.end)
    return streamed(body)


async def silent(request: Request) -> Reply:
    """Nothing, for ever."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def test_a_reply_is_written_down_with_its_times() -> None:
    found = heard(slow)

    assert (found.status, found.data) == (200, b"piece 0\npiece 1\npiece 2\n")
    assert found.head_at is not None
    assert found.head_at - found.begun == pytest.approx(1)
    assert [at - found.begun for at, _ in found.chunks] == pytest.approx([2, 3, 4])
    assert found.ended - found.begun == pytest.approx(4.5)
    assert (found.left, found.hung, found.broke) == (False, False, None)


def test_the_request_arrives_as_it_was_asked() -> None:
    seen: list[tuple[bytes, bytes, bytes]] = []

    async def handler(request: Request) -> Reply:
        seen.append((request.method, request.target, await request.body.read_all()))
        return static_reply(200, "x", "y")

    found = heard(handler, "{path: '/v1/x?y=1', method: PUT, body: text}")

    assert seen == [(b"PUT", b"/v1/x?y=1", b"text")]
    assert found.status == 200


def test_a_body_that_breaks_is_a_break_for_the_app() -> None:
    async def handler(request: Request) -> Reply:
        body = Body()
        body.feed(b"half")
        asyncio.get_running_loop().call_later(1, body.fail, Failure(Fault.TRUNCATED, "upstream", "cut"))
        return streamed(body)

    found = heard(handler)

    assert found.data == b"half"
    assert found.broke is not None
    assert not found.left


def test_an_app_leaves_when_it_is_told_to() -> None:
    by_time, by_pieces = heard(slow, "{prompt: Hi, leaves: 2500ms}"), heard(slow, "{prompt: Hi, leaves: {chunks: 2}}")

    assert [(each.left, each.hung, each.data) for each in (by_time, by_pieces)] == [
        (True, False, b"piece 0\n"),
        (True, False, b"piece 0\npiece 1\n"),
    ]
    assert by_time.ended - by_time.begun == pytest.approx(2.5)


def test_an_app_that_gets_nothing_waits_as_long_as_sdks_do() -> None:
    found = heard(silent)

    assert (found.status, found.left, found.hung) == (None, True, True)
    assert found.ended - found.begun == pytest.approx(PATIENCE_S)


def test_an_app_that_leaves_ends_the_call() -> None:
    ended: list[str] = []

    async def handler(request: Request) -> Reply:
        try:
            return await silent(request)
        finally:
            ended.append("call")

    heard(handler, "{prompt: Hi, leaves: 1s}")

    assert ended == ["call"]
