"""The two ways to the scripted upstream: direct, and through a `chassis serve` process.

CHASSIS_E2E_BASE points the suite at a proxy that already runs (its base url); the upstream of that proxy must be
CHASSIS_E2E_UPSTREAM (host:port), on which the scripted upstream is then started, so one test process at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import serving
from tests.e2e.sdk.plays import Stage
from tests.e2e.sdk.realtime import converse
from tests.e2e.sdk.upstream import ScriptedUpstream

POLICIES = Path(__file__).with_name("policies.yaml")


@dataclass(frozen=True, slots=True)
class Ways:
    """Base urls that must be indistinguishable, and where both lead."""

    direct: str
    through: str
    upstream: ScriptedUpstream


@contextmanager
def open_ways() -> Iterator[Ways]:
    running = os.environ.get("CHASSIS_E2E_BASE")
    port = int(os.environ.get("CHASSIS_E2E_UPSTREAM", "127.0.0.1:4192").rpartition(":")[2]) if running else 0
    upstream = ScriptedUpstream(Stage(), converse, port)
    upstream.start()
    try:
        if running:
            yield Ways(upstream.url, running, upstream)
        else:
            with serving(POLICIES, upstream.url) as chassis:
                yield Ways(upstream.url, chassis.url, upstream)
    finally:
        upstream.stop()
