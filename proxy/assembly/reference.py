"""reference -- the tables of policies/README.md, made from the same models that check the files, so that the two cannot differ.

For `make generate` and its check; nothing at run time asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from proxy.assembly.schema import JsonSchema, bounds_of, plain, plain_schema
from proxy.assembly.stack import KINDS, STACK
from proxy.openai.endpoints import MEANINGS
from proxy.openai.errors import CODES
from proxy.openai.payload import HAS
from proxy.policy.case_spec import SuiteSpec
from proxy.policy.document_spec import document_model
from proxy.policy.expect_spec import WORDS
from proxy.policy.kind import Kind
from proxy.policy.language import NAMES
from proxy.policy.shape import unfold

_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.S)
_SECTIONS = {  # what has a heading of its own on the page
    "match": "[conditions](#match)",
    "apply": "[apply](#apply)",
    "policy": "[policy](#a-policy)",
    "upstream": "[upstream](#upstreams)",
    "limits": "[limits](#limits)",
}
_LISTED = {"endpoint": MEANINGS, "feature": HAS, "language": NAMES}  # words of closed lists that have a table of their own
_FEW = 5  # keys of a mapping that are named in its type
_USUAL, _HUGE = 256, 1_000_000  # characters: limits that nobody meets by accident go without saying

Blocks = Mapping[str, Callable[[], str]]


def filled(text: str, blocks: Blocks | None = None) -> str:
    """A page with every generated block of it made anew. Raises KeyError for a block that nothing makes."""
    known = {**BLOCKS, **(blocks or {})}
    return _BLOCK.sub(lambda block: f"{block[1]}\n{known[block[2]]()}\n\n{block[3]}", text)


def table(head: str, rows: Mapping[str, str]) -> str:
    """Words and what they mean."""
    return "\n".join([f"| {head} | |", "|---|---|", *(f"| `{name}` | {cell(text)} |" for name, text in rows.items())])


def cell(text: str) -> str:
    """Text for a cell of a table: on one line, and what would end the cell is escaped."""
    return " ".join(text.split()).replace("|", "\\|")


class Reference:
    """The tables of one schema."""

    def __init__(self, schema: JsonSchema) -> None:
        self._schema = schema
        self._definitions: dict[str, JsonSchema] = schema["definitions"]

    def of(self, name: str = "") -> str:
        """The table of a definition (without a name, of the whole), and of every mapping in it that has no section of its own."""
        parts = [self.fields(self._whole(name))]
        for inner, keys in self._inner(name).items():
            said = " ".join(self._definitions[inner].get("description", "").split())
            named = ", ".join(f"`{key}`" for key in keys)
            parts.append(f"{named}: {said}\n\n{self.fields(self._whole(inner))}")
        return "\n\n".join(parts)

    def fields(self, node: JsonSchema) -> str:
        """A table of a mapping's keys."""
        rows = ["| key | type | default | |", "|---|---|---|---|"]
        for key, field in node["properties"].items():
            default = "**required**" if key in node.get("required", ()) else f"`{plain(field['default'])}`" if "default" in field else ""
            rows.append(f"| `{key}` | {cell(self.type(field))} | {cell(default)} | {cell(self._said(field))} |")
        return "\n".join(rows)

    def type(self, node: JsonSchema) -> str:
        """A type in words."""
        bounds = bounds_of(node)
        return f"{self._bare(node)}, {bounds}" if bounds else self._bare(node)

    def example(self, name: str) -> Any:
        """The first example of a definition."""
        return self._definitions[name]["examples"][0]

    def _said(self, field: JsonSchema) -> str:
        text = field.get("description") or self._definitions.get(_target(field), {}).get("description", "")
        examples = field.get("examples", ())
        shown = " or ".join(f"`{plain(each)}`" for each in examples)
        return f"{text} Example: {shown}." if shown else text

    def _bare(self, node: JsonSchema) -> str:
        if name := _target(node):
            return self._named(name)
        if "enum" in node:
            return str(node["title"]) if node.get("title") in _LISTED else _one_of(node["enum"])
        if "const" in node:
            return f"`{plain(node['const'])}`"
        arms = [arm for arm in node.get("anyOf", ()) if set(arm) != {"required"}]
        if arms and "type" not in node:
            if len(arms) == 2 and arms[1].get("type") == "array" and arms[1].get("items") == arms[0]:
                return f"{self._bare(arms[0])}, or a list of them"
            words = dict.fromkeys(self._bare(arm) for arm in arms)
            return "number" if list(words) == ["whole number", "number"] else ", or ".join(words)
        return self._of_type(node)

    def _of_type(self, node: JsonSchema) -> str:
        kind = node.get("type")
        if kind == "object":
            values = node.get("additionalProperties")
            if "properties" in node:
                return _keys(node)
            inner = self._bare(values) if isinstance(values, dict) and values else "any value"
            return f"mapping to {inner}"
        if kind == "array":
            return f"list: {self._bare(node['items'])}"
        if kind == "string":
            longest = node.get("maxLength", _USUAL)
            return str(node.get("title") or "text") + (f", at most {longest:,} characters" if _USUAL < longest < _HUGE else "")
        words = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", None: "any value"}
        return words[kind]

    def _named(self, name: str) -> str:
        if name in _LISTED:
            return name
        return _SECTIONS.get(name) or self._bare(self._definitions[name])

    def _whole(self, name: str) -> JsonSchema:
        """A definition as a mapping, its short form left out."""
        node = self._definitions[name] if name else self._schema
        return node if "properties" in node else next(arm for arm in node["anyOf"] if "properties" in arm)

    def _inner(self, name: str) -> dict[str, list[str]]:
        """The mappings in a definition, in order, each with the keys under which it stands."""
        found: dict[str, list[str]] = {}
        left = [name]
        for each in left:
            for key, field in self._whole(each)["properties"].items():
                for target in _targets(field):
                    if target in _SECTIONS or target == name or "enum" in self._definitions[target]:
                        continue
                    if target not in found:
                        left.append(target)
                    if key not in found.setdefault(target, []):
                        found[target].append(key)
        return found


