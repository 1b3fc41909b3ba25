"""hedge -- asks once more when the answer is slow to begin, and takes whichever is first.

Floor PLAN, inside retry: a hedged pair is one try. What counts is the first content: `prime` stands below, so a reply that has come has
begun. The loser is stopped at once; its exchange has been spent. Nothing is asked twice that leaves something behind on an upstream.
Cost: 5 µs a call that is quick, which has no second task, up to 18 with a percentile; nothing per chunk.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field

from proxy.core.call import Call, Target
from proxy.core.contest import Contest
from proxy.core.faults import classify
from proxy.core.recent import LEAST, Recent
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.tally import Tally
from proxy.openai.payload import Payload, Unread
from proxy.openai.rivals import TWICE, name_of, rival_of, why_only_once
from proxy.policy.kind import Floor, Kind, Shown, Site
from proxy.policy.problems import Path
from proxy.policy.spec import Percent, Spec, Wrong
from proxy.policy.target_spec import TargetSpec
from proxy.policy.units import Form, seconds
from proxy.policy.view import View, Warned

WINDOW_S = 60.0  # in which the share is counted
ALWAYS = 1  # extra call in a window: a quiet service has no share to speak of
TARGETS = 256  # whose latency is remembered; a model's name comes from the app
MODEL_CHARS = 256
MAX_S = 3600.0
_is_percentile = re.compile(r"p[5-9][0-9]").fullmatch


def _delay(value: Any) -> Any:
    if isinstance(value, str) and _is_percentile(value):
        return value
    try:
        after_s = seconds(value)
    except Wrong as wrong:
        hint = f"did you mean '{value}ms'?" if wrong.hint else ""
        raise Wrong("must be a duration such as 800ms or 2s, or a percentile such as p95", hint) from None
    if not 0.001 <= after_s <= MAX_S:
        raise Wrong("must be from 1ms to 1h")
    return value


Delay = Annotated[
    str,
    BeforeValidator(_delay),
    Form("duration or percentile", r"^([0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h|d)|p[5-9][0-9])$", "a duration such as 800ms, or p95", ("p95",)),
]


class HedgeSpec(Spec):
    """Ask once more when the answer is slow to begin, and take whichever is first. A delay alone is `after`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"after": "p95", "max_share": "5%"}, {"after": "800ms", "to": {"model": "gpt-4o-mini"}}]}
    )
    shorthand: ClassVar[str | None] = "after"
    after: Delay = Field(
        "p95",
        description="How long the first one has for its first content (a whole plain reply). `p95`: as long as 95 of 100 calls to this "
        f"target took of late; until {LEAST} are known nothing is asked twice.",
        examples=["800ms"],
    )
    max_share: Percent = Field(0.05, gt=0.0, description="Of the calls of a minute so many are asked twice at most; one always may be.")
    to: TargetSpec | None = Field(None, description="Where the second one goes; left out: where the first one went.")

    def upstreams(self) -> Iterable[tuple[Path, str]]:
        """The upstream that it names, with its place."""
        if self.to is not None and self.to.upstream is not None:
            yield ("to", "upstream"), self.to.upstream


