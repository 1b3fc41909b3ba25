"""watch -- what a serving process says of itself while it runs, and whether that grows."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tests.e2e import calls
from tests.e2e.processes import Running

GAUGES = {
    "memory": "process_resident_memory_bytes",
    "blocks": "chassis_allocated_blocks",
    "tasks": "chassis_tasks",
    "fds": "process_open_fds",
    "connections": "chassis_open_connections",
    "in flight": "chassis_calls_in_flight",
}
GROWTH = {"memory": (0.02, 4 << 20), "blocks": (0.02, 8_000), "tasks": (0.1, 15), "fds": (0.1, 25), "connections": (0.1, 15)}
"""How much a gauge may grow over the measured time: as a share of its mean, or so many, whichever is more. The load is even but random:
what is in flight differs by some tens from one look to the next."""


@dataclass(frozen=True, slots=True)
class Look:
    """The gauges at one moment (monotonic seconds)."""

    at_s: float
    gauges: dict[str, float]
    loop_lag_s: float
    layer_faults: float

    @classmethod
    def at(cls, running: Running) -> Look:
        """Asks the admin port."""
        page = calls.get(running.admin_port, "/metrics").body.decode()
        gauges = {name: _value(page, metric) for name, metric in GAUGES.items()}
        faults = sum(float(value) for value in re.findall(r"^chassis_layer_faults_total\{.*\} (\S+)$", page, re.MULTILINE))
        return cls(time.monotonic(), gauges, _value(page, "chassis_event_loop_lag_seconds"), faults)


def _value(page: str, metric: str) -> float:
    found = re.search(rf"^{metric} (\S+)$", page, re.MULTILINE)
    assert found is not None, f"the admin port tells no {metric}"
    return float(found[1])


@dataclass(frozen=True, slots=True)
class Trend:
    """A gauge over the looks, fitted by a line."""

    name: str
    mean: float
    growth: float  # of the line, from the first look to the last

    @classmethod
    def of(cls, name: str, looks: list[Look]) -> Trend:
        """Least squares."""
        times = [look.at_s for look in looks]
        values = [look.gauges[name] for look in looks]
        middle, mean = sum(times) / len(times), sum(values) / len(values)
        spread = sum((at - middle) ** 2 for at in times)
        slope = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True)) / spread if spread else 0.0
        return cls(name, mean, slope * (times[-1] - times[0]))

    @property
    def grows(self) -> bool:
        """More than chance explains."""
        if self.name not in GROWTH:
            return False
        share, count = GROWTH[self.name]
        return self.growth > max(share * self.mean, count)

    def __str__(self) -> str:
        scale, unit = (1 << 20, " MiB") if self.name == "memory" else (1, "")
        return f"{self.name}: {self.mean / scale:,.1f}{unit} in the mean, {self.growth / scale:+,.1f}{unit} over the measured time"
