"""Editing a policy in an editor: it completes, explains and underlines, by `chassis schema` alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.assembly.schema import policy_schema
from proxy.assembly.stack import KINDS
from proxy.core.faults import Fault
from proxy.openai.endpoints import Endpoint
from proxy.openai.features import HAS
from proxy.policy.match_spec import MatchSpec
from tests.e2e.editor.language_server import Editor
from tests.e2e.processes import COMMAND

HEAD = "# yaml-language-server: $schema=./schema.json\nversion: 1\n"
POLICY = f"{HEAD}policies:\n  - name: p\n"


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "schema.json").write_bytes(subprocess.run([COMMAND, "schema"], capture_output=True, check=True).stdout)
    (folder / "tests.schema.json").write_bytes(subprocess.run([COMMAND, "schema", "--tests"], capture_output=True, check=True).stdout)
    editor = Editor(folder)
    try:
        yield editor
    finally:
        editor.close()


def test_an_empty_file_is_offered_a_policy_to_fill_in(editor: Editor) -> None:
    offered = editor.completions("# yaml-language-server: $schema=./schema.json\n|")

    assert {"version", "upstreams", "signals", "policies", "limits", "new policy file"} <= offered.keys()
    assert offered["new policy file"].startswith("version: 1\npolicies:\n  - name: ${1:")


def test_a_policy_is_offered_as_a_whole_and_key_by_key(editor: Editor) -> None:
    offered = editor.completions(f"{HEAD}policies:\n  - |")

    assert {"new policy", "new policy in shadow", "name", "match", "apply", "mode", "labels"} <= offered.keys()
    assert "mode: shadow" in offered["new policy in shadow"]


def test_every_condition_and_every_kind_is_offered(editor: Editor) -> None:
    conditions = editor.completions(f"{POLICY}    match:\n      |")
    nested = editor.completions(f"{POLICY}    match:\n      any:\n        - not:\n            |")
    kinds = editor.completions(f"{POLICY}    apply:\n      |")

    assert conditions.keys() == {field.alias or name for name, field in MatchSpec.model_fields.items()}
    assert nested.keys() == conditions.keys()
    assert kinds.keys() == set(KINDS)


def test_values_are_offered_where_a_list_of_them_may_stand_too(editor: Editor) -> None:
    one = editor.completions(f"{POLICY}    match:\n      endpoint: |")
    many = editor.completions(f"{POLICY}    match:\n      endpoint: [chat, |]")
    features = editor.completions(f"{POLICY}    match:\n      has: |")
    short = editor.completions(f"{HEAD}upstreams:\n  a:\n    url: https://a/v1\n    auth: |")

    assert one.keys() == set(Endpoint)
    assert many.keys() >= set(Endpoint)
    assert features.keys() == set(HAS)
    assert short.keys() == {"bearer", "none"}


def test_the_usual_parameters_are_offered_and_others_may_stand(editor: Editor) -> None:
    keys = editor.completions(f"{POLICY}    apply:\n      params:\n        overrides:\n          |")
    items = editor.completions(f"{POLICY}    apply:\n      params:\n        remove: [|]")
    own = editor.problems(f"{POLICY}    apply: {{params: {{overrides: {{my_own: 1}}}}}}\n")

    assert {"temperature", "seed", "max_tokens", "reasoning_effort"} <= keys.keys() & items.keys()
    assert "model" not in keys
    assert own == []


def test_a_test_file_is_completed_and_checked(editor: Editor) -> None:
    head = "# yaml-language-server: $schema=./tests.schema.json\ncases:\n  - name: a\n"
    case = editor.completions(f"{head}    |")
    play = editor.completions(f"{head}    upstreams:\n      openai:\n        - |")
    wrong = editor.problems(f"{head}    request: {{promt: Hi}}\n    expect: {{reply: {{status: '200'}}}}\n")

    assert {"request", "steps", "upstreams", "expect", "policies"} <= case.keys()
    assert {"status", "stall", "reset", "stream", "delay"} <= play.keys()
    assert wrong == ["4: Property promt is not allowed.", '5: Incorrect type. Expected "integer".']


def test_an_offer_says_what_it_does_with_its_default(editor: Editor) -> None:
    said = editor.documentation(f"{POLICY}    apply:\n      refuse:\n        |", "status")

    assert "The HTTP status." in said
    assert "400 to 599" in said
    assert "Default: `403`" in said


def test_an_upstream_is_offered_with_a_key_that_is_no_secret(editor: Editor) -> None:
    offered = editor.completions(f"{HEAD}upstreams:\n  groq:\n    |")

    assert {"url", "key", "auth", "tls", "new upstream"} <= offered.keys()
    assert "\\${" in offered["new upstream"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{POLICY}    mo|de: shadow\n", ["decide and report, change nothing", "Default: `enforce`", "* `shadow`"]),
        (f"{POLICY}    match:\n      end|point: chat\n", ["Which API is called", "* `responses`"]),
        (f"{POLICY}    match:\n      has: im|ages\n", ["`images`: images in the prompt"]),
        (f"{POLICY}    match:\n      sam|ple: 10%\n", ["A sticky share of traffic."]),
        (f"{POLICY}    match:\n      mod|el: a\n", ["The model asked for; globs", "- gpt-4o"]),
        (f"{POLICY}    match:\n      key|words: {{any_of: a}}\n", ["#### keywords\n", "Whole words or phrases"]),
        (f"{POLICY}    apply:\n      instr|uct: {{append: x}}\n", ["Add text to the system or developer message", "append:"]),
        (f"{HEAD}lim|its: {{}}\n", ["Bounds on every call"]),
    ],
    ids=["mode", "endpoint", "feature", "sample", "model", "keywords", "kind", "limits"],
)
def test_a_word_is_explained(editor: Editor, text: str, says: list[str]) -> None:
    shown = editor.hover(text)

    assert [each for each in says if each not in shown] == [], shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{POLICY}    match: {{endpont: chat}}\n    apply: {{rewrite: {{model: m}}}}\n", ["5: Property endpont is not allowed."]),
        (f"{POLICY}    apply: {{rewrite: {{modle: m}}}}\n", ["5: Property modle is not allowed."]),
        (f"{POLICY}    apply: {{retri: {{}}}}\n", ["5: Property retri is not allowed."]),
        (f"{POLICY}    mode: shadwo\n    apply: {{rewrite: {{model: m}}}}\n", ["5: Value is not accepted."]),
        (f"{POLICY}    match: {{header: {{Host: a}}}}\n    apply: {{rewrite: {{model: m}}}}\n", ["5: must be a header name"]),
        (f"{POLICY}    match: {{keywords: {{in: all}}}}\n    apply: {{rewrite: {{model: m}}}}\n", ["5: Object has fewer properties"]),
        (f"{POLICY}    apply: {{params: {{overrides: {{model: m}}}}}}\n", ["5: must be a parameter"]),
        (
            f"{HEAD}upstreams: {{a: {{url: api.example.com}}}}\nlimits: {{exchanges: 0}}\n",
            ["3: must be https://host/v1", "4: Value is below"],
        ),
        ("# yaml-language-server: $schema=./schema.json\nversion: 2\n", ["2: Value must be 1."]),
    ],
    ids=["condition", "field", "kind", "mode", "header", "keywords", "parameter", "several", "version"],
)
def test_a_mistake_is_underlined_where_it_stands(editor: Editor, text: str, says: list[str]) -> None:
    shown = editor.problems(text)

    assert len(shown) == len(says), shown
    assert all(line.startswith(start) for line, start in zip(sorted(shown), says, strict=True)), shown


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[3] / "policies").glob("*.yaml")), ids=lambda file: file.stem)
def test_nothing_is_underlined_in_a_shipped_policy(editor: Editor, file: Path) -> None:
    if not file.name.endswith(".test.yaml"):
        assert editor.problems(file.read_text()) == []


def test_every_word_of_a_closed_list_is_in_the_schema_once_it_is_used() -> None:
    words = str(policy_schema())

    assert all(f"'{word}'" in words for word in (*Endpoint, *HAS))
    assert "'when'" not in words or all(f"'{fault}'" in words for fault in Fault)
