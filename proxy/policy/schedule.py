"""schedule -- days and hours of the week in a time zone.

Stands beside the other conditions; always known where there is a clock. Cost: 1.5 µs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from proxy.policy.conditions import HEAD, Leaf
from proxy.policy.facts import Facts
from proxy.policy.problems import did_you_mean
from proxy.policy.spec import OneOrMany, Spec, Wrong

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
NO_CLOCK = "there is no clock"
_OTHERWISE = {
    "weekdays": "mon-fri",
    "workdays": "mon-fri",
    "weekend": "sat-sun",
    "weekends": "sat-sun",
    "daily": "mon-sun",
    "all": "mon-sun",
}
_OF_THE_MACHINE = ("localtime", "posixrules", "Factory")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])").fullmatch
_LOOSE = re.compile(r"\s*([0-9]{1,2})(?::?([0-5][0-9]))?\s*(?:-|–|to)\s*([0-9]{1,2})(?::?([0-5][0-9]))?\s*").fullmatch
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}").fullmatch
_ABBREVIATED = {
    "BST": "Europe/London",
    "CDT": "America/Chicago",
    "CEST": "Europe/Zurich",
    "CST": "America/Chicago",
    "EDT": "America/New_York",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "PDT": "America/Los_Angeles",
    "PST": "America/Los_Angeles",
}


def days_of(text: str) -> tuple[int, ...]:
    """The days that `mon` or `fri-mon` names, Monday as 0. Raises Wrong."""
    first, dash, last = text.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise Wrong("must be a day such as mon, or a range of days such as mon-fri", _days_hint(text))
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return tuple((begin + i) % 7 for i in range((end - begin) % 7 + 1))


def _days_hint(text: str) -> str:
    lower = text.lower()
    if lower in _OTHERWISE:
        return f"did you mean '{_OTHERWISE[lower]}'?"
    parts = [part.strip()[:3] for part in re.split(r"-|–| to ", lower)]
    if len(parts) < 3 and all(part in DAYS for part in parts):
        return f"did you mean '{'-'.join(parts)}'?"
    return did_you_mean(text, DAYS)


def minutes_of(text: str) -> tuple[int, int]:
    """The first minute of the day of a range such as `22:00-06:00`, and the first one after it: over 24 h where it passes midnight.

    Raises Wrong.
    """
    found = _HOURS(text)
    if found is None or (found[3] == "24" and found[4] != "00"):
        raise Wrong("must be a range of hours such as 08:00-18:00", _hours_hint(text))
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if begin == end:
        raise Wrong(f"begins and ends at {found[1]}:{found[2]}", "write 00:00-24:00 for the whole day, or leave `hours` out", got=False)
    return begin, end if end > begin else end + DAY_MINUTES


def _hours_hint(text: str) -> str:
    found = _LOOSE(text)
    if found is None or int(found[1]) > 23 or int(found[3]) > 24:
        return ""
    return f"did you mean '{int(found[1]):02}:{found[2] or '00'}-{int(found[3]):02}:{found[4] or '00'}'?"


def zone_of(name: str) -> ZoneInfo:
    """The zone of a name of the tz database. Raises Wrong."""
    try:
        if _ZONE(name) and name not in _OF_THE_MACHINE:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    known = available_timezones() - set(_OF_THE_MACHINE)
    by_city = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
    city = by_city.get(name.rpartition("/")[2].lower().replace(" ", "_"))
    likely = _ABBREVIATED.get(name.upper()) or city
    hint = f"did you mean '{likely}'?" if likely else did_you_mean(name, known) or "a name of the tz database, such as Europe/Zurich or UTC"
    raise Wrong("is no time zone that is known here", hint)


def _days(value: str) -> str:
    days_of(value)
    return value


def _hours(value: str) -> str:
    minutes_of(value)
    return value


def _zone(value: str) -> str:
    zone_of(value)
    return value


Days = Annotated[
    str,
    AfterValidator(_days),
    WithJsonSchema(
        {
            "type": "string",
            "title": "day or days",
            "pattern": f"^({'|'.join(DAYS)})(-({'|'.join(DAYS)}))?$",
            "examples": ["mon-fri", "sat", "sun"],
        }
    ),
]
Hours = Annotated[
    str,
    AfterValidator(_hours),
    WithJsonSchema(
        {
            "type": "string",
            "title": "hours",
            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
            "examples": ["08:00-18:00", "22:00-06:00"],
        }
    ),
]
Zone = Annotated[str, AfterValidator(_zone), Field(json_schema_extra={"title": "time zone"})]


class ScheduleSpec(Spec):
    """Days and hours in a zone; at least one of the two."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "if": {"required": ["zone"]}, "then": {"minProperties": 2}})
    days: OneOrMany[Days] | None = Field(
        None,
        max_length=7,
        description="Days, or ranges of them. Hours over midnight belong to the day on which they begin.",
        examples=["mon-fri"],
    )
    hours: OneOrMany[Hours] | None = Field(
        None,
        max_length=24,
        description="Ranges of the zone's wall clock: from the first minute on, up to but not at the last; `22:00-06:00` passes midnight, "
        "`24:00` is the end of the day.",
        examples=["08:00-18:00", ["08:00-12:00", "13:00-18:00"]],
    )
    zone: Zone = Field(
        "UTC", description="A name of the tz database; summer time is followed.", examples=["Europe/Zurich", "America/New_York"]
    )

    @model_validator(mode="after")
    def _says_something(self) -> ScheduleSpec:
        if self.days is None and self.hours is None:
            raise Wrong("needs `days` or `hours`", got=False)
        return self


class OnSchedule(Leaf):
    """Whether it is the time: of the call, when its conditions are asked."""

    __slots__ = ("_days", "_hours", "_zone")
    name, cost, needs = "schedule", 6, HEAD

    def __init__(self, spec: ScheduleSpec) -> None:
        self._days = frozenset(day for text in spec.days or ("mon-sun",) for day in days_of(text))
        self._hours = tuple(minutes_of(text) for text in spec.hours or ("00:00-24:00",))
        self._zone = zone_of(spec.zone)
        self.expected = f"{_listed(spec.days)}{' ' if spec.days and spec.hours else ''}{_listed(spec.hours)} {spec.zone}"

    def test(self, facts: Facts) -> bool | None:
        now = self._now(facts)
        if now is None:
            facts.cannot(NO_CLOCK)
            return None
        minute, today = now.hour * 60 + now.minute, now.weekday()
        for begin, end in self._hours:
            if begin <= minute < end and today in self._days:
                return True
            if minute < end - DAY_MINUTES and (today - 1) % 7 in self._days:
                return True  # it began yesterday
        return False

    def seen(self, facts: Facts) -> str:
        now = self._now(facts)
        return f"{DAYS[now.weekday()]} {now:%H:%M} ({now:%Z}, {now:%Y-%m-%d})" if now is not None else NO_CLOCK

    def why(self, facts: Facts) -> str:
        return NO_CLOCK

    def _now(self, facts: Facts) -> datetime | None:
        wall_s = facts.wall_s
        return None if wall_s is None else datetime.fromtimestamp(wall_s, self._zone)


def _listed(texts: Iterable[str] | None) -> str:
    return ", ".join(texts or ())
