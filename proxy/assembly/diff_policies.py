"""diff_policies -- two sets of policies compared as they are written: for a pull request, where no recorded requests are at hand.

A value that says its default is the same as none; which file a policy stands in makes no difference, its place among the others does.
Secrets are compared and not shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.assembly.load import Policies
from proxy.openai.payload import MISSING
from proxy.policy.document import Policy
from proxy.policy.secrets import has_reference
from proxy.policy.spec import Model

SECRETS = ("key", "query", "proxy", "headers.set")  # of an upstream: shown only where they are references


@dataclass(slots=True, frozen=True)
class Edit:
    """One field of one thing. MISSING where it is not set."""

    path: str
    old: object
    new: object


@dataclass(slots=True, frozen=True)
class Thing:
    """A policy, signal or upstream that differs. `change`: added, removed, changed, renamed or moved; `where`: file:line:column."""

    what: str
    name: str
    change: str
    where: str = ""
    edits: tuple[Edit, ...] = ()
    note: str = ""


@dataclass(slots=True)
class PoliciesDiff:
    """All that differs, and the order in which the policies now act where it is another."""

    things: list[Thing] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.things)


def compare(old: Policies, new: Policies) -> PoliciesDiff:
    """What differs."""
    out = PoliciesDiff()
    before, after = old.loaded.policies, new.loaded.policies
    renamed = _renamed(before, after)
    out.things += _policies({policy.name: policy for policy in before}, after, renamed)
    moved = _moved([renamed.get(policy.name, policy.name) for policy in before], [policy.name for policy in after])
    out.things += moved
    out.order = [policy.name for policy in after] if moved else []
    changed = [*_specs("signal", _signals(old), _signals(new))]
    out.things += [_used(thing, old, new) for thing in changed]
    out.things += _specs("upstream", _upstreams(old), _upstreams(new))
    if old.home != new.home:
        out.things.append(Thing("home", new.home, "changed", edits=(Edit("", old.home, new.home),)))
    if edits := tuple(_edits(_plain(old.loaded.limits), _plain(new.loaded.limits))):
        out.things.append(Thing("limits", "limits", "changed", edits=edits))
    return out


def _policies(before: Mapping[str, Policy], after: Sequence[Policy], renamed: Mapping[str, str]) -> Iterator[Thing]:
    origin = {new: old for old, new in renamed.items()}
    names = {policy.name for policy in after}
    for policy in after:
        where = str(policy.place("name"))
        if (old_name := origin.get(policy.name)) is not None:
            edits = tuple(_edits(_whole(before[old_name]), _whole(policy)))
            yield Thing("policy", policy.name, "renamed", where, edits, f"it was '{old_name}'")
        elif policy.name not in before:
            yield Thing("policy", policy.name, "added", where, tuple(_edits({}, _whole(policy))))
        elif edits := tuple(_edits(_whole(before[policy.name]), _whole(policy))):
            yield Thing("policy", policy.name, "changed", where, edits)
    for name, policy in before.items():
        if name not in names and name not in renamed:
            yield Thing("policy", name, "removed", str(policy.place("name")), tuple(_edits(_whole(policy), {})))


def _renamed(before: Sequence[Policy], after: Sequence[Policy]) -> dict[str, str]:
    """Old to new names of policies that match and apply the same."""
    names_before, names_after = {policy.name for policy in before}, {policy.name for policy in after}
    gone = [policy for policy in before if policy.name not in names_after]
    come = [policy for policy in after if policy.name not in names_before]
    out: dict[str, str] = {}
    for old in gone:
        body = _does(old)
        new = next((policy for policy in come if policy.name not in out.values() and _does(policy) == body), None)
        if new is not None:
            out[old.name] = new.name
    return out


def _does(policy: Policy) -> dict[str, Any]:
    return {name: value for name, value in _whole(policy).items() if name.startswith(("match", "apply"))}


def _moved(before: Sequence[str], after: Sequence[str]) -> list[Thing]:
    """The fewest policies whose move explains the new order of those that are in both."""
    places = {name: place for place, name in enumerate(before)}
    common = [name for name in after if name in places]
    stay = _rising([places[name] for name in common])
    out = []
    for at, name in enumerate(common):
        if places[name] not in stay:
            follows = f"now after '{common[at - 1]}'" if at else "now first"
            out.append(Thing("policy", name, "moved", note=follows))
    return out


def _rising(numbers: Sequence[int]) -> set[int]:
    """A longest rising run of them, numbers between left out: those keep their place."""
    tails: list[int] = []
    at: list[int] = []
    back: list[int | None] = []
    for number, value in enumerate(numbers):
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
        at[place : place + 1] = [number]
        back.append(at[place - 1] if place else None)
    out: set[int] = set()
    last = at[-1] if at else None
    while last is not None:
        out.add(numbers[last])
        last = back[last]
    return out


Specs = Mapping[str, tuple[dict[str, Any], str]]  # by name: values by path, and the place


def _specs(what: str, before: Specs, after: Specs) -> Iterator[Thing]:
    for name, (values, where) in after.items():
        if name not in before:
            yield Thing(what, name, "added", where, tuple(_edits({}, values)))
        elif edits := tuple(_edits(before[name][0], values)):
            yield Thing(what, name, "changed", where, edits)
    for name, (values, where) in before.items():
        if name not in after:
            yield Thing(what, name, "removed", where, tuple(_edits(values, {})))


def _signals(policies: Policies) -> Specs:
    return {name: (_plain(signal.match), str(signal.source.place(("signals", name)))) for name, signal in policies.loaded.signals.items()}


def _upstreams(policies: Policies) -> Specs:
    return {name: (_plain(declared.spec), "") for name, declared in policies.upstreams.items()}


def _used(thing: Thing, old: Policies, new: Policies) -> Thing:
    """The signal with the policies that name it, through others too."""
    mine = {thing.name}
    every = {**{name: signal.match for name, signal in old.loaded.signals.items()}, **{n: s.match for n, s in new.loaded.signals.items()}}
    for _ in every:
        mine |= {name for name, match in every.items() if mine & _names_signals(_dump(match))}
    users = [policy.name for policy in new.loaded.policies if mine & _names_signals(_dump(policy.match))]
    return replace(thing, note=f"used by {', '.join(users)}" if users else "used by no policy")


def _names_signals(value: object) -> set[str]:
    if isinstance(value, dict):
        named = value.get("signals") or ()
        return {*(named if isinstance(named, list) else [named])}.union(*(_names_signals(each) for each in value.values()))
    return set().union(*(_names_signals(each) for each in value)) if isinstance(value, list) else set()


def _whole(policy: Policy) -> dict[str, Any]:
    """A policy's values by path."""
    said: dict[str, Any] = {"mode": policy.mode, "labels": dict(policy.labels), "match": _dump(policy.match)}
    said["apply"] = {kind: _dump(spec) for kind, spec in policy.apply.items()}
    return dict(_flat(said))


def _plain(spec: Model) -> dict[str, Any]:
    return dict(_flat(_dump(spec)))


def _dump(spec: Model) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _flat(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted path; lists stay whole, and so do empty objects, unless the whole is empty."""
    if isinstance(value, dict) and (value or not path):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif value not in ({}, []):
        yield path, value


def _edits(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Edit]:
    for path in dict.fromkeys((*before, *after)):
        old, new = before.get(path, MISSING), after.get(path, MISSING)
        if old != new or type(old) is not type(new):
            yield Edit(path, _shown(path, old), _shown(path, new))


def _shown(path: str, value: object) -> object:
    is_secret = path.startswith(SECRETS) and isinstance(value, str) and value != "none"
    return "(not shown)" if is_secret and not has_reference(str(value)) else value
