from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.runs import chassis, policy_file


@pytest.fixture(scope="module")
def shown() -> str:
    result = chassis("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def scene(shown: str, number: int) -> str:
    return next(block for block in shown.split("\n\n") if block.startswith(f"{number}. "))


def test_a_short_question_is_shown_to_go_small(shown: str) -> None:
    assert "app asks   gpt-4o: What is a chassis?" in scene(shown, 1)
    assert "app gets   200, answered by gpt-4o-mini: " in scene(shown, 1)
    assert "x-chassis-policies: short-prompts-go-small" in scene(shown, 1)


def test_a_long_prompt_is_shown_to_be_left_alone(shown: str) -> None:
    assert "answered by gpt-4o: " in scene(shown, 2)
    assert "no header of ours: nothing was changed" in scene(shown, 2)


def test_what_a_policy_in_shadow_would_have_done_is_shown(shown: str) -> None:
    assert "answered by gpt-4o: " in scene(shown, 3)
    assert "the log    answers-name-their-sources, in shadow: would instruct (added: append)" in scene(shown, 3)
    assert "the log" not in scene(shown, 1) + scene(shown, 2) + scene(shown, 4) + scene(shown, 5)


def test_a_stream_is_shown_with_its_cap(shown: str) -> None:
    assert "max_tokens 100000" in scene(shown, 4)
    assert "x-chassis-policies: short-prompts-go-small, cap-answer-length" in scene(shown, 4)
    assert re.search(r"app gets +200, answered by gpt-4o-mini: \w.{40}", scene(shown, 4))


def test_a_refusal_is_shown_to_cost_nothing(shown: str) -> None:
    assert "app gets   403: not_allowed_here: Internal documents may not be sent to a model." in scene(shown, 5)
    assert "x-chassis-exchanges: 0" in scene(shown, 5)


def test_it_ends_with_the_line_for_ones_own(shown: str) -> None:
    assert shown.splitlines()[-1].startswith("Now yours: chassis serve --policies ")


def test_other_policies_can_be_shown(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "version: 1\npolicies: [{name: closed, apply: {refuse: {message: Closed today.}}}]\n")
    result = chassis("demo", "--policies", path)

    assert result.exit_code == 0
    assert result.stdout.count("403: policy_refused: Closed today.") == 5


def test_wrong_policies_are_told_and_nothing_is_started(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "version: 1\npolicies: [{name: p, apply: {rewrit: {}}}]\n")
    result = chassis("demo", "--policies", path)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{path}:2:")
