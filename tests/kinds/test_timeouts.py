from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.journal import Entry
from proxy.core.reply import Reply
from proxy.core.service import Layer, Service, compose
from proxy.core.virtual import run
from proxy.kinds.prime import Prime
from proxy.kinds.timeouts import EXCHANGE, KIND
from proxy.policy.kind import Site
from proxy.policy.timeouts_spec import FIRST_TOKEN_S, PER_TRY_S, STREAM_IDLE_S, TOTAL_S, TimeoutsSpec
from tests.scripted import (
    DONE,
    ROLE,
    SILENT,
    SSE,
    STOP,
    Bugs,
    Ending,
    Received,
    Script,
    Step,
    Upstream,
    a_call,
    chat,
    chat_stream,
    drained,
    event,
    head,
    stream,
)

KEEPALIVE = b": keepalive\n\n"
TICK_S = 0.021  # an alarm may ring so late


@dataclass
class Got:
    """What came of a call, and when."""

    failure: Failure | None = None
    received: Received | None = None
    took_s: float = 0.0
    entries: list[Entry] = field(default_factory=list)
    call: Call | None = None

    @property
    def which(self) -> list[object]:
        return [entry.what["which"] for entry in self.entries if entry.kind == "timeout"]

    @property
    def broke(self) -> Failure | None:
        """Why there is no reply, or no whole one."""
        return self.failure or (self.received.failure if self.received is not None else None)


def layers(spec: dict[str, Any], primed: bool = True) -> list[Layer]:
    clock = LoopClock(asyncio.get_running_loop())
    read = TimeoutsSpec.read(spec)
    site = Site("slow", KIND.fields(read), clock)
    made: list[Layer] = [KIND.enforce(read, site), EXCHANGE.enforce(read, site)]
    return [*made, Prime(clock)] if primed else made


def played(spec: dict[str, Any], script: Script, streams: bool = False, primed: bool = True, read: Callable[[Reply], Any] = drained) -> Got:
    """One call over a played upstream, in virtual time."""

    async def main() -> Got:
        loop = asyncio.get_running_loop()
        call = a_call({"model": "gpt-4o", "stream": streams, "messages": []})
        got, begun = Got(call=call), loop.time()
        with Upstream(openai=[script]) as upstream:
            service = compose(layers(spec, primed), upstream, Bugs())
            try:
                got.received = await read(await service(call))
            except Failure as failure:
                got.failure = failure.bare()
            got.took_s = loop.time() - begun
        got.entries = call.journal.entries
        return got

    return run(main())


def at(got: Got, when_s: float) -> bool:
    return when_s <= got.took_s <= when_s + 2 * TICK_S


def slowly(steps: Sequence[Step | str], gap_s: float) -> Script:
    return stream(ROLE, *(each for step in steps for each in (gap_s, step)), STOP, DONE, Ending.END)


def test_a_silent_upstream_is_left_at_the_limit_of_a_try() -> None:
    got = played({"per_try": "60s"}, SILENT)

    assert got.failure is not None
    assert (got.failure.fault, got.failure.where) == (Fault.TIMEOUT, "openai")
    assert got.failure.told == "openai: no complete reply within 1m (per_try)"
    assert not got.failure.spent, "another try, or the SDK's, may go well"
    assert at(got, 60)
    assert [(entry.policy, entry.acted, entry.what) for entry in got.entries if entry.kind == "timeout"] == [
        ("slow", True, {"which": "per_try", "after_ms": 60_000, "upstream": "openai"})
    ]


@pytest.mark.parametrize(
    "script",
    [
        SILENT,
        stream(),
        stream(ROLE),
        stream(*[each for _ in range(40) for each in (1.0, KEEPALIVE)]),
        stream(ROLE, *[each for _ in range(40) for each in (1.0, event(""))]),
        stream(ROLE, b'data: {"id": "chatcmpl-1", "choices": [{"index": 0, "del'),
    ],
    ids=["no head", "no event", "a role alone", "keepalives", "empty texts", "half an event"],
)
def test_a_stream_without_content_is_left_at_the_first_token_limit(script: Script) -> None:
    got = played({"first_token": "30s", "per_try": "60s"}, script, streams=True)

    assert got.failure is not None
    assert got.failure.told == "openai: no content within 30s (first_token)"
    assert at(got, 30)
    assert got.which == ["first_token"]


