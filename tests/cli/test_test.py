"""`chassis test`: what it runs, what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from tests.assembly.suites import written
from tests.cli.runs import SHIPPED, chassis

HI = "request: {prompt: Hi}"
GOOD = f"{{name: it is small, {HI}, expect: {{upstream: {{model: gpt-4o-mini}}}}}}"
BAD = f"{{name: it is large, {HI}, expect: {{upstream: {{model: gpt-4o}}}}}}"


def cases(*listed: str) -> str:
    return "cases:\n" + "".join(f"  - {case}\n" for case in listed)


def test_the_shipped_policies_are_tested_and_wholly_covered() -> None:
    result = chassis("test", SHIPPED, "--require-tests", "--min-coverage", 100)

    assert result.exit_code == 0, result.output
    assert "coverage 100 %" in result.output


def test_a_file_is_a_line_and_a_failure_says_what_was_seen(tmp_path: Path) -> None:
    file = written(tmp_path, cases(GOOD, BAD))
    result = chassis("test", tmp_path)

    assert result.exit_code == 1
    assert f"{file}: 1 passed, 1 failed" in result.output
    assert f"FAILED {file}:3:12: it is large" in result.output
    assert f"upstream.model ({file}:3)\n    expected: gpt-4o\n    seen:     gpt-4o-mini\n" in result.output
    assert "rewrite of small: model gpt-4o-mini, asked gpt-4o" in result.output
    assert "chassis explain" in result.output
    assert "1 passed, 1 failed in " in result.output


def test_each_case_is_told_where_that_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))

    assert "passed it is small (" in chassis("test", tmp_path, "-v").output
    assert "it is small" not in chassis("test", tmp_path).output


def test_a_path_may_be_the_policy_file_or_the_test_file(tmp_path: Path) -> None:
    file = written(tmp_path, cases(GOOD))

    assert chassis("test", tmp_path / "p.yaml").exit_code == 0
    assert chassis("test", file).exit_code == 0


def test_a_mistake_in_a_test_file_fails(tmp_path: Path) -> None:
    file = written(tmp_path, cases(GOOD.replace("upstream", "upstreem")))
    result = chassis("test", tmp_path)

    assert result.exit_code == 1
    assert f"{file}:2:" in result.output
    assert "unknown field 'upstreem'; did you mean 'upstream'?" in result.output
    assert "0 passed, 1 test file wrong" in result.output


def test_cases_are_selected_by_words(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD, BAD))

    assert chassis("test", tmp_path, "-k", "small").exit_code == 0
    assert chassis("test", tmp_path, "-k", "large or small").exit_code == 1
    assert chassis("test", tmp_path, "-k", "not large and p.test").exit_code == 0


def test_a_selection_of_nothing_is_no_success(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))
    result = chassis("test", tmp_path, "-k", "huge")

    assert result.exit_code == 1
    assert "no case of" in result.output


@pytest.mark.parametrize("expression", ["(", "and", "small or"])
def test_a_selection_that_cannot_be_read_is_a_wrong_use(tmp_path: Path, expression: str) -> None:
    written(tmp_path, cases(GOOD))
    result = chassis("test", tmp_path, "-k", expression)

    assert result.exit_code == 2
    assert "cannot be read" in result.output


def test_it_stops_at_the_first_failure_where_that_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path, cases(BAD, BAD.replace("large", "larger"), GOOD))

    assert "0 passed, 1 failed" in chassis("test", tmp_path, "-x").output
    assert "1 passed, 2 failed" in chassis("test", tmp_path).output


def test_a_policy_file_without_tests_is_a_warning_or_a_failure(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))
    (tmp_path / "q.yaml").write_text("version: 1\n")
    warned, failed = chassis("test", tmp_path), chassis("test", tmp_path, "--require-tests")

    assert warned.exit_code == 0
    assert "q.yaml: warning: no test file; write q.test.yaml beside it" in warned.output
    assert failed.exit_code == 1


def test_where_nothing_is_tested_it_fails(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text("version: 1\n")

    assert chassis("test", tmp_path).exit_code == 1
    assert chassis("test", tmp_path / "q.yaml").exit_code == 1


def test_a_path_that_is_not_there_is_a_wrong_use(tmp_path: Path) -> None:
    assert chassis("test", tmp_path / "no").exit_code == 2


def test_coverage_is_told_listed_and_asked_for(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))
    listed = chassis("test", tmp_path, "--coverage")
    low = chassis("test", tmp_path, "--min-coverage", 90)

    assert listed.exit_code == 0
    assert "things no case shows" in listed.output
    assert "  moved (" in listed.output
    assert "never matches" in listed.output
    assert low.exit_code == 1
    assert "at least 90 % is asked for" in low.output
    assert chassis("test", tmp_path, "--min-coverage", 10).exit_code == 0


def test_a_selection_says_nothing_of_coverage(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))

    assert "coverage" not in chassis("test", tmp_path, "-k", "small", "--min-coverage", 90).output


def test_the_report_is_json_for_tools(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD, BAD))
    result = chassis("test", tmp_path, "--format", "json")
    said = json.loads(result.stdout)

    assert result.exit_code == 1
    assert (said["passed"], said["failed"]) == (1, 1)
    assert said["files"][0]["cases"][1]["misses"] == [{"path": "upstream.model", "expected": "gpt-4o", "seen": "gpt-4o-mini"}]
    assert said["coverage"]["lacking"]


def test_the_report_is_junit_in_a_file_and_text_on_the_screen(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD, BAD))
    result = chassis("test", tmp_path, "--format", "junit", "--output", tmp_path / "report.xml")
    root = Xml.parse(tmp_path / "report.xml").getroot()

    assert "1 passed, 1 failed" in result.output
    assert [case.get("name") for case in root.iter("testcase")] == ["it is small", "it is large"]
    assert len(list(root.iter("failure"))) == 1


def test_a_report_that_cannot_be_written_is_a_wrong_use(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))

    assert chassis("test", tmp_path, "--output", tmp_path / "no" / "r.txt").exit_code == 2


def test_text_may_be_written_to_a_file_too(tmp_path: Path) -> None:
    written(tmp_path, cases(BAD))
    chassis("test", tmp_path, "--output", tmp_path / "r.txt")

    assert "expected: gpt-4o" in (tmp_path / "r.txt").read_text()
    assert "\x1b" not in (tmp_path / "r.txt").read_text()


def test_no_secret_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path, cases(GOOD))

    assert chassis("test", tmp_path, env={"GROQ_API_KEY": ""}).exit_code == 0
    assert chassis("test", tmp_path, "--no-secrets").exit_code == 0
