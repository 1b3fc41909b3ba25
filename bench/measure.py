"""measure -- one visit: one scenario against one subject, as a flat row of numbers.

Times in milliseconds, memory in KiB; `cpu` is CPU milliseconds per 1,000 calls. CPU is read before the load starts and after it has
ended, so its calls are all that were answered, the warm-up included; latencies leave the warm-up out.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import Failed, Running, cpu_s, rss_kib
from bench.scenarios import Scenario

Row = dict[str, float]
WARMUP_S = 0.2
SETTLE_S = 0.03                                 # connections that the load closed are the subject's work too
BIG_CALLS = 4
HELD_OPEN_S = 20.0
ALLOWED_FDS = 16384


@dataclass(frozen=True, slots=True)
class Rig:
    """What all visits share."""

    load: Path
    core: int                                   # of load and upstream
    upstream: Running
    upstream_port: int
    bodies: dict[str, Path]
    seconds: float


def raise_limits() -> None:
    """1,000 streams need 2,000 descriptors in a proxy; children inherit this."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = ALLOWED_FDS if hard == resource.RLIM_INFINITY else min(ALLOWED_FDS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Load:
    """A running load generator."""

    def __init__(self, rig: Rig, port: int, body: str, bench: str, options: Sequence[str], *, nice: int = 0) -> None:
        argv = [str(rig.load), "--port", str(port), "--body", str(rig.bodies[body]), "--bench", bench, *options]

        def prepare() -> None:
            os.sched_setaffinity(0, {rig.core})
            if nice and os.geteuid() == 0:
                os.nice(nice)

        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=prepare)
        self.cpu_s = 0.0

    def line(self, limit_s: float) -> dict[str, Any]:
        """The next JSON line that it prints; raises Failed when none comes in time."""
        out = self.process.stdout
        assert out is not None
        if not select.select([out], [], [], limit_s)[0]:
            self.process.kill()
            self.end()
            raise Failed(f"the load generator said nothing for {limit_s:g} s")
        text = out.readline()
        if not text:
            raise Failed(f"the load generator ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(text)
        return found

    def end(self) -> None:
        """Waits for its end and takes its CPU."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        if self.process.stdout is not None:
            self.process.stdout.close()


def _times(row: Row, name: str, found: dict[str, float] | None) -> None:
    for point in ("p50", "p99", "max"):
        if found is not None:
            row[f"{name} {point}".strip()] = found[point]


def visit_load(rig: Rig, scenario: Scenario, subject: Running | None, port: int) -> Row:
    """Closed loop or fixed rate for the scenario's time."""
    seconds = rig.seconds * scenario.longer
    options = ["--connections", str(scenario.connections), "--seconds", str(seconds), "--warmup", str(WARMUP_S)]
    options += [*scenario.options, *scenario.expect, *(("--step", str(rig.upstream_port)) if scenario.step else ())]
    before, behind = cpu_s(subject.pid) if subject else 0.0, cpu_s(rig.upstream.pid)
    load = Load(rig, port, scenario.body, scenario.bench, options)
    found = load.line(seconds + 30)
    load.end()
    time.sleep(SETTLE_S)
    upstream_s = cpu_s(rig.upstream.pid) - behind
    subject_s = cpu_s(subject.pid) - before if subject else upstream_s + load.cpu_s
    row = {"calls": found["calls"], "rate": found["rate"], "errors": found["error_count"], "events/read": found["events_per_read"]}
    if found["calls"]:
        row["cpu"] = subject_s * 1e6 / found["calls"]
    row["busy"] = 100 * subject_s / found["wall_s"]
    row["load busy"] = 100 * (upstream_s + load.cpu_s) / found["wall_s"]
    for name, key in (("", "latency_ms"), ("to first", "to_first_ms"), ("first", "first_ms"), ("chunk", "chunk_ms")):
        _times(row, name, found[key])
    return row


def visit_big(rig: Rig, scenario: Scenario, subject: Running | None, port: int) -> Row:
    """Large bodies one after another, and small calls on a schedule beside: the longest of these shows how long the subject was deaf.

    The probe runs before everything else on its core (where root allows it): the other load must not look like the subject's delay.
    """
    options = ["--connections", str(scenario.connections), "--seconds", "60", *scenario.options, *scenario.expect]
    big = Load(rig, port, "50m", "json 1024", ["--connections", "1", "--count", "1", "--expect-bytes", "1024"])       # warm-up
    errors = big.line(60)["error_count"]
    big.end()
    big = Load(rig, port, "50m", "json 1024", ["--connections", "1", "--count", str(BIG_CALLS), "--expect-bytes", "1024"])
    options[3] = str(max(2.0, rig.seconds * scenario.longer))
    probe = Load(rig, port, scenario.body, scenario.bench, options, nice=-15)
    slow, small = big.line(60), probe.line(60)
    big.end()
    probe.end()
    row = {"calls": small["calls"] + slow["calls"], "errors": errors + slow["error_count"] + small["error_count"]}
    _times(row, "big", slow["latency_ms"])
    _times(row, "probe", small["latency_ms"])
    return row


def visit_held(rig: Rig, scenario: Scenario, subject: Running | None, port: int) -> Row:
    """Memory of a fresh subject: idle, then with streams open. What a few warm calls leave behind is not charged to the streams."""
    if subject is None:
        raise Failed("memory is measured of a subject only")
    row: Row = {"idle": float(rss_kib(subject.pid))}
    warm = Load(rig, port, "1k", "json 1024", ["--connections", "8", "--count", "400", "--expect-bytes", "1024"])
    row["errors"] = warm.line(30)["error_count"]
    warm.end()
    base = rss_kib(subject.pid)
    load = Load(rig, port, scenario.body, scenario.bench, ["--connections", str(scenario.connections), "--hold"])
    try:
        opened = load.line(HELD_OPEN_S)
        time.sleep(1.2)                         # each stream has had an event by then
        row["per stream"] = (rss_kib(subject.pid) - base) / opened["open"]
    finally:
        if load.process.returncode is None:
            assert load.process.stdin is not None
            load.process.stdin.close()
            row["errors"] += load.line(10)["error_count"]
            load.end()
    return row


VISITS = {"load": visit_load, "big": visit_big, "held": visit_held}
