"""race -- asks several targets at once, and takes the first good answer.

Floor PLAN, inside retry: a race is one try. For the few calls where time is worth several times the money: each target costs an exchange of
the call's allowance, and the losers are stopped at once. Nothing is raced that leaves something behind on an upstream.
Cost: a task and an exchange for each target but the first; nothing per chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import ConfigDict, Field

from proxy.core.call import Call
from proxy.core.contest import Contest
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.core.tally import Tally
from proxy.openai.rivals import TWICE, name_of, rival_of, why_only_once
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.problems import Path
from proxy.policy.spec import Percent, Spec
from proxy.policy.target_spec import TargetSpec
from proxy.policy.view import View, Warned

WINDOW_S = 60.0  # in which the share is counted
MOST = 5  # one exchange less than a call may make by default


class RaceSpec(Spec):
    """Ask several targets at once, and take the first good answer. A list alone is the targets."""

    model_config = ConfigDict(json_schema_extra={"examples": [[{"model": "gpt-4o"}, {"model": "gpt-4.1"}]]})
    shorthand: ClassVar[str | None] = "targets"
    targets: tuple[TargetSpec, ...] = Field(
        min_length=2, max_length=MOST, description="Who is asked. Where none answers well the app gets what the first one said."
    )
    share: Percent = Field(
        1.0, gt=0.0, description="Of the calls of a minute so many are raced; the others are asked of the first target alone."
    )

    def upstreams(self) -> Iterable[tuple[Path, str]]:
        """The upstreams that it names, each with its place."""
        for i, target in enumerate(self.targets):
            if target.upstream is not None:
                yield ("targets", i, "upstream"), target.upstream


class Race:
    """The races of one policy."""

    __slots__ = ("_clock", "_policy", "_share", "_tally", "_targets")

    def __init__(self, spec: RaceSpec, site: Site) -> None:
        self._policy = site.policy
        self._clock = site.clock
        self._targets = spec.targets
        self._share = spec.share
        self._tally = Tally(WINDOW_S)

    async def __call__(self, call: Call, inner: Service) -> Reply:
        if call.endpoint not in TWICE:
            return await inner(call)
        if (why := why_only_once(call)) is not None:
            if why == "not_replayable":
                call.journal.note("not_replayable", self._policy)
            else:
                call.journal.note("race", self._policy, skipped=why)
            return await inner(call)
        field = self._field(call)
        if not field:
            return await inner(call)
        if len(field) == 1:
            return await inner(field[0])
        began = self._clock.now()
        names = [name_of(entrant, entrant.target) for entrant in field]
        call.journal.note("race", self._policy, acted=True, asked=names)
        contest = Contest(inner)
        for entrant in field[1:-1]:
            contest.let_in(entrant.derive(lone=False))
        contest.let_in(field[-1])  # one of them may be the last target standing
        try:
            return await contest.run(field[0].derive(lone=False))
        finally:
            won = names[contest.winner] if contest.winner is not None else "nobody"
            call.journal.note("race", self._policy, won=won, after_ms=round((self._clock.now() - began) * 1000))

    def _field(self, call: Call) -> list[Call]:
        """Who is asked: as many as the allowance has, each with what its target takes."""
        now = self._clock.now()
        self._tally.add(now, 1, 0)
        calls, raced = self._tally.sums(now)
        room, why = call.allowance.left - call.reserved, "no exchange left"
        if raced >= self._share * calls:
            room, why = 1, "share"
        field: list[Call] = []
        for spec in self._targets:
            target = spec.of(call.target)
            rival = rival_of(call, target)
            if isinstance(rival, str):
                call.journal.note("race", self._policy, skipped=rival, upstream=target.upstream)
            elif len(field) >= max(room, 1):
                call.journal.note("race", self._policy, skipped=why, upstream=target.upstream)
            else:
                field.append(rival[0])
        if len(field) > 1:
            self._tally.add(now, 0, 1)
        return field


def _warn(spec: RaceSpec, view: View) -> Iterable[Warned]:
    yield from view.idle(tuple(each.value for each in TWICE), "`race`")
    for i, target in enumerate(spec.targets):
        if target in spec.targets[:i]:
            yield Warned(("targets", i), "is named twice", "`hedge` asks one target again")


KIND = Kind(
    "race",
    RaceSpec,
    Floor.PLAN,
    enforce=Race,
    shadow=None,
    reads_body=lambda spec: True,  # it is sent several times
    primes=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
    warn=_warn,
)
