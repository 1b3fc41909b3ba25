"""patience -- the agreement with the app's SDK: nothing is tried or waited for that it would not see any more.

Two layers of no policy, in a stack where a layer waits or asks again (`Kind.is_patient`). Patience, outermost: what the SDK says of itself
becomes `call.answer_by`, and fewer exchanges where it has tried before. InTime, directly around `prime`: a try ends when the app's patience
does, so that there is an answer, be it a static one, while somebody listens.
Cost: 12 µs a call for both, most of it where nothing else ends a try sooner than the app would.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from proxy.core.call import Call
from proxy.core.clock import Clock
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import NONE
from proxy.core.service import Service
from proxy.openai.patience import said_in


class Patience:
    """Reads it. A request whose body is still on its way is let be: it cannot be sent twice, and Python begins to wait at its end."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, call: Call, inner: Service) -> Awaitable[Reply]:
        request = call.request
        if call.payload is None and request.framing is not NONE and not request.body.ended:
            return inner(call)
        said = said_in(request.headers)
        if said.tries:
            call.allowance.shrink(said.tries)
            call.journal.note("patience", sdk_retry=said.tries, exchanges=call.allowance.left)
        now = self._clock.now()
        by = said.answer_by(request.received or now, now)
        return inner(call if by is None else call.derive(answer_by=by))


class InTime:
    """Ends a try with the app's patience, or what an outer layer leaves it of that; and by the limits that its target has of its own."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, call: Call, inner: Service) -> Awaitable[Reply]:
        by = call.answer_by
        if call.limits is not None:
            inner, call = partial(call.limits, inner=inner), call.derive(limits=None)
        return inner(call) if by is None else self._within(by, call, inner)

    async def _within(self, by: float, call: Call, inner: Service) -> Reply:
        begun = self._clock.now()
        if begun < by:
            try:
                with self._clock.limit(by):
                    return await inner(call)
            except TimeoutError:
                pass
        upstream, wait_s = call.target.upstream, max(0.0, by - begun)
        call.journal.note("timeout", which="patience", after_ms=round(wait_s * 1000), upstream=upstream)
        raise Failure(Fault.TIMEOUT, upstream, f"{upstream}: no answer within {wait_s:.3g} s, and the app waits no longer")
