"""The language of expected values."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.assembly.compared import ABSENT, differences, like, shown

SAME: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": {"b": "absent"}}, {"a": {}}),
    ({"a": "present"}, {"a": None}),
    ({"a": None}, {"a": None}),
    ([1, {"a": 2}], [1, {"a": 2, "b": 3}]),
    (1, 1.0),
    ({"$contains": "ell"}, "Hello"),
    ({"$glob": "H*o"}, "Hello"),
    ({"$below": 3, "$at_least": 1}, 2),
    ({"$length": 2}, [1, 2]),
    ({"$first": {"a": 1}, "$last": 3}, [{"a": 1}, 2, 3]),
    ({"$some": {"a": 1}}, [{"a": 0}, {"a": 1, "b": 1}]),
    ({"a": {"$is": "absent"}}, {"a": "absent"}),
    ({"a": {"$is": {"$below": 1}}}, {"a": {"$below": 1}}),
    ("absent", ABSENT),
]
OTHER: list[tuple[Any, Any, list[str]]] = [
    ({"a": 1}, {"a": 2}, ["a: 1 | 2"]),
    ({"a": 1, "b": 2}, {"a": 2}, ["a: 1 | 2", "b: 2 | absent"]),
    ({"a": "absent"}, {"a": None}, ["a: absent | null"]),
    ({"a": "present"}, {}, ["a: present | absent"]),
    (True, 1, [": true | 1"]),
    (0, False, [": 0 | false"]),
    ("1", 1, [": 1 | 1"]),
    ([1, 2], [1], [": 2 items | 1: [1]"]),
    ({"a": 1}, [1], [': {"a":1} | [1]']),
    ({"$contains": "x"}, "Hello", [": $contains x | Hello"]),
    ({"$contains": "x"}, 5, [": $contains x | 5"]),
    ({"$below": 3}, 3, [": $below 3 | 3"]),
    ({"$below": 3}, True, [": $below 3 | true"]),
    ({"$length": 2}, "abc", [": $length 2 | abc"]),
    ({"$last": 3}, [], ["$last: 3 | absent"]),
    ({"$some": 3}, [1, 2], ["$some: 3 | [1,2]"]),
    ({"$is": {"a": 1}}, {"a": 1, "b": 2}, ["b: absent | 2"]),
]


@pytest.mark.parametrize(("expected", "seen"), SAME)
def test_a_value_that_is_as_expected_has_no_difference(expected: Any, seen: Any) -> None:
    assert list(differences(expected, seen)) == []


@pytest.mark.parametrize(("expected", "seen", "told"), OTHER)
def test_each_difference_is_told_with_its_path(expected: Any, seen: Any, told: list[str]) -> None:
    found = [f"{'.'.join(map(str, miss.path))}: {miss.expected} | {miss.seen}" for miss in differences(expected, seen)]

    assert found == told


def test_exactly_means_no_other_key_and_no_words() -> None:
    assert [miss.path for miss in differences({"a": 1}, {"a": 1, "b": 2}, exactly=True)] == [("b",)]
    assert list(differences({"a": "absent"}, {"a": "absent"}, exactly=True)) == []


def test_a_glob_means_no_more_than_it_says() -> None:
    assert like("gpt-4o*", "gpt-4o-mini")
    assert like("a[b]?", "a[b]c")
    assert not like("gpt-4o", "gpt-4o-mini")


def test_long_and_odd_values_are_shown_on_one_line() -> None:
    assert shown("x" * 300).startswith("x" * 200 + "… (300")
    assert shown("a\nb") == '"a\\nb"'
    assert shown(b"\xff") == "\\xff"
    assert shown("\ud800")
    assert shown("") == '""'
