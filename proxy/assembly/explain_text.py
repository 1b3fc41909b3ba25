"""explain_text -- an Explanation as lines for a person at night: the outcome first, then each policy, then what was done. No colour needed.

Marks: `yes`, `no`, `?` of a condition; `+`, `-` and none of a line that is added, taken away or stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson

from proxy.assembly.changes import Body, text_of
from proxy.assembly.explain import Explanation, Holder, RuleExplained, Sent
from proxy.core.journal import Entry
from proxy.openai.payload import MISSING
from proxy.policy.conditions import Explained

MARKS = {True: "yes", False: "no", None: "?"}
VERDICTS = {True: "matches", False: "does not match", None: "cannot be told, so it does not match"}
SHOWN_CHARS = 120
LISTED = 8  # names in one line
LINES = 12  # of one value
WHOLE = "match"  # the name of a condition that is a whole `match`, or what stands under `not` or in a signal
DENIED = {"each of them": "not each of them", "one of them": "none of them"}


def as_text(found: Explanation, brief: bool = False) -> list[str]:
    """Lines without their ends. `brief`: only policies that match, or of which it cannot be told."""
    lines = [f"{found.endpoint} call, model {_line(found.model or 'unknown')}: {found.method} {found.path}"]
    lines += _recorded(found.recorded) if found.recorded is not None else []
    lines += _outcome(found)
    lines += [f"  note: {note}" for note in found.notes]
    shown = [rule for rule in found.rules if not brief or rule.verdict is not False]
    for rule in shown:
        lines += ["", *_rule(rule)]
    left = len(found.rules) - len(shown)
    if left:
        lines += ["", f"{left} {'policy does' if left == 1 else 'policies do'} not match"]
    if found.off:
        lines += ["", "off:", *(f"  {name} ({where})" for name, where in found.off)]
    lines += ["", "layers, outermost first:"]
    lines += [
        f"  {each.kind} of {each.policy}, once {'an exchange' if each.floor == 'exchange' else 'a call'}"
        f"{f': {_names(each.fields)}' if each.fields else ''}"
        for each in found.stack
    ] or ["  none"]
    for lost in found.shadowed:
        fields = f" ({', '.join(lost.fields)})" if lost.fields else ""
        lines.append(f"  shadowed: {lost.kind}{fields} of {lost.policy}, by {lost.by}")
    lines += ["", "held:", *_held(found)]
    lines += ["", "decided:"]
    lines += [_decision(entry) for entry in found.journal] or ["  nothing"]
    lines += ["", *_answered(found)]
    return lines


def _recorded(said: dict[str, object]) -> Iterator[str]:
    status = said.get("status", "no reply")
    count = "1 exchange" if said["exchanges"] == 1 else f"{said['exchanges']} exchanges"
    yield f"call {said['call']} at {said['ts']}: {status} ({said['outcome']}) in {said['ms']} ms, {count}"
    for name in ("fault", "detail", "trace_id"):
        if name in said:
            yield f"  {name}: {_line(str(said[name]))}"
    if "revision" in said:
        yield f"  policies of then: generation {said['generation']}, revision {said['revision']}"


def _outcome(found: Explanation) -> Iterator[str]:
    """The end of it, in three lines."""
    if found.sent is not None:
        model = f", model {_line(found.sent.model)}" if found.sent.model is not None else ""
        yield f"  goes to: {found.sent.upstream}{model}"
    elif found.recorded is None:
        yield f"  refused: {found.status}, nothing is sent"
    elif found.recorded["outcome"] == "refused" and not found.recorded["exchanges"]:
        yield f"  refused: {found.status}, nothing was sent"
    elif "upstream" in found.recorded:
        yield f"  went to: {found.recorded['upstream']}, model {_line(str(found.recorded.get('model_sent', 'as asked')))}"
    for title, shadow in (("acted", False), ("would have acted, in shadow", True)):
        acts = [entry for entry in found.journal if entry.policy and entry.shadow is shadow and (entry.acted or shadow)]
        if acts:
            names = dict.fromkeys(f"{entry.policy} ({entry.kind})" for entry in acts)
            yield f"  {title}: {_names(list(names))}"
    if unknown := [rule.name for rule in found.rules if rule.verdict is None]:
        yield f"  cannot be told: {_names(unknown)}"


def _rule(rule: RuleExplained) -> Iterator[str]:
    shadow = ", in shadow" if rule.mode == "shadow" else ""
    yield f"{rule.name} ({rule.where}): {VERDICTS[rule.verdict]}{shadow}"
    labels = "; labels: " + ", ".join(f"{name}={value}" for name, value in rule.labels) if rule.labels else ""
    yield f"  apply: {', '.join(rule.kinds)}{labels}"
    condition = _flat(rule.condition)
    tree = list(_tree(condition.children if condition.name == WHOLE else (condition,), 1))
    yield from tree or ["  always"]
    if rule.verdict is not None and rule.condition.verdict is not rule.verdict:
        yield f"  asked again, this says {MARKS[rule.condition.verdict]}: what it read then is not kept"


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


def _tree(conditions: tuple[Explained, ...], depth: int) -> Iterator[str]:
    for one in conditions:
        if not one.expected:  # a part of what was seen, not a condition
            yield f"{'  ' * depth}{'':<4}{one.name}: {_line(one.seen, 2000)}"
            continue
        seen = one.seen if one.seen.startswith("unknown: ") else f"saw {one.seen}"
        yield f"{'  ' * depth}{MARKS[one.verdict]:<4}{one.name}: wants {_line(one.expected, 2000)}; {_line(seen, 2000)}"
        yield from _tree(one.children, depth + 1)


def _held(found: Explanation) -> Iterator[str]:
    held = found.held
    if not held.has_body:
        yield "  request: there is no body"
    elif not held.request:
        yield "  request: the body streams through"
    else:
        yield "  request: the body is held until it is whole"
        yield from _holders(held.request_by)
    if held.reply_by:
        yield "  reply: held back"
        yield from _holders(held.reply_by)
    elif found.sent is not None:
        yield "  reply: it streams through, nobody waits for it"


def _holders(holders: Sequence[Holder]) -> Iterator[str]:
    for each in holders[:LISTED]:
        yield f"    for {each.policy}: {each.what}" if each.policy is not None else f"    for {each.what}"
    if len(holders) > LISTED:
        yield f"    and {len(holders) - LISTED} more"


def _answered(found: Explanation) -> Iterator[str]:
    told = [f"  {text_of(name)}: {text_of(value)}" for name, value in found.headers]
    if found.sent is not None:
        yield from _sent(found.sent, found.has_body)
        if told:
            yield "reply headers:"
            yield from told
    elif found.recorded is not None and not found.reply:
        yield "what was sent, or answered, is not known any more"
    else:
        yield f"answered by the proxy itself: {found.status}"
        yield from told
        yield f"  {text_of(found.reply)}"


def _sent(sent: Sent, has_body: bool) -> Iterator[str]:
    declared = "" if sent.declared else " (no upstream is declared: `serve` needs --upstream)"
    yield f"sent to {sent.upstream}{declared}: {sent.url}, model {_line(sent.model or 'as asked')}"
    if sent.headers:
        yield "  headers:"
        yield from (f"  {line.mark} {line.name}: {_line(line.value)}" for line in sent.headers)
    if sent.body is not None and sent.body.fields:
        yield from _body(sent.body)
    elif has_body:
        yield "  body: every byte as it came"


def _body(body: Body) -> Iterator[str]:
    places = _names([f"{span.start}-{span.end}" for span in body.spans])
    yield f"  body, {body.came:,} bytes in, {body.leaves:,} out, changed at {places}:"
    for change in body.fields:
        for mark, value in (("-", change.old), ("+", change.new)):
            if value is not MISSING:
                yield from _lines(mark, change.path, value)


def _lines(mark: str, path: str, value: object) -> Iterator[str]:
    """One value: a text of several lines on lines of its own."""
    if not isinstance(value, str) or "\n" not in value:
        yield f"  {mark} {path}: {_shown(value)}"
        return
    lines = value.splitlines()
    yield f"  {mark} {path}:"
    for line in lines[:LINES]:
        yield f"  {mark}   {_line(line)}"
    if len(lines) > LINES:
        yield f"  {mark}   … {len(lines) - LINES} more lines"


def _decision(entry: Entry) -> str:
    what = "; ".join(f"{name}: {_shown(value)}" for name, value in entry.what.items())
    whose = f" of {entry.policy}" if entry.policy is not None else ""
    return f"  {entry.kind}{whose}{' (shadow)' if entry.shadow else ''}{': ' if entry.what else ''}{what}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _shown(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value) or "-"
    return _line(value if isinstance(value, str) else orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode())


def _line(text: str, most: int = SHOWN_CHARS) -> str:
    """One line: what a terminal would take for more than text is a `?`."""
    text = text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else text[: most - 1] + "…"
