from __future__ import annotations

import random

from proxy.core.recent import EVERY, KEPT, LEAST, Recent


def test_too_few_say_nothing() -> None:
    recent = Recent(0.95)
    for _ in range(LEAST - 1):
        recent.add(1.0)
    before = recent.value
    recent.add(1.0)

    assert (before, recent.value) == (None, 1.0)


def test_it_is_the_quantile_of_the_latest() -> None:
    recent, draw = Recent(0.95), random.Random(1)
    for _ in range(KEPT * 4):
        recent.add(draw.random())

    assert recent.value is not None
    assert 0.9 < recent.value < 1.0


def test_it_follows_when_things_change() -> None:
    recent = Recent(0.5)
    for _ in range(KEPT):
        recent.add(1.0)
    for _ in range(KEPT // 2 + EVERY):
        recent.add(9.0)

    assert recent.value == 9.0


def test_the_largest_is_the_last_resort() -> None:
    recent = Recent(0.99)
    for value in range(LEAST):
        recent.add(float(value))

    assert recent.value == LEAST - 1
