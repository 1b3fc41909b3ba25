"""explain -- what would be done with a request, and why: each policy with what its conditions saw, and what would be sent."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import orjson

from proxy.assembly.explain import Explanation
from proxy.assembly.explain import explain as run
from proxy.assembly.load import load
from proxy.cli.options import HeaderText, environment, no_secrets, of_variable, output_format, policies_argument
from proxy.core.body import Headers
from proxy.core.journal import Entry
from proxy.policy.conditions import Explained
from proxy.policy.problems import PolicyError

MARKS = {True: "yes", False: "no", None: "?"}
SHOWN_CHARS = 120
WHOLE = "match"  # the name of a condition that is a whole `match`, or what stands under `not` or in a signal
DENIED = {"each of them": "not each of them", "one of them": "none of them"}
Asked = tuple[bytes, bytes, Headers, bytes]  # method, target, headers, body


@click.command()
@policies_argument
@click.option(
    "--request",
    "file",
    required=True,
    type=click.File("rb"),
    metavar="FILE",
    **of_variable("REQUEST"),
    help="The request; - reads standard input.",
)
@click.option(
    "--header",
    "given",
    multiple=True,
    type=HeaderText(),
    **of_variable("HEADER"),
    help="A header of the request; may be repeated.",
)
@no_secrets
@output_format
def explain(path: Path, file: Any, given: Headers, no_secrets: bool, style: str) -> None:
    """Say what the policies in PATH would do with the request in FILE.

    FILE holds a JSON body, as for POST /v1/chat/completions, or {"method", "path", "headers", "body"}. Nothing is sent.
    """
    asked = _asked(file.read(), given)
    try:
        policies = load(path, environment(), no_secrets=no_secrets)
    except PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    explanation = asyncio.run(run(policies, *asked))
    if style == "json":
        click.echo(orjson.dumps(as_json(explanation), option=orjson.OPT_INDENT_2, default=str))
    else:
        click.echo("\n".join(as_text(explanation, has_body=bool(asked[3]))))


def _asked(data: bytes, given: Headers) -> Asked:
    """The request that a file holds. A body that is not JSON is asked about as it is."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or not ({"method", "path", "body"} & value.keys()) or "messages" in value or "model" in value:
        return b"POST", b"/v1/chat/completions", list(given), data
    unknown = sorted(value.keys() - {"method", "path", "headers", "body"})
    if unknown:
        raise click.UsageError(f"the request file has the unknown field '{unknown[0]}'; it may have method, path, headers and body")
    method, target, mapped = value.get("method", "POST"), value.get("path", "/v1/chat/completions"), value.get("headers", {})
    if not isinstance(method, str) or not isinstance(target, str) or not isinstance(mapped, dict):
        raise click.UsageError("the request file: method and path are text, headers is a mapping")
    headers = [(name.strip().encode(), str(text).strip().encode()) for name, text in mapped.items()] + list(given)
    body = value.get("body")
    raw = b"" if body is None else body.encode() if isinstance(body, str) else orjson.dumps(body)
    return method.encode(), target.encode(), headers, raw


def as_text(found: Explanation, has_body: bool = True) -> list[str]:
    """Lines for a person."""
    lines = [f"{found.endpoint} call, model {found.model or 'unknown'}"]
    for rule in found.rules:
        verdict = {True: "matches", False: "does not match", None: "cannot be told, so it does not match"}[rule.verdict]
        shadow = ", in shadow" if rule.mode == "shadow" else ""
        lines += ["", f"{rule.name} ({rule.where}): {verdict}{shadow}"]
        condition = _flat(rule.condition)
        lines += _tree(condition.children if condition.name == WHOLE else (condition,), 1) or ["  always"]
    lines += ["", "layers, outermost first:"]
    lines += [f"  {kind} of {policy}" for kind, policy in found.stack] or ["  none"]
    for lost in found.shadowed:
        fields = f" ({', '.join(lost.fields)})" if lost.fields else ""
        lines.append(f"  shadowed: {lost.kind}{fields} of {lost.policy}, by {lost.by}")
    lines += ["", "decided:"]
    lines += [_decision(entry) for entry in found.journal] or ["  nothing"]
    lines.append("")
    if found.upstream is None:
        lines.append(f"answered by the proxy itself: {found.status}")
        lines += [f"  {name.decode()}: {value.decode('latin-1')}" for name, value in found.headers]
        return [*lines, f"  {found.reply.decode('utf-8', 'replace')}"]
    declared = "" if "://" in (found.target or "") else " (no upstream is declared: `serve` needs --upstream)"
    lines.append(f"sent to {found.upstream}{declared}: {found.target}, model {found.asks or 'as asked'}")
    if not has_body:
        lines.append("  there is no body")
    else:
        lines.append("  the body is held until it is whole" if found.holds_body else "  the body streams through")
    lines += [f"  {change}" for path, old, new in found.edits for change in _diff(path, old, new)] or ["  every byte as it came"]
    told = [f"  {name.decode()}: {value.decode('latin-1')}" for name, value in found.headers]
    return [*lines, "reply headers:", *told] if told else lines