def test_the_shorter_of_first_token_and_per_try_ends_a_stream_and_first_token_no_plain_reply() -> None:
    both = played({"first_token": "50s", "per_try": "20s"}, SILENT, streams=True)
    plain = played({"first_token": "10s", "per_try": "20s"}, (15.0, *chat("late")))

    assert (both.which, at(both, 20)) == (["per_try"], True)
    assert plain.received is not None
    assert plain.received.text == "late"


def test_a_plain_reply_that_stalls_in_its_body_is_a_failure_too() -> None:
    got = played({"per_try": "20s"}, (1.0, *chat("x")[:1], b'{"id": "chatcmpl', 500.0, Ending.CUT))

    assert got.failure is not None
    assert at(got, 20)


def test_a_reply_that_was_given_before_its_end_is_ended_by_per_try() -> None:
    got = played({"per_try": "20s"}, (head(200, [(b"Content-Type", b"audio/mpeg")]), b"ID3", 500.0, Ending.END), primed=False)

    assert got.received is not None
    assert got.received.failure is not None
    assert (got.received.data, got.received.failure.fault) == (b"ID3", Fault.TIMEOUT)
    assert at(got, 20)
    assert got.which == ["per_try"]


def test_once_a_stream_has_begun_only_its_silences_count() -> None:
    got = played({"first_token": "5s", "per_try": "10s", "stream_idle": "8s"}, slowly(["a"] + ["b"] * 9, 4.0), streams=True)

    assert got.received is not None
    assert got.received.failure is None
    assert got.received.text == "a" + "b" * 9
    assert got.which == []


def test_a_stream_that_falls_silent_ends_with_a_word_that_its_sdk_raises_at() -> None:
    replies: list[Reply] = []

    async def read(reply: Reply) -> Received:
        replies.append(reply)
        return await drained(reply)

    got = played({"stream_idle": "30s"}, stream(ROLE, "Hel", 2.0, "lo", 900.0, STOP), streams=True, read=read)

    assert got.received is not None
    assert got.received.failure is not None
    assert got.received.failure.told == "openai: no content for 30s (stream_idle)"
    assert at(got, 32)
    words = replies[0].last_words
    assert words is not None
    assert b"no content for 30s" in (words(got.received.failure) or b"")


def test_keepalives_do_not_keep_a_stream_alive() -> None:
    got = played({"stream_idle": "30s"}, stream(ROLE, "Hel", *[each for _ in range(90) for each in (1.0, KEEPALIVE)]), streams=True)

    assert got.which == ["stream_idle"]
    assert at(got, 30)


def test_time_in_which_the_app_is_slow_is_nobodys_silence() -> None:
    async def slow(reply: Reply) -> Received:
        await asyncio.sleep(500)
        return await drained(reply)

    big = event("x" * 400_000)
    got = played(
        {"stream_idle": "30s", "min_rate": {"events": 1}},
        stream(ROLE, "a", big, 0.1, big, 1.0, STOP, DONE, Ending.END),
        streams=True,
        read=slow,
    )

    assert got.received is not None
    assert got.received.failure is None
    assert got.which == []


def test_a_stream_that_stalls_after_the_app_has_caught_up_is_ended_all_the_same() -> None:
    async def slow(reply: Reply) -> Received:
        await asyncio.sleep(100)
        return await drained(reply)

    big = event("x" * 400_000)
    got = played({"stream_idle": "30s"}, stream(ROLE, "a", big, 900.0, STOP), streams=True, read=slow)

    assert got.which == ["stream_idle"]
    assert at(got, 130)


