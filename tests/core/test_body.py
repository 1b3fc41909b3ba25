from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from proxy.core.body import HIGH, Body
from proxy.core.faults import Abandoned, Failure, Fault
from proxy.core.stage import Stage
from tests.core.stages import CUT, Breaks, Ear, Keep, Producer, Tap, Upper

BUG = ZeroDivisionError("a bug")
WRONG = Failure(Fault.INVALID, "check", "not what was asked")


async def rest_of(body: Body) -> bytes:
    """What a reader gets, up to the end or the break."""
    data = b""
    try:
        while more := await body.read():
            data += more
    except Failure:
        pass
    return data


def sunk(body: Body) -> tuple[list[bytes], asyncio.Task[None]]:
    """A consumer that pipes the body."""
    out: list[bytes] = []
    return out, asyncio.get_running_loop().create_task(body.pipe(out.append))


# A body without stages


async def test_what_is_fed_is_read_in_order_and_the_end_is_empty() -> None:
    body = Body()
    body.feed(b"one")
    body.feed(b"two")
    body.end()

    assert await body.read() == b"onetwo"
    assert await body.read() == b""


async def test_a_reader_waits_for_what_is_to_come() -> None:
    body = Body()
    asyncio.get_running_loop().call_later(60, body.feed, b"late")

    assert await body.read() == b"late"


async def test_read_all_gives_the_whole_body_however_it_was_cut() -> None:
    body = Body()
    loop = asyncio.get_running_loop()
    for i, data in enumerate((b"a", b"bc", b"d")):
        loop.call_later(i + 1, body.feed, data)
    loop.call_later(9, body.end)

    assert await body.read_all() == b"abcd"


async def test_an_empty_chunk_is_not_taken_for_the_end() -> None:
    body = Body()
    body.feed(b"")
    asyncio.get_running_loop().call_later(1, body.feed, b"more")

    assert await body.read() == b"more"


async def test_an_empty_chunk_never_reaches_a_sink() -> None:
    body = Body()
    out, piping = sunk(body)
    await asyncio.sleep(0)
    body.feed(b"")
    body.feed(b"x")
    body.end()
    await piping

    assert out == [b"x"]


async def test_a_broken_body_gives_all_it_had_and_then_raises() -> None:
    body = Body()
    body.feed(b"abc")
    body.fail(CUT)

    assert await body.read() == b"abc"
    with pytest.raises(Failure) as raised:
        await body.read()
    assert raised.value.detail == "cut after 3 bytes"


async def test_the_first_break_is_the_one_that_counts() -> None:
    body = Body()
    body.fail(CUT)
    body.fail(WRONG)

    assert body.error is CUT


async def test_nothing_comes_after_a_break() -> None:
    body = Body()
    out, piping = sunk(body)
    await asyncio.sleep(0)
    body.feed(b"seen")
    body.fail(CUT)
    body.feed(b"unseen")
    body.end([(b"X", b"y")])
    with pytest.raises(Failure):
        await piping

    assert out == [b"seen"]
    assert not body.ended
    assert body.trailers == []


async def test_a_break_after_the_end_is_ignored() -> None:
    body = Body()
    body.end()
    body.fail(CUT)

    assert body.error is None
    assert await body.read() == b""


async def test_trailers_come_with_the_end() -> None:
    body = Body()
    body.end([(b"X-Sum", b"1")])

    assert body.trailers == [(b"X-Sum", b"1")]


@pytest.mark.parametrize("data", [b"abcd", memoryview(b"abcd"), [b"ab", memoryview(b"cd")], [b"", b"abcd"]])
async def test_a_whole_body_is_made_of_one_chunk_or_several(data: bytes | memoryview | list[bytes | memoryview]) -> None:
    body = Body.of(data, [(b"T", b"1")])

    assert body.ended
    assert body.size == 4
    assert body.trailers == [(b"T", b"1")]
    assert await body.read_all() == b"abcd"


def test_chunks_are_taken_uncopied() -> None:
    view = memoryview(b"xxabcd")[2:]
    body = Body.of([b"1", view])
    chunks = body.take_chunks()

    assert chunks[1] is view
    assert body.size == 0
    assert body.take() == b""


def test_what_is_taken_is_bytes_even_where_it_was_a_view() -> None:
    taken = Body.of(memoryview(b"abc")).take()

    assert type(taken) is bytes
    assert taken == b"abc"


