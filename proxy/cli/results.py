"""results -- the outcome of `chassis test` for a person: a line a file, and of each failure what was expected, what was seen and why."""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Iterator, Sequence

import click

from proxy.adapters.played import Exchange
from proxy.assembly.compared import Miss, shown
from proxy.assembly.coverage import Coverage, Point
from proxy.assembly.heard import Heard
from proxy.assembly.sent import sent_as
from proxy.assembly.trial import Tried
from proxy.assembly.verdict import Verdict, told
from proxy.core.journal import Entry
from proxy.policy.problems import dotted

HINT_BYTES = 1500  # of a request that is shown as a command
TRACE_LINES = 12
USUAL = ("host", "accept", "content-length", "content-type", "authorization")  # headers that say nothing of a case


def file_line(tried: Tried) -> str:
    """One line for one file."""
    failed = sum(not verdict.passed for verdict in tried.verdicts)
    passed = len(tried.verdicts) - failed
    if tried.suite.problems:
        return f"{tried.suite.file}: {click.style('cannot be used', fg='red')}"
    counts = [click.style(f"{passed} passed", fg="green")] if passed or not failed else []
    counts += [click.style(f"{failed} failed", fg="red")] if failed else []
    return f"{tried.suite.file}: {', '.join(counts)}"


def case_line(verdict: Verdict) -> str:
    """One line for one case."""
    word = click.style("passed", fg="green") if verdict.passed else click.style("FAILED", fg="red")
    return f"  {word} {verdict.case.name} ({verdict.took_s * 1000:.1f} ms)"


def failure(tried: Tried, verdict: Verdict) -> Iterator[str]:
    """All about one case that failed."""
    case, suite = verdict.case, tried.suite
    yield f"{click.style('FAILED', fg='red')} {case.place}: {case.name}"
    if verdict.refused:
        yield "  the policies are refused:"
        yield from (f"    {problem}" for problem in verdict.refused)
    for miss in verdict.misses:
        at = suite.place(_path_of(verdict, miss))
        yield f"  {click.style(dotted(miss.path), bold=True)} ({at.file}:{at.line})"
        yield from _difference(miss)
    for what, bug in verdict.played.bugs:
        yield f"  {click.style(what, fg='red')}"
        lines = "".join(traceback.format_exception(bug)).rstrip().split("\n")
        yield from (f"    {line}" for line in (lines if len(lines) <= TRACE_LINES else ["…", *lines[-TRACE_LINES:]]))
    for number, heard in enumerate(verdict.played.heard, 1):
        step = verdict.case.spec.steps[number - 1] if verdict.case.spec.steps is not None else None
        title = f"request {number}{f' ({step.name})' if step.name else ''}" if step is not None else "request"
        yield from (f"  {line}" for line in _call(title, heard))
    if (hint := _hint(tried, verdict)) is not None:
        yield f"  why: {hint}"


def _path_of(verdict: Verdict, miss: Miss) -> tuple[str | int, ...]:
    """Where in the file an expectation stands."""
    at: tuple[str | int, ...] = ("cases", verdict.case.index)
    if miss.path[:1] == ("steps",):
        return (*at, *miss.path[:2], "expect", *miss.path[2:])
    return (*at, "expect", *miss.path)


def _difference(miss: Miss) -> Iterator[str]:
    yield from _labelled("expected", miss.expected, "green")
    yield from _labelled("seen", miss.seen, "red")
    if miss.note:
        yield f"    ({miss.note})"


def _labelled(label: str, text: str, colour: str) -> Iterator[str]:
    first, *others = text.split("\n")
    yield f"    {label + ':':<10}{click.style(first, fg=colour)}"
    yield from (f"{'':<14}{click.style(line, fg=colour)}" for line in others)