def _target(node: JsonSchema) -> str:
    return str(node.get("$ref", "")).rpartition("/")[2]


def _targets(node: Any) -> Iterator[str]:
    """The definitions that a field refers to, wherever in it."""
    if isinstance(node, dict):
        if name := _target(node):
            yield name
        for key, each in node.items():
            if key not in ("default", "examples"):
                yield from _targets(each)
    elif isinstance(node, list):
        for each in node:
            yield from _targets(each)


def _one_of(values: list[Any]) -> str:
    shown = [f"`{plain(value)}`" for value in values]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _keys(node: JsonSchema) -> str:
    keys = list(node["properties"])
    return f"mapping ({', '.join(f'`{key}`' for key in keys)})" if len(keys) <= _FEW else "mapping"


def _language() -> Reference:
    return Reference(plain_schema(document_model({kind.name: kind.spec for kind in STACK})))


def _kinds() -> str:
    reference = _language()
    parts = []
    for kind in _in_order():
        doc = " ".join((kind.spec.__doc__ or "").split())
        example = reference.example(kind.name)
        parts.append(f"### {kind.name}\n\n{doc}\n\n```yaml\napply: {plain({kind.name: example})}\n```\n\n{_facts(kind, example)}")
        parts.append(reference.of(kind.name))
    return "\n\n".join(parts)


def _in_order() -> list[Kind]:
    """The kinds, outermost first; of one with two layers the outer one."""
    return [KINDS[name] for name in dict.fromkeys(kind.name for kind in STACK)]


def _facts(kind: Kind, example: Any) -> str:
    """How a kind composes, where it may be tried, and what it needs; probed with its example."""
    spec = kind.spec.read(unfold(kind.spec, example)[0])
    sets = kind.fields(spec)
    if not sets:
        wins = "all of them act, in file order"
    elif sets == {""}:
        wins = "the first in file order acts, alone"
    else:
        wins = "for each field, the first in file order that sets it"
    facts = {
        "Place": f"{_in_order().index(kind) + 1} of {len(KINDS)}, outermost first; {_FLOORS[kind.floor.value]}",
        "Where several match": wins,
        "In shadow": "reports what it would have done" if kind.shadow is not None else "cannot be; `check` says so",
        "Needs": "the request's body, held until it has acted" if kind.reads_body(spec) else "nothing of the body",
    }
    return "\n".join(f"- {name}: {text}." for name, text in facts.items())


def _codes() -> str:
    rows = ["| `error.code` | status | |", "|---|---|---|"]
    rows += [f"| `{name}` | {code.status} | {code.meaning} |" for name, code in CODES.items()]
    return "\n".join(rows)


_FLOORS = {"call": "once a call", "plan": "once a call, over all its exchanges", "exchange": "once an exchange with an upstream"}
BLOCKS: Blocks = {
    "file": lambda: _language().fields(plain_schema(document_model({kind.name: kind.spec for kind in STACK}))),
    "policy": lambda: _language().of("policy"),
    "limits": lambda: _language().of("limits"),
    "match": lambda: _language().of("match"),
    "endpoints": lambda: table("endpoint", {endpoint.value: text for endpoint, text in MEANINGS.items()}),
    "has": lambda: table("feature", HAS),
    "languages": lambda: ", ".join(f"`{code}` {name}" for code, name in NAMES.items()) + ".",
    "upstream": lambda: _language().of("upstream"),
    "kinds": _kinds,
    "test-file": lambda: Reference(plain_schema(SuiteSpec)).of(),
    "words": lambda: table("word", WORDS),
    "codes": _codes,
}
