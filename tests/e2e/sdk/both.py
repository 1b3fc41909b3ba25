"""One scenario for both clients of openai-python: the synchronous and the asynchronous one are called alike."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


async def got(value: Any) -> Any:
    """What a call gives, waited for where the client is asynchronous."""
    return await value if inspect.isawaitable(value) else value


async def each(items: Any) -> AsyncIterator[Any]:
    """All items of a stream or of pages."""
    items = await got(items)
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


@asynccontextmanager
async def within(manager: Any) -> AsyncIterator[Any]:
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


def run_plainly(scenario: Coroutine[Any, Any, Any]) -> Any:
    """Run a scenario that never waits, as all do over the synchronous client: no event loop is there, as in a synchronous app."""
    try:
        scenario.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a scenario over the synchronous client waited for an event loop")
