"""Whose messages a condition reads."""

from __future__ import annotations

import pytest

from proxy.openai.message import ROLES
from proxy.policy.whose import in_words, roles_of


@pytest.mark.parametrize(
    ("named", "roles", "words"),
    [
        (None, set(), "in the last user message"),
        ((), set(), "in the last user message"),
        (("user",), {"user"}, "in user messages"),
        (("user", "tool"), {"user", "tool"}, "in tool, user messages"),
        (("all",), ROLES, "in assistant, system, tool, user messages"),
        (("user", "all"), ROLES, "in assistant, system, tool, user messages"),
    ],
)
def test_roles_are_those_that_are_named(named: tuple[str, ...] | None, roles: set[str], words: str) -> None:
    assert roles_of(named) == roles
    assert in_words(roles_of(named)) == words