def test_a_peek_takes_nothing() -> None:
    body = Body.of([memoryview(b"ab"), b"c"])

    assert body.peek() == b"abc"
    assert body.peek() == b"abc"
    assert body.size == 3
    assert body.take() == b"abc"
    assert body.peek() == b""


# Stages


async def test_stages_are_passed_inside_first() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Tap("inner", heard))
    body.attach(Upper("middle", heard))
    body.attach(Tap("outer", heard))
    body.feed(b"ab")
    body.end()

    assert heard == ["inner ab", "outer AB", "inner end", "middle end", "outer <end>", "outer end"]
    assert await body.read_all() == b"AB<end>"


@pytest.mark.parametrize("moment", ["before", "amid", "ended", "broken"])
async def test_a_stage_sees_the_same_whenever_it_is_attached(moment: str) -> None:
    heard: list[str] = []
    body = Body()
    stage = Upper("stage", heard)
    if moment == "before":
        body.attach(stage)
    body.feed(b"a")
    if moment == "amid":
        body.attach(stage)
    body.feed(b"b")
    if moment == "broken":
        body.fail(CUT)
    else:
        body.end()
    if moment in ("ended", "broken"):
        body.attach(stage)

    assert await rest_of(body) == (b"AB<cut>" if moment == "broken" else b"AB<end>")
    assert heard == ["stage fail truncated" if moment == "broken" else "stage end"]
    assert body.ended == (moment != "broken")


async def test_what_a_stage_holds_is_not_lost_when_it_is_attached_after_a_break() -> None:
    body = Body()
    body.feed(b"abc")
    body.fail(CUT)
    body.attach(Keep())

    assert await rest_of(body) == b"abc"


async def test_a_stage_attached_after_a_break_does_not_tell_the_others_again() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Ear("first", heard))
    body.feed(b"abc")
    body.fail(CUT)
    body.attach(Breaks(WRONG, b"abc", heard=heard))

    assert heard == ["first fail truncated", "breaks fail invalid"]
    assert body.error is CUT


async def test_a_stage_that_refuses_a_whole_body_breaks_it() -> None:
    heard: list[str] = []
    body = Body.of(b"abc")
    body.attach(Ear("first", heard))
    body.attach(Breaks(WRONG, b"abc", heard=heard))

    assert heard == ["first end", "breaks fail invalid"]
    with pytest.raises(Failure, match="not what was asked"):
        await body.read()


async def test_a_stage_is_not_attached_after_the_commit() -> None:
    body = Body()
    _, piping = sunk(body)
    await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="after the commit"):
        body.attach(Ear())
    body.end()
    await piping


async def test_a_stage_without_feed_costs_nothing_per_chunk() -> None:
    body = Body()
    body.attach(Ear())
    body.feed(data := bytes(bytearray(b"the same object")))

    assert body.chunks[0] is data


async def test_a_break_reaches_every_stage_once_inside_first() -> None:
    heard: list[str] = []
    body = Body(producer := Producer())
    for name in ("inner", "middle", "outer"):
        body.attach(Ear(name, heard))
    body.fail(CUT)
    body.close()

    assert heard == ["inner fail truncated", "middle fail truncated", "outer fail truncated"]
    assert producer.asked == ["let go"]


async def test_last_words_pass_the_stages_outside() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Keep("inner", heard))
    body.attach(Upper("outer", heard))
    body.feed(b"ab")
    body.fail(CUT)

    assert await rest_of(body) == b"AB<cut>"


async def test_a_failure_raised_by_a_stage_breaks_the_body_for_all() -> None:
    heard: list[str] = []
    body = Body(producer := Producer())
    body.attach(Ear("inner", heard))
    body.attach(Breaks(WRONG, b"bad", heard=heard))
    body.attach(Ear("outer", heard))
    body.feed(b"good")
    body.feed(b"bad")

    assert body.error is WRONG
    assert heard == ["inner fail invalid", "breaks fail invalid", "outer fail invalid"]
    assert producer.asked == ["let go"]


async def test_what_a_guard_holds_does_not_leave_when_it_breaks_the_body() -> None:
    body = Body()
    body.attach(Breaks(WRONG, b"bad"))
    body.feed(b"secret ")
    body.feed(b"bad")

    assert await rest_of(body) == b""


async def test_a_failure_at_the_end_is_heard_by_the_stages_outside() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Ear("inner", heard))
    body.attach(Breaks(WRONG, None, heard=heard))
    body.attach(Ear("outer", heard))
    body.feed(b"x")
    body.end()

    assert heard == ["inner end", "breaks end", "outer fail invalid"]
    assert body.error is WRONG
    assert not body.ended


