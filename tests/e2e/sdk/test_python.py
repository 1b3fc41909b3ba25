"""openai-python behaves the same direct and through Chassis: results, exceptions, and every request that the upstream saw."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from tests.e2e.sdk import chat_scenarios, media_scenarios, trouble_scenarios
from tests.e2e.sdk.both import run_plainly
from tests.e2e.sdk.compare import seen
from tests.e2e.sdk.ways import Ways
from tests.e2e.sdk.wording import KEY

Scenario = Callable[[Any], Awaitable[Any]]
SCENARIOS: tuple[Any, ...] = (*chat_scenarios.SCENARIOS, *media_scenarios.SCENARIOS, *trouble_scenarios.SCENARIOS)
SETTINGS: Any = {"api_key": KEY, "organization": "org-acme", "project": "proj_7", "timeout": 10}  # a run that hangs fails soon


def with_sync(scenario: Any, base_url: str, tls: ssl.SSLContext) -> Any:
    with OpenAI(base_url=base_url, http_client=DefaultHttpxClient(verify=tls), **SETTINGS) as client:
        return run_plainly(scenario(client))


def with_async(scenario: Any, base_url: str, tls: ssl.SSLContext) -> Any:
    async def run() -> Any:
        async with AsyncOpenAI(base_url=base_url, http_client=DefaultAsyncHttpxClient(verify=tls), **SETTINGS) as client:
            return await scenario(client)

    return asyncio.run(run())


@pytest.mark.filterwarnings(
    "ignore:connect.. must be used as a context manager:DeprecationWarning"
)  # how the SDK opens a synchronous WebSocket
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # audio translations, to the SDK; apps use them
@pytest.mark.parametrize("run", [with_sync, with_async], ids=["sync", "async"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_client_cannot_tell_chassis_from_its_upstream(scenario: Any, run: Any, ways: Ways, tls: ssl.SSLContext) -> None:
    upstream = ways.upstream
    upstream.forget()
    direct = run(scenario, ways.direct, tls)
    arrived_direct = [seen(arrival, upstream.authority) for arrival in upstream.take()]
    through = run(scenario, ways.through, tls)
    arrived_through = [seen(arrival, upstream.authority) for arrival in upstream.take()]

    assert arrived_direct
    assert through == direct
    assert arrived_through == arrived_direct
