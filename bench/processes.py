"""processes -- starts subjects on a core of their own and reads what they cost out of /proc.

CPU is `utime + stime` of a process and all its descendants: what the kernel charged, whoever measured what.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_S = 30.0                                  # an Envoy on a busy machine needs several


class Failed(Exception):
    """A process did not come up, or ended when it should run."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()          # a command's name may hold spaces and brackets


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def tree(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    pids, at = [pid], 0
    while at < len(pids):
        with suppress(OSError):                 # it ended while we looked
            pids += _children(pids[at])
        at += 1
    return pids


def cpu_s(pid: int) -> float:
    """CPU seconds that the tree of `pid` has used, its ended and awaited children included."""
    total = 0
    for each in tree(pid):
        try:
            total += sum(int(field) for field in _stat(each)[11:15])
        except OSError:
            continue
    return total * TICK_S


def rss_kib(pid: int) -> int:
    """Resident KiB of the tree of `pid`; pages that its processes share count once for each."""
    total = 0
    for each in tree(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return total


def cores_busy_s(cores: Sequence[int]) -> float:
    """Seconds that `cores` were not idle since the machine started; what a hypervisor took away counts as busy."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.removeprefix("cpu").isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            total += user + nice + system + irq + softirq + steal
    return total * TICK_S


def _plain_environment() -> dict[str, str]:
    """Ours without what would change a subject: its own settings, tracing, HTTP proxies."""
    kept = (name for name in os.environ if not name.startswith(("CHASSIS_", "OTEL_")) and "_proxy" not in name.lower())
    return {name: os.environ[name] for name in kept}


class Running:
    """A process pinned to `core`, its output in `log`. Close it: nothing else ends it."""

    def __init__(self, argv: Sequence[str], core: int, log: Path, *, nice: int = 0) -> None:
        self.argv, self.log = list(argv), log

        def prepare() -> None:
            os.sched_setaffinity(0, {core})
            if nice:
                os.nice(nice)

        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_plain_environment(), preexec_fn=prepare
            )
        self.pid = self.process.pid

    def wait_for(self, port: int) -> None:
        """Returns when `port` takes connections; raises Failed with the end of the log when it never does."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-800:].strip()
        raise Failed(f"{Path(self.argv[0]).name} does not listen on {port} (exit {self.process.poll()}): {tail or 'it said nothing'}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
