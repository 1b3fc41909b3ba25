"""The outcome of tests, as tools read it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

from proxy.assembly.trial import Tried, run
from proxy.cli.results_files import as_json, as_junit
from tests.assembly.suites import suite
from tests.assembly.test_rehearse import broken

HI = "request: {prompt: Hi}"
TWO = f"cases: [{{name: a, {HI}, expect: {{exchanges: 1}}}}, {{name: 'b\\t<&>', {HI}, expect: {{exchanges: 9}}}}]".replace(
    "'b", '"b'
).replace("&>'", '&>"')


def tried(folder: Path, cases: str) -> Tried:
    read = suite(folder, cases)
    return Tried(read, list(run(read, lambda suite, case: True)))


def test_json_has_every_case_with_its_calls(tmp_path: Path) -> None:
    said = json.loads(as_json([tried(tmp_path, TWO)], None, 1.0))
    first, second = said["files"][0]["cases"]

    assert "coverage" not in said
    assert (first["name"], first["passed"], second["passed"]) == ("a", True, False)
    assert first["calls"][0]["exchanges"] == [{"to": "openai gpt-4o-mini", "status": 200, "failure": None}]
    assert first["calls"][0]["journal"][0]["kind"] == "rewrite"
    assert second["misses"][0]["path"] == "exchanges"


def test_json_has_the_problems_of_a_file_and_the_bugs_of_a_case(tmp_path: Path) -> None:
    wrong = json.loads(as_json([tried(tmp_path, f"{HI}, expect: {{}}")], None, 1.0))
    with broken(ZeroDivisionError("oh")):
        bug = json.loads(as_json([tried(tmp_path, f"{HI}, expect: {{exchanges: 1}}")], None, 1.0))

    assert wrong["files"][0]["problems"][0]["path"] == "cases[0].expect"
    assert "ZeroDivisionError: oh" in bug["files"][0]["cases"][0]["bugs"][0]["trace"]


def test_junit_counts_and_has_the_text_of_each_failure(tmp_path: Path) -> None:
    root = Xml.fromstring(as_junit([tried(tmp_path, TWO)], ["why \x00 it failed"], 1.0))
    (one,) = root.iter("testsuite")
    (failure,) = root.iter("failure")

    assert (one.get("tests"), one.get("failures"), one.get("errors")) == ("2", "1", "0")
    assert [case.get("name") for case in root.iter("testcase")] == ["a", "b\t<&>"]
    assert failure.get("message") == "exchanges: expected 9, seen 1: openai gpt-4o-mini"
    assert failure.text == "why \ufffd it failed"


def test_a_file_that_is_wrong_is_an_error_of_junit(tmp_path: Path) -> None:
    root = Xml.fromstring(as_junit([tried(tmp_path, f"{HI}, expect: {{}}")], [], 1.0))
    (error,) = root.iter("error")

    assert error.text is not None
    assert "expects nothing" in error.text


def test_junit_says_in_short_what_was_wrong(tmp_path: Path) -> None:
    refused = tried(tmp_path, f"policies: {{version: 2}}, {HI}, expect: {{exchanges: 1}}")
    with broken(ZeroDivisionError("oh")):
        bug = tried(tmp_path, f"{HI}, expect: {{exchanges: 1}}")
    root = Xml.fromstring(as_junit([refused, bug], ["", ""], 1.0))

    assert [each.get("message") for each in root.iter("failure")] == ["the policies are refused", "layer Rewrite broke and was passed over"]
