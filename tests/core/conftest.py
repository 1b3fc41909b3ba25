"""Async tests in this folder run on a virtual loop: hours pass at once, and a wait for what never comes fails instead of hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from proxy.core.virtual import VirtualLoop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
