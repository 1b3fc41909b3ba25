from __future__ import annotations

from proxy.core.tally import Tally


def test_both_counts_are_of_the_window() -> None:
    tally = Tally(10.0)
    tally.add(100.0, 3, 1)
    tally.add(105.0, 2, 2)

    assert tally.sums(105.0) == (5, 3)
    assert tally.sums(109.9) == (5, 3)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    tally = Tally(10.0)
    tally.add(100.0, 3, 1)
    tally.add(105.0, 2, 2)

    assert tally.sums(111.0) == (2, 2)
    assert tally.sums(116.0) == (0, 0)


def test_a_long_silence_forgets_all() -> None:
    tally = Tally(1.0)
    tally.add(5.0, 9, 9)
    tally.add(1e6, 1, 0)

    assert tally.sums(1e6) == (1, 0)


def test_cleared_it_is_empty() -> None:
    tally = Tally(10.0)
    tally.add(100.0, 3, 1)
    tally.clear()

    assert tally.sums(100.0) == (0, 0)


def test_a_time_a_little_earlier_counts_as_now() -> None:
    tally = Tally(10.0)
    tally.add(100.0, 1, 0)
    tally.add(97.0, 1, 0)

    assert tally.sums(100.0) == (2, 0)
