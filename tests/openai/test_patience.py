from __future__ import annotations

import pytest

from proxy.openai.patience import MAX_RETRIES, patience_s, retries_before


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        ([(b"x-stainless-read-timeout", b"600")], 600.0),
        ([(b"X-Stainless-Read-Timeout", b"2.5"), (b"x-other", b"1")], 2.5),
        ([(b"x-stainless-timeout", b"30")], 30.0),
        ([(b"x-stainless-timeout", b"30"), (b"x-stainless-read-timeout", b"3")], 3.0),
        ([(b"x-stainless-read-timeout", b"0")], None),
        ([(b"x-stainless-read-timeout", b"86400")], None),
        *(
            ([(b"x-stainless-read-timeout", value)], None)
            for value in (b"", b"NaN", b"inf", b"1e3", b"-1", b"1_0", b".", b"1.2.3", b"\xb2", b"9" * 30)
        ),
    ],
)
def test_the_wait_is_what_the_sdk_says_and_nothing_odd(headers: list[tuple[bytes, bytes]], wait_s: float | None) -> None:
    assert patience_s(headers) == wait_s


@pytest.mark.parametrize(
    ("value", "count"), [(b"0", 0), (b"2", 2), (b"x", 0), (b"", 0), (b"-1", 0), (b"999999", MAX_RETRIES), (b"9" * 4000, 0), (b"\xb2", 0)]
)
def test_the_tries_before_are_counted(value: bytes, count: int) -> None:
    assert retries_before([(b"X-Stainless-Retry-Count", value)]) == count
    assert retries_before([]) == 0