async def test_a_failure_over_the_last_bytes_of_an_inner_stage_is_heard_by_who_raised_it() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Upper("inner", heard))
    body.attach(Breaks(WRONG, b"<end>", heard=heard))
    body.attach(Ear("outer", heard))
    body.end()

    assert heard == ["inner end", "breaks fail invalid", "outer fail invalid"]


async def test_a_bug_in_feed_drops_the_stage_and_what_it_held_flows() -> None:
    bugs: list[object] = []
    heard: list[str] = []
    body = Body()
    body.on_bug = lambda what, bug: bugs.append((what, bug))
    body.attach(Tap("inner", heard))
    body.attach(stage := Breaks(BUG, b"2", heard=heard))
    body.attach(Upper("outer", heard))
    body.feed(b"a1")
    body.feed(b"b2")
    body.feed(b"c2")
    body.end()

    assert await body.read_all() == b"A1B2C2<end>"
    assert bugs == [(stage, BUG)]
    assert heard == ["inner a1", "inner b2", "breaks fail invalid", "inner c2", "inner end", "outer end"]


async def test_a_bug_while_what_is_buffered_is_replayed_drops_the_stage() -> None:
    heard: list[str] = []
    body = Body.of(b"abc")
    body.attach(Breaks(BUG, b"abc", heard=heard))

    assert await body.read_all() == b"abc"
    assert heard == ["breaks fail invalid"]


async def test_a_bug_at_the_end_drops_the_stage_and_what_it_held_flows() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Breaks(BUG, None, heard=heard))
    body.attach(Upper("outer", heard))
    body.feed(b"ab")
    body.end()

    assert await body.read_all() == b"AB<end>"
    assert heard == ["breaks end", "outer end"]


async def test_a_bug_over_the_last_bytes_of_an_inner_stage_is_heard_by_the_stage_that_is_dropped() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Upper("inner", heard))
    body.attach(Breaks(BUG, b"<end>", heard=heard))
    body.feed(b"ab")
    body.end()

    assert await body.read_all() == b"AB<end>"
    assert heard == ["inner end", "breaks fail invalid"]


async def test_a_bug_at_the_end_sends_nothing_twice() -> None:
    class Bad(Keep):
        def end(self) -> bytes:
            raise BUG

    body = Body()
    body.attach(Upper("inner"))
    body.attach(Bad())
    body.feed(b"ab")
    body.end()

    assert await body.read_all() == b"AB<end>"


async def test_a_bug_at_the_end_unredacts_nothing() -> None:
    class Redacts(Stage):
        def feed(self, data: bytes) -> bytes:
            return data.replace(b"secret", b"***")

        def end(self) -> bytes:
            raise BUG

    body = Body()
    body.attach(Keep())
    body.attach(Redacts())
    body.feed(b"a secret")
    body.end()

    assert await body.read_all() == b"a ***"


@pytest.mark.parametrize("on", [b"bad", None], ids=["feed", "end"])
async def test_a_bug_in_a_critical_stage_breaks_the_body(on: bytes | None) -> None:
    heard: list[str] = []
    body = Body()
    body.attach(Ear("inner", heard))
    body.attach(Breaks(BUG, on, critical=True, heard=heard))
    body.attach(Ear("outer", heard))
    body.feed(b"held ")
    body.feed(b"bad")
    body.end()

    assert await rest_of(body) == b""
    assert body.error is not None
    assert body.error.fault is Fault.INVALID
    assert "a guard broke" in body.error.detail
    assert heard[-1] == "outer fail invalid"
    assert sorted(line.split()[0] for line in heard) == ["breaks", "inner", "outer"]


async def test_a_bug_in_last_words_hurts_nobody_else() -> None:
    class Bad(Stage):
        def fail(self, failure: Failure) -> bytes:
            raise BUG

    heard: list[str] = []
    body = Body()
    body.attach(Bad())
    body.attach(Ear("outer", heard))
    body.fail(CUT)

    assert heard == ["outer fail truncated"]


@pytest.mark.parametrize(("critical", "left"), [(False, b"abc"), (True, b"")])
async def test_a_bug_over_last_words_loses_them_only_in_a_guard(critical: bool, left: bytes) -> None:
    bugs: list[object] = []
    heard: list[str] = []
    body = Body()
    body.on_bug = lambda what, bug: bugs.append(bug)
    body.attach(Keep("inner", heard))
    body.attach(Breaks(BUG, b"abc", critical=critical, heard=heard))
    body.feed(b"abc")
    body.fail(CUT)

    assert await rest_of(body) == left
    assert heard == ["inner fail truncated", "breaks fail truncated"]
    assert bugs == [BUG]


