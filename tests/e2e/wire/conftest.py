"""One raw upstream and two Chassis processes for each test process: one whose policies match nothing, one that rewrites the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import processes
from tests.e2e.wire.upstream import Upstream

HERE = Path(__file__).parent
MODES = ("plain", "rewrite")


@dataclass(frozen=True, slots=True)
class Wire:
    """The upstream, and the proxy of each mode in front of it."""

    upstream: Upstream
    proxies: dict[str, processes.Running]

    def port(self, mode: str) -> int:
        return self.proxies[mode].port


@pytest.fixture(scope="session")
def wire() -> Iterator[Wire]:
    upstream = Upstream()
    upstream.start()
    running: dict[str, processes.Running] = {}
    try:
        for mode in MODES:
            running[mode] = processes.start(HERE / "policies" / f"{mode}.yaml", upstream.url)
        yield Wire(upstream, running)
    finally:
        for each in running.values():
            each.stop()
        upstream.stop()
