"""warnings -- what is surely not meant in policies that are sound: what can never match, never act, or is named and not used.

Stands over the folder's logic and the kinds' own warnings; runs at each load, and `chassis check` shows what it finds.
A false alarm teaches people to look away, so it tells only what is certain.
Cost: some 20 us a policy and 5 us a pair of policies that may set the same, up to a bound (`logic.WORK`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.assembly.stack import KINDS, ORDER
from proxy.policy.document import Loaded, Policy
from proxy.policy.kind import Kind
from proxy.policy.logic import Logic
from proxy.policy.match_spec import MatchSpec
from proxy.policy.problems import Path, Problem, Severity
from proxy.policy.view import View


@dataclass(slots=True)
class _Earlier:
    """Policies that came before, found by what a later one asks of model or header, so that ten thousand need not be compared with all."""

    general: list[tuple[int, Policy]] = field(default_factory=list)
    by_text: dict[tuple[str, str], list[tuple[int, Policy]]] = field(default_factory=dict)

    def add(self, place: int, policy: Policy, logic: Logic) -> None:
        """Keeps one more."""
        branches = logic.branches(policy.match) or ()
        if len(branches) == 1:
            for key, each in branches[0].texts.items():
                for texts in each:
                    if not any("*" in text or "?" in text for text in texts):
                        for text in texts:
                            self.by_text.setdefault((key, text), []).append((place, policy))
                        return
        self.general.append((place, policy))

    def cover_of(self, policy: Policy, logic: Logic) -> Policy | None:
        """The first that surely matches whenever `policy` does."""
        branches = logic.branches(policy.match)
        if not branches or logic.is_spent:
            return None
        asked = [(key, texts[0]) for key, each in branches[0].texts.items() for globs in each if (texts := branches[0].alive(key, globs))]
        found = [*self.general, *(one for key in asked for one in self.by_text.get(key, ()))]
        for _, earlier in sorted(found, key=lambda one: one[0]):
            if earlier is not policy and logic.implies(policy.match, earlier.match):
                return earlier
        return None


def warned(loaded: Loaded) -> Iterator[Problem]:
    """All of them."""
    yield from warnings_of(loaded, KINDS, ORDER)


def warnings_of(loaded: Loaded, kinds: Mapping[str, Kind], order: Mapping[str, int]) -> Iterator[Problem]:
    """The same with the kinds given: their hooks, and their places in the stack."""
    logic = Logic({name: signal.match for name, signal in loaded.signals.items()})
    sound: list[Policy] = []
    for signal in loaded.signals.values():
        for path, why in _impossible(signal.match, logic):
            yield signal.problem(path, f"can never be true: {why}", "", Severity.WARNING)
    for policy in loaded.policies:
        found = list(_impossible(policy.match, logic))
        for path, why in found:
            hint = "the policy never matches" if not path else ""
            yield policy.problem(("match", *path), f"can never be true: {why}", hint, Severity.WARNING)
        if not any(not path for path, _ in found):
            sound.append(policy)
    in_force = [policy for policy in sound if policy.mode == "enforce"]
    yield from _answered(in_force, logic, kinds, order)
    yield from _covered(in_force, logic, kinds)
    for policy in sound:
        for name, spec in policy.apply.items():
            view = View(policy, name, in_force, logic, loaded.upstreams, loaded.home, loaded.limits.exchanges)
            for each in kinds[name].warn(spec, view):
                yield policy.problem(("apply", name, *each.path), each.message, each.hint, Severity.WARNING)
    yield from _off(loaded.policies)


def _impossible(spec: MatchSpec, logic: Logic, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The parts that no call can pass: the whole, or else alternatives of it."""
    if (why := logic.never(spec)) is not None:
        yield path, why
        return
    for key, group in (("all", spec.all), ("any", spec.any)):
        for i, each in enumerate(group or ()):
            yield from _impossible(each, logic, (*path, key, i))


def _answered(policies: Sequence[Policy], logic: Logic, kinds: Mapping[str, Kind], order: Mapping[str, int]) -> Iterator[Problem]:
    """Policies whose calls another one answers before they can act, wherever it stands in the files."""
    for answering in (kind for kind in kinds.values() if kind.answers):
        earlier = _Earlier()
        for place, policy in enumerate(policies):
            if answering.name in policy.apply:
                earlier.add(place, policy, logic)
        for policy in policies:
            inside = [name for name in policy.apply if order[name] > order[answering.name]]
            if not inside:
                continue
            if answering.name in policy.apply:
                for name in inside:
                    message = f"`{name}` never acts: `{answering.name}` beside it answers each call that the policy matches"
                    yield policy.problem(("apply", name), message, "take one of them out", Severity.WARNING)
            elif (by := earlier.cover_of(policy, logic)) is not None:
                message = f"never acts: '{by.name}' ({by.place('name')}) answers each call that it matches, by `{answering.name}`"
                yield policy.problem(("name",), message, "narrow the match of one of them", Severity.WARNING)


def _covered(policies: Sequence[Policy], logic: Logic, kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    """Policies that set what an earlier one has always set by then."""
    before: dict[tuple[str, str], _Earlier] = {}
    for place, policy in enumerate(policies):
        lost: list[tuple[str, str, Policy]] = []
        kept = 0
        for name, spec in policy.apply.items():
            fields = sorted(kinds[name].fields(spec))
            kept += not fields  # it adds up
            for each in fields:
                earlier = before.setdefault((name, each), _Earlier())
                first = earlier.cover_of(policy, logic)
                if first is None:
                    kept += 1
                    earlier.add(place, policy, logic)
                else:
                    lost.append((name, each, first))
        yield from _told(policy, lost, kept)


def _told(policy: Policy, lost: Sequence[tuple[str, str, Policy]], kept: int) -> Iterator[Problem]:
    hint = "the first in file order wins; put the narrower one first"
    winners = dict.fromkeys(first.name for _, _, first in lost)
    if not kept and len(lost) > 1 and len(winners) == 1:
        first = lost[0][2]
        what = _listed(lost)
        message = f"never acts: '{first.name}' ({first.place('name')}) matches whenever this does, comes first, and sets all of it: {what}"
        yield policy.problem(("name",), message, hint, Severity.WARNING)
        return
    for name, each, first in lost:
        what = f"{name}.{each}" if each else name
        message = f"`{what}` never acts: '{first.name}' ({first.place('name')}) matches whenever this does, and comes first"
        yield policy.problem(("apply", name), message, hint, Severity.WARNING)


def _listed(lost: Iterable[tuple[str, str, Policy]]) -> str:
    return ", ".join(f"`{name}.{each}`" if each else f"`{name}`" for name, each, _ in lost)


def _off(policies: Sequence[Policy]) -> Iterator[Problem]:
    off = [policy for policy in policies if policy.mode == "off"]
    if off:
        more = f", and {len(off) - 1} more of {len(policies)}" if len(off) > 1 else ""
        yield off[0].problem(("mode",), f"'{off[0].name}' is off{more}: checked, and never applied", "", Severity.NOTE)