class Hedge:
    """The second tries of one policy."""

    __slots__ = ("_after_s", "_clock", "_max_share", "_policy", "_share", "_tally", "_times", "_to")

    def __init__(self, spec: HedgeSpec, site: Site) -> None:
        self._policy = site.policy
        self._clock = site.clock
        self._share = int(spec.after[1:]) / 100 if _is_percentile(spec.after) else None
        self._after_s = seconds(spec.after) if self._share is None else None
        self._max_share = spec.max_share
        self._to = spec.to
        self._tally = Tally(WINDOW_S)
        self._times: OrderedDict[Target, Recent] = OrderedDict()  # to the first content

    async def __call__(self, call: Call, inner: Service) -> Reply:
        if call.endpoint not in TWICE:
            return await inner(call)
        clock = self._clock
        began = clock.now()
        self._tally.add(began, 1, 0)
        times = self._times_of(call) if self._share is not None else None
        after_s = self._after_s if times is None else times.value
        if after_s is None:
            reply = await inner(call)
            self._learn(times, began, reply)
            return reply
        contest = Contest(inner)
        pair = Pair(self, call, contest, after_s)
        alarm = clock.at(began + after_s, pair.ring)
        try:
            reply = await contest.run(call)
        finally:
            alarm.cancel()
            pair.told(contest.winner)
        if contest.winner == 0:
            self._learn(times, began, reply)
        elif times is not None:
            times.add(clock.now() - began)  # at least as long: without it the slow ones would be forgotten, and the quantile sink
        return reply

    def _learn(self, times: Recent | None, began: float, reply: Reply) -> None:
        if times is not None and classify(reply) is None:
            times.add(self._clock.now() - began)

    def _times_of(self, call: Call) -> Recent:
        key = _asked(call)
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = Recent(self._share or 0.0)
            if len(self._times) > TARGETS:
                self._times.popitem(last=False)
        else:
            self._times.move_to_end(key)
        return times

    def second(self, call: Call) -> tuple[Call, dict[str, Any]] | str:
        """The second try of a call, or why there is none; a tried one is counted."""
        now = self._clock.now()
        if (why := why_only_once(call)) is not None:
            return why
        latest = call.latest
        if latest is not None and now >= latest:
            return "no time left"
        if call.allowance.left <= call.reserved:
            return f"no exchange left ({call.allowance.spent} were made)"
        calls, extra = self._tally.sums(now)
        if extra + 1 > max(ALWAYS, self._max_share * calls):
            return "max_share"
        rival = rival_of(call, self._to.of(call.target) if self._to is not None else call.target)
        if not isinstance(rival, str):
            self._tally.add(now, 0, 1)
        return rival

    @property
    def policy(self) -> str:
        """Whose it is."""
        return self._policy

    def shown(self) -> Iterator[Shown]:
        """How many were asked twice, and the quantiles that are known."""
        calls, extra = self._tally.sums(self._clock.now())
        yield Shown("hedge", {"policy": self._policy, "upstream": "", "model": ""}, {"calls": calls, "extra": extra, "over_s": WINDOW_S})
        for target, times in list(self._times.items()):
            if times.value is not None:
                labels = {"policy": self._policy, "upstream": target.upstream, "model": target.model or ""}
                yield Shown("hedge", labels, {"after_ms": round(times.value * 1000)})


class Pair:
    """What comes of one call's delay."""

    __slots__ = ("_after_s", "_call", "_contest", "_hedge", "_target")

    def __init__(self, hedge: Hedge, call: Call, contest: Contest, after_s: float) -> None:
        self._hedge = hedge
        self._call = call
        self._contest = contest
        self._after_s = after_s
        self._target: Target | None = None  # of the second

    def ring(self) -> None:
        """The first has not begun in time."""
        call, hedge = self._call, self._hedge
        second = hedge.second(call)
        after_ms = round(self._after_s * 1000)
        if isinstance(second, str):
            if second == "not_replayable":
                call.journal.note("not_replayable", hedge.policy)
            else:
                call.journal.note("hedge", hedge.policy, skipped=second, after_ms=after_ms)
            return
        rival, what = second
        self._target = rival.target
        call.journal.note("hedge", hedge.policy, acted=True, after_ms=after_ms, asked=name_of(rival, rival.target), **what)
        self._contest.let_in(rival.derive(lone=False))

    def told(self, winner: int | None) -> None:
        """Notes who won, where there were two."""
        if self._target is not None:
            won = "nobody" if winner is None else "second" if winner else "first"
            self._call.journal.note("hedge", self._hedge.policy, won=won)


def _asked(call: Call) -> Target:
    """The target with the model's name."""
    target = call.target
    payload: Payload | None = call.payload
    if target.model is None and payload is not None:
        try:
            model = payload.model
        except Unread:
            model = None
        if model is not None and len(model) <= MODEL_CHARS:
            return Target(target.upstream, model)
    return target


def _warn(spec: HedgeSpec, view: View) -> Iterable[Warned]:
    yield from view.idle(tuple(each.value for each in TWICE), "`hedge`")


KIND = Kind(
    "hedge",
    HedgeSpec,
    Floor.PLAN,
    enforce=Hedge,
    shadow=None,
    reads_body=lambda spec: True,  # it may be sent twice
    primes=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
    warn=_warn,
)
