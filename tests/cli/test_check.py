from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.runs import CANARY, SHIPPED, chassis, policy_file

WRONG = """version: 1
policies:
  - name: p
    match: {endpoint: chatt}
    apply: {rewrite: {modle: x}}
  - name: q
    apply: {params: {max: {max_tokens: many}}}
"""
COVERED = """version: 1
policies:
  - name: wide
    apply: {rewrite: {model: a}}
  - name: narrow
    match: {endpoint: chat}
    apply: {rewrite: {model: b}}
"""
SECRET = """version: 1
upstreams:
  a: {url: "https://a.example/v1"}
  b: {url: "https://b.example/v1", key: "${CHASSIS_TEST_KEY}"}
policies:
  - name: p
    apply: {rewrite: {upstream: b}}
"""


def test_the_shipped_policies_are_fine_and_nothing_is_said() -> None:
    result = chassis("check", SHIPPED)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_every_mistake_is_told_with_its_place_and_a_hint(tmp_path: Path) -> None:
    path = policy_file(tmp_path, WRONG)
    result = chassis("check", path)

    assert result.exit_code == 1
    assert result.stdout == ""
    first, second, third = result.stderr.splitlines()
    assert first.startswith(f"{path}:4:23: policies[0].match.endpoint: must be one of ")
    assert first.endswith("; did you mean 'chat'?")
    assert second == f"{path}:5:23: policies[0].apply.rewrite: unknown field 'modle'; did you mean 'model'?"
    assert third.startswith(f"{path}:7:40: policies[1].apply.params.max")


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    policy_file(tmp_path, WRONG, "a.yaml")
    policy_file(tmp_path, "version: 2\n", "b.yml")
    policy_file(tmp_path, "nonsense: [", ".hidden.yaml")
    policy_file(tmp_path, "nonsense: [", "a.test.yaml")
    result = chassis("check", tmp_path)

    assert result.exit_code == 1
    assert {Path(line.split(":")[0]).name for line in result.stderr.splitlines()} == {"a.yaml", "b.yml"}


def test_the_json_form_holds_the_same(tmp_path: Path) -> None:
    path = policy_file(tmp_path, WRONG)
    result = chassis("check", path, "--format", "json")
    problems = json.loads(result.stdout)

    assert (result.exit_code, result.stderr) == (1, "")
    assert [(p["line"], p["column"], p["path"], p["severity"]) for p in problems] == [
        (4, 23, "policies[0].match.endpoint", "error"),
        (5, 23, "policies[0].apply.rewrite", "error"),
        (7, 40, "policies[1].apply.params.max.max_tokens", "error"),
    ]
    assert problems[1]["message"] == "unknown field 'modle'"
    assert problems[1]["hint"] == "did you mean 'model'?"


def test_the_json_form_of_nothing_is_an_empty_list() -> None:
    result = chassis("check", SHIPPED, "--format", "json")

    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, [], "")


def test_a_warning_is_told_and_is_no_error(tmp_path: Path) -> None:
    path = policy_file(tmp_path, COVERED)
    result = chassis("check", path)
    as_json = json.loads(chassis("check", path, "--format", "json").stdout)

    assert result.exit_code == 0
    assert result.stderr.startswith(f"{path}:7:22: warning: policies[1].apply.rewrite: `rewrite.model` never acts: 'wide'")
    assert [problem["severity"] for problem in as_json] == ["warning"]


def test_a_missing_secret_is_an_error_and_with_no_secrets_a_warning(tmp_path: Path) -> None:
    path = policy_file(tmp_path, SECRET)
    refused, warned = chassis("check", path), chassis("check", path, "--no-secrets")
    by_variable = chassis("check", path, env={"CHASSIS_NO_SECRETS": "1"})
    given = chassis("check", path, env={"CHASSIS_TEST_KEY": CANARY})

    assert refused.exit_code == 1
    assert "CHASSIS_TEST_KEY" in refused.stderr
    assert warned.exit_code == by_variable.exit_code == 0
    assert ": warning: " in warned.stderr
    assert by_variable.stderr == warned.stderr
    assert (given.exit_code, given.stderr) == (0, "")


def test_a_key_is_never_printed(tmp_path: Path) -> None:
    path = policy_file(tmp_path, SECRET.replace("${CHASSIS_TEST_KEY}", CANARY).replace("rewrite", "rewrit"))
    result = chassis("check", path)

    assert result.exit_code == 1
    assert CANARY not in result.output


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing", "No such file or directory"), ("empty", "no policy file")],
)
def test_a_path_without_policies_is_an_error(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    result = chassis("check", tmp_path / name)

    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_strict_makes_a_warning_an_error_and_changes_nothing_else(tmp_path: Path) -> None:
    path = policy_file(tmp_path, COVERED)
    plain, strict = chassis("check", path), chassis("check", path, "--strict")
    by_variable = chassis("check", path, env={"CHASSIS_STRICT": "1"})

    assert (plain.exit_code, strict.exit_code, by_variable.exit_code) == (0, 1, 1)
    assert plain.stderr == strict.stderr == by_variable.stderr
    assert chassis("check", SHIPPED, "--strict").exit_code == 0


def test_policies_that_are_off_are_counted_and_no_warning(tmp_path: Path) -> None:
    off, on = "- {name: a, mode: off, apply: {refuse: {}}}\n", "- {name: b, apply: {refuse: {}}}\n"
    path = policy_file(tmp_path, f"version: 1\npolicies:\n  {off}  {on}")
    result = chassis("check", path, "--strict")

    assert result.exit_code == 0
    assert result.stderr == f"{path}:3:21: note: policies[0].mode: 'a' is off: checked, and never applied\n"


def test_errors_come_before_warnings(tmp_path: Path) -> None:
    path = policy_file(tmp_path, COVERED + "  - name: last\n    apply: {rewrite: {modle: x}}\n")
    lines = chassis("check", path).stderr.splitlines()

    assert [": warning: " in line for line in lines] == [False, True]
    assert "'modle'" in lines[0]


def test_nothing_of_a_file_steers_the_terminal(tmp_path: Path) -> None:
    path = policy_file(tmp_path, 'version: 1\npolicies: [{name: "a\\e[31mb", "\\e]0;x\\a": 1}]\n', "a\x1b[31m.yaml")
    result = chassis("check", path)

    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "\\x1b[31m" in result.stderr
