"""mortal -- an upstream that is a process of its own, so that it can be killed as an operating system kills, and be started again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]


class Mortal:
    """Its port stays the same from life to life."""

    def __init__(self, name: str, **options: float) -> None:
        """`options` are those of `tests.soak.upstream`."""
        self.name = name
        self.port = free_ports(1)[0]
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """As an upstream's `url` names it."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not live"
        return self._process.pid

    def start(self) -> None:
        """Listens when this returns."""
        options = [text for name, value in self._options.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "tests.soak.upstream", str(self.port), "--name", self.name, *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != "ready\n":
            self.kill()
            raise RuntimeError(f"the upstream {self.name} did not start on port {self.port}")

    def kill(self) -> None:
        """At once, in the midst of whatever it does: its connections break. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
