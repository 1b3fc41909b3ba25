from __future__ import annotations

import random

import pytest

from proxy.core.circuit import WAITING, Circuit, Limits, Pass, Rate, State


def circuit(consecutive: int | None = 3, rate: Rate | None = None, probes: int = 1, alone_s: float = 1.0) -> Circuit:
    return Circuit(Limits(consecutive, rate, 30.0, 100.0, probes, alone_s))


def entered(it: Circuit, now: float) -> Pass:
    leave = it.enter(now)
    assert leave is not None
    return leave


def fails(it: Circuit, now: float, times: int = 1) -> None:
    for _ in range(times):
        it.failure(entered(it, now), now)


def opened(now: float = 0.0, **more: int) -> Circuit:
    it = circuit(**more)
    fails(it, now, 3)
    assert it.state is State.OPEN
    return it


def test_failures_in_a_row_open_it() -> None:
    it = circuit(3)
    fails(it, 0.0, 2)
    before = it.state
    fails(it, 0.0)

    assert before is State.CLOSED
    assert it.state is State.OPEN
    assert it.enter(29.9) is None


def test_a_success_between_them_begins_the_row_anew() -> None:
    it = circuit(3)
    fails(it, 0.0, 2)
    it.success(entered(it, 0.0), 0.0)
    fails(it, 0.0, 2)

    assert it.state is State.CLOSED


def test_a_share_of_enough_calls_opens_it() -> None:
    it = circuit(None, Rate(0.5, 4, 10.0))
    for now in (0.0, 1.0):
        it.success(entered(it, now), now)
        fails(it, now)

    assert it.state is State.OPEN


def test_a_share_of_too_few_calls_does_not() -> None:
    it = circuit(None, Rate(0.5, 4, 10.0))
    fails(it, 0.0, 3)

    assert it.state is State.CLOSED


def test_a_share_counts_only_its_window() -> None:
    it = circuit(None, Rate(0.5, 4, 10.0))
    fails(it, 0.0, 3)
    fails(it, 12.0)

    assert it.state is State.CLOSED


def test_after_its_time_one_probe_may_pass_and_closes_it() -> None:
    it = opened()
    probe = entered(it, 30.0)

    assert it.state is State.HALF_OPEN
    assert it.enter(30.0) is None
    assert it.success(probe, 31.0)
    assert it.state is State.CLOSED
    assert it.in_a_row == 0


def test_as_many_probes_as_named_run_at_once_and_all_must_go_well() -> None:
    it = opened(probes=2)
    first, second = entered(it, 30.0), entered(it, 30.0)
    assert it.enter(30.0) is None

    assert not it.success(first, 31.0)
    assert it.state is State.HALF_OPEN
    assert it.success(second, 31.0)
    assert it.state is State.CLOSED


def test_each_failed_probe_doubles_the_time_up_to_its_bound() -> None:
    it = opened()
    times = []
    now = 30.0
    for _ in range(4):
        fails(it, now)
        times.append(it.until - now)
        now = it.until

    assert times == [60.0, 100.0, 100.0, 100.0]


def test_a_circuit_that_closed_begins_with_the_short_time_again() -> None:
    it = opened()
    fails(it, 30.0)
    it.success(entered(it, 90.0), 90.0)
    fails(it, 100.0, 3)

    assert it.until == 130.0


def test_a_probe_that_says_nothing_gives_its_place_to_another() -> None:
    it = opened()
    it.nothing(entered(it, 30.0))

    assert it.enter(30.0) is not None


def test_a_probe_that_hangs_gives_its_place_away_after_a_while() -> None:
    it = opened()
    hanging = entered(it, 30.0)
    assert it.enter(59.9) is None
    second = entered(it, 60.0)

    assert it.success(second, 61.0)
    assert not it.failure(hanging, 62.0)
    assert it.state is State.CLOSED


def test_what_began_before_a_change_says_nothing_about_the_state_after_it() -> None:
    it = circuit(3)
    late = [entered(it, 0.0) for _ in range(5)]
    fails(it, 0.0, 3)
    for leave in late[:3]:
        it.failure(leave, 10.0)
    it.success(late[3], 10.0)

    assert it.until == 30.0
    assert it.state is State.OPEN


def test_a_pass_is_counted_once() -> None:
    it = circuit(3)
    leave = entered(it, 0.0)
    for _ in range(5):
        it.failure(leave, 0.0)

    assert it.state is State.CLOSED
    assert it.in_a_row == 1


def test_a_lone_target_is_asked_at_its_pace() -> None:
    it = opened()

    assert it.turn(0.0) == 0.0
    assert [it.turn(0.5) for _ in range(WAITING)] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert it.turn(0.5) is None
    assert it.turn(60.0) == 0.0


def test_a_turn_that_comes_too_late_is_not_taken() -> None:
    it = opened()
    it.turn(0.0)

    assert it.turn(0.0, within_s=1.0) is None
    assert it.turn(0.0, within_s=1.1) == 1.0


def test_a_good_try_of_a_lone_target_closes_it_and_a_bad_one_leaves_its_time() -> None:
    it = opened()
    it.failure(it.alone(1.0), 1.0)
    assert (it.state, it.until) == (State.OPEN, 30.0)

    assert it.success(it.alone(2.0), 2.0)
    assert it.state is State.CLOSED


def test_a_lone_target_that_closed_while_somebody_waited_is_asked_as_usual() -> None:
    it = circuit(3)

    assert it.alone(0.0).lease is None


def test_who_is_turned_away_is_told_when_to_come_again() -> None:
    it = opened()

    assert it.retry_after(10.0, alone=False) == 20.0
    assert it.retry_after(10.0, alone=True) == 1.0


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_it_is_asked_again_and_closes_when_the_target_is_well(seed: int) -> None:
    draw = random.Random(seed)
    it = circuit(draw.choice([None, 1, 4]), draw.choice([None, Rate(0.5, 5, 10.0)]) or Rate(0.3, 3, 5.0), draw.randint(1, 3))
    now, running = 0.0, []
    for _ in range(2000):
        now += draw.random()
        leave = it.enter(now)
        if leave is not None:
            running.append(leave)
        if running and draw.random() < 0.7:
            how = draw.choice([it.success, it.failure, it.failure, lambda leave, now: it.nothing(leave)])
            how(running.pop(draw.randrange(len(running))), now)
        assert it.until - now < 100.001
    now = max(now, it.until) + 200.0
    for _ in range(10):
        now += 31.0  # a lease runs out
        leave = it.enter(now)
        if leave is not None:
            it.success(leave, now)

    assert it.state is State.CLOSED
