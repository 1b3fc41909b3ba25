"""Test files are found at a path, and their cases run."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.assembly.trial import Tried, find, is_test_file, run
from tests.assembly.suites import suite, verdicts

HI = "request: {prompt: Hi}"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_has_the_tests_of_its_policies_and_its_own(tmp_path: Path) -> None:
    for name in ("b.yaml", "b.test.yaml", "a.yml", "a.test.yml", "c.yaml", "d.test.yaml", ".e.test.yaml", "README.md"):
        (tmp_path / name).touch()
    (tmp_path / "sub.test.yaml").mkdir()
    found = find(tmp_path)

    assert names(found.tests) == ["a.test.yml", "b.test.yaml", "d.test.yaml"]
    assert names(found.untested) == ["c.yaml"]


def test_a_policy_file_stands_for_its_tests_and_a_test_file_for_itself(tmp_path: Path) -> None:
    for name in ("b.yaml", "b.test.yaml", "c.yaml"):
        (tmp_path / name).touch()

    assert names(find(tmp_path / "b.yaml").tests) == ["b.test.yaml"]
    assert names(find(tmp_path / "b.test.yaml").tests) == ["b.test.yaml"]
    assert find(tmp_path / "c.yaml").tests == []
    assert names(find(tmp_path / "c.yaml").untested) == ["c.yaml"]
    with pytest.raises(OSError, match="No such file"):
        find(tmp_path / "no.yaml")


def test_a_name_tells_a_test_file() -> None:
    assert is_test_file(Path("a.test.yaml"))
    assert is_test_file(Path("a.test.yml"))
    assert not is_test_file(Path("test.yaml"))


def test_only_cases_that_are_wanted_run(tmp_path: Path) -> None:
    read = suite(tmp_path, f"cases: [{{name: a, {HI}, expect: {{exchanges: 1}}}}, {{name: b, {HI}, expect: {{exchanges: 9}}}}]")
    found = list(run(read, lambda suite, case: case.name == "b"))

    assert [(verdict.case.name, verdict.passed) for verdict in found] == [("b", False)]


def test_a_file_that_is_wrong_runs_nothing_and_has_not_passed(tmp_path: Path) -> None:
    read = suite(tmp_path, f"{HI}, expect: {{policies: [smal]}}")

    assert list(run(read, lambda suite, case: True)) == []
    assert not Tried(read).passed


def test_nothing_is_kept_from_one_case_to_the_next(tmp_path: Path) -> None:
    cases = f"cases: [{{name: a, {HI}, expect: {{reply: {{text: one}}}}}}, {{name: b, {HI}, expect: {{reply: {{text: one}}}}}}]"
    found = verdicts(tmp_path, f"upstreams: {{openai: [one, two]}}\n{cases}")

    assert [verdict.passed for verdict in found] == [True, True]


def test_a_policy_file_may_be_checked_without_a_request(tmp_path: Path) -> None:
    (verdict,) = verdicts(tmp_path, "expect: {warning: nothing at all}")

    assert [miss.path for miss in verdict.misses] == [("warning",)]
