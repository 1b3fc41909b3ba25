"""report -- rounds to medians, medians to tables, and the results file.

Whatever compares two subjects (a ratio, an added time) is taken inside each round first and then its median over the rounds: a slow
minute of the machine then slows both sides of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TypedDict

from bench.measure import Row
from bench.scenarios import SCENARIOS
from bench.targets import TARGETS, Medians

Round = dict[str, dict[str, Row]]               # scenario -> subject -> row


class Verdict(TypedDict):
    """One target, judged."""

    claim: str
    value: float
    limit: float
    met: bool


_UNITS = {
    "rate": "calls/s", "cpu": "ms/1k calls", "busy": "busy %", "load busy": "load %", "idle": "idle KiB", "per stream": "KiB/stream",
    "cpu/envoy": "× envoy", "cpu/nginx": "× nginx",
}
_WHOLE = {"rate", "busy", "load busy", "idle", "errors", "calls"}


def compared(rows: dict[str, Row]) -> dict[str, Row]:
    """The rows of one scenario in one round, with what they are against each other in it."""
    full = {name: dict(row) for name, row in rows.items()}
    for name, row in full.items():
        for other in ("envoy", "nginx", "chassis"):
            if "cpu" in row and rows.get(other, {}).get("cpu") and name != "direct":
                row[f"cpu/{other}"] = row["cpu"] / rows[other]["cpu"]
        if "cpu" in row and "cpu" in rows.get("chassis", {}):
            row["cpu over chassis"] = row["cpu"] - rows["chassis"]["cpu"]
        for column in list(row):
            base = rows.get("direct", {}).get(column)
            if base is not None and name != "direct" and column.rsplit(" ", 1)[-1] in ("p50", "p99"):
                row[f"added {column}"] = row[column] - base
    return full


def medians(rounds: Iterable[Round]) -> Medians:
    """Scenario, subject, column to the median over the rounds that have it; errors are summed, a `max` is the worst."""
    gathered: dict[str, dict[str, dict[str, list[float]]]] = {}
    for each in rounds:
        for scenario, rows in each.items():
            for subject, row in compared(rows).items():
                for column, value in row.items():
                    gathered.setdefault(scenario, {}).setdefault(subject, {}).setdefault(column, []).append(value)
    return {
        scenario: {subject: {column: _fold(column, values) for column, values in row.items()} for subject, row in rows.items()}
        for scenario, rows in gathered.items()
    }


def _fold(column: str, values: list[float]) -> float:
    if column == "errors":
        return sum(values)
    return max(values) if column.endswith("max") else median(values)


def _cell(column: str, row: Row) -> str:
    value = row.get(column)
    if value is None:
        return "–"
    if column in _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.1f}" if column in ("cpu", "per stream") else f"{value:.2f}"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    numbers = [[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)] for line in lines]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *rest]).rstrip() for line, rest in zip(lines, numbers, strict=True))


def table(found: Medians) -> str:
    """A block for each scenario; times in milliseconds."""
    blocks = []
    for name, rows in found.items():
        scenario = SCENARIOS[name]
        lines = [["", *(_UNITS.get(column, column) for column in scenario.columns)]]
        present = [subject for subject in scenario.subjects if subject in rows]
        lines += [[subject, *(_cell(column, rows[subject]) for column in scenario.columns)] for subject in present]
        blocks.append(f"{name}: {scenario.title}\n{_aligned(lines)}")
    return "\n\n".join(blocks)


def foreign(rounds: Iterable[Round]) -> tuple[float, float]:
    """Percent of the two cores that other programs took: (median of the visits, the worst visit)."""
    shares = [row["foreign"] for each in rounds for rows in each.values() for row in rows.values() if "foreign" in row]
    return (median(shares), max(shares)) if shares else (0.0, 0.0)


def verdicts(found: Medians) -> list[Verdict]:
    """Each target that this run can judge: claim, value, limit, met."""
    judged: list[Verdict] = []
    for target in TARGETS:
        pair = target.judge(found)
        if pair is not None:
            judged.append({"claim": target.claim, "value": round(pair[0], 4), "limit": round(pair[1], 4), "met": pair[0] <= pair[1]})
    return judged


def verdict_table(judged: list[Verdict]) -> str:
    """The targets, one a line."""
    if not judged:
        return "targets: none of them was measured"
    lines = [["target", "value", "limit", ""]]
    lines += [[v["claim"], f"{v['value']:,.2f}", f"{v['limit']:,.2f}", "met" if v["met"] else "MISSED"] for v in judged]
    return _aligned(lines)
