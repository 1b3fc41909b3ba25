"""The schema takes what `check` takes, and refuses what one value or one mapping alone can show to be wrong."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from proxy.assembly.schema import DRAFT, policy_schema, suite_schema
from proxy.assembly.stack import STACK
from proxy.policy.case_spec import SuiteSpec
from proxy.policy.document_spec import document_model
from proxy.policy.messages import problems_of
from proxy.policy.shape import unfold
from proxy.policy.source import read_source
from proxy.policy.spec import Spec
from proxy.policy.yaml12 import parse
from tests.policy.kinds_for_tests import KINDS
from tests.policy.test_document import EXAMPLE
from tests.policy.test_hostile import JUNK, mutated

ROOT = Path(__file__).resolve().parents[2]
WRONG = sorted((ROOT / "tests" / "policy" / "wrong").glob("*.yaml"))
SPECS: dict[str, type[Spec]] = {kind.name: kind.spec for kind in STACK}
LEFT_TO_CHECK = {  # wrong files that a schema cannot refuse, and why
    "of the text, and gone when a value is made of it": {
        "duplicate_in_one_line", "duplicate_key", "duplicate_upstream", "list_key", "merge_of_text", "null_key", "number_key", "own_tag",
    },
    "of what is declared elsewhere": {
        "name_twice", "signal_circle", "signal_itself", "signal_none", "signal_unknown", "target_unknown", "target_without_any",
        "target_without_key",
    },
    "of the environment and of files": {"header_secret_missing", "key_missing_env", "key_missing_file", "tls_no_file"},
    "of an address": {
        "proxy_bad", "tls_http", "url_dots", "url_http", "url_metadata", "url_metadata_decimal", "url_metadata_mapped",
        "url_metadata_name", "url_of_an_endpoint", "url_port", "url_port_zero",
    },
    "of a grammar of its own": {
        "regex_atomic", "regex_back_reference", "regex_class_range", "regex_escape_*", "regex_look_*", "regex_named_reference",
        "regex_block", "regex_double_quotes", "regex_possessive", "regex_repeats_*", "regex_too_large", "regex_trailing",
        "regex_unclosed_*",
    },
    "of the machine's time zones": {"schedule_zone*"},
    "a comparison of two values, or of a text with a unit": {
        "duration_long", "header_and_key", "header_twice", "sample_beyond", "schedule_hours_none", "size_large",
        "tokens_crossed",
    },
    "to JSON Schema 2.0 is a whole number, and infinity is a number": {"float_for_int", "infinite_json"},
    "a rule of a kind for tests, which tells its schema nothing": {"own_rule"},
}  # fmt: skip
SEMANTIC = (  # what check says, and a schema cannot, of mutated files
    "must be at most", "must be at least", "must be above", "is above `max`", "is no fault of an exchange",
    "must be a whole number", "unknown signal", "unknown upstream", "signals go in a circle", "has no key",
    "can never be true",
    "already set from `key`", "is named twice",
    "JSON has no infinity", "the number is too large", "the environment has no",
    "needs an https:// url", "would send prompts", "must start with http", "the url has no host", "the path of the url",
    "names must be printable",
    "is not a host name", "neither a host name", "the host or port", "the name 'p'", "is taken by", "a url may",
    "needs `model` or `upstream`",
    "a '${' is not closed", "a keyword needs a letter", "nothing is resolved in a url", "a secret file needs", "no upstream may be there",
    "stands alone", "needs one of `defaults`", "is declared differently", "no signal is declared", "no upstream is declared",
)  # fmt: skip


@cache
def validator(of_tests: bool = False) -> Any:
    return jsonschema_rs.Draft7Validator(policy_schema(KINDS if of_tests else None))


def without_announcement(data: bytes) -> bytes:
    return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"#! "))


@pytest.mark.parametrize("made", [policy_schema, suite_schema])
def test_a_schema_is_one_of_draft_7(made: Callable[[], dict[str, Any]]) -> None:
    schema = made()

    assert schema["$schema"] == DRAFT
    assert jsonschema_rs.meta.is_valid(schema)
    assert not any("$defs" in node or "patternProperties" in node for node in mappings(schema))


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from mappings(each)
    elif isinstance(node, list):
        for each in node:
            yield from mappings(each)


@pytest.mark.parametrize(
    "file", [*sorted((ROOT / "policies").glob("*.yaml")), ROOT / "proxy" / "cli" / "demo.yaml"], ids=lambda file: file.stem
)
def test_a_shipped_policy_file_is_valid_and_names_the_schema(file: Path) -> None:
    of_tests = file.name.endswith(".test.yaml")
    schema = jsonschema_rs.Draft7Validator(suite_schema() if of_tests else policy_schema())
    name = "tests.schema.json" if of_tests else "schema.json"

    assert [error.message for error in schema.iter_errors(parse(file.read_bytes(), file.name).value)] == []
    assert file.parent.name != "policies" or file.read_text().startswith(f"# yaml-language-server: $schema=./{name}\n")


@pytest.mark.parametrize("made", [policy_schema, suite_schema])
def test_every_key_is_described_and_no_other_is_allowed(made: Callable[[], dict[str, Any]]) -> None:
    schema = made()
    objects = [node for node in mappings(schema) if "properties" in node and "type" in node]

    assert len(objects) > 12
    for node in objects:
        assert node["additionalProperties"] is False, node["title"]
        for key, field in node["properties"].items():
            target = schema["definitions"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
            assert field.get("description") or target["description"], (node["title"], key)


def test_every_kind_has_an_example_that_it_takes() -> None:
    for kind in STACK:
        examples = policy_schema()["definitions"][kind.name]["examples"]

        assert examples
        for example in examples:
            assert structure_says(json.dumps({"version": 1, "policies": [{"name": "p", "apply": {kind.name: example}}]}), SPECS) == []


def test_every_example_of_a_field_is_one_that_it_takes() -> None:
    schema = policy_schema()
    found = 0
    for node in mappings(schema):
        for example in node.get("examples", ()) if isinstance(node.get("examples"), list) else ():
            found += 1
            of_field = {"definitions": schema["definitions"], **{key: each for key, each in node.items() if key != "examples"}}

            assert jsonschema_rs.Draft7Validator(of_field).is_valid(example), (node.get("description"), example)
    assert found > 12


def filled_in(body: Any) -> Any:
    """A snippet as an editor puts it in, each place left at its default."""
    if isinstance(body, dict):
        return {filled_in(key): filled_in(each) for key, each in body.items()}
    if isinstance(body, list):
        return [filled_in(each) for each in body]
    return re.sub(r"\\(.)|\$\{\d:([^}]*)\}", lambda found: found[1] or found[2], body) if isinstance(body, str) else body


def test_what_an_editor_puts_in_is_right() -> None:
    bodies = [filled_in(snippet["body"]) for node in mappings(policy_schema()) for snippet in node.get("defaultSnippets", ())]

    assert len(bodies) == 4
    for body in bodies:
        whole = {"version": 1, "upstreams": {"a": body}} if "url" in body else {"version": 1, "policies": [body]}

        assert structure_says(json.dumps(body if "version" in body else whole), SPECS) == []


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_a_wrong_file_is_refused_or_left_to_check_for_a_reason(file: Path) -> None:
    parsed = parse(without_announcement(file.read_bytes()), file.name)
    refused = not validator(of_tests=True).is_valid(parsed.value)

    left = any(fnmatchcase(file.stem, name) for names in LEFT_TO_CHECK.values() for name in names)

    assert refused or left, f"{file.name}: say in a model's json_schema_extra what is wrong with it, or in LEFT_TO_CHECK why not"


def test_no_reason_is_given_for_files_that_are_refused() -> None:
    for name in sorted(set().union(*LEFT_TO_CHECK.values())):
        files = [file for file in WRONG if fnmatchcase(file.stem, name)]

        assert files, name
        for file in files:
            assert validator(of_tests=True).is_valid(parse(without_announcement(file.read_bytes()), file.name).value), file.name


# Schema and check, over many files that nobody wrote


def structure_says(text: str, kinds: dict[str, type[Spec]]) -> list[str]:
    """What the models say of a file by itself."""
    return [str(problem) for problem in read_source(text, "p.yaml", document_model(kinds)).problems]


def agreed(value: Any, kinds: dict[str, type[Spec]], schema: Any) -> str:
    """`both`, `neither`, or `check` where only check refuses, for a reason that a schema cannot know."""
    text = json.dumps(value).replace("Infinity", ".inf")
    problems = structure_says(text, kinds)
    errors = [f"{error.instance_path}: {error.message}" for error in schema.iter_errors(parse(text, "p.yaml").value)]
    if not problems:
        assert errors == [], f"check takes it: {text}"
        return "both"
    if errors:
        return "neither"
    unknown = [problem for problem in problems if not any(words in problem for words in SEMANTIC)]
    assert unknown == [], f"the schema takes it: {text}"
    return "check"


def test_schema_and_check_agree_on_mutated_files() -> None:
    draw = random.Random(4)
    whole = parse(EXAMPLE, "p.yaml").value
    ends: list[str] = [agreed(mutated(whole, draw), dict(KINDS), validator(of_tests=True)) for _ in range(600)]

    assert ends.count("both") > 40
    assert ends.count("neither") > 250
    assert ends.count("check") < 200


def drawn(node: dict[str, Any], root: dict[str, Any], draw: random.Random, depth: int = 0) -> Any:
    """A value that a schema describes, as an editor's user would fill it in: keys at random, texts from what is near at hand."""
    while "$ref" in node:
        node = root["definitions"][node["$ref"].rpartition("/")[2]]
    if "const" in node or "enum" in node:
        return node.get("const", None) or draw.choice(node["enum"])
    arms = [arm for arm in node.get("anyOf", ()) if "type" in arm or "$ref" in arm or "anyOf" in arm]
    if arms:
        return drawn(draw.choice(arms), root, draw, depth)
    if node.get("examples") and draw.random() < 0.4:
        return draw.choice(node["examples"])
    kind = node.get("type")
    if kind == "object":
        return drawn_object(node, root, draw, depth)
    if kind == "array":
        return [drawn(node["items"], root, draw, depth + 1) for _ in range(draw.randint(0 if depth > 8 else 1, 2))]
    if kind in ("integer", "number"):
        return draw.choice([node.get("minimum", 0), node.get("maximum", 9), node.get("minimum", 0) - 1, 1, 400, 0.5, True])
    if kind == "boolean":
        return draw.choice([True, False, True, False, "yes"])
    if kind == "string":
        return draw.choice(TEXTS.get(str(node.get("title")), TEXTS["text"]))
    return draw.choice([1, "x", {"a": [None]}, [True], 0.5])


