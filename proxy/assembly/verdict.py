"""verdict -- what a case expected beside what happened: every difference, none hidden by another.

Stands over `compared`, which knows values; here is what each field of `expect` means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from proxy.assembly.compared import ABSENT, Miss, Path, body_differences, differences, header_differences, shown
from proxy.assembly.heard import PATIENCE_S, Heard
from proxy.assembly.load import Policies
from proxy.assembly.received import Received
from proxy.assembly.rehearse import Played
from proxy.assembly.sent import exchange_differences
from proxy.assembly.suite import Case
from proxy.core.journal import Entry
from proxy.policy.case_spec import StepSpec
from proxy.policy.expect_spec import EntrySpec, ErrorSpec, ExpectSpec, ProblemSpec, ReplySpec, TextSpec, TookSpec
from proxy.policy.problems import PolicyError, Problem, Severity
from proxy.policy.units import duration_text


@dataclass(slots=True)
class Verdict:
    """One case: how it went. `refused`: why its policies could not be loaded, where that was not expected."""

    case: Case
    played: Played = field(default_factory=Played)
    misses: list[Miss] = field(default_factory=list)
    refused: tuple[Problem, ...] = ()
    took_s: float = 0.0  # of real time

    @property
    def passed(self) -> bool:
        """Whether all of it is as expected, and nothing broke."""
        return not (self.misses or self.refused or self.played.bugs)


def of_policies(case: Case) -> tuple[list[Miss], tuple[Problem, ...]]:
    """What is expected of the policies themselves: the misses, and the problems of policies that should have been loaded."""
    expect, policies = case.spec.expect, case.policies
    wanted = expect.problem if expect is not None else None
    if isinstance(policies, PolicyError):
        errors = [problem for problem in policies.problems if problem.severity is Severity.ERROR]
        return (list(_problems(wanted, errors, "problem")), ()) if wanted is not None else ([], tuple(errors))
    if wanted is not None:
        return [Miss(("problem",), "; ".join(each.says for each in wanted), "the policies are loaded")], ()
    if expect is not None and expect.warning is not None:
        return list(_problems(expect.warning, policies.warnings, "warning")), ()
    return [], ()


def _problems(wanted: Sequence[ProblemSpec], seen: Sequence[Problem], name: str) -> Iterator[Miss]:
    for place, spec in enumerate(wanted):
        if not any(_is_told(spec, problem) for problem in seen):
            where = "".join(f", {what} {value}" for what, value in (("line", spec.line), ("file", spec.file)) if value is not None)
            at: Path = (name, place) if len(wanted) > 1 else (name,)
            yield Miss(at, f"says {shown(spec.says)}{where}", "\n".join(map(str, seen)) or "nothing")


def _is_told(spec: ProblemSpec, problem: Problem) -> bool:
    said = f"{problem.path}: {problem.message}; {problem.hint}".casefold()
    at_line = spec.line is None or problem.line == spec.line
    return spec.says.casefold() in said and at_line and (spec.file is None or problem.file.endswith(spec.file))


def of_calls(case: Case, played: Played) -> Iterator[Miss]:
    """What is expected of what happened."""
    steps: Sequence[StepSpec | None] = case.spec.steps or (None,)
    for place, heard in enumerate(played.heard):
        step = steps[place]
        expect = case.spec.expect if step is None else step.expect
        at: Path = () if step is None else ("steps", place)
        if heard.hung and not (expect is not None and expect.reply is not None and expect.reply.ends == "left"):
            yield Miss((*at, "reply"), "an end", *_hang(heard))
        if expect is not None:
            for miss in of_call(expect, heard, case.policies):
                yield Miss((*at, *miss.path), miss.expected, miss.seen, miss.note)
    total = case.spec.expect
    if case.spec.steps is not None and total is not None:
        yield from exchange_differences(total, played.exchanges, None)
        yield from _time(total.took, played.took_s, ("took",))


def _hang(heard: Heard) -> tuple[str, str]:
    what = "no head of a reply" if heard.status is None else f"a {heard.status}, {len(heard.data):,} bytes of its body, and no end"
    return f"{what} for {duration_text(PATIENCE_S)}", "the call hangs: give the request `leaves`, or the policies a timeout"


def of_call(expect: ExpectSpec, heard: Heard, policies: Policies | PolicyError) -> Iterator[Miss]:
    """What one request expects, beside what came of it."""
    yield from exchange_differences(expect, heard.exchanges, heard)
    if expect.reply is not None:
        yield from _reply(expect.reply, heard)
    acted = list(dict.fromkeys(entry.policy for entry in heard.entries if entry.acted and entry.policy is not None))
    yield from _names(expect.policies, acted, "policies")
    order = [policy.name for policy in policies.loaded.policies] if isinstance(policies, Policies) else []
    yield from _names(expect.matched, sorted(heard.matched, key=order.index), "matched")
    shadows = [entry.policy for entry in heard.entries if entry.would_act and entry.policy is not None]
    yield from _names(expect.shadow, list(dict.fromkeys(shadows)), "shadow")
    yield from _journal(expect, heard.entries)
    yield from _time(expect.took, heard.ended - heard.begun, ("took",))
    if expect.began is not None and heard.head_at is None:
        yield Miss(("began",), "a reply", "none")
    elif heard.head_at is not None:
        yield from _time(expect.began, heard.head_at - heard.begun, ("began",))


def _names(wanted: Sequence[str] | None, seen: Sequence[str], field_name: str) -> Iterator[Miss]:
    if wanted is not None and list(wanted) != list(seen):
        yield Miss((field_name,), ", ".join(wanted) or "none", ", ".join(seen) or "none")


def _time(wanted: TookSpec | None, seen_s: float, path: Path) -> Iterator[Miss]:
    if wanted is None:
        return
    seen = f"{round(seen_s, 3):g} s"
    if wanted.below is not None and not seen_s < wanted.below:
        yield Miss((*path, "below"), f"below {duration_text(wanted.below)}", seen)
    if wanted.at_least is not None and round(seen_s, 6) < wanted.at_least:
        yield Miss((*path, "at_least"), f"at least {duration_text(wanted.at_least)}", seen)


# What came back


def _reply(wanted: ReplySpec, heard: Heard) -> Iterator[Miss]:
    received = Received(heard)
    path: Path = ("reply",)
    if received.status is None:
        if wanted.model_fields_set != {"ends"}:
            yield Miss(path, "a reply", "none: the app left before" if heard.left else f"none: {heard.broke}")
    else:
        if wanted.status is not None and wanted.status != received.status:
            yield Miss((*path, "status"), str(wanted.status), f"{received.status}: {_short(received)}")
        yield from header_differences(wanted.headers, received.header, path)
        yield from _text(wanted.text, received.text, (*path, "text"), _short(received))
        yield from body_differences(wanted, received.data, path)
        if "events" in wanted.model_fields_set:
            seen = received.events if received.is_stream else ABSENT
            yield from differences(wanted.events, seen, (*path, "events"))
        if "tool_calls" in wanted.model_fields_set:
            yield from differences(wanted.tool_calls, received.tool_calls, (*path, "tool_calls"))
        if wanted.error is not None:
            yield from _error(wanted.error, received, (*path, "error"))
    if wanted.ends is not None and wanted.ends != received.ends:
        why = f": {heard.broke}" if heard.broke is not None else ""
        yield Miss((*path, "ends"), wanted.ends, received.ends + why)


def _short(received: Received) -> str:
    """A reply in a few words."""
    error = received.error
    return shown(error.get("message", error)) if error is not None else shown(received.text)


def _error(wanted: ErrorSpec, received: Received, path: Path) -> Iterator[Miss]:
    error = received.error
    if error is None:
        yield Miss(path, "an error", f"none: {received.status} {_short(received)}")
        return
    for name in ("code", "type", "param"):
        expected = getattr(wanted, name)
        if expected is not None and error.get(name) != expected:
            yield Miss((*path, name), expected, shown(error.get(name)))
    yield from _text(wanted.message, str(error.get("message", "")), (*path, "message"))


def _text(wanted: TextSpec | None, seen: str, path: Path, told: str | None = None) -> Iterator[Miss]:
    """`told`: what was seen, for people."""
    told = shown(seen) if told is None else told
    if wanted is None:
        return
    if wanted.equals is not None and wanted.equals != seen:
        yield Miss(path, shown(wanted.equals), told)
    yield from (Miss(path, f"contains {shown(part)}", told) for part in wanted.contains or () if part not in seen)
    yield from (Miss(path, f"lacks {shown(part)}", told) for part in wanted.lacks or () if part in seen)


# What was decided


def _journal(expect: ExpectSpec, entries: Sequence[Entry]) -> Iterator[Miss]:
    at = 0
    seen = ", ".join(told(entry) for entry in entries) or "nothing"
    for place, wanted in enumerate(expect.journal or ()):
        found = next((i for i in range(at, len(entries)) if _is_entry(wanted, entries[i])), None)
        if found is None:
            before = any(_is_entry(wanted, entry) for entry in entries[:at])
            yield Miss(("journal", place), _wanted(wanted), seen, "it stands before the one expected before it" if before else "")
            break
        at = found + 1
    for place, wanted in enumerate(expect.not_journal or ()):
        if any(_is_entry(wanted, entry) for entry in entries):
            yield Miss(("not_journal", place), f"no {_wanted(wanted)}", seen)


def _is_entry(wanted: EntrySpec, entry: Entry) -> bool:
    return (
        wanted.kind == entry.kind
        and wanted.policy in (None, entry.policy)
        and wanted.acted in (None, entry.acted)
        and wanted.shadow in (None, entry.shadow)
        and ("what" not in wanted.model_fields_set or not any(differences(wanted.what, entry.what)))
    )


def _wanted(spec: EntrySpec) -> str:
    whose = f" of {spec.policy}" if spec.policy is not None else ""
    flags = [f"{'' if value else 'not '}{name}" for name in ("acted", "shadow") if (value := getattr(spec, name)) is not None]
    what = [shown(spec.what)] if "what" in spec.model_fields_set else []
    return f"{spec.kind}{whose}" + (f" ({', '.join([*flags, *what])})" if flags or what else "")


def told(entry: Entry) -> str:
    """A journal entry in a few words."""
    whose = f" of {entry.policy}" if entry.policy is not None else ""
    return f"{entry.kind}{whose}{' (shadow)' if entry.shadow else ''}"
