"""schema -- the JSON Schema of the policy language, from the same models that check the files, for editors to complete and check by.

Draft 7: the one draft that the language servers behind VS Code, IntelliJ and others have all understood for years.
What `check` accepts the schema accepts; what one value or one mapping alone can show to be wrong it refuses.
What needs a second look (names that nothing declares, keys given twice, secrets) is left to `check`.
Nothing in a call asks for it. Cost: 20 ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from proxy.assembly.stack import STACK
from proxy.openai.endpoints import MEANINGS
from proxy.policy.case_spec import SuiteSpec
from proxy.policy.document_spec import document_model
from proxy.policy.scalars import scalar
from proxy.policy.spec import Spec
from proxy.policy.units import with_unit

JsonSchema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}
_UNIT = {"duration": "1s", "size": "1B", "share": "1%"}  # a text of each, to write a bound in the same unit
_MEANINGS = {"endpoint": MEANINGS}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def policy_schema(kinds: Mapping[str, type[Spec]] | None = None) -> JsonSchema:
    """The schema of a policy file in which these kinds may be applied: all of the product's when none are named."""
    model = document_model({kind.name: kind.spec for kind in STACK} if kinds is None else kinds)
    out = schema_of(model, "urn:chassis:policies:1", "Chassis policies")
    for name, snippets in _SNIPPETS.items():
        place = out if name == "" else out["definitions"][name]
        place["defaultSnippets"] = [dict(snippet) for snippet in snippets]
    return out


def suite_schema() -> JsonSchema:
    """The schema of a test file of policies."""
    return schema_of(SuiteSpec, "urn:chassis:tests:1", "Chassis policy tests")


def schema_of(model: type[BaseModel], urn: str, title: str) -> JsonSchema:
    """The schema of a model, as editors want it: what they show is the description, so bounds and defaults are said there."""
    out: JsonSchema = {"$schema": DRAFT, "$id": urn, **plain_schema(model), "title": title}
    for node in list(_nodes(out)):
        _describe(node)
    return out


def plain_schema(model: type[BaseModel]) -> JsonSchema:
    """The schema of a model with its descriptions as they are written."""
    made = model.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_Plain)
    definitions = {_noun(name): each for name, each in made.pop("$defs", {}).items()}
    out: JsonSchema = {**made, "definitions": dict(sorted(definitions.items()))}
    for node in list(_nodes(out)):
        _finish(node)
    for name, each in out["definitions"].items():
        if "enum" in each:  # what the field says of it is nearer
            each.pop("description", None)
            each.pop("title", None)
        else:
            each["title"] = name
    for node in list(_nodes(out)):
        _leave_to_the_whole(node)
    for name, meanings in _MEANINGS.items():
        if name in out["definitions"]:
            out["definitions"][name]["enumDescriptions"] = [meanings[value] for value in out["definitions"][name]["enum"]]
    return out


