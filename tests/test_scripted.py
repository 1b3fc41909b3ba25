"""The played upstream is itself held to what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.core.body import HIGH
from proxy.core.call import Target
from proxy.core.faults import Failure, Fault
from proxy.core.virtual import run
from tests.scripted import RESET, SILENT, SSE, Ending, Upstream, a_call, chat, chat_stream, drained, error, head, stream


def played(work: Coroutine[Any, Any, None]) -> None:
    run(work)


def test_scripts_are_played_one_an_exchange_and_the_last_repeats() -> None:
    async def main() -> None:
        with Upstream(openai=[error(500), chat("ok")], groq=[chat("elsewhere")]) as upstream:
            call = a_call({"model": "gpt-4o"})
            said = [(await drained(await upstream(call))).status for _ in range(3)]
            other = await drained(await upstream(call.derive(target=Target("groq", "llama"))))

            assert said == [500, 200, 200]
            assert other.text == "elsewhere"
            assert [asked.target for asked in upstream.asked] == [Target("openai")] * 3 + [Target("groq", "llama")]
            assert upstream.asked[0].json == {"model": "gpt-4o"}
            assert call.allowance.spent == 4

    played(main())


def test_an_exchange_beyond_the_allowance_is_refused_before_it_is_played() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("ok")]) as upstream:
            call = a_call({}, exchanges=1)
            await drained(await upstream(call))
            with pytest.raises(Failure, match="no exchange left"):
                await upstream(call)

            assert len(upstream.asked) == 1

    played(main())


def test_a_stream_comes_event_by_event_at_its_pace() -> None:
    async def main() -> None:
        with Upstream(openai=[chat_stream("Hel", "lo", gap_s=2.0)]) as upstream:
            got = await drained(await upstream(a_call({"stream": True})))

            assert got.text == "Hello"
            assert got.headers == SSE
            assert got.took_s == pytest.approx(4.0)
            assert got.data.endswith(b"data: [DONE]\n\n")
            assert len(got.chunks) == 5, "chunk for chunk, once it flows"

    played(main())


def test_a_reset_is_a_failure_to_connect_and_a_cut_breaks_the_body() -> None:
    async def main() -> None:
        with Upstream(openai=[RESET, stream("Hel", Ending.CUT)]) as upstream:
            with pytest.raises(Failure) as raised:
                await upstream(a_call({}))
            got = await drained(await upstream(a_call({})))

            assert raised.value.fault is Fault.CONNECT
            assert got.text == "Hel"
            assert got.failure is not None
            assert got.failure.fault is Fault.TRUNCATED

    played(main())


def test_silence_is_a_deadlock_for_who_waits_without_a_limit() -> None:
    async def main() -> None:
        await Upstream(openai=[SILENT])(a_call({}))

    with pytest.raises(RuntimeError, match="deadlock"):
        played(main())


def test_a_reply_that_nobody_closed_fails_the_test() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("ok")]) as upstream:
            await (await upstream(a_call({}))).body.read_all()

    with pytest.raises(AssertionError, match="a reply 200 of openai was not closed"):
        played(main())


def test_a_stream_that_still_runs_fails_the_test() -> None:
    async def main() -> None:
        with Upstream(openai=[stream("a", 60.0, "b", Ending.END)]) as upstream:
            await upstream(a_call({}))

    with pytest.raises(AssertionError, match="exchange 1 with openai still runs"):
        played(main())


def test_an_error_of_the_test_is_not_hidden_by_what_it_left_open() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("ok")]) as upstream:
            await upstream(a_call({}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        played(main())


def test_a_cancelled_wait_lets_go_of_its_exchange_at_once() -> None:
    async def main() -> None:
        with Upstream(openai=[(60.0, *chat("ok"))]) as upstream:
            task = asyncio.get_running_loop().create_task(upstream(a_call({})))
            await asyncio.sleep(5)
            left = asyncio.get_running_loop().time()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            assert upstream.exchanges[0].let_go_at == left

    played(main())


def test_a_slow_reader_holds_it_back() -> None:
    async def main() -> None:
        with Upstream(openai=[(head(), *[bytes(HIGH)] * 4, Ending.END)]) as upstream:
            reply = await upstream(a_call({}))
            await asyncio.sleep(60)
            buffered = reply.body.size
            got = await drained(reply)

            assert buffered == 2 * HIGH
            assert upstream.exchanges[0].stops >= 1
            assert len(got.data) == 4 * HIGH

    played(main())


def test_a_body_that_is_not_held_is_read_from_the_request() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("ok")]) as upstream:
            await drained(await upstream(a_call(b"--form", path=b"/v1/files", held=False)))

            assert upstream.asked[0].body == b"--form"
            assert upstream.asked[0].call.payload is None
            assert upstream.asked[0].call.endpoint == "files"

    played(main())
