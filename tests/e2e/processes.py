"""Chassis as a process of its own, as an operator runs it: free loopback ports, captured logs, stopped by its id."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).parent / "chassis"
START_S = 20.0  # a cold start on a busy machine; a warm one takes well under a second
STOP_S = 10.0  # longer than any drain that a test asks for
TRIES = 3  # another process may take a port between our look and the start


@dataclass(frozen=True, slots=True)
class Running:
    """A serving process; `log` holds its standard output and error together."""

    process: subprocess.Popen[bytes]
    port: int
    admin_port: int
    log: Path

    @property
    def url(self) -> str:
        """What an app sets as OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """TERM, then KILL after STOP_S; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on; all are held until the last is found, so they differ."""
    with_sockets = [socket.socket() for _ in range(count)]
    try:
        for each in with_sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in with_sockets]
    finally:
        for each in with_sockets:
            each.close()


def start(
    policies: Path,
    upstream: str | None,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    ports: tuple[int, int] | None = None,
) -> Running:
    """Start `chassis serve` and wait until it is ready. Whoever calls stops it.

    `upstream` is the url of home (None: the policies name one), `environment` is added to a clean one, `folder` takes the log.
    `ports` are those of a process that is started again: data and admin; None: free ones.
    Raises RuntimeError, with the log, when the process ends or is not ready in START_S.
    """
    for attempt in range(TRIES):
        running = _launch(policies, upstream, options, environment or {}, folder or Path(tempfile.mkdtemp(prefix="chassis-e2e-")), ports)
        problem = _wait(running)
        if problem is None:
            return running
        running.stop()
        if " is taken; " not in running.logged() or attempt == TRIES - 1:
            break
    raise RuntimeError(f"chassis serve {problem}; its log:\n{running.logged()}")


@contextmanager
def serving(
    policies: Path, upstream: str | None, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """`start`, and stopped at the end; the log lives as long as the process."""
    with tempfile.TemporaryDirectory(prefix="chassis-e2e-") as folder:
        running = start(policies, upstream, options, environment, Path(folder))
        try:
            yield running
        finally:
            running.stop()


def _launch(
    policies: Path,
    upstream: str | None,
    options: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    ports: tuple[int, int] | None,
) -> Running:
    if not COMMAND.exists():
        raise RuntimeError(f"{COMMAND} is missing: run `make setup`")
    port, admin_port = ports or free_ports(2)
    command = [
        str(COMMAND),
        "serve",
        "--policies",
        str(policies),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--admin-port",
        str(admin_port),
        *options,
    ]
    if upstream is not None:
        command += ["--upstream", upstream]
    log = folder / f"chassis-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=_clean(environment))
    return Running(process, port, admin_port, log)


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would steer Chassis or its exporters."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CHASSIS_", "OTEL_", "OPENAI_"))}
    return ours | dict(environment)


def _wait(running: Running) -> str | None:
    """None once /readyz says yes, else what went wrong."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            return f"ended with status {running.process.returncode}"
        if _ready(running.admin_port):
            return None
        time.sleep(0.02)
    return f"was not ready within {START_S:g} s"


def _ready(admin_port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