def test_an_event_stream_that_nobody_reads_lives_by_its_bytes() -> None:
    steps = [each for _ in range(20) for each in (4.0, b"\x8b\x02")]
    alive = played({"stream_idle": "5s"}, (head(200, SSE), *steps, Ending.END), streams=True, primed=False)
    dead = played({"stream_idle": "5s"}, (head(200, SSE), *steps, 9.0, Ending.END), streams=True, primed=False)

    assert alive.broke is None
    assert dead.which == ["stream_idle"]


def test_a_stream_that_drips_is_ended_and_one_that_does_not_is_not() -> None:
    spec = {"min_rate": {"events": 5, "over": "10s"}}
    drips = played(spec, slowly(["a"] * 30, 4.0), streams=True)
    flows = played(spec, slowly(["a"] * 60, 1.0), streams=True)

    assert drips.received is not None
    assert drips.received.failure is not None
    assert drips.received.failure.told == "openai: 4 events in 10s, fewer than 5 (min_rate)"
    assert at(drips, 14)
    assert flows.broke is None


def test_keepalives_are_no_events() -> None:
    steps: list[Step | str] = [each for _ in range(60) for each in (0.2, KEEPALIVE)]
    got = played({"min_rate": {"events": 3, "over": "10s"}}, stream(ROLE, "a", *steps, STOP, DONE, Ending.END), streams=True)

    assert got.which == ["min_rate"]


def test_total_is_over_every_wait_and_the_sdk_may_not_double_it() -> None:
    got = played({"total": "45s"}, SILENT)

    assert got.failure is not None
    assert got.failure.told == "openai: not all of the answer within 45s (total)"
    assert got.failure.spent
    assert at(got, 45)
    assert got.which == ["total"]


@pytest.mark.parametrize("streams", [False, True])
def test_total_ends_a_body_too(streams: bool) -> None:
    script = slowly(["a"] * 60, 1.0) if streams else (*chat("x")[:1], b"{", *[each for _ in range(60) for each in (1.0, b" ")], Ending.END)
    got = played({"total": "10s"}, script, streams, primed=streams)

    assert got.received is not None
    assert got.received.failure is not None
    assert got.received.failure.fault is Fault.TIMEOUT
    assert at(got, 10)
    assert got.which == ["total"]


def test_the_layers_below_know_the_deadline_and_how_long_a_connection_may_take() -> None:
    seen: list[Call] = []

    async def main(spec: dict[str, Any], outer: float | None = None) -> None:
        call = a_call({"model": "gpt-4o", "messages": []})
        call.request.received = 999.0  # its head was here a second ago
        call.deadline = outer
        with Upstream(openai=[chat("x")]) as upstream:
            await drained(await compose(layers(spec), upstream, Bugs())(call))
            seen.append(upstream.asked[0].call)

    run(main({"connect": "2s", "total": "30s"}))
    run(main({}))
    run(main({"total": "30s"}, outer=1005.0))

    assert [(call.connect_s, call.deadline) for call in seen] == [(2.0, 1029.0), (10.0, 999.0 + TOTAL_S), (10.0, 1005.0)]


def test_what_a_policy_leaves_out_has_a_generous_limit() -> None:
    plain, streamed = played({}, SILENT), played({}, SILENT, streams=True)
    idle = played({}, stream(ROLE, "a", 5000.0, STOP), streams=True)

    assert at(plain, PER_TRY_S)
    assert at(streamed, FIRST_TOKEN_S)
    assert at(idle, STREAM_IDLE_S)


def test_a_healthy_call_leaves_no_alarm_no_entry_and_no_header() -> None:
    for script, streams in ((chat("Hello"), False), (chat_stream("Hel", "lo", gap_s=0.5), True)):
        got = played({"total": "10s", "min_rate": {"events": 1}}, script, streams)

        assert got.received is not None
        assert got.received.text == "Hello"
        assert got.entries == []