def _flat(one: Explained) -> Explained:
    """The same without groups of one, which say nothing: `not signal legal: keywords` is one line."""
    children = tuple(map(_flat, one.children))
    if len(children) != 1 or not (one.name in (WHOLE, "any", "all", "not") or one.name.startswith("signal ")):
        return replace(one, children=children)
    (inner,) = children
    if one.name in (WHOLE, "any", "all"):
        return inner
    named = one.name if inner.name == WHOLE else f"{one.name} {inner.name}" if one.name == "not" else f"{one.name}: {inner.name}"
    expected = DENIED.get(inner.expected, inner.expected) if one.name == "not" and inner.children else inner.expected
    return Explained(named, expected, inner.seen, one.verdict, inner.children)


def _tree(conditions: tuple[Explained, ...], depth: int) -> list[str]:
    lines = []
    for one in conditions:
        seen = one.seen if one.seen.startswith("unknown: ") else f"saw {one.seen}"
        lines.append(f"{'  ' * depth}{MARKS[one.verdict]:<4}{one.name}: wants {one.expected}; {seen}")
        lines += _tree(one.children, depth + 1)
    return lines


def _decision(entry: Entry) -> str:
    what = "; ".join(f"{name}: {_shown(value)}" for name, value in entry.what.items())
    whose = f" of {entry.policy}" if entry.policy is not None else ""
    return f"  {entry.kind}{whose}{' (shadow)' if entry.shadow else ''}{': ' if entry.what else ''}{what}"


def _shown(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value) or "-"
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _diff(path: str, old: object, new: object) -> list[str]:
    lines = [f"- {path}: {_shown(old)}"] if old is not None else []
    return [*lines, f"+ {path}: {_shown(new)}"] if new is not None else lines


def as_json(found: Explanation) -> dict[str, Any]:
    """The same for tools."""
    return {
        "endpoint": found.endpoint,
        "model": found.model,
        "policies": [
            {
                "name": rule.name,
                "where": rule.where,
                "mode": rule.mode,
                "matches": rule.verdict,
                "kinds": rule.kinds,
                "conditions": [_condition(one) for one in rule.condition.children],
            }
            for rule in found.rules
        ],
        "stack": [{"kind": kind, "policy": policy} for kind, policy in found.stack],
        "shadowed": [{"kind": lost.kind, "policy": lost.policy, "fields": lost.fields, "by": lost.by} for lost in found.shadowed],
        "journal": [
            {"kind": entry.kind, "policy": entry.policy, "acted": entry.acted, "shadow": entry.shadow, **entry.what}
            for entry in found.journal
        ],
        "holds_body": found.holds_body,
        "exchange": None
        if found.upstream is None
        else {
            "upstream": found.upstream,
            "target": found.target,
            "model": found.asks,
            "edits": [{"path": path, "old": old, "new": new} for path, old, new in found.edits],
        },
        "reply": {"status": found.status, "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in found.headers]},
    }


def _condition(one: Explained) -> dict[str, Any]:
    said = {"name": one.name, "expected": one.expected, "seen": one.seen, "holds": one.verdict}
    return {**said, "conditions": [_condition(child) for child in one.children]} if one.children else said
