"""Days and hours in a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.schedule import days_of, minutes_of, zone_of
from proxy.policy.shape import unfold
from proxy.policy.units import Wrong
from tests.policy.test_facts import facts


def condition(schedule: Any) -> Any:
    return Compiler({}).condition(MatchSpec.read(unfold(MatchSpec, {"schedule": schedule})[0]))


def at(utc: str) -> Any:
    """The facts of a call at a time, as `2026-03-02 09:30` UTC."""
    when = int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * 10**9
    return facts(wall_ns=lambda: when)


OFFICE = {"days": "mon-fri", "hours": "08:00-18:00", "zone": "Europe/Zurich"}
NIGHT = {"days": "fri", "hours": "22:00-06:00", "zone": "UTC"}
MEALS = {"hours": ["08:00-12:00", "13:30-18:00"]}


@pytest.mark.parametrize(
    ("schedule", "utc", "expected"),
    [
        (OFFICE, "2026-03-02 06:59", False),  # Monday, 07:59 in Zurich
        (OFFICE, "2026-03-02 07:00", True),
        (OFFICE, "2026-03-02 16:59:59", True),
        (OFFICE, "2026-03-02 17:00", False),
        (OFFICE, "2026-03-01 12:00", False),  # Sunday
        (OFFICE, "2026-07-06 06:00", True),  # Monday, in summer
        (OFFICE, "2026-07-06 16:00", False),
        (NIGHT, "2026-03-06 21:59", False),  # Friday
        (NIGHT, "2026-03-06 22:00", True),
        (NIGHT, "2026-03-07 05:59", True),  # it began on Friday
        (NIGHT, "2026-03-07 06:00", False),
        (NIGHT, "2026-03-07 23:00", False),
        (NIGHT, "2026-03-06 05:00", False),  # it began on Thursday
        ({"days": "sun", "hours": "23:00-01:00"}, "2026-03-02 00:30", True),  # Monday, begun on Sunday
        ({"days": "sat-sun"}, "2026-03-07 00:00", True),
        ({"days": "sat-sun"}, "2026-03-09 00:00", False),
        ({"days": ["mon", "wed-thu"]}, "2026-03-05 12:00", True),
        ({"days": ["mon", "wed-thu"]}, "2026-03-03 12:00", False),
        ({"days": "fri-mon"}, "2026-03-02 12:00", True),
        ({"days": "fri-mon"}, "2026-03-05 12:00", False),
        (MEALS, "2026-03-02 12:00", False),
        (MEALS, "2026-03-02 13:30", True),
        ({"hours": "18:00-24:00"}, "2026-03-02 23:59", True),
        ({"hours": "18:00-24:00"}, "2026-03-03 00:00", False),
        ({"hours": "00:00-24:00"}, "2026-03-03 00:00", True),
        ({"days": "mon", "zone": "Asia/Tokyo"}, "2026-03-01 15:00", True),
        ({"days": "mon", "zone": "Pacific/Kiritimati"}, "2026-03-01 10:00", True),
        ({"days": "sun", "zone": "Pacific/Pago_Pago"}, "2026-03-02 10:59", True),
        ([{"days": "mon-fri", "hours": "08:00-18:00"}, {"days": "sat", "hours": "09:00-12:00"}], "2026-03-07 11:00", True),
        ([{"days": "mon-fri", "hours": "08:00-18:00"}, {"days": "sat", "hours": "09:00-12:00"}], "2026-03-07 12:00", False),
    ],
)
def test_it_is_the_time_of_the_zone_that_counts(schedule: Any, utc: str, expected: bool) -> None:
    assert condition(schedule).test(at(utc)) is expected
    assert condition(schedule).explain(at(utc)).verdict is expected


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        ("2026-10-25 00:29", False),  # 02:29 in summer time
        ("2026-10-25 00:30", True),  # 02:30, which comes twice
        ("2026-10-25 01:30", True),  # 02:30 again, in winter time
        ("2026-10-25 02:00", False),  # 03:00
        ("2026-03-29 00:59", False),  # 01:59; 02:00 to 03:00 does not come
        ("2026-03-29 01:00", False),  # 03:00
    ],
)
def test_an_hour_that_comes_twice_is_in_twice_and_one_that_is_left_out_never(utc: str, expected: bool) -> None:
    assert condition({"hours": "02:30-03:00", "zone": "Europe/Zurich"}).test(at(utc)) is expected


def test_without_a_clock_it_is_unknown_and_stays_so_under_not() -> None:
    seen = facts()

    assert condition({"days": "mon"}).test(seen) is None
    assert Compiler({}).condition(MatchSpec.read({"not": {"schedule": [{"days": ["mon"]}]}})).test(seen) is None
    assert seen.unknown == ["there is no clock"]


def test_the_clock_is_asked_once_a_call() -> None:
    times = iter([1_000_000_000 * 10**9, 2_000_000_000 * 10**9])
    seen = facts(wall_ns=lambda: next(times))

    assert [seen.wall_s, seen.wall_s] == [1e9, 1e9]


def test_an_explanation_tells_the_time_in_the_zone() -> None:
    told = condition(OFFICE).explain(at("2026-07-06 06:05")).children[0]

    assert (told.name, told.expected, told.seen) == (
        "schedule", "mon-fri 08:00-18:00 Europe/Zurich", "mon 08:05 (CEST, 2026-07-06)",
    )  # fmt: skip
    assert condition({"days": "mon"}).explain(facts()).children[0].seen == "unknown: there is no clock"


def test_several_schedules_are_explained_one_by_one() -> None:
    told = condition([{"days": "mon"}, {"days": "tue"}]).explain(at("2026-07-06 06:05")).children[0]

    assert (told.name, told.verdict, [each.verdict for each in told.children]) == ("schedule", True, [True, False])


@pytest.mark.parametrize("text", ["", "Mon", "mon-", "-mon", "mon-fri-sun", "mon - fri", "montag", "1"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        days_of(text)


NO_HOURS = ["", "8:00-18:00", "08:00", "08:00-18:60", "08:00-24:01", "24:00-08:00", "08:00 - 18:00", "٠٨:٠٠-١٨:٠٠"]


@pytest.mark.parametrize("text", NO_HOURS)
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        minutes_of(text)


@pytest.mark.parametrize(
    "name", ["", "/etc/localtime", "..", "Europe", "Europe/", "Europe/Zurich/", "a" * 5000, "Europe/Zurich\0", "UTC+1"]
)
def test_what_is_no_zone_is_refused_and_opens_no_file_elsewhere(name: str) -> None:
    with pytest.raises(Wrong):
        zone_of(name)
