"""explain_json -- an Explanation as plain values, for tools: what `--format json` prints and `/explain?id=` answers."""

from __future__ import annotations

from typing import Any

from proxy.assembly.changes import Body, text_of
from proxy.assembly.explain import Explanation, Holder, RuleExplained, Sent
from proxy.openai.payload import MISSING
from proxy.policy.conditions import Explained


def as_json(found: Explanation) -> dict[str, Any]:
    """Plain values. `matches` and `holds` are null where it cannot be told; `exchange` is null where nothing is sent."""
    said: dict[str, Any] = {
        "endpoint": found.endpoint,
        "method": found.method,
        "path": found.path,
        "model": found.model,
        "policies": [_rule(rule) for rule in found.rules],
        "off": [{"name": name, "where": where} for name, where in found.off],
        "stack": [
            {"kind": each.kind, "policy": each.policy, "floor": each.floor, **({"fields": each.fields} if each.fields else {})}
            for each in found.stack
        ],
        "shadowed": [{"kind": lost.kind, "policy": lost.policy, "fields": lost.fields, "by": lost.by} for lost in found.shadowed],
        "journal": [
            {**entry.what, "kind": entry.kind, "policy": entry.policy, "acted": entry.acted, "shadow": entry.shadow}
            for entry in found.journal
        ],
        "holds_body": found.held.request,
        "held": {"request": _holders(found.held.request_by), "reply": _holders(found.held.reply_by)},
        "exchange": _sent(found.sent) if found.sent is not None else None,
        "reply": {"status": found.status, "headers": [[text_of(name), text_of(value)] for name, value in found.headers]},
        "notes": found.notes,
    }
    if found.reply:
        said["reply"]["body"] = found.reply.decode("utf-8", "replace")
    return said if found.recorded is None else {"call": found.recorded, **said}


def _rule(rule: RuleExplained) -> dict[str, Any]:
    said = {
        "name": rule.name,
        "where": rule.where,
        "mode": rule.mode,
        "labels": dict(rule.labels),
        "matches": rule.verdict,
        "kinds": rule.kinds,
        "conditions": [_condition(one) for one in rule.condition.children],
    }
    return said if rule.condition.verdict is rule.verdict else {**said, "matches_when_asked_again": rule.condition.verdict}


def _condition(one: Explained) -> dict[str, Any]:
    said = {"name": one.name, "expected": one.expected, "seen": one.seen, "holds": one.verdict}
    return {**said, "conditions": [_condition(child) for child in one.children]} if one.children else said


def _holders(holders: tuple[Holder, ...]) -> list[dict[str, Any]]:
    return [{"policy": each.policy, "for": each.what} for each in holders]


def _sent(sent: Sent) -> dict[str, Any]:
    said: dict[str, Any] = {
        "upstream": sent.upstream,
        "target": sent.url,
        "model": sent.model,
        "edits": _edits(sent.body) if sent.body is not None else [],
        "headers": [[line.mark.strip(), line.name, line.value] for line in sent.headers],
    }
    if sent.body is not None:
        spans = [{"start": span.start, "end": span.end, "put": span.put} for span in sent.body.spans]
        said["body"] = {"came": sent.body.came, "leaves": sent.body.leaves, "spans": spans}
    return said


def _edits(body: Body) -> list[dict[str, Any]]:
    """Each field; `old` or `new` is left out where there was, or will be, none."""
    out = []
    for change in body.fields:
        said = {"path": change.path, "old": change.old, "new": change.new}
        out.append({name: value for name, value in said.items() if value is not MISSING})
    return out