TEXTS = {
    "text": ["x", "é", "two words", "${X}", "a\nb", "", " "],
    "name": ["a", "openai", "a.b-c_d", "-a", "ä", "a" * 64],
    "label": ["team", "_x", "a.b", "1x"],
    "glob": ["gpt-4o", "*", "gpt-?", "x" * 256, "", "x" * 257],
    "word or phrase": ["contract", "root cause", "法", "!", " ", "a" * 300],
    "header name": ["x-team", "Api-Key", "Host", "x y", "Authorization", "te", "tee"],
    "text with references": ["none", "${X}", "${file:/run/x}", "a${X}b$c", "${", "${1}", "${file:x}", "$${X}"],
    "url": [
        "https://a/v1",
        "http://127.0.0.1:8000/v1",
        "HTTPS://A.b",
        "https://[::1]:1/v1/",
        "ftp://a",
        "https://a?b",
        "https://u@a",
        "//a",
    ],
    "duration": ["1s", "0s", "200ms", "1.5h", "5", "1:30", "1 s", "0.0s", "9999999999s"],
    "size": ["1B", "64KiB", "4MB", "1kb", "5"],
    "share": ["1%", "100%", "100.1%", "099.5%", "1000%", "5"],
    "parameter": ["seed", "max_tokens", "model", "x"],
}
NAMES = {
    "must be 1 to 63 letters, digits, '-', '_' and '.', the first a letter or digit": "name",
    "must be 1 to 63 letters, digits, '_', '-' and '.', the first a letter or '_'": "label",
    "must be a header name, and not one that belongs to the transport": "header name",
}


