from __future__ import annotations

import pytest

from proxy.policy.problems import PolicyError, Problem, Severity, did_you_mean, dotted, ordered, shortened


def problem(line: int, column: int, message: str = "m", file: str = "a.yaml") -> Problem:
    return Problem(file, line, column, "policies[0]", message)


def test_the_text_is_place_path_message_and_hint() -> None:
    one = Problem("policies/cheap.yaml", 8, 9, "policies[0].apply.retry", "unknown field 'max_attemps'", "did you mean 'max_attempts'?")

    assert str(one) == "policies/cheap.yaml:8:9: policies[0].apply.retry: unknown field 'max_attemps'; did you mean 'max_attempts'?"


def test_a_problem_without_path_or_place_leaves_them_out() -> None:
    assert (
        str(Problem("a.yaml", 12, 9, "", "duplicate key 'total' (first at line 11)"))
        == "a.yaml:12:9: duplicate key 'total' (first at line 11)"
    )
    assert str(Problem("policies", 0, 0, "", "cannot be read")) == "policies: cannot be read"


def test_a_warning_says_so() -> None:
    assert str(Problem("a.yaml", 1, 2, "x", "unused", severity=Severity.WARNING)) == "a.yaml:1:2: warning: x: unused"


def test_the_form_for_tools_has_every_part() -> None:
    assert Problem("a.yaml", 1, 2, "x", "m", "h").to_json() == {
        "file": "a.yaml",
        "line": 1,
        "column": 2,
        "path": "x",
        "message": "m",
        "hint": "h",
        "severity": "error",
    }


def test_problems_are_sorted_by_place_and_told_once() -> None:
    late, early, other = problem(10, 1), problem(2, 5), problem(1, 1, file="b.yaml")

    assert ordered([other, late, early, late]) == (early, late, other)
    assert PolicyError([late, early]).problems == (early, late)
    assert str(PolicyError([late, early])) == f"{early}\n{late}"


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("max_attemps", ["max_attempts", "wait"], "did you mean 'max_attempts'?"),
        ("max-attempts", ["max_attempts"], "did you mean 'max_attempts'?"),
        ("Chat", ["chat", "images"], "did you mean 'chat'?"),
        ("retries", ["rewrite", "retry"], "did you mean 'retry'?"),
        ("zzz", ["chat"], ""),
        ("", ["chat"], ""),
        ("x" * 100_000, ["chat"], ""),
    ],
)
def test_the_nearest_name_is_suggested(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint


def test_a_path_is_dotted_and_odd_keys_are_quoted() -> None:
    assert dotted(("policies", 0, "match", "header", "x-team")) == "policies[0].match.header.x-team"
    assert dotted(("upstreams", "a b.c")) == 'upstreams["a b.c"]'


def test_a_long_text_is_cut_and_spelled_on_one_line() -> None:
    assert shortened("a\nb\x00") == "a\\nb\\x00"
    assert shortened("x" * 100) == "x" * 59 + "…"