def test_an_app_that_leaves_takes_everything_with_it() -> None:
    async def main(script: Script, after_s: float) -> None:
        with Upstream(openai=[script]) as upstream:
            service: Service = compose(layers({"total": "60s", "min_rate": {"events": 1}}), upstream, Bugs())

            async def ask() -> None:
                await drained(await service(a_call({"model": "gpt-4o", "stream": True, "messages": []})))

            task = asyncio.get_running_loop().create_task(ask())
            await asyncio.sleep(after_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(200)

    for script in (SILENT, stream(ROLE), stream(ROLE, "a", 100.0, STOP)):
        for after_s in (0.0, 0.01, 5.0):
            run(main(script, after_s))


def test_a_background_response_may_be_queued_for_as_long_as_it_takes() -> None:
    async def main() -> Received:
        body = {"model": "gpt-5", "stream": True, "background": True, "input": "Hi"}
        created = b'data: {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "status": "queued"}}\n\n'
        done = b'data: {"type": "response.completed", "sequence_number": 1, "response": {"id": "resp_1", "status": "completed"}}\n\n'
        with Upstream(openai=[(head(200, SSE), created, 900.0, done, Ending.END)]) as upstream:
            return await drained(await compose(layers({}), upstream, Bugs())(a_call(body, path=b"/v1/responses")))

    got = run(main())

    assert got.failure is None
    assert got.took_s == pytest.approx(900)


def test_a_call_leaves_no_cycle() -> None:
    def once() -> int:
        async def main() -> int:
            service_layers = layers({"per_try": "1s", "stream_idle": "1s", "min_rate": {"events": 1}, "total": "20s"})
            clock_settles = 5.0
            for script in (chat("x"), chat_stream("a", "b"), SILENT, stream(ROLE, "a", 50.0, STOP)):
                upstream = Upstream(openai=[script])
                call = a_call({"model": "gpt-4o", "stream": script is not SILENT, "messages": []})
                with suppress(Failure):
                    await drained(await compose(service_layers, upstream, Bugs())(call))
                del upstream, call
            await asyncio.sleep(clock_settles)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                script = chat_stream("a", "b")
                upstream = Upstream(openai=[script])
                await drained(await compose(service_layers, upstream, Bugs())(a_call({"model": "m", "stream": True, "messages": []})))
                del upstream
                gc.collect()
                return sum(1 for each in gc.garbage if type(each).__module__.startswith("proxy.kinds.timeouts"))
            finally:
                gc.set_debug(0)
                gc.garbage.clear()

        return run(main())

    assert once() == 0


@pytest.mark.parametrize(
    "given",
    [
        {"connect": "0s"},
        {"total": "2d"},
        {"per_try": 5},
        {"first_token": "-1s"},
        {"min_rate": {}},
        {"min_rate": {"events": 0}},
        {"min_rate": {"events": 1, "over": "10ms"}},
        {"min_rate": 5},
        {"read": "5s"},
        {"stream_idle": None},
    ],
)
def test_what_makes_no_limit_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TimeoutsSpec.read(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"first_token": "90s", "per_try": "60s"}, ["`first_token` never ends anything: `per_try` is 1m"]),
        ({"per_try": "4m", "total": "180s"}, ["`per_try` never ends anything: `total` is 3m"]),
        ({"connect": "30s", "per_try": "20s"}, ["`connect` never ends anything: `per_try` is 20s"]),
        ({"stream_idle": "5m", "total": "2m"}, ["`stream_idle` never ends anything: `total` is 2m"]),
        ({"total": "5s"}, []),
        ({"first_token": "30s", "per_try": "60s", "total": "180s"}, []),
        ({"first_token": "60s", "per_try": "60s"}, []),
    ],
)
def test_a_limit_that_another_always_meets_first_is_warned_of(given: dict[str, Any], said: list[str]) -> None:
    view: Any = None

    assert [warned.message for warned in KIND.warn(TimeoutsSpec.read(given), view)] == said
    assert list(EXCHANGE.warn(TimeoutsSpec.read(given), view)) == [], "each is told once"
