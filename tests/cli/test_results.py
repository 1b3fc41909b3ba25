"""The outcome of tests, as a person reads it."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.assembly.coverage import Coverage
from proxy.assembly.trial import Tried, run
from proxy.cli.results import case_line, coverage_line, coverage_table, failure, file_line, summary
from tests.assembly.suites import POLICIES, suite
from tests.assembly.test_rehearse import broken

HI = "request: {prompt: Hi}"


def tried(folder: Path, cases: str, policies: str = POLICIES) -> Tried:
    read = suite(folder, cases, policies)
    return Tried(read, list(run(read, lambda suite, case: True)))


def failed(folder: Path, case: str) -> str:
    found = tried(folder, case)
    return click.unstyle("\n".join(failure(found, found.verdicts[0])))


def test_what_happened_is_told_in_order_with_its_times(tmp_path: Path) -> None:
    text = failed(tmp_path, f"{HI}, upstreams: {{openai: {{status: 503, delay: 1500ms}}}}, expect: {{reply: {{status: 200}}}}")
    lines = [line.strip() for line in text.split("\n")]

    assert "seen:     503: Service Unavailable" in lines
    assert lines.index("0.000 s rewrite of small: model gpt-4o-mini, asked gpt-4o") < lines.index("0.000 s sent to openai gpt-4o-mini: 503")
    assert any(line.startswith("1.500 s reply: 503") for line in lines)


def test_a_request_without_decisions_and_a_broken_reply_are_told(tmp_path: Path) -> None:
    text = failed(tmp_path, "request: {model: x, prompt: Hi}, upstreams: {openai: {reset: body}}, expect: {reply: {ends: clean}}")

    assert "nothing was decided" in text
    assert "and then a break: " in text


def test_a_bug_is_shown_with_where_it_was(tmp_path: Path) -> None:
    with broken(ZeroDivisionError("oh")):
        text = failed(tmp_path, f"{HI}, expect: {{exchanges: 1}}")

    assert "layer Rewrite broke and was passed over" in text
    assert "ZeroDivisionError: oh" in text


def test_refused_policies_are_told_with_their_places(tmp_path: Path) -> None:
    text = failed(tmp_path, f"policies: {{version: 2}}, {HI}, expect: {{exchanges: 1}}")

    assert "the policies are refused:\n" in text
    assert "version: must be 1" in text


def test_the_command_that_explains_can_be_run_as_it_stands(tmp_path: Path) -> None:
    text = failed(tmp_path, 'request: {prompt: "it\'s", headers: {x-to: groq}}, expect: {exchanges: 9}')
    hint = next(line for line in text.split("\n") if line.startswith("  why: "))

    assert hint.endswith(f"| chassis explain {tmp_path}/p.yaml --no-secrets --request -")
    assert """it'"'"'s""" in hint
    assert '"x-to": "groq"' in hint
    assert "uthorization" not in hint


def test_a_long_request_is_not_put_into_a_command(tmp_path: Path) -> None:
    text = failed(tmp_path, 'request: {prompt: {text: "word ", times: 9000}}, expect: {exchanges: 9}')

    assert "--request FILE" in text
    assert len(text) < 2500


def test_no_command_explains_policies_that_stand_in_the_case(tmp_path: Path) -> None:
    assert "why: " not in failed(tmp_path, f"policies: {{version: 1}}, {HI}, expect: {{exchanges: 9}}")


def test_lines_and_the_summary_count(tmp_path: Path) -> None:
    found = tried(tmp_path, f"cases: [{{name: a, {HI}, expect: {{exchanges: 1}}}}, {{name: b, {HI}, expect: {{exchanges: 9}}}}]")
    wrong = tried(tmp_path, f"{HI}, expect: {{}}")

    assert click.unstyle(file_line(found)).endswith("p.test.yaml: 1 passed, 1 failed")
    assert click.unstyle(file_line(wrong)).endswith("p.test.yaml: cannot be used")
    assert click.unstyle(case_line(found.verdicts[1])).startswith("  FAILED b (")
    assert click.unstyle(summary([found, wrong], 1.5)) == "1 passed, 1 failed, 1 test file wrong in 1.50 s"


def test_coverage_is_a_line_and_a_table(tmp_path: Path) -> None:
    coverage = Coverage()
    read = suite(tmp_path, f"{HI}, expect: {{exchanges: 1}}")
    list(run(read, lambda suite, case: True, coverage))
    table = list(coverage_table(coverage))

    assert "things no case shows" in coverage_line(coverage)
    assert coverage_line(Coverage()) == "coverage 100 %"
    assert f"moved ({tmp_path}/p.yaml:10:11)" in table
    assert table[table.index(f"moved ({tmp_path}/p.yaml:10:11)") + 1] == "  the policy  never matches"