async def test_a_bug_in_last_words_loses_nothing_that_was_held() -> None:
    class Bad(Keep):
        def fail(self, failure: Failure) -> bytes:
            raise BUG

    body = Body()
    body.attach(Bad())
    body.feed(b"abc")
    body.fail(CUT)

    assert await rest_of(body) == b"abc"


async def test_a_stage_may_break_the_body_from_a_timer() -> None:
    heard: list[str] = []
    body = Body()
    body.attach(stage := Ear("slow", heard))
    asyncio.get_running_loop().call_later(5, lambda: stage.body.fail(Failure(Fault.TIMEOUT, "stage", "nothing for 5 s")))
    with pytest.raises(Failure, match="nothing for 5 s"):
        await body.read()

    assert heard == ["slow fail timeout"]


async def test_a_stage_that_closes_the_body_while_it_feeds_lets_nothing_out() -> None:
    class Closes(Stage):
        def feed(self, data: bytes) -> bytes:
            self.body.close()
            raise WRONG

    body = Body()
    body.attach(Closes())
    body.feed(b"abc")

    assert isinstance(body.error, Abandoned)
    assert body.size == 0


async def test_a_sink_that_closes_the_body_at_its_last_bytes_has_closed_it() -> None:
    whys: list[Failure | None] = []
    body = Body()
    body.attach(Keep())
    body.after(whys.append)
    piping = asyncio.get_running_loop().create_task(body.pipe(lambda data: body.close()))
    await asyncio.sleep(0)
    body.feed(b"abc")
    body.end()
    with pytest.raises(Abandoned):
        await piping

    assert not body.ended
    assert [type(why) for why in whys] == [Abandoned]


# until


async def test_until_waits_for_ready_and_takes_nothing() -> None:
    body = Body()
    tap = Tap()
    body.attach(tap)
    loop = asyncio.get_running_loop()
    for i, data in enumerate((b"a", b"b", b"c")):
        loop.call_later(i + 1, body.feed, data)
    await body.until(lambda: "ear b" in tap.heard, 1000)

    assert body.take() == b"ab"


async def test_until_sees_ready_although_a_stage_holds_everything_back() -> None:
    body = Body()
    keep = Keep()
    body.attach(keep)
    asyncio.get_running_loop().call_later(1, body.feed, b"abc")
    await body.until(lambda: len(keep.kept) == 3, 1000)

    assert body.size == 0


@pytest.mark.parametrize("sizes", [[4], [2, 2], [1, 1, 1, 9]])
async def test_until_returns_at_its_limit(sizes: list[int]) -> None:
    body = Body()
    for i, size in enumerate(sizes):
        asyncio.get_running_loop().call_later(i + 1, body.feed, bytes(size))
    await body.until(None, 4)

    assert body.size == sum(sizes)


async def test_until_returns_at_the_end() -> None:
    body = Body()
    asyncio.get_running_loop().call_later(1, body.end)
    await body.until(lambda: False, 4)

    assert body.ended


async def test_a_known_break_wins_over_ready_and_closes_the_body() -> None:
    body = Body()
    body.feed(b"abc")
    body.fail(CUT)
    with pytest.raises(Failure, match="cut after"):
        await body.until(lambda: True, 1)

    assert body.closed


async def test_a_break_wins_over_a_ready_that_came_first_but_was_not_yet_acted_on() -> None:
    body = Body()

    def both() -> None:
        body.feed(b"abc")
        body.fail(CUT)

    asyncio.get_running_loop().call_later(1, both)
    with pytest.raises(Failure, match="cut after"):
        await body.until(lambda: bool(body.size), 1000)


async def test_a_cancelled_until_closes_the_body() -> None:
    body = Body(producer := Producer())
    heard: list[str] = []
    body.attach(Ear("stage", heard))
    waiting = asyncio.get_running_loop().create_task(body.until(None, 10))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert body.closed
    assert producer.asked == ["let go"]
    assert heard == ["stage fail truncated"]


async def test_a_ready_that_raises_hurts_who_waits_and_not_the_producer() -> None:
    body = Body()

    def ready() -> bool:
        if body.size:
            raise BUG
        return False

    waiting = asyncio.get_running_loop().create_task(body.until(ready, 100))
    await asyncio.sleep(1)
    body.feed(b"abc")
    with pytest.raises(ZeroDivisionError):
        await waiting

    assert body.closed


