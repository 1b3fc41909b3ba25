"""Every example of the docs is run by a test: those in YAML and JSON here, commands and clients in tests/e2e/test_docs.py."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import pytest

from proxy.assembly.load import Policies, load_texts
from proxy.assembly.schema import policy_schema, suite_schema
from proxy.cli.main import COMMANDS, main
from proxy.policy.problems import PolicyError
from proxy.policy.yaml12 import parse
from tests.cli.runs import chassis
from tests.docs.examples import CLIENTS, KINDS_OF_EXAMPLES, QUERIES, ROOT, SHELLS, Example, completed, examples, examples_in, pages

RUN_HERE = {"file", "policies", "policy", "apply", "match", "wrong", "problems", "json", "test file"}
RUN_IN_E2E = {"headers", *SHELLS, *CLIENTS, *QUERIES}


class AnyVariable(Mapping[str, str]):
    """An environment in which every variable is set."""

    def __getitem__(self, name: str) -> str:
        return f"<{name}>"

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def loaded(text: str, name: str = "p.yaml") -> Policies:
    return load_texts([(name, text)], AnyVariable(), read_secret=lambda path: b"secret")


def said(error: PolicyError) -> list[str]:
    return [str(problem) for problem in error.problems]


@pytest.mark.parametrize("example", examples("file", "policies", "policy", "apply", "match"), ids=lambda example: example.id)
def test_a_policy_is_taken_without_a_warning(example: Example) -> None:
    text = completed(example)
    try:
        problems = [str(warning) for warning in loaded(text).warnings]
    except PolicyError as error:
        problems = said(error)
    refused = [error.message for error in jsonschema_rs.Draft7Validator(policy_schema()).iter_errors(parse(text, "p.yaml").value)]

    assert [problem for problem in problems if "there is no file /" not in problem] == []
    assert refused == []


@pytest.mark.parametrize("example", examples("test file"), ids=lambda example: example.id)
def test_a_test_file_passes_with_the_policies_before_it(example: Example, tmp_path: Path) -> None:
    policies = [each for each in examples("file") if each.page == example.page and each.line < example.line]
    refused = [error.message for error in jsonschema_rs.Draft7Validator(suite_schema()).iter_errors(parse(example.text, "block").value)]
    path = tmp_path / Path(example.file or "p.test.yaml").name
    path.write_text(example.text)
    for each in policies:
        name = Path(each.file).name if each.file else path.name.replace(".test.yaml", ".yaml")
        (tmp_path / name).write_text(each.text)
    ran = chassis("test", path)

    assert refused == []
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize("example", examples("wrong"), ids=lambda example: example.id)
def test_what_is_wrong_gives_the_problems_that_are_shown(example: Example) -> None:
    of_page = [each for each in examples() if each.page == example.page]
    shown = of_page[of_page.index(example) + 1]
    name = shown.text.partition(":")[0]
    try:
        problems = [str(warning) for warning in loaded(example.text, name).warnings]
    except PolicyError as error:
        problems = said(error)

    assert shown.kind == "problems"
    assert problems == shown.text.splitlines()


@pytest.mark.parametrize("example", examples("json"), ids=lambda example: example.id)
def test_json_is_json(example: Example) -> None:
    assert isinstance(json.loads(example.text), dict | list)


# Nothing slips through


def test_every_fence_of_every_page_is_an_example() -> None:
    for page in pages():
        fences = len(re.findall(r"^ *```", page.read_text("utf-8"), re.M))

        assert fences == 2 * len([each for each in examples() if each.page == page.relative_to(ROOT).as_posix()]), page.name


def test_every_kind_of_example_has_its_test() -> None:
    assert RUN_HERE | RUN_IN_E2E == KINDS_OF_EXAMPLES
    assert not RUN_HERE & RUN_IN_E2E
    assert {each.kind for each in examples()} <= KINDS_OF_EXAMPLES
    assert len(examples()) >= 20


@pytest.mark.parametrize(
    "block",
    [
        "```toml\na = 1\n```\n",
        "```yaml\nkind: Pod\n```\n",
        "```yaml\n- a\n```\n",
        "```\nfree text\n```\n",
        "```yaml\napiVersion: v1\nname: p\n```\n",
    ],
)
def test_a_block_that_no_test_runs_is_told(block: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md:3: no test runs"):
        list(examples_in("page.md", f"# A page\n\n{block}"))


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ("```yaml\nversion: 1\n```\n", "file"),
        ("```yaml\nupstreams: {}\n```\n", "file"),
        ("```yaml\n- {name: p, apply: {refuse: {}}}\n```\n", "policies"),
        ("  ```yaml\n  name: p\n  apply: {refuse: {}}\n  ```\n", "policy"),
        ("```yaml\napply: {refuse: {}}\n```\n", "policy"),
        ("```yaml\nrefuse: {}\n```\n", "apply"),
        ("```yaml\nnot: {endpoint: chat}\n```\n", "match"),
        ("```yaml\ncases: []\n```\n", "test file"),
        ("```yaml wrong\nversion: 2\n```\n", "wrong"),
        ("```\nx-chassis-origin: cache\n```\n", "headers"),
        ("```console\n$ chassis check .\n```\n", "console"),
    ],
)
def test_what_a_block_is_follows_from_its_shape(block: str, kind: str) -> None:
    (example,) = examples_in("page.md", block)

    assert example.kind == kind


def options_of(command: click.Command) -> set[str]:
    return {name for option in command.params for name in option.opts} | {"--help", "-h"}


def test_every_command_and_flag_that_the_docs_name_exists() -> None:
    flags: dict[str, set[str]] = {}
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        flags[name] = options_of(command)
    wrong = []
    for page in pages():
        for words in re.findall(r"`(?:\.venv/bin/)?chassis ([^`\n]+)`", page.read_text("utf-8")):
            name, *rest = words.split()
            if name.startswith("-") or not re.fullmatch(r"[a-z]+", name):
                continue
            named = {word.partition("=")[0] for word in rest if word.startswith("-")}
            if name not in flags or not named <= flags[name]:
                wrong.append(f"{page.name}: chassis {words}")
        known = set().union({"--version"}, *flags.values())
        wrong += [f"{page.name}: {flag}" for flag in re.findall(r"`(--[a-z-]+)[` =]", page.read_text("utf-8")) if flag not in known]

    assert wrong == []
