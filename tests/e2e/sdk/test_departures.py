"""A client that goes away is missed upstream at once, whether it talks to the upstream itself or through Chassis."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import pytest
from openai import APITimeoutError, AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from tests.e2e.sdk.chat_scenarios import HELLO
from tests.e2e.sdk.ways import Ways
from tests.e2e.sdk.wording import KEY

MISSED_S = 0.5
PATIENCE_S = 5.0  # of a client whose stream does not come
WAYS = pytest.mark.parametrize("way", ["direct", "through"])


def missed_after_s(ways: Ways, left_at: float) -> float:
    """How long after `left_at` the upstream saw that its only client had gone."""
    [arrival] = ways.upstream.take()
    assert arrival.left_at is not None, "the answer was complete before the client left"
    return arrival.left_at - left_at


def sync_client(ways: Ways, way: str, tls: ssl.SSLContext) -> OpenAI:
    ways.upstream.forget()
    return OpenAI(base_url=getattr(ways, way), api_key=KEY, max_retries=0, timeout=PATIENCE_S, http_client=DefaultHttpxClient(verify=tls))


def async_client(ways: Ways, way: str, tls: ssl.SSLContext) -> AsyncOpenAI:
    ways.upstream.forget()
    return AsyncOpenAI(
        base_url=getattr(ways, way), api_key=KEY, max_retries=0, timeout=PATIENCE_S, http_client=DefaultAsyncHttpxClient(verify=tls)
    )


def play(name: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": HELLO, "extra_headers": {"x-play": name}}


async def arrived(ways: Ways) -> None:
    for _ in range(500):
        if ways.upstream.arrived:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the request did not arrive within 5 s")


@WAYS
def test_a_stream_closed_by_a_synchronous_client_ends_upstream(ways: Ways, way: str, tls: ssl.SSLContext) -> None:
    with sync_client(ways, way, tls) as client:
        stream = client.chat.completions.create(stream=True, **play("endless"))
        heard = [next(iter(stream)) for _ in range(3)]
        left_at = time.monotonic()
        stream.close()

    assert len(heard) == 3
    assert missed_after_s(ways, left_at) < MISSED_S


@WAYS
def test_a_stream_that_is_silent_when_its_client_leaves_ends_upstream(ways: Ways, way: str, tls: ssl.SSLContext) -> None:
    with sync_client(ways, way, tls) as client, client.chat.completions.create(stream=True, **play("stalled 3")) as stream:
        heard = [next(stream), next(stream)]
        left_at = time.monotonic()

    assert len(heard) == 2
    assert missed_after_s(ways, left_at) < MISSED_S


@WAYS
async def test_a_task_cancelled_in_a_stream_ends_it_upstream(ways: Ways, way: str, tls: ssl.SSLContext) -> None:
    heard = asyncio.Event()

    async def listen(client: AsyncOpenAI) -> None:
        async for _ in await client.chat.completions.create(stream=True, **play("endless")):
            heard.set()

    async with async_client(ways, way, tls) as client:
        listening = asyncio.create_task(listen(client))
        await asyncio.wait_for(heard.wait(), 5)
        left_at = time.monotonic()
        listening.cancel()
        await asyncio.wait([listening])
        missed_s = await asyncio.to_thread(missed_after_s, ways, left_at)

    assert listening.cancelled()
    assert missed_s < MISSED_S


@WAYS
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_task_cancelled_before_any_reply_ends_the_request_upstream(ways: Ways, way: str, tls: ssl.SSLContext, stream: bool) -> None:
    async with async_client(ways, way, tls) as client:
        asking = asyncio.create_task(client.chat.completions.create(stream=stream, **play("silent")))
        await arrived(ways)
        left_at = time.monotonic()
        asking.cancel()
        await asyncio.wait([asking])
        missed_s = await asyncio.to_thread(missed_after_s, ways, left_at)

    assert asking.cancelled()
    assert missed_s < MISSED_S


@WAYS
def test_a_client_that_times_out_ends_the_request_upstream(ways: Ways, way: str, tls: ssl.SSLContext) -> None:
    with sync_client(ways, way, tls) as client:
        with pytest.raises(APITimeoutError):
            client.chat.completions.create(timeout=0.3, **play("silent"))
        left_at = time.monotonic()

    assert missed_after_s(ways, left_at) < MISSED_S


@WAYS
def test_a_raw_stream_left_early_ends_upstream(ways: Ways, way: str, tls: ssl.SSLContext) -> None:
    with (
        sync_client(ways, way, tls) as client,
        client.chat.completions.with_streaming_response.create(stream=True, **play("endless")) as reply,
    ):
        first = next(reply.iter_lines())
        left_at = time.monotonic()

    assert first == ": OPENAI PROCESSING"
    assert missed_after_s(ways, left_at) < MISSED_S


@WAYS
async def test_a_realtime_session_dropped_without_goodbye_ends_upstream(ways: Ways, way: str, tls: ssl.SSLContext) -> None:
    async with async_client(ways, way, tls) as client:
        session = await client.realtime.connect(model="gpt-realtime").enter()
        created = await session.recv()
        dropped_at = time.monotonic()
        session._connection.transport.abort()
        [arrival] = await asyncio.to_thread(ways.upstream.take)
        missed_s = time.monotonic() - dropped_at

    assert created.type == "session.created"
    assert missed_s < MISSED_S
    assert arrival.close_code is None
