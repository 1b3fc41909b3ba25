from __future__ import annotations

import pytest

from proxy.policy.scalars import MAX_DIGITS, TooLong, scalar, spelled


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("010", 10), ("0o10", 8), ("-0x1", "-0x1"), ("1:30", "1:30"), ("1e3", 1e3), ("~", None), ("True", True)],
)
def test_a_plain_word_means_what_yaml_1_2_says(text: str, value: object) -> None:
    got = scalar(text)

    assert got == value
    assert type(got) is type(value)


def test_a_number_has_a_limit_and_a_text_has_none() -> None:
    assert scalar("9" * MAX_DIGITS) == int("9" * MAX_DIGITS)
    assert scalar("x" * 100_000) == "x" * 100_000
    for long in ("9" * (MAX_DIGITS + 1), "0x" + "f" * MAX_DIGITS, "1." + "0" * MAX_DIGITS):
        with pytest.raises(TooLong):
            scalar(long)


def test_a_value_is_spelled_as_it_is_written() -> None:
    assert [spelled(each) for each in (None, True, False, 5, 1.5, "a")] == ["null", "true", "false", "5", "1.5", "a"]