class _Plain(GenerateJsonSchema):
    """Without the titles that pydantic makes of the fields' names: they say nothing that the key does not."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def sort(self, value: JsonSchema, parent_key: str | None = None) -> JsonSchema:
        """Keys stay in the order of the fields, which is the order in which to read them."""
        return value


def _noun(model: str) -> str:
    """`ResponseSchemaSpec` to `response schema`."""
    return _WORDS.sub(" ", model.removesuffix("Spec")).lower().replace(" ", "_")


def _nodes(node: Any) -> Iterator[JsonSchema]:
    """Every schema in a schema; values of defaults and examples are none, keys of fields say nothing."""
    if isinstance(node, dict):
        yield node
        for key, each in node.items():
            if key in ("properties", "definitions"):
                yield from _nodes(list(each.values()))
            elif key not in ("default", "examples", "enum", "const"):
                yield from _nodes(each)
    elif isinstance(node, list):
        for each in node:
            yield from _nodes(each)


def _finish(node: JsonSchema) -> None:
    if isinstance(node.get("$ref"), str):
        node["$ref"] = "#/definitions/" + _noun(node["$ref"].rpartition("/")[2])
    patterns = node.get("patternProperties")
    if isinstance(patterns, dict) and len(patterns) == 1 and "properties" not in node:
        ((pattern, values),) = node.pop("patternProperties").items()
        node["additionalProperties"] = values
        node["propertyNames"] = {**node.get("propertyNames", {}), "pattern": pattern}
    if str(node.get("title", "")).endswith("Spec"):
        node["title"] = _noun(node["title"])
    if node.get("default", ...) in (None, [], {}):
        del node["default"]
    if "pattern" in node and "patternErrorMessage" not in node and node.get("examples") and node.get("title"):
        node["patternErrorMessage"] = f"must be {node['title']}, such as {node['examples'][0]}"
    for arm in node.get("anyOf", ()) if isinstance(node.get("anyOf"), list) else ():
        if arm.get("type") == "array" and "title" not in arm:
            arm["title"] = "list"


def _leave_to_the_whole(node: JsonSchema) -> None:
    """Editors show what the first form that fits says; what the field itself says is nearer, so its forms say nothing."""
    arms = node.get("anyOf")
    if isinstance(arms, list) and "description" in node:
        node["anyOf"] = [{key: each for key, each in arm.items() if key not in ("description", "default", "examples")} for arm in arms]


def _describe(node: JsonSchema) -> None:
    """Puts bounds and the default into the description: editors show that, and nothing else."""
    bounds = bounds_of(node)
    _drop_bounds_of_text(node)
    if not isinstance(node.get("description"), str):
        return
    said = " ".join(node["description"].split())
    more = []
    if bounds:
        more.append(f"{bounds[:1].upper()}{bounds[1:]}.")
    if "default" in node:
        more.append(f"Default: `{plain(node['default'])}`.")
    node["description"] = " ".join([said, *more])
    if "`" in node["description"]:
        node["markdownDescription"] = node["description"]


def bounds_of(node: JsonSchema) -> str:
    """The bounds of a number, or of a text with a unit, in words."""
    written = _UNIT.get(str(node.get("title")), 0)
    said = {key: _bound(node[key], written) for key in _BOUNDS if _is_number(node.get(key))}
    if {"minimum", "maximum"} <= said.keys():
        words = f"{said['minimum']} to {said['maximum']}"
    else:
        words = ", ".join(_BOUNDS[key].format(bound) for key, bound in said.items())
    return words


def _drop_bounds_of_text(node: JsonSchema) -> None:
    """Bounds of a text with a unit are for its description: JSON Schema has no way to say them, but that it is not nothing."""
    if node.get("type") == "string":
        if node.get("exclusiveMinimum") == 0:
            node["pattern"] = node["pattern"].replace("^", r"^(?!0+(\.0+)?[a-zA-Z%]+$)", 1)
        for key in _BOUNDS:
            node.pop(key, None)


def _bound(bound: float, written: object) -> str:
    return f"{bound:,}" if isinstance(bound, int) and written == 0 else with_unit(bound, written)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(value: Any) -> str:
    """A value as YAML writes it in one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(plain(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(each)}" for key, each in value.items()) + "}"
    text = str(value)
    if not isinstance(value, str) or not _must_be_quoted(text):
        return text
    return f'"{text}"' if '"' not in text and "\\" not in text else "'" + text.replace("'", "''") + "'"


def _must_be_quoted(text: str) -> bool:
    return scalar(text) != text or text[:1] in "*&!|>@`'\"%{}[]?-#,:" or ": " in text or " #" in text or any(c in text for c in "{}[],")


_POLICY = {
    "name": "${1:short-prompts-go-small}",
    "match": {"endpoint": "${2:chat}"},
    "apply": {"${3:rewrite}": {"${4:model}": "${5:gpt-4o-mini}"}},
}
_SNIPPETS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "": (
        {
            "label": "new policy file",
            "description": "A file with one policy.",
            "body": {"version": 1, "policies": [_POLICY]},
        },
    ),
    "policy": (
        {"label": "new policy", "description": "For which calls, and what then.", "body": _POLICY},
        {
            "label": "new policy in shadow",
            "description": "It decides and reports, and changes nothing.",
            "body": {"name": "${1:a-trial}", "mode": "shadow", **{key: _POLICY[key] for key in ("match", "apply")}},
        },
    ),
    "upstream": (
        {
            "label": "new upstream",
            "description": "An API with a key of its own.",
            "body": {"url": "${1:https://api.example.com/v1}", "key": "\\${${2:EXAMPLE_API_KEY}\\}"},
        },
    ),
}
