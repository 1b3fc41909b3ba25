from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from proxy.core.body import Body
from proxy.core.call import Allowance, Call, Target
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.service import Layer, Service, compose, shielded
from tests.core.stages import Producer

BUG = ZeroDivisionError("a bug")
FAILURE = Failure(Fault.CONNECT, "openai", "refused")


def a_call() -> Call:
    request = Request(b"POST", b"/v1/chat/completions", 1, [], Framing.NONE, 0, Body.of())
    return Call("c1", "chat", request, Target("openai"), Journal(lambda: 0.0), Allowance())


def a_reply(status: int = 200) -> Reply:
    return Reply(status, b"", [], Framing.CHUNKED, Body(Producer()))


class Script:
    """An innermost service that answers, call by call, with a reply or an exception; the last repeats."""

    def __init__(self, *answers: Reply | BaseException) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        answer = self.answers[min(len(self.calls), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Does:
    """A layer made of a function."""

    def __init__(self, work: Callable[[Call, Service], Awaitable[Reply]]) -> None:
        self.work = work

    async def __call__(self, call: Call, inner: Service) -> Reply:
        return await self.work(call, inner)


class Reports:
    def __init__(self) -> None:
        self.all: list[tuple[str, Exception]] = []

    def __call__(self, name: str, bug: Exception) -> None:
        self.all.append((name, bug))


def layer_that(raises: BaseException, after: str) -> Layer:
    """A layer that raises: before `inner`, after it, or after it closed the reply."""

    async def work(call: Call, inner: Service) -> Reply:
        if after == "nothing":
            raise raises
        reply = await inner(call.derive(endpoint="changed"))
        if after == "closing":
            reply.close()
        raise raises

    return Does(work)


async def test_a_layer_that_breaks_before_inner_is_skipped_with_the_call_it_received() -> None:
    reports = Reports()
    inner = Script(reply := a_reply())
    call = a_call()

    assert await shielded(layer_that(BUG, "nothing"), inner, reports)(call) is reply
    assert inner.calls == [call]
    assert reports.all == [("Does", BUG)]
    assert [(entry.kind, entry.what) for entry in call.journal.entries] == [("layer_fault", {"layer": "Does", "why": "ZeroDivisionError"})]


async def test_a_layer_that_breaks_after_inner_gives_the_reply_it_had_and_nothing_is_sent_twice() -> None:
    reports = Reports()
    inner = Script(reply := a_reply())

    assert await shielded(layer_that(BUG, "inner"), inner, reports)(a_call()) is reply
    assert len(inner.calls) == 1
    assert not reply.body.closed
    assert reports.all == [("Does", BUG)]


async def test_a_layer_that_breaks_after_it_closed_the_reply_is_a_failure() -> None:
    inner = Script(a_reply())
    with pytest.raises(Failure) as raised:
        await shielded(layer_that(BUG, "closing"), inner, Reports())(a_call())

    assert raised.value.fault is Fault.INVALID
    assert raised.value.where == "Does"
    assert len(inner.calls) == 1


async def test_a_layer_that_breaks_after_inner_failed_passes_that_failure_on() -> None:
    async def work(call: Call, inner: Service) -> Reply:
        try:
            return await inner(call)
        except Failure:
            raise BUG from None

    with pytest.raises(Failure) as raised:
        await shielded(Does(work), Script(FAILURE), Reports())(a_call())

    assert raised.value is FAILURE


async def test_a_layer_that_breaks_after_inner_refused_passes_that_refusal_on() -> None:
    async def work(call: Call, inner: Service) -> Reply:
        try:
            return await inner(call)
        except Refusal:
            raise BUG from None

    with pytest.raises(Refusal, match="no"):
        await shielded(Does(work), Script(Refusal(403, "policy_refused", "no")), Reports())(a_call())


async def test_an_open_reply_is_returned_although_a_later_try_failed() -> None:
    async def work(call: Call, inner: Service) -> Reply:
        await inner(call)
        try:
            await inner(call)
        except Failure:
            raise BUG from None
        raise AssertionError

    first = a_reply()

    assert await shielded(Does(work), Script(first, FAILURE), Reports())(a_call()) is first


async def test_of_several_open_replies_one_is_returned_and_the_others_are_closed() -> None:
    async def work(call: Call, inner: Service) -> Reply:
        for _ in range(3):
            await inner(call)
        raise BUG

    replies = [a_reply() for _ in range(3)]
    got = await shielded(Does(work), Script(*replies), Reports())(a_call())

    assert not got.body.closed
    assert [reply for reply in replies if not reply.body.closed] == [got]


async def test_the_last_open_reply_is_returned_where_earlier_ones_were_closed() -> None:
    async def work(call: Call, inner: Service) -> Reply:
        (await inner(call)).close()
        await inner(call)
        raise BUG

    replies = [a_reply(500), a_reply(200)]

    assert (await shielded(Does(work), Script(*replies), Reports())(a_call())).status == 200


async def test_a_reply_that_comes_after_its_layer_broke_is_closed() -> None:
    tasks: list[asyncio.Task[Reply]] = []
    late = a_reply()

    async def slow(call: Call) -> Reply:
        await asyncio.sleep(5)
        return late

    async def work(call: Call, inner: Service) -> Reply:
        tasks.append(asyncio.get_running_loop().create_task(inner(call)))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        raise BUG

    with pytest.raises(Failure):
        await shielded(Does(work), slow, Reports())(a_call())
    with pytest.raises(Failure):
        await tasks[0]

    assert late.body.closed


@pytest.mark.parametrize("after", ["nothing", "inner"])
@pytest.mark.parametrize("raises", [FAILURE, Refusal(403, "policy_refused", "no"), asyncio.CancelledError(), KeyboardInterrupt()])
async def test_what_a_layer_means_to_raise_passes(raises: BaseException, after: str) -> None:
    reports = Reports()
    with pytest.raises(type(raises)) as raised:
        await shielded(layer_that(raises, after), Script(a_reply()), reports)(a_call())

    assert raised.value is raises
    assert reports.all == []


async def test_a_cancelled_call_is_cancelled_all_the_way_in() -> None:
    seen: list[str] = []

    async def never(call: Call) -> Reply:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        raise AssertionError

    async def passes(call: Call, inner: Service) -> Reply:
        return await inner(call)

    reports = Reports()
    task: asyncio.Task[Reply] = asyncio.get_running_loop().create_task(compose([Does(passes), Does(passes)], never, reports)(a_call()))  # type: ignore[arg-type]
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == ["cancelled"]
    assert reports.all == []


async def test_a_bug_further_in_is_the_inner_shields_and_not_reported_twice() -> None:
    async def passes(call: Call, inner: Service) -> Reply:
        return await inner(call)

    reports = Reports()
    reply = a_reply()

    assert await compose([Does(passes), layer_that(BUG, "nothing")], Script(reply), reports)(a_call()) is reply
    assert len(reports.all) == 1


async def test_layers_are_passed_outermost_first() -> None:
    order: list[str] = []

    def named(name: str) -> Layer:
        async def work(call: Call, inner: Service) -> Reply:
            order.append(f"{name} in")
            reply = await inner(call)
            order.append(f"{name} out")
            return reply

        return Does(work)

    await compose([named("outer"), named("inner")], Script(a_reply()), Reports())(a_call())

    assert order == ["outer in", "inner in", "inner out", "outer out"]


async def test_a_layer_may_answer_by_itself() -> None:
    async def answers(call: Call, inner: Service) -> Reply:
        return reply

    reply = a_reply()
    inner = Script(FAILURE)

    assert await compose([Does(answers)], inner, Reports())(a_call()) is reply
    assert inner.calls == []


async def test_no_layers_cost_nothing() -> None:
    inner = Script(a_reply())

    assert compose([], inner, Reports()) is inner


async def _fails(call: Call) -> Reply:
    raise Failure(Fault.CONNECT, "openai", "refused")


async def _retries(call: Call, inner: Service) -> Reply:
    try:
        return await inner(call)
    except Failure:
        return Reply(502, b"", [], Framing.LENGTH, Body.of())


async def _lets_it_pass(call: Call, inner: Service) -> Reply:
    return await inner(call)


async def _breaks_on_it(call: Call, inner: Service) -> Reply:
    try:
        return await inner(call)
    except Failure:
        raise ZeroDivisionError from None


@pytest.mark.parametrize("work", [_retries, _lets_it_pass, _breaks_on_it])
async def test_a_call_that_failed_leaves_no_reference_cycle(work: Callable[[Call, Service], Awaitable[Reply]]) -> None:
    service = compose([Does(work), Does(work)], _fails, lambda name, bug: None)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        with suppress(Failure):
            (await service(a_call())).close()
        gc.collect()
        left = [thing for thing in gc.garbage if isinstance(thing, (Failure, Call, Reply, Body)) or "Inner" in type(thing).__name__]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []
