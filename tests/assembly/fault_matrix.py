"""fault_matrix -- what the app gets for each thing that may go wrong with an upstream, under each kind of policy: played, and as a page.

The expected cells are data, reviewed by people: `tests/data/fault_matrix.yaml`. `docs/fault-matrix.md` is made from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from proxy.assembly.load import Policies, load_text
from proxy.assembly.received import Received
from proxy.assembly.rehearse import Played, rehearse
from proxy.policy.case_spec import CaseSpec, SuiteSpec
from proxy.policy.shape import unfold

DATA = Path(__file__).parents[1] / "data" / "fault_matrix.yaml"
FORMS = ("plain", "stream")
GOOD = "ok"
UPSTREAMS = "version: 1\nupstreams: {openai: {url: 'https://a.test/v1'}, groq: {url: 'https://b.test/v1', key: none}}\npolicies: "


@dataclass(frozen=True)
class Column:
    """One kind of policy. `passes`: only the first exchange goes wrong."""

    name: str
    apply: tuple[str, ...]
    passes: bool = False


@dataclass(frozen=True)
class Row:
    """One thing that goes wrong, for a plain reply or for a stream, and the cells that are expected, by column."""

    fault: str
    form: str
    play: Any
    cells: dict[str, str]


def read() -> tuple[dict[str, str], list[Column], list[Row]]:
    """The parts of policies by name, the columns, and the rows that there are."""
    data = yaml.safe_load(DATA.read_text("utf-8"))
    columns = [Column(each["name"], tuple(each.get("apply", ())), each.get("passes", False)) for each in data["columns"]]
    rows = []
    for each in data["faults"]:
        for form in FORMS:
            if form in each:
                play = each.get(f"{form}_play", each.get("play"))
                rows.append(Row(each["fault"], form, play, each[form]))
    return data["parts"], columns, rows


@cache
def policies_of(apply: tuple[str, ...]) -> Policies:
    """One policy of these parts for all calls; none where there are none."""
    parts = read()[0]
    whole = "\n".join(f"      {part}: {parts[part]}" for part in apply)
    return load_text(UPSTREAMS + (f"\n  - name: safe\n    apply:\n{whole}\n" if apply else "[]\n"), "p.yaml", {})


def played(row: Row, column: Column) -> Played:
    """One cell, played: openai goes wrong, groq does not."""
    plays = [row.play, GOOD] if column.passes else [row.play]
    written = {
        "name": row.fault,
        "request": {"prompt": "Hi", "stream": row.form == "stream"},
        "upstreams": {"openai": plays, "groq": "from groq"},
        "expect": {"matched": []},
    }
    unfolded, found = unfold(CaseSpec, written)
    assert not found, found
    return rehearse(policies_of(column.apply), SuiteSpec.model_construct(upstreams={}, now=None), CaseSpec.read(unfolded))


def told(played: Played) -> str:
    """What the app got, in a line: status and what it said, how it ended, exchanges, seconds of virtual time."""
    (heard,) = played.heard
    reply = Received(heard)
    if reply.status is None:
        said = "nothing"
    elif reply.error is not None and not (reply.is_stream and reply.text):
        said = f"{reply.status} {reply.error.get('code') or reply.error.get('message')}"
    else:
        said = f"{reply.status} {_short(reply.text)}"
    ends = {"clean": "", "cut": ", then cut", "error": ", then an error" if reply.is_stream else "", "left": ", the app left"}[reply.ends]
    took_s = round(2 * (heard.ended - heard.begun)) / 2  # alarms are coarse, waits between tries are drawn
    return f"{said}{ends}; {len(played.exchanges)}x; {took_s:g} s"


def _short(text: str) -> str:
    text = re.sub(r"\s+", " ", text)
    return json.dumps(text if len(text) <= 24 else f"{text[:20]} …", ensure_ascii=False)


def page() -> str:
    """The page for people."""
    parts, columns, rows = read()
    return "\n".join(_lines(parts, columns, rows)) + "\n"


def _lines(parts: dict[str, str], columns: list[Column], rows: list[Row]) -> Iterator[str]:
    yield from INTRODUCTION.splitlines()
    yield ""
    yield "| column | policy | goes wrong |"
    yield "|---|---|---|"
    for column in columns:
        what = ", ".join(f"`{part}`" for part in column.apply) or "none"
        yield f"| {column.name} | {what} | {'the first exchange only' if column.passes else 'every exchange with the first upstream'} |"
    yield ""
    yield "```yaml"
    yield from (f"{part}: {text}" for part, text in parts.items())
    yield "```"
    for form in FORMS:
        yield ""
        yield f"## {'A plain reply' if form == 'plain' else 'A stream'}"
        yield ""
        yield "| what goes wrong | " + " | ".join(column.name for column in columns) + " |"
        yield "|---" * (len(columns) + 1) + "|"
        for row in rows:
            if row.form == form:
                yield f"| {row.fault} | " + " | ".join(row.cells[column.name].replace("|", "\\|") for column in columns) + " |"


INTRODUCTION = """# What the app gets when an upstream fails

Each cell is played in virtual time by the tests, through the whole proxy, and says what the app gets (the status, and the text or the
error's code), how it ends where it does not end well, how many exchanges were made (`3x`), and after how long. In each of them every reply
is read or closed, and no exchange and no task is left.

The app asks `openai` for a chat; a fallback target is `groq`, which answers `from groq`. An app that gets nothing leaves after 600 s, as
the SDKs do. Made by `make generate` from `tests/data/fault_matrix.yaml`."""