def drawn_object(node: dict[str, Any], root: dict[str, Any], draw: random.Random, depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    properties = node.get("properties", {})
    few = 0.9 if depth < 2 else 0.25 if depth < 6 else 0.08
    for key in [key for key in properties if key in node.get("required", ()) or draw.random() < few]:
        if key in node.get("required", ()) and draw.random() < 0.01:
            continue
        out[key] = drawn(properties[key], root, draw, depth + 1)
    if isinstance(node.get("additionalProperties"), dict) or node.get("additionalProperties") is True:
        inner = node["additionalProperties"] if isinstance(node["additionalProperties"], dict) else {}
        names = TEXTS[NAMES.get(node.get("propertyNames", {}).get("patternErrorMessage", ""), "parameter")]
        for _ in range(draw.randint(0, 2)):
            out[draw.choice(names)] = drawn(inner, root, draw, depth + 1)
    elif draw.random() < 0.02:
        out[draw.choice(["x", "name", "models"])] = draw.choice(JUNK[:20])
    return out


def test_schema_and_check_agree_on_files_made_from_the_schema() -> None:
    draw = random.Random(8)
    schema = policy_schema()
    ends: list[str] = []
    for _ in range(500):
        value = drawn(schema, schema, draw)
        first = {"version": 1, "policies": value.get("policies", [])[:1]}
        upstreams = {"version": 1, "upstreams": value.get("upstreams", {})}
        ends += [agreed(part, SPECS, validator()) for part in (value, first, upstreams)]

    assert ends.count("both") > 130
    assert ends.count("neither") > 330
    assert ends.count("check") < 400


def suite_says(text: str) -> list[str]:
    parsed = parse(text, "p.test.yaml")
    unfolded, found = unfold(SuiteSpec, parsed.value)
    said = [message for _, message, _ in found]
    try:
        SuiteSpec.read(unfolded)
    except ValidationError as error:
        said += [str(problem) for problem in problems_of(error, SuiteSpec, parsed, {path for path, _, _ in found})]
    return said


def test_the_schema_takes_every_test_file_that_is_taken() -> None:
    draw = random.Random(15)
    schema = suite_schema()
    validator = jsonschema_rs.Draft7Validator(schema)
    shipped = [parse(file.read_bytes(), file.name).value for file in (ROOT / "policies").glob("*.test.yaml")]
    made = [drawn(schema, schema, draw) for _ in range(200)]
    taken = refused = 0
    for suite in (*shipped, *made, *(mutated(draw.choice(shipped), draw) for _ in range(400))):
        cases = suite.get("cases") if isinstance(suite, dict) else None
        for case in cases if isinstance(cases, list) else ():
            text = json.dumps({"cases": [case]}).replace("Infinity", ".inf")
            errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(parse(text, "p.test.yaml").value)]
            if not suite_says(text):
                taken += 1
                assert errors == [], text
            refused += bool(errors)

    assert taken > 300
    assert refused > 300
