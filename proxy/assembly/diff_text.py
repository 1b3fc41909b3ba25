"""diff_text -- both sorts of difference as lines for a person, and as plain values for tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from proxy.assembly.diff import CallsDiff, Change, Group
from proxy.assembly.diff_policies import PoliciesDiff, Thing
from proxy.openai.payload import MISSING

GROUPS = 20  # shown of the ways in which calls differ; `-v` shows all
EXAMPLES = 3
WRONG = 10  # files or lines that are no requests
CHARS = 100
MARKS = {"added": "+", "removed": "-", "changed": "~", "renamed": "~", "moved": "~"}


def calls_text(found: CallsDiff, verbose: int = 0) -> Iterator[str]:
    """Lines. `verbose`: 1 shows every group with examples, 2 all examples that are kept."""
    same = found.requests - found.different
    yield f"{_calls(found.requests)}: {same:,} treated the same, {found.different:,} differently"
    if found.different:
        yield "  " + ", ".join(f"{kind} {count:,}" for kind, count in found.by_kind.most_common())
    groups = found.ordered()
    shown = groups if verbose else groups[:GROUPS]
    for group in shown:
        yield ""
        yield from _group(group, verbose)
    if len(groups) > len(shown):
        rest = groups[len(shown) :]
        yield ""
        yield f"and {len(rest)} more ways, of {_calls(sum(group.count for group in rest))}; -v shows them"
    shadows = [(key, counts) for key, counts in sorted(found.shadow.items()) if counts[0] != counts[1]]
    if shadows:
        yield ""
        yield "in shadow, which changes no call:"
        for (policy, kind), (was, will) in shadows:
            yield f"  {policy} ({kind}): would act on {was:,} before, {will:,} now"


def wrong_text(found: CallsDiff) -> Iterator[str]:
    """What could not be asked about."""
    yield from found.wrong[:WRONG]
    if len(found.wrong) > WRONG:
        yield f"and {len(found.wrong) - WRONG} more that are no requests"


def _group(group: Group, verbose: int) -> Iterator[str]:
    yield _calls(group.count)
    for change in group.changes:
        what = f" {change.what}" if change.what else ""
        old, new = _short(change.old), _short(change.new)
        yield f"  {change.kind}{what}: {old} -> {new}"
    if verbose:
        names = group.examples if verbose > 1 else group.examples[:EXAMPLES]
        more = f" and {group.count - len(names):,} more" if group.count > len(names) else ""
        yield f"  as {', '.join(names)}{more}"


def _calls(count: int) -> str:
    return f"{count:,} {'call' if count == 1 else 'calls'}"


def policies_text(found: PoliciesDiff, verbose: int = 0) -> Iterator[str]:
    """Lines: `+` what is added, `-` removed, `~` changed. `verbose` shows long values whole."""
    for thing in found.things:
        where = f" ({thing.where})" if thing.where else ""
        note = f": {thing.note}" if thing.note else ""
        yield f"{MARKS[thing.change]} {thing.what} {thing.name} {thing.change}{where}{note}"
        for edit in thing.edits:
            path = f"{edit.path}: " if edit.path else ""
            if edit.old is not MISSING:
                yield f"    - {path}{_value(edit.old, verbose)}"
            if edit.new is not MISSING:
                yield f"    + {path}{_value(edit.new, verbose)}"
    if found.order:
        yield "order now: " + ", ".join(found.order)


def _value(value: object, verbose: int) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return _short(text, None if verbose else CHARS)


def _short(text: str, most: int | None = CHARS) -> str:
    line = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def calls_json(found: CallsDiff) -> dict[str, Any]:
    """Plain values."""
    return {
        "requests": found.requests,
        "same": found.requests - found.different,
        "different": found.different,
        "by_kind": dict(found.by_kind.most_common()),
        "groups": [
            {"count": group.count, "changes": [_change(each) for each in group.changes], "examples": group.examples}
            for group in found.ordered()
        ],
        "shadow": [
            {"policy": policy, "kind": kind, "before": was, "after": will} for (policy, kind), (was, will) in sorted(found.shadow.items())
        ],
        "wrong": found.wrong,
    }


def _change(change: Change) -> dict[str, str]:
    said = {"kind": change.kind, "what": change.what, "old": change.old, "new": change.new}
    return {name: value for name, value in said.items() if value or name != "what"}


def policies_json(found: PoliciesDiff) -> dict[str, Any]:
    """Plain values."""
    return {"changes": [_thing(thing) for thing in found.things], "order": found.order}


def _thing(thing: Thing) -> dict[str, Any]:
    edits = [{"path": edit.path, "old": edit.old, "new": edit.new} for edit in thing.edits]
    return {
        "what": thing.what,
        "name": thing.name,
        "change": thing.change,
        "where": thing.where,
        "note": thing.note,
        "edits": [{name: value for name, value in edit.items() if value is not MISSING} for edit in edits],
    }
