from __future__ import annotations

import asyncio
import socket
import time

import pytest

from proxy.core.virtual import START_S, VirtualLoop, run


def test_hours_pass_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3 * 3600)
        return asyncio.get_running_loop().time()

    begun = time.monotonic()

    assert run(main()) == pytest.approx(START_S + 3 * 3600)
    assert time.monotonic() - begun < 5


def test_timers_fire_in_order_each_at_its_time() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        rung: list[float] = []
        for wait_s in (30, 10, 20, 0.25):
            loop.call_later(wait_s, lambda: rung.append(loop.time() - START_S))
        await asyncio.sleep(31)
        return rung

    assert run(main()) == pytest.approx([0.25, 10, 20, 30])


def test_time_stands_still_while_there_is_work() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(main()) == START_S


def test_a_wait_for_what_never_comes_raises() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="deadlock"):
        run(main())


def test_what_an_async_main_returns_or_raises_comes_out() -> None:
    async def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_sockets_that_are_ready_go_before_time() -> None:
    async def main() -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            loop.call_later(5, lambda: None)
            await loop.sock_sendall(left, b"x")
            return await loop.sock_recv(right, 1), loop.time()

    assert run(main()) == (b"x", START_S)


def test_every_loop_starts_at_the_same_time() -> None:
    first, second = VirtualLoop(), VirtualLoop()
    try:
        assert first.time() == second.time() == START_S
    finally:
        first.close()
        second.close()


def test_what_would_run_in_a_thread_runs_at_once() -> None:
    async def main() -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        value = await asyncio.to_thread(lambda: 3)
        try:
            await loop.run_in_executor(None, int, "x")
        except ValueError as error:
            return value, f"{error} {loop.time() - before}"
        return value, ""

    assert run(main()) == (3, "invalid literal for int() with base 10: 'x' 0.0")


def test_a_loop_that_spins_ends_with_a_word_instead_of_never(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    monkeypatch.setattr("proxy.core.virtual._Selector.turns", 1000)

    with pytest.raises(RuntimeError, match="the loop spins: 1,000 turns, and no time has passed"):
        run(spin())


def test_many_turns_with_time_between_them_are_no_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> int:
        for _ in range(500):
            await asyncio.sleep(0.001)
        return 500

    monkeypatch.setattr("proxy.core.virtual._Selector.turns", 20)

    assert run(main()) == 500
