"""outcomes -- what an inner service came to, as a value: for layers that may ask again, and must close what they do not return.

Cost: nothing for a call that goes well but a coroutine, and a stage without `feed` for a body that is still to come.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.core.call import Call
from proxy.core.faults import Abandoned, Failure
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.stage import Stage

Outcome = Reply | Failure


async def settled(call: Call, inner: Service) -> Outcome:
    """The reply, or the Failure without its frames. A Refusal and a cancellation pass."""
    try:
        return await inner(call)
    except Failure as failure:
        return failure.bare()


def given(outcome: Outcome) -> Reply:
    """The outcome as it came: a Failure is raised, as a copy, or it and the frame that holds it would hold each other."""
    if isinstance(outcome, Failure):
        raise outcome.bare()
    return outcome


def let_go(outcome: Outcome | None) -> None:
    """Closes what will not be returned."""
    if isinstance(outcome, Reply):
        outcome.close()


def kept(outcome: Outcome) -> Outcome | None:
    """The outcome, which may be given after all where the next one says nothing; None where it was closed, as more was to come of it."""
    if isinstance(outcome, Reply) and not outcome.body.ended:
        outcome.close()
        return None
    return outcome


def watched(reply: Reply, late: Callable[[Failure], None]) -> Reply:
    """The reply, `late` being told if its body breaks when nothing can be tried any more."""
    body = reply.body
    if not body.ended and not body.closed and reply.tunnel is None:
        body.attach(_Late(late))
    return reply


class _Late(Stage):
    """Hears of a break at the source."""

    __slots__ = ("_late",)

    def __init__(self, late: Callable[[Failure], None]) -> None:
        self._late = late

    def fail(self, failure: Failure) -> bytes:
        if not failure.spent and not isinstance(failure, Abandoned):
            self._late(failure)
        return b""