async def test_until_lifts_the_high_water_mark_and_puts_it_back() -> None:
    body = Body(producer := Producer())
    waiting = asyncio.get_running_loop().create_task(body.until(None, 3 * HIGH))
    await asyncio.sleep(1)
    body.feed(bytes(2 * HIGH))
    lifted = list(producer.asked)
    body.feed(bytes(HIGH))
    await waiting

    assert lifted == []
    assert producer.asked == ["stop"]
    assert body.paused


async def test_until_lets_a_producer_go_on_that_was_held_back() -> None:
    body = Body(producer := Producer())
    body.feed(bytes(HIGH + 1))
    waiting = asyncio.get_running_loop().create_task(body.until(None, 2 * HIGH))
    await asyncio.sleep(1)
    body.end()
    await waiting

    assert producer.asked == ["stop", "go on"]


# Back-pressure


async def test_a_producer_is_held_above_the_mark_and_released_by_a_reader() -> None:
    body = Body(producer := Producer())
    body.feed(bytes(HIGH))
    at_the_mark = list(producer.asked)
    body.feed(b"x")
    body.feed(b"y")
    await asyncio.sleep(7)
    await body.read()

    assert at_the_mark == []
    assert producer.asked == ["stop", "go on"]
    assert body.resumed_at == asyncio.get_running_loop().time()


async def test_taking_chunks_releases_too() -> None:
    body = Body(producer := Producer())
    body.feed(bytes(HIGH + 1))
    body.take_chunks()

    assert producer.asked == ["stop", "go on"]


async def test_a_body_that_ends_while_paused_releases_its_producer() -> None:
    body = Body(producer := Producer())
    body.feed(bytes(HIGH + 1))
    body.end()

    assert producer.asked == ["stop", "go on"]
    assert not body.paused
    assert len(await body.read_all()) == HIGH + 1


async def test_a_body_that_breaks_while_paused_is_not_paused_any_more() -> None:
    body = Body(producer := Producer())
    body.feed(bytes(HIGH + 1))
    body.fail(CUT)

    assert producer.asked == ["stop", "let go"]
    assert not body.paused


async def test_a_stage_that_swallows_a_full_buffer_lets_the_producer_go_on() -> None:
    body = Body(producer := Producer())
    body.feed(bytes(HIGH + 1))
    body.attach(Keep())

    assert producer.asked == ["stop", "go on"]


async def test_a_consumer_may_hold_and_release_by_itself() -> None:
    body = Body(producer := Producer())
    _, piping = sunk(body)
    await asyncio.sleep(0)
    body.hold()
    body.hold()
    body.release()
    body.release()
    body.end()
    await piping

    assert producer.asked == ["stop", "go on"]


async def test_an_empty_take_does_not_undo_a_hold() -> None:
    body = Body(producer := Producer())
    body.hold()
    body.take()

    assert producer.asked == ["stop"]


def test_a_whole_body_holds_nobody() -> None:
    body = Body.of(bytes(2 * HIGH))
    body.hold()

    assert not body.paused


# pipe


async def test_a_pipe_gives_what_is_there_and_then_each_chunk_as_it_comes() -> None:
    body = Body()
    body.feed(b"a")
    body.feed(b"b")
    out, piping = sunk(body)
    await asyncio.sleep(0)
    body.feed(b"c")
    body.feed(b"d")
    body.end()
    await piping

    assert out == [b"ab", b"c", b"d"]


async def test_a_pipe_raises_after_the_last_byte() -> None:
    body = Body()
    body.attach(Upper())
    out, piping = sunk(body)
    await asyncio.sleep(0)
    body.feed(b"a")
    body.fail(CUT)
    with pytest.raises(Failure, match="cut after"):
        await piping

    assert out == [b"A", b"<cut>"]


async def test_a_pipe_of_a_broken_body_still_gives_what_there_was() -> None:
    body = Body()
    body.feed(b"abc")
    body.fail(CUT)
    out, piping = sunk(body)
    with pytest.raises(Failure, match="cut after"):
        await piping

    assert out == [b"abc"]


async def test_a_producer_that_feeds_while_it_is_released_keeps_the_order() -> None:
    class Eager(Producer):
        def body_drained(self) -> None:
            body.feed(b"second")
            body.end()

    body = Body(Eager())
    body.feed(b"x" * (HIGH + 1))
    out, piping = sunk(body)
    await piping

    assert out == [b"x" * (HIGH + 1), b"second"]