def _call(title: str, heard: Heard) -> Iterator[str]:
    asked = heard.asked
    yield f"{title}: {asked.method.decode('latin-1')} {asked.target.decode('latin-1')} {shown(asked.body) if asked.body else ''}".rstrip()
    exchanges = list(heard.exchanges)
    for place in range(len(heard.entries) + 1):
        while exchanges and exchanges[0].decided <= place:
            exchange = exchanges.pop(0)
            yield f"  {_after(heard, exchange.at)} sent to {sent_as(exchange)}: {_came(exchange)}"
        if place < len(heard.entries):
            yield f"  {_after(heard, heard.entries[place].at)} {_decision(heard.entries[place])}"
    if not heard.entries:
        yield "  nothing was decided"
    status = f"{heard.status} {shown(heard.data)}" if heard.status is not None else "none"
    how = " and then the app left" if heard.left else f" and then a break: {heard.broke}" if heard.broke else ""
    yield f"  {_after(heard, heard.ended)} reply: {status}{how}"


def _after(heard: Heard, at: float) -> str:
    return f"{max(0.0, at - heard.begun):>8.3f} s"


def _came(exchange: Exchange) -> str:
    parts = [str(exchange.status)] if exchange.status is not None else []
    return ", ".join([*parts, *([exchange.failure] if exchange.failure else [])]) or "no reply"


def _decision(entry: Entry) -> str:
    what = ", ".join(f"{name} {shown(value)}" for name, value in entry.what.items())
    return f"{told(entry)}: {what}" if what else told(entry)


def _hint(tried: Tried, verdict: Verdict) -> str | None:
    """A command that explains the first request, where it can be given on a line."""
    policies = tried.suite.covers
    if policies is None or verdict.case.own or len(policies.loaded.files) != 1 or not verdict.played.heard:
        return None
    asked = verdict.played.heard[0].asked
    if len(asked.body) > HINT_BYTES:
        return f"chassis explain {shlex.quote(policies.loaded.files[0])} --request FILE, with this request in FILE"
    try:
        body = json.loads(asked.body) if asked.body else None
    except ValueError:
        body = asked.body.decode("utf-8", "replace")
    headers = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in asked.headers if name.decode("latin-1").lower() not in USUAL
    }
    request = {"method": asked.method.decode("latin-1"), "path": asked.target.decode("latin-1"), "headers": headers, "body": body}
    said = json.dumps({key: value for key, value in request.items() if value}, ensure_ascii=False)
    return f"echo {shlex.quote(said)} | chassis explain {shlex.quote(policies.loaded.files[0])} --no-secrets --request -"


def coverage_table(coverage: Coverage) -> Iterator[str]:
    """What no case shows, policy by policy."""
    lacking: dict[tuple[str, str], list[Point]] = {}
    for point in coverage.points():
        if not point.seen:
            lacking.setdefault((point.policy, point.where), []).append(point)
    for (policy, where), points in lacking.items():
        yield f"{policy} ({where})"
        by_what: dict[str, list[str]] = {}
        for point in points:
            by_what.setdefault(point.what, []).append(point.lacks)
        width = min(72, max(map(len, by_what)))
        yield from (f"  {what:<{width}}  {', '.join(lacks)}" for what, lacks in by_what.items())


def coverage_line(coverage: Coverage) -> str:
    """How much is shown, in a line."""
    points = list(coverage.points())
    missing = sum(not point.seen for point in points)
    return f"coverage {coverage.percent():.0f} %" + (f": {missing} of {len(points)} things no case shows" if missing else "")


def summary(tried: Sequence[Tried], took_s: float) -> str:
    """The last line."""
    verdicts = [verdict for each in tried for verdict in each.verdicts]
    failed = sum(not verdict.passed for verdict in verdicts)
    broken = sum(bool(each.suite.problems) for each in tried)
    parts = [f"{len(verdicts) - failed} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{broken} test {'file' if broken == 1 else 'files'} wrong"] if broken else []
    return click.style(f"{', '.join(parts)} in {took_s:.2f} s", fg="red" if failed or broken else "green", bold=True)
