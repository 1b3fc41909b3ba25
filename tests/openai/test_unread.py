"""What is said where nothing can be read."""

from __future__ import annotations

from proxy.openai.unread import MISSING, Unread


def test_the_reason_is_for_the_journal() -> None:
    assert Unread("not JSON").why == "not JSON"
    assert str(Unread("not JSON")) == "not JSON"


def test_missing_is_not_null() -> None:
    assert MISSING is not None
    assert repr(MISSING) == "MISSING"