async def test_bytes_that_a_stage_gives_at_the_end_reach_the_sink() -> None:
    body = Body()
    body.attach(Keep())
    out, piping = sunk(body)
    await asyncio.sleep(0)
    body.feed(b"a")
    body.feed(b"b")
    body.end()
    await piping

    assert out == [b"ab"]


# close and after


async def test_close_before_the_end_stops_the_source_now_and_once() -> None:
    heard: list[str] = []
    whys: list[Failure | None] = []
    body = Body(producer := Producer())
    body.attach(Ear("stage", heard))
    body.after(whys.append)
    body.close()
    body.close()

    assert producer.asked == ["let go"]
    assert heard == ["stage fail truncated"]
    assert [type(why) for why in whys] == [Abandoned]


async def test_close_after_the_end_asks_nothing_of_the_source() -> None:
    body = Body(producer := Producer())
    body.end()
    body.close()

    assert producer.asked == []


async def test_after_hears_none_when_the_consumer_has_it_all() -> None:
    whys: list[Failure | None] = []
    body = Body()
    body.after(whys.append)
    body.feed(b"abc")
    body.end()
    await body.read_all()
    before = list(whys)
    body.close()

    assert before == []
    assert whys == [None]


async def test_after_hears_that_a_whole_body_was_not_read() -> None:
    whys: list[Failure | None] = []
    body = Body.of(b"abc")
    body.after(whys.append)
    body.close()

    assert [type(why) for why in whys] == [Abandoned]


async def test_after_hears_the_break() -> None:
    whys: list[Failure | None] = []
    body = Body()
    body.after(whys.append)
    body.fail(CUT)
    body.close()

    assert [why.detail for why in whys if why] == ["cut after 3 bytes"]


async def test_after_a_close_it_is_told_at_once() -> None:
    whys: list[Failure | None] = []
    left, done = Body(), Body.of()
    left.close()
    done.close()
    left.after(whys.append)
    done.after(whys.append)

    assert [type(why) for why in whys] == [Abandoned, type(None)]


async def test_one_that_breaks_after_a_close_does_not_silence_the_others() -> None:
    def breaks(why: Failure | None) -> None:
        raise BUG

    whys: list[Failure | None] = []
    bugs: list[object] = []
    body = Body.of()
    body.on_bug = lambda what, bug: bugs.append((what, bug))
    body.after(breaks)
    body.after(whys.append)
    body.close()

    assert whys == [None]
    assert bugs == [(breaks, BUG)]


async def test_last_words_of_what_nobody_wants_go_nowhere() -> None:
    body = Body()
    body.attach(Upper())
    out, piping = sunk(body)
    await asyncio.sleep(0)
    body.close()
    with pytest.raises(Abandoned):
        await piping

    assert out == []


async def test_a_reader_of_a_closed_body_hears_that_it_was_abandoned() -> None:
    body = Body()
    reading = asyncio.get_running_loop().create_task(body.read())
    await asyncio.sleep(1)
    body.close()

    with pytest.raises(Abandoned):
        await reading


# A finished call leaves no reference cycles


async def _clean() -> None:
    body = Body(Producer())
    body.attach(Tap())
    body.feed(b"abc")
    body.end()
    await body.read_all()
    body.close()


async def _abandoned() -> None:
    body = Body(Producer())
    body.attach(Keep())
    body.after(lambda why: body.close())
    body.feed(b"abc")
    body.close()


async def _broken_while_piped() -> None:
    body = Body(Producer())
    body.attach(Tap())
    asyncio.get_running_loop().call_later(1, body.fail, Failure(Fault.TRUNCATED, "upstream", "cut"))
    try:
        await body.pipe(lambda data: None)
    except Failure:
        body.close()


async def _refused_by_a_stage() -> None:
    class Refuses(Stage):
        def feed(self, data: bytes) -> bytes:
            raise Failure(Fault.INVALID, "check", "no")

    body = Body(Producer())
    body.attach(Refuses())
    asyncio.get_running_loop().call_later(1, body.feed, b"abc")
    try:
        await body.until(None, 10)
    except Failure:
        body.close()


@pytest.mark.parametrize("use", [_clean, _abandoned, _broken_while_piped, _refused_by_a_stage])
async def test_a_finished_body_leaves_no_reference_cycle(use: Callable[[], object]) -> None:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await use()  # type: ignore[misc]
        await asyncio.sleep(0)
        gc.collect()
        left = [thing for thing in gc.garbage if isinstance(thing, (Body, Stage, Failure, Producer))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []
