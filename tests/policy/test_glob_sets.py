from __future__ import annotations

import itertools

import pytest

from proxy.policy.glob_sets import are_within, is_within, may_meet, samples
from proxy.policy.globs import matcher

GLOBS = ["".join(each) for size in range(1, 5) for each in itertools.product("ab?*", repeat=size) if "**" not in "".join(each)]
TEXTS = ["".join(each) for size in range(7) for each in itertools.product("ab", repeat=size)]
MATCHED = {glob: frozenset(filter(matcher([glob]), TEXTS)) for glob in GLOBS}


def test_what_is_called_within_is_within() -> None:
    wrong = [(one, other) for one in GLOBS for other in GLOBS if is_within(one, other) and not MATCHED[one] <= MATCHED[other]]

    assert wrong == []


def test_what_meets_is_said_exactly() -> None:
    wrong = [(one, other) for one in GLOBS for other in GLOBS if may_meet(one, other) != bool(MATCHED[one] & MATCHED[other])]

    assert wrong == []


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [("gpt-4o", "gpt-4o"), ("gpt-4o", "gpt-*"), ("gpt-4*", "gpt-*"), ("gpt-4?-x", "gpt-*-x"), ("a?c", "a??"), ("x*y*z", "x*z"), ("a", "*")],
)
def test_what_is_within_is_seen(narrow: str, wide: str) -> None:
    assert is_within(narrow, wide)
    assert not is_within(wide, narrow) or narrow == wide


def test_each_must_be_within_one() -> None:
    assert are_within(["gpt-4o", "o3"], ["gpt-*", "o?"])
    assert not are_within(["gpt-4o", "o3-mini"], ["gpt-*", "o?"])


@pytest.mark.parametrize("glob", GLOBS)
def test_samples_are_matched(glob: str) -> None:
    assert all(map(matcher([glob]), samples(glob)))
