from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from proxy.core.slots import Full, Slots
from proxy.core.virtual import run


def test_as_many_as_the_limit_at_once() -> None:
    slots = Slots(2, 0)

    assert [slots.take_now() for _ in range(3)] == [True, True, False]
    slots.give_back()
    assert slots.take_now()


def test_who_waits_is_served_in_order_and_nobody_passes_by() -> None:
    async def main() -> list[int]:
        slots, order = Slots(1, 10), []
        slots.take_now()

        async def one(number: int) -> None:
            await slots.take()
            order.append(number)
            assert not slots.take_now()
            await asyncio.sleep(1)
            slots.give_back()

        tasks = [asyncio.get_running_loop().create_task(one(i)) for i in range(4)]
        await asyncio.sleep(0)
        slots.give_back()
        assert not slots.take_now(), "somebody who came later was quicker"
        await asyncio.gather(*tasks)
        assert (slots.taken, slots.queued) == (0, 0)
        return order

    assert run(main()) == [0, 1, 2, 3]


def test_a_full_queue_says_so_at_once() -> None:
    async def main() -> None:
        slots = Slots(1, 1)
        slots.take_now()
        waiting = asyncio.get_running_loop().create_task(slots.take())
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await slots.take()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting

        assert (slots.taken, slots.queued) == (1, 0)

    run(main())


def test_a_higher_limit_lets_in_who_waits_and_a_lower_one_takes_nothing_away() -> None:
    async def main() -> None:
        slots = Slots(1, 5)
        slots.take_now()
        waiting = [asyncio.get_running_loop().create_task(slots.take()) for _ in range(3)]
        await asyncio.sleep(0)
        slots.resize(3)
        await asyncio.sleep(0)

        assert (slots.taken, slots.queued) == (3, 1)
        slots.resize(1)
        slots.give_back()
        slots.give_back()
        assert (slots.taken, slots.queued) == (1, 1)
        slots.give_back()
        await asyncio.gather(*waiting)
        assert (slots.taken, slots.queued) == (1, 0)

    run(main())


def test_who_leaves_at_the_moment_of_being_served_passes_it_on() -> None:
    async def main() -> None:
        slots = Slots(1, 5)
        slots.take_now()
        first, second = (asyncio.get_running_loop().create_task(slots.take()) for _ in range(2))
        await asyncio.sleep(0)
        slots.give_back()
        first.cancel()
        await asyncio.wait((first, second))

        assert first.cancelled()
        assert second.exception() is None
        assert (slots.taken, slots.queued) == (1, 0)

    run(main())


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_no_slot_is_lost_or_made(seed: int) -> None:
    draw = random.Random(seed)

    async def main() -> None:
        slots = Slots(draw.randint(1, 4), draw.randint(0, 6))
        most = slots.limit

        async def one() -> None:
            with suppress(Full):
                await slots.take()
                try:
                    assert slots.taken <= most
                    await asyncio.sleep(draw.random())
                finally:
                    slots.give_back()

        tasks = []
        for _ in range(200):
            tasks.append(asyncio.get_running_loop().create_task(one()))
            await asyncio.sleep(draw.choice([0, 0, draw.random() / 5]))
            if draw.random() < 0.3:
                draw.choice(tasks).cancel()
            if draw.random() < 0.1:
                limit = draw.randint(1, 4)
                most = max(most, limit)
                slots.resize(limit)
        done, _ = await asyncio.wait(tasks)

        assert not [task for task in done if not task.cancelled() and task.exception()]
        assert (slots.taken, slots.queued) == (0, 0)

    run(main())
