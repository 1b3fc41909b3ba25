"""One raw upstream and two Chassis processes for each test process: one whose policies match nothing, one that rewrites the model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
    with ExitStack() as ends, ThreadPoolExecutor() as pool:
        ends.callback(upstream.stop)
        starts = {mode: pool.submit(processes.start, HERE / "policies" / f"{mode}.yaml", upstream.url) for mode in MODES}
        for started in starts.values():
            ends.callback(started.result().stop)
        yield Wire(upstream, {mode: started.result() for mode, started in starts.items()})
