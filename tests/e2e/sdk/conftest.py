"""Fixtures of the SDK tests; one upstream and one Chassis process for each test process."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite(*(f"tests.e2e.sdk.{name}" for name in ("chat_scenarios", "media_scenarios", "trouble_scenarios", "compare")))

from tests.e2e.sdk.ways import Ways, open_ways  # noqa: E402 -- after the line above, or failures show no values

STEERING = {"http_proxy", "https_proxy", "all_proxy", "azure_openai_api_key", "azure_openai_ad_token", "azure_openai_endpoint"}


@pytest.fixture(scope="session")
def ways() -> Iterator[Ways]:
    with open_ways() as ways:
        yield ways


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """Shared by all clients: building one takes longer than a call."""
    return ssl.create_default_context()


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENAI_") or name.lower() in STEERING:
            monkeypatch.delenv(name)
