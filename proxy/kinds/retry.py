"""retry -- ask the same target again.

Floor PLAN: inside fallback, as each target has its own tries; outside hedge, as a hedged pair is one try. Plain and streamed replies take
the same path: `prime` has waited for the first content, and after that nothing is retried.
When its tries are spent the SDK is told so (`x-should-retry: false`): it would multiply them with its own.
Cost: 5 µs a call that works (its budget counts the traffic); a failing one is delayed by its waits, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from proxy.core.call import Call, Target
from proxy.core.faults import Failure, Fault, classify
from proxy.core.journal import Journal
from proxy.core.outcomes import Outcome, given, kept, let_go, settled, watched
from proxy.core.reply import Reply
from proxy.core.request import NONE
from proxy.core.service import Service
from proxy.openai.patience import last_word, retry_after_s, says_again
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.retry_spec import RetrySpec
from proxy.policy.when import acts_on

SLICES = 10  # of a sliding window: what leaves it leaves in tenths


class Traffic:
    """Calls to one target and their retries, in a sliding window."""

    __slots__ = ("_calls", "_retries", "_slice_s", "_slot")

    def __init__(self, over_s: float) -> None:
        self._slice_s = over_s / SLICES
        self._slot = 0
        self._calls = [0] * SLICES
        self._retries = [0] * SLICES

    def _at(self, now: float) -> int:
        slot = int(now / self._slice_s)
        if slot != self._slot:
            for old in range(self._slot + 1, min(slot, self._slot + SLICES) + 1):
                self._calls[old % SLICES] = self._retries[old % SLICES] = 0
            self._slot = slot
        return slot % SLICES

    def called(self, now: float) -> None:
        """A call's first try of the target begins."""
        self._calls[self._at(now)] += 1

    def take(self, now: float, share: float, at_least: int) -> bool:
        """Takes one retry where the budget has it."""
        at = self._at(now)
        if sum(self._retries) >= at_least + share * sum(self._calls):
            return False
        self._retries[at] += 1
        return True


class Retry:
    """Tries the call's target until it answers, or until there is a reason not to."""

    __slots__ = ("_backoff", "_budget", "_clock", "_draw", "_most", "_policy", "_traffic", "_when")

    def __init__(self, spec: RetrySpec, site: Site, draw: Callable[[], float] | None = None) -> None:
        """`draw` gives numbers from 0 to 1."""
        self._policy = site.policy
        self._clock = site.clock
        self._most = spec.max_attempts
        self._when = acts_on(spec.when)
        self._backoff = spec.backoff
        self._budget = spec.retry_budget
        self._draw = draw or Random().random
        self._traffic: dict[Target, Traffic] = {}  # as many as policies name

    async def __call__(self, call: Call, inner: Service) -> Reply:
        if call.tries == 0:
            return await inner(call)
        traffic = self._traffic.get(call.target)
        if traffic is None:
            traffic = self._traffic[call.target] = Traffic(self._budget.over)
        traffic.called(self._clock.now())
        try:
            reply = await inner(call)
        except Failure as failure:
            outcome: Outcome = failure.bare()
        else:
            if reply.status < 400 and reply.fault is None:
                return self._given(call.journal, reply)
            outcome = reply
        return await self._retried(call, inner, outcome, traffic)

    async def _retried(self, call: Call, inner: Service, outcome: Outcome, traffic: Traffic) -> Reply:
        """What comes after a first try that did not go well."""
        tries = 1
        while (fault := self._fault(outcome)) is not None:
            if call.payload is None and call.request.framing is not NONE:
                call.journal.note("not_replayable", self._policy, why=fault.value)
                return given(outcome)
            wait_s, stop = self._plan(call, outcome, tries, traffic)
            if stop is not None:
                return self._spent(call, outcome, fault, tries, stop)
            self._note(call, fault, tries + 1, wait_s)
            before = kept(outcome)
            tries += 1
            try:
                await self._clock.sleep(wait_s)
                outcome = await settled(call, inner)
            except BaseException:
                let_go(before)
                raise
            if before is not None and isinstance(outcome, Failure) and outcome.fault is Fault.BREAKER_OPEN:
                outcome = before  # nothing was sent: what the try before said is the last word
                return self._spent(call, outcome, fault, tries - 1, "breaker_open")
            let_go(before)
        return self._given(call.journal, given(outcome))

    def _fault(self, outcome: Outcome) -> Fault | None:
        """Why another try is worth while; None where it is not. An upstream that asks for one is believed, as the SDKs do."""
        fault = classify(outcome)
        if fault in self._when:
            return fault
        if isinstance(outcome, Reply) and outcome.status >= 400 and says_again(outcome):
            return fault or Fault.SERVER_ERROR
        return None

    def _plan(self, call: Call, outcome: Outcome, tries: int, traffic: Traffic) -> tuple[float, str | None]:
        """How long to wait for the next try, and why there is none."""
        most = self._most if call.tries is None else call.tries
        if tries >= most:
            return 0.0, "max_attempts"
        if call.allowance.left <= call.reserved:
            return 0.0, "allowance"
        backoff, clock = self._backoff, self._clock
        asked_s = None
        if isinstance(outcome, Reply):
            if says_again(outcome) is False:
                return 0.0, "x-should-retry"
            asked_s = retry_after_s(outcome, clock.wall_ns() / 1e9)
        if asked_s is not None:
            if asked_s > backoff.max:
                return 0.0, "retry_after"
            wait_s = asked_s
        else:
            wait_s = self._draw() * min(backoff.max, backoff.initial * backoff.multiplier ** (tries - 1))
        now, latest = clock.now(), call.latest
        if latest is not None and now + wait_s >= latest:
            return 0.0, "time"
        if not traffic.take(now, self._budget.share, self._budget.at_least):
            return 0.0, "retry_budget"
        return wait_s, None

    def _note(self, call: Call, fault: Fault, attempt: int, wait_s: float) -> None:
        what: dict[str, object] = {"attempt": attempt, "wait_ms": round(wait_s * 1000), "upstream": call.target.upstream}
        if call.target.model is not None:
            what["model"] = call.target.model
        call.journal.note("retry", self._policy, acted=True, shadow=False, why=fault.value, **what)

    def _spent(self, call: Call, outcome: Outcome, fault: Fault, tries: int, stop: str) -> Reply:
        """The last outcome as it came, and the word to the SDK not to go on."""
        what = {"why": fault.value, "tries": tries, "upstream": call.target.upstream}
        if stop == "retry_budget":
            call.journal.note("retry_budget", self._policy, acted=True, shadow=False, **what)
        else:
            call.journal.note("tries_spent", self._policy, acted=True, shadow=False, stop=stop, **what)
        return last_word(outcome, f"; {tries} tries" if tries > 1 else "")

    def _given(self, journal: Journal, reply: Reply) -> Reply:
        return watched(reply, lambda failure: self.late(journal, failure)) if self._most > 1 else reply

    def late(self, journal: Journal, failure: Failure) -> None:
        """A body broke when the app had its beginning already."""
        if failure.fault in self._when:
            journal.note("too_late", self._policy, why=failure.fault.value)


KIND = Kind(
    "retry",
    RetrySpec,
    Floor.PLAN,
    enforce=Retry,
    shadow=None,
    reads_body=lambda spec: True,  # it may be sent again
    primes=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
)
