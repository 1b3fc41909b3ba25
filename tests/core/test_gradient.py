from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from proxy.core.gradient import LEAST, STALE, Gradient
from proxy.core.slots import Slots
from proxy.core.virtual import run


@dataclass
class Server:
    """An upstream that works on so many at once, and lets the others wait."""

    workers: int
    work_s: float
    draw: random.Random
    _free: list[float] = field(default_factory=list)

    async def ask(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._free = sorted(at for at in self._free if at > now)
        begins = self._free[-self.workers] if len(self._free) >= self.workers else now
        ends = begins + self.work_s * self.draw.uniform(0.9, 1.1)
        self._free.append(ends)
        await asyncio.sleep(ends - now)


@dataclass
class Seen:
    """What a while of full load came to."""

    limits: list[int]
    done: int
    latency_s: float


async def loaded(gradient: Gradient, slots: Slots, server: Server, for_s: float, clients: int = 80) -> Seen:
    """So many clients, each of which asks again at once."""
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    limits: list[int] = []
    latencies: list[float] = []

    async def client() -> None:
        while loop.time() < until:
            await slots.take()
            began = loop.time()
            await server.ask()
            took = loop.time() - began
            latencies.append(took)
            if gradient.heard(loop.time(), took, False, slots.taken):
                limits.append(gradient.limit)
                slots.resize(gradient.limit)
            slots.give_back()

    await asyncio.gather(*(client() for _ in range(clients)))
    late = latencies[len(latencies) // 2 :]
    return Seen(limits[len(limits) // 2 :], len(latencies), sum(late) / len(late))


def made(least: int = 2, most: int = 200, start: int = 5) -> tuple[Gradient, Slots]:
    gradient = Gradient(least, most, start, 1.5)
    return gradient, Slots(gradient.limit, 1000)


def test_it_finds_what_the_upstream_takes_and_stays_there() -> None:
    async def main() -> Seen:
        return await loaded(*made(), Server(20, 0.5, random.Random(1)), 50.0)

    seen = run(main())

    assert sorted(seen.limits)[3] >= 20, "it keeps the upstream busy, but for the two windows of a new measure"
    assert max(seen.limits) <= 45, "it does not drown it"
    assert seen.latency_s < 1.0, "half of which is work"
    assert seen.done > 0.8 * 50.0 / 0.5 * 20


def test_it_comes_down_when_the_upstream_gets_weaker_and_up_again_when_it_is_well() -> None:
    async def main() -> list[Seen]:
        gradient, slots = made()
        draw = random.Random(2)
        return [await loaded(gradient, slots, Server(workers, 0.2, draw), 40.0) for workers in (30, 6, 30)]

    strong, weak, again = run(main())

    assert min(strong.limits) >= 30
    assert max(weak.limits) <= 20
    assert min(again.limits) >= 30


def test_an_upstream_that_has_become_slow_is_not_taken_for_overloaded_for_ever() -> None:
    async def main() -> list[Seen]:
        gradient, slots = made()
        draw = random.Random(3)
        await loaded(gradient, slots, Server(30, 0.1, draw), 30.0)
        slow = Server(30, 1.0, draw)
        return [await loaded(gradient, slots, slow, 2.5 * STALE) for _ in range(2)]

    _, later = run(main())

    assert sum(later.limits) / len(later.limits) >= 25


def test_a_long_overload_does_not_become_the_norm() -> None:
    async def main() -> Seen:
        gradient, slots = made()
        return await loaded(gradient, slots, Server(10, 0.2, random.Random(4)), 10 * STALE)

    seen = run(main())

    assert max(seen.limits) <= 30
    assert seen.latency_s < 0.6


@pytest.mark.parametrize("seed", range(20))
def test_it_never_leaves_its_bounds(seed: int) -> None:
    draw = random.Random(seed)
    gradient = Gradient(3, 40, draw.randint(1, 100), 1.5)
    now = 100.0
    for _ in range(3000):
        now += draw.expovariate(50)
        gradient.heard(now, draw.choice([0.0, 0.01, 1.0, 100.0]) * draw.random(), draw.random() < 0.3, draw.randint(0, 60))

        assert 3 <= gradient.limit <= 40


def test_calls_that_are_turned_away_lower_it() -> None:
    gradient = Gradient(1, 100, 50, 1.5)
    for at in range(LEAST * 4):
        gradient.heard(100.0 + at * 0.2, 0.1, at % 2 == 0, 50)

    assert gradient.limit < 45


def test_it_does_not_grow_without_having_been_put_to_the_test() -> None:
    gradient = Gradient(1, 100, 20, 1.5)
    for at in range(500):
        gradient.heard(100.0 + at * 0.1, 0.1, False, 2)

    assert gradient.limit == 20
    assert gradient.best_s == 0.1
