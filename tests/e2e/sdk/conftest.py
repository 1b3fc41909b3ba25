"""The two ways to the scripted upstream: direct, and through a `chassis serve` process.

CHASSIS_E2E_BASE points the suite at a proxy that already runs (its base url), whose upstream must be CHASSIS_E2E_UPSTREAM
(host:port, on which the scripted upstream is then started; one worker only).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.register_assert_rewrite(*(f"tests.e2e.sdk.{name}" for name in ("chat_scenarios", "media_scenarios", "trouble_scenarios", "compare")))

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


@pytest.fixture(scope="session")
def ways() -> Iterator[Ways]:
    running = os.environ.get("CHASSIS_E2E_BASE")
    port = int(os.environ.get("CHASSIS_E2E_UPSTREAM", "127.0.0.1:4190").rpartition(":")[2]) if running else 0
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


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """Shared by all clients: building one takes longer than a call."""
    return ssl.create_default_context()


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENAI_") or name.lower() in {
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "azure_openai_api_key",
            "azure_openai_ad_token",
        }:
            monkeypatch.delenv(name)
