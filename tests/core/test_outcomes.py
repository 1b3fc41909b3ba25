from __future__ import annotations

import asyncio

import pytest

from proxy.core.call import Call
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.outcomes import given, kept, let_go, settled, watched
from proxy.core.reply import Reply
from proxy.core.virtual import run
from tests.scripted import ROLE, Ending, Upstream, a_call, chat, drained, stream


async def broken(call: Call) -> Reply:
    raise Failure(Fault.CONNECT, "openai", "refused")


async def refused(call: Call) -> Reply:
    raise Refusal(403, "policy_refused", "no")


def test_a_failure_is_a_value_without_the_frames_that_it_passed() -> None:
    outcome = run(settled(a_call(), broken))

    assert isinstance(outcome, Failure)
    assert outcome.__traceback__ is None
    assert outcome.detail == "refused"
    with pytest.raises(Failure):
        given(outcome)


def test_a_refusal_is_none() -> None:
    with pytest.raises(Refusal):
        run(settled(a_call(), refused))


def test_a_reply_that_is_whole_is_kept_and_one_that_still_comes_is_closed() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("ok"), stream(ROLE, 60.0, Ending.END)]) as upstream:
            whole, coming = await settled(a_call({}), upstream), await settled(a_call({}), upstream)
            await asyncio.sleep(1)

            assert kept(whole) is whole
            assert kept(coming) is None
            assert given(coming).body.closed
            assert given(whole) is whole
            let_go(whole)
            let_go(None)
            let_go(Failure(Fault.CONNECT, "a", "b"))
            assert given(whole).body.closed

    run(main())


@pytest.mark.parametrize(("ending", "heard"), [(Ending.CUT, [Fault.TRUNCATED]), (Ending.END, [])])
def test_a_break_of_a_body_that_was_given_away_is_told(ending: Ending, heard: list[Fault]) -> None:
    async def main() -> None:
        told: list[Fault] = []
        with Upstream(openai=[stream(ROLE, 1.0, ending)]) as upstream:
            reply = await upstream(a_call({}))
            await drained(watched(reply, lambda failure: told.append(failure.fault)))

            assert told == heard

    run(main())


def test_an_app_that_leaves_is_no_break() -> None:
    async def main() -> None:
        told: list[Failure] = []
        with Upstream(openai=[stream(ROLE, 60.0, Ending.CUT)]) as upstream:
            watched(await upstream(a_call({})), told.append).close()

            assert told == []

    run(main())


def test_a_body_that_is_whole_is_left_alone() -> None:
    async def main() -> None:
        with Upstream(openai=[chat("ok")]) as upstream:
            reply = await upstream(a_call({}))
            await asyncio.sleep(1)
            assert watched(reply, lambda failure: None).body.stages == ()
            reply.close()

    run(main())
