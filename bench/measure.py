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

from bench.processes import Failed, Running, cores_busy_s, cpu_s, rss_kib
from bench.scenarios import Scenario

Row = dict[str, float]
WARMUP_S = 0.2
SETTLE_S = 0.03                                 # connections that the load closed are the subject's work too
BIG_CALLS = 4
PROBE_S = 2.0
PROBE_LEAD_S = 0.1                              # the probe's connections are there before the first large body
HELD_OPEN_S = 20.0
HELD_S = 1.2                                    # each stream has had another event by then
ALLOWED_FDS = 16384


@dataclass(frozen=True, slots=True)
class Rig:
    """What all visits share."""

    load: Path
    cores: tuple[int, int]                      # of the subject; of load and upstream
    upstream: Running
    upstream_port: int
    bodies: dict[str, Path]
    seconds: float


def raise_limits() -> None:
    """1,000 streams need 2,000 descriptors in a proxy; children inherit this."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = ALLOWED_FDS if hard == resource.RLIM_INFINITY else min(ALLOWED_FDS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is visited. Without a process it is the upstream itself: the direct run."""

    running: Running | None
    port: int
    admin_port: int | None = None               # where it answers GET /livez on the same event loop


class Load:
    """A running load generator."""

    def __init__(self, rig: Rig, port: int, options: Sequence[str], *, nice: int = 0) -> None:
        argv = [str(rig.load), "--port", str(port), *options]

        def prepare() -> None:
            os.sched_setaffinity(0, {rig.cores[1]})
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

    def let_go(self) -> None:
        """Ends a held run: it closes its streams and prints its result."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def end(self) -> None:
        """Waits for its end and takes its CPU."""
        self.let_go()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        if self.process.stdout is not None:
            self.process.stdout.close()


def _call(rig: Rig, body: str, bench: str) -> list[str]:
    return ["--body", str(rig.bodies[body]), "--bench", bench]


def _times(row: Row, name: str, found: dict[str, float] | None) -> None:
    for point in ("p50", "p99", "max"):
        if found is not None:
            row[f"{name} {point}".strip()] = found[point]


def visit_load(rig: Rig, scenario: Scenario, subject: Subject) -> Row:
    """Closed loop or fixed rate for the scenario's time."""
    seconds = rig.seconds * scenario.longer
    options = ["--connections", str(scenario.connections), "--seconds", str(seconds), "--warmup", str(WARMUP_S)]
    options += [*scenario.options, *scenario.expect, *(("--step", str(rig.upstream_port)) if scenario.step else ())]
    own, behind = subject.running, cpu_s(rig.upstream.pid)
    before, busy = cpu_s(own.pid) if own else 0.0, cores_busy_s(rig.cores)
    load = Load(rig, subject.port, [*_call(rig, scenario.body, scenario.bench), *options])
    found = load.line(seconds + 30)
    load.end()
    time.sleep(SETTLE_S)
    busy_s, upstream_s = cores_busy_s(rig.cores) - busy, cpu_s(rig.upstream.pid) - behind
    subject_s = cpu_s(own.pid) - before if own else upstream_s + load.cpu_s
    row = {"calls": found["calls"], "rate": found["rate"], "errors": found["error_count"], "events/read": found["events_per_read"]}
    if found["calls"]:
        row["cpu"] = subject_s * 1e6 / found["calls"]
    ours_s = upstream_s + load.cpu_s + (subject_s if own else 0)
    row["foreign"] = max(0.0, 100 * (busy_s - ours_s) / found["wall_s"] / len(rig.cores))
    row["busy"] = 100 * subject_s / found["wall_s"]
    row["load busy"] = 100 * (upstream_s + load.cpu_s) / found["wall_s"]
    for name, key in (("", "latency_ms"), ("to first", "to_first_ms"), ("first", "first_ms"), ("chunk", "chunk_ms")):
        _times(row, name, found[key])
    return row


def _beside_big(rig: Rig, port: int, probe_port: int, probe: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What large bodies, one after another, and a small call every 2 ms beside them met: (large, small).

    The probe runs before all else on its core (where root allows it): the other load must not look like the subject's delay.
    """
    small = Load(rig, probe_port, [*probe, "--connections", "64", "--rate", "500", "--seconds", str(max(PROBE_S, rig.seconds))], nice=-15)
    time.sleep(PROBE_LEAD_S)
    one_by_one = ["--connections", "1", "--count", str(BIG_CALLS), "--expect-bytes", "1024"]
    large = Load(rig, port, [*_call(rig, "50m", "json 1024"), *one_by_one])
    found = large.line(60), small.line(60)
    large.end()
    small.end()
    return found


def visit_big(rig: Rig, scenario: Scenario, subject: Subject) -> Row:
    """How long large bodies keep others waiting: a whole call on the data port and, where there is one, the event loop alone."""
    data_port = [*_call(rig, scenario.body, scenario.bench), *scenario.expect]
    large, small = _beside_big(rig, subject.port, subject.port, data_port)
    row: Row = {"calls": large["calls"] + small["calls"], "errors": large["error_count"] + small["error_count"]}
    _times(row, "big", large["latency_ms"])
    _times(row, "probe", small["latency_ms"])
    if subject.admin_port is not None:
        large, small = _beside_big(rig, subject.port, subject.admin_port, ["--path", "/livez"])
        row["errors"] += large["error_count"] + small["error_count"]
        _times(row, "loop", small["latency_ms"])
    return row


def visit_held(rig: Rig, scenario: Scenario, subject: Subject) -> Row:
    """Memory of a fresh subject: idle, then with streams open. What a few warm calls leave behind is not charged to the streams."""
    if subject.running is None:
        raise Failed("memory is measured of a subject only")
    pid = subject.running.pid
    row: Row = {"idle": float(rss_kib(pid))}
    warm = Load(rig, subject.port, [*_call(rig, "1k", "json 1024"), "--connections", "8", "--count", "400", "--expect-bytes", "1024"])
    row["errors"] = warm.line(30)["error_count"]
    warm.end()
    base = rss_kib(pid)
    load = Load(rig, subject.port, [*_call(rig, scenario.body, scenario.bench), "--connections", str(scenario.connections), "--hold"])
    opened = load.line(HELD_OPEN_S)
    time.sleep(HELD_S)
    row["per stream"] = (rss_kib(pid) - base) / opened["open"]
    load.let_go()
    row["errors"] += load.line(10)["error_count"]
    load.end()
    return row


VISITS = {"load": visit_load, "big": visit_big, "held": visit_held}
