from __future__ import annotations

import time

import pytest

from proxy.policy.globs import matcher


@pytest.mark.parametrize(
    ("globs", "text", "matches"),
    [
        (["gpt-4o"], "gpt-4o", True),
        (["gpt-4o"], "gpt-4o-mini", False),
        (["gpt-4o"], "GPT-4o", False),
        (["gpt-4.1*"], "gpt-4.1", True),
        (["gpt-4.1*"], "gpt-4.1-nano", True),
        (["gpt-4.1*"], "gpt-4x1-nano", False),
        (["gpt-4.1*"], "my-gpt-4.1", False),
        (["*"], "", True),
        (["*"], "a\nb", True),
        (["*-mini"], "gpt-4o-mini", True),
        (["*-mini"], "gpt-4o-mini-2024", False),
        (["gpt-*-mini"], "gpt-4o-mini", True),
        (["gpt-*-mini"], "gpt-mini", False),
        (["a*b*c"], "aXbYbZc", True),
        (["a*b*c"], "acb", False),
        (["ab*ba"], "aba", False),
        (["o?"], "o3", True),
        (["o?"], "o", False),
        (["?*?"], "ab", True),
        (["?*?"], "a", False),
        (["ft:[x]+"], "ft:[x]+", True),
        (["ft:[x]+"], "ft:x", False),
        (["a.c"], "abc", False),
        (["a", "b*", "*c"], "xc", True),
        (["a", "b*", "*c"], "d", False),
        ([], "a", False),
    ],
)
def test_a_glob_is_a_whole_match_with_case(globs: list[str], text: str, matches: bool) -> None:
    assert matcher(globs)(text) is matches


def test_a_hostile_glob_takes_linear_time() -> None:
    matches = matcher(["*a" * 100 + "*b"])
    began = time.perf_counter()

    assert matches("a" * 100_000) is False
    assert time.perf_counter() - began < 2
