"""Deadlines as arithmetic."""

from __future__ import annotations

from proxy.wire.deadlines import Deadlines


def test_the_earlier_of_two_ends_counts() -> None:
    deadlines = Deadlines(10.0)
    deadlines.at_most(20.0)
    assert deadlines.due == 10.0
    deadlines.at_most(5.0)

    assert not deadlines.is_past(4.9)
    assert deadlines.is_past(5.0)


def test_where_nothing_is_awaited_nothing_is_late() -> None:
    deadlines = Deadlines(0.0)

    assert not deadlines.is_past(1e9)
    deadlines.at_most(7.0)
    assert deadlines.due == 7.0


def test_quiet_is_counted_from_the_last_byte_and_not_while_excused() -> None:
    deadlines = Deadlines(0.0)
    seen = [
        deadlines.is_quiet(0.0, 10.0, False),  # born with a byte
        deadlines.is_quiet(10.0, 10.0, False),
        deadlines.is_quiet(10.5, 10.0, True),  # we hold it back
        deadlines.is_quiet(20.0, 10.0, False),
    ]
    deadlines.heard = True
    seen += [deadlines.is_quiet(30.0, 10.0, False), deadlines.is_quiet(40.0, 10.0, False), deadlines.is_quiet(40.1, 10.0, False)]

    assert seen == [False, False, False, False, False, False, True]


def test_stuck_is_counted_from_the_last_byte_taken() -> None:
    deadlines = Deadlines(0.0)
    seen = [deadlines.is_stuck(now, 10.0, left) for now, left in ((0, 500), (9, 500), (10, 400), (20, 400), (20.5, 400))]

    assert seen == [False, False, False, False, True]


def test_who_has_nothing_to_take_is_not_stuck() -> None:
    deadlines = Deadlines(0.0)
    deadlines.is_stuck(0.0, 10.0, 0)

    assert not deadlines.is_stuck(1e6, 10.0, 0)
