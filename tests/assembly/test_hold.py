from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.assembly.hold import STEP_BYTES, Holds, OverLimit
from proxy.core.body import HIGH, Body
from proxy.core.faults import Failure, Fault
from proxy.core.request import Framing, Request

MIB = 1024 * 1024
A_CALL = f"the body is over the hold limit of {2} MiB a call"
A_PROCESS = f"the bodies of all calls are at the hold limit of {4} MiB a process"


class Source:
    """A producer that says whether it was held back."""

    def __init__(self) -> None:
        self.held = False
        self.gone = False

    def body_full(self) -> None:
        self.held = True

    def body_drained(self) -> None:
        self.held = False

    def let_go(self, body: Body) -> None:
        self.gone = True


def request_of(body: Body, length: int | None = None) -> Request:
    framing = Framing.CHUNKED if length is None else Framing.LENGTH
    return Request(b"POST", b"/v1/chat/completions", 1, [], framing, length or 0, body)


def holds() -> Holds:
    return Holds(2 * MIB, 4 * MIB)


async def started(work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    return task


async def test_a_body_that_is_here_is_taken_at_once() -> None:
    it = holds()
    body = Body.of(b"abc")

    assert await it.take(request_of(body, 3)) == (b"abc", 3)
    assert it.held_bytes == 3
    assert body.size == 0

    it.give_back(3)

    assert it.held_bytes == 0


async def test_an_empty_body_is_held_as_any() -> None:
    it = holds()

    assert await it.take(request_of(Body.of(b""))) == (b"", 0)
    assert it.held_bytes == 0


async def test_a_body_that_comes_slowly_is_waited_for() -> None:
    it, body = holds(), Body()
    taking = await started(it.take(request_of(body)))
    body.feed(b"a")
    await asyncio.sleep(0)
    assert not taking.done()

    body.feed(b"b")
    body.end()
    assert await taking == (b"ab", 2)
    assert it.held_bytes == 2


async def test_an_announced_body_claims_its_room_before_it_is_here() -> None:
    it, body = holds(), Body()
    taking = await started(it.take(request_of(body, 2 * MIB)))

    assert it.held_bytes == 2 * MIB
    body.feed(b"x" * 2 * MIB)
    body.end()
    data, size = await taking
    assert (len(data), size, it.held_bytes) == (2 * MIB, 2 * MIB, 2 * MIB)


async def test_a_body_of_no_stated_length_claims_room_step_by_step() -> None:
    it, body = holds(), Body()
    taking = await started(it.take(request_of(body)))
    assert it.held_bytes == STEP_BYTES

    body.feed(b"x" * STEP_BYTES)
    await asyncio.sleep(0)
    assert it.held_bytes == 2 * STEP_BYTES

    body.end()
    assert (await taking)[1] == it.held_bytes == STEP_BYTES


async def test_while_it_is_waited_for_its_source_is_not_held_back() -> None:
    source = Source()
    it, body = holds(), Body(source)
    taking = await started(it.take(request_of(body, MIB + MIB // 2)))
    body.feed(b"x" * MIB)

    assert not source.held
    assert body.size > HIGH
    body.feed(b"x" * (MIB // 2))
    body.end()
    await taking


@pytest.mark.parametrize("over", [1, MIB])
async def test_an_announced_length_over_the_limit_is_not_waited_for(over: int) -> None:
    it, body = holds(), Body()

    with pytest.raises(OverLimit) as caught:
        await it.take(request_of(body, 2 * MIB + over))
    assert str(caught.value) == A_CALL
    assert it.held_bytes == 0
    assert not body.closed


async def test_a_body_of_exactly_the_limit_is_held() -> None:
    it, body = holds(), Body()
    taking = await started(it.take(request_of(body)))
    body.feed(b"x" * 2 * MIB)
    await asyncio.sleep(0)
    body.end()

    assert (await taking)[1] == it.held_bytes == 2 * MIB


@pytest.mark.parametrize("over", [1, MIB])
async def test_what_goes_over_the_limit_on_its_way_is_left_in_place(over: int) -> None:
    source = Source()
    it, body = holds(), Body(source)
    taking = await started(it.take(request_of(body)))
    body.feed(b"x" * (2 * MIB + over))

    with pytest.raises(OverLimit) as caught:
        await taking
    assert str(caught.value) == A_CALL
    assert (body.size, body.closed, it.held_bytes) == (2 * MIB + over, False, 0)
    assert not source.gone
    body.feed(b"x")
    assert source.held


async def test_a_whole_body_over_the_limit_is_left_in_place() -> None:
    it, body = holds(), Body.of(b"x" * (2 * MIB + 1))

    with pytest.raises(OverLimit, match="a call"):
        await it.take(request_of(body, 2 * MIB + 1))
    assert body.size == 2 * MIB + 1


async def test_all_calls_together_have_a_limit() -> None:
    it = holds()
    for _ in (1, 2):
        await it.take(request_of(Body.of(b"x" * (MIB + MIB // 2)), 1))

    with pytest.raises(OverLimit) as caught:
        await it.take(request_of(Body.of(b"x" * (MIB + 1)), MIB + 1))
    assert str(caught.value) == A_PROCESS
    with pytest.raises(OverLimit) as caught:
        await it.take(request_of(Body(), MIB + 1))
    assert str(caught.value) == A_PROCESS
    assert it.held_bytes == 3 * MIB


async def test_uploads_under_way_count_for_each_other() -> None:
    it, bodies = holds(), [Body(), Body()]
    taking = [await started(it.take(request_of(body, MIB + MIB // 2))) for body in bodies]

    with pytest.raises(OverLimit):
        await it.take(request_of(Body(), MIB + 1))
    for body in bodies:
        body.feed(b"x")
        body.end()
    assert [size for _, size in await asyncio.gather(*taking)] == [1, 1]
    assert it.held_bytes == 2


async def test_a_body_that_breaks_raises_its_failure_and_gives_room_back() -> None:
    it, body = holds(), Body()
    taking = await started(it.take(request_of(body)))
    body.fail(Failure(Fault.INVALID, "app", "left"))

    with pytest.raises(Failure, match="left"):
        await taking
    assert it.held_bytes == 0


async def test_an_app_that_leaves_gives_room_back() -> None:
    source = Source()
    it, body = holds(), Body(source)
    taking = await started(it.take(request_of(body)))
    taking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await taking
    assert it.held_bytes == 0
    assert source.gone


async def test_a_waiting_sender_is_told_to_go_on_but_not_over_the_limit() -> None:
    told: list[int] = []
    it, body = holds(), Body()
    for length in (3 * MIB, 2):
        request = request_of(body, length)
        request.expect = True
        request.interim = lambda status, reason, headers: told.append(status)
        if length > 2 * MIB:
            with pytest.raises(OverLimit):
                await it.take(request)
            assert told == []
        else:
            taking = await started(it.take(request))
            assert told == [100]
            body.feed(b"{}")
            body.end()
            await taking
