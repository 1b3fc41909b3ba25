from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from proxy.core.tasks import spawn


async def test_a_task_runs_beside_its_caller_under_its_name() -> None:
    async def work() -> int:
        await asyncio.sleep(1)
        return 7

    task = spawn(work(), "counting")

    assert not task.done()
    assert task.get_name() == "counting"
    assert await task == 7


async def test_a_task_that_nobody_holds_is_kept_alive() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(1)
        done.append("done")

    spawn(work(), "unheld")
    gc.collect()
    await asyncio.sleep(2)

    assert done == ["done"]


async def test_a_crash_is_logged_with_the_tasks_name(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError

    spawn(work(), "doomed")
    with caplog.at_level(logging.ERROR, "chassis"):
        await asyncio.sleep(1)

    assert [record.getMessage() for record in caplog.records] == ["task doomed failed"]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


async def test_a_cancelled_task_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    task = spawn(asyncio.sleep(100), "cancelled")
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1)

    assert task.cancelled()
    assert caplog.records == []
