"""examples -- the fenced blocks of the docs, each with what it is: so that every one of them is run by a test, and none is passed over.

What a block is follows from its language, its info string and its shape:

- `yaml`: a policy file, a list of policies, one policy, a `match`, an `apply`, or a test file. `yaml wrong`: one that `check` refuses,
  with the lines of the next block. `yaml file=policies/a.yaml`: kept for the commands of the page, as a whole file.
- `sh`: commands, run in order; `console`: commands after `$ `, each with what it prints. `…` stands for anything.
- `json`: parses; `json file=request.json` is kept. `python`, `js`: a client, run against a served proxy.
- `promql`: queries of metrics that a served proxy has.
- no language: reply headers of ours, or the problems of the `yaml wrong` before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from proxy.assembly.stack import KINDS
from proxy.policy.document_spec import DocumentSpec, PolicySpec
from proxy.policy.match_spec import MatchSpec
from proxy.policy.yaml12 import parse

UPSTREAM = {"url": "https://api.example.com/v1", "key": "none"}
ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)``` *$", re.M | re.S)
CLIENTS = {"python", "js"}
SHELLS = {"sh", "console"}
QUERIES = {"promql"}


@dataclass(frozen=True, slots=True)
class Example:
    """One block. `kind` is one of KINDS_OF_EXAMPLES."""

    page: str
    line: int
    info: str
    text: str
    kind: str

    @property
    def id(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name under which it is kept for the commands of its page."""
        return next((word.removeprefix("file=") for word in self.info.split() if word.startswith("file=")), None)


KINDS_OF_EXAMPLES = {
    "file", "test file", "policies", "policy", "apply", "match", "wrong", "problems", "headers", "json", *SHELLS, *CLIENTS, *QUERIES,
}  # fmt: skip


@cache
def pages() -> tuple[Path, ...]:
    """What people read."""
    return (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "policies" / "README.md")


def examples_in(page: str, text: str) -> Iterator[Example]:
    """The blocks of a page. Raises ValueError for one of which nobody knows what it is."""
    before: Example | None = None
    for found in FENCE.finditer(text):
        indent = len(found["indent"])
        block = "".join(line[indent:] if line.strip() else "\n" for line in found["text"].splitlines(keepends=True))
        line = text[: found.start()].count("\n") + 1
        kind = _kind(found["info"].strip(), block, before)
        if kind is None:
            raise ValueError(f"{page}:{line}: no test runs a block of '{found['info'].strip() or 'no language'}'")
        before = Example(page, line, found["info"].strip(), block, kind)
        yield before


@cache
def examples(*kinds: str) -> tuple[Example, ...]:
    """The blocks of all pages, of these kinds or of all."""
    found = [each for page in pages() for each in examples_in(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))]
    return tuple(each for each in found if not kinds or each.kind in kinds)


def _kind(info: str, text: str, before: Example | None) -> str | None:
    language, *more = info.split() or [""]
    if language == "yaml":
        return "wrong" if "wrong" in more else shape(parse(text, "block").value)
    if language in SHELLS | CLIENTS | QUERIES | {"json"}:
        return language
    if language in ("", "text") and before is not None and before.kind == "wrong":
        return "problems"
    if language == "" and all(line.startswith("x-chassis-") for line in text.splitlines()):
        return "headers"
    return None


def shape(value: object) -> str | None:
    """What a YAML block is a part of."""
    if isinstance(value, list):
        return "policies" if value and all(shape(each) == "policy" for each in value) else None
    if not isinstance(value, dict) or not value:
        return None
    keys = set(value)
    if "cases" in keys:
        return "test file"
    for kind, known in (("file", DocumentSpec), ("policy", PolicySpec), ("match", MatchSpec)):
        if keys <= {field.alias or name for name, field in known.model_fields.items()}:
            return kind
    return "apply" if keys <= set(KINDS) else None


def completed(example: Example) -> str:
    """A part of a policy file as a whole one: what it names is declared before it. A whole file as it is."""
    if example.kind in ("test file", "json") or re.search(r"^version:", example.text, re.M):
        return example.text
    value = parse(example.text, "block").value
    wholes: dict[str, Any] = {
        "file": lambda: {"version": 1, **value},
        "policies": lambda: {"version": 1, "policies": value},
        "policy": lambda: {"version": 1, "policies": [{"name": "p", "apply": {"refuse": {}}, **value}]},
        "apply": lambda: {"version": 1, "policies": [{"name": "p", "apply": value}]},
        "match": lambda: {"version": 1, "policies": [{"name": "p", "match": value, "apply": {"refuse": {}}}]},
    }
    whole = wholes[example.kind]()
    named = set(re.findall(r"\bupstream: ([\w.-]+)", example.text)) | {"home"} if example.kind != "file" else set()
    for name in sorted(named, key=lambda name: name != "home"):
        whole.setdefault("upstreams", {}).setdefault(name, dict(UPSTREAM))
    for name in signals_named(whole.get("policies", [])):
        if example.kind != "file":
            whole.setdefault("signals", {}).setdefault(name, {"has": "tools"})
    return json.dumps(whole)


def signals_named(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(signals_named, value))
    if not isinstance(value, dict):
        return set()
    found = value.get("signals", [])
    return {found} if isinstance(found, str) else {*found, *signals_named(list(value.values()))}
