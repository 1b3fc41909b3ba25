from __future__ import annotations

import dataclasses

import pytest

from proxy.core.body import Body
from proxy.core.call import EXCHANGES, Allowance, Call, Target
from proxy.core.faults import Failure, Fault
from proxy.core.journal import Journal
from proxy.core.request import Framing, Request


def a_call() -> Call:
    request = Request(b"POST", b"/v1/chat/completions", 1, [], Framing.NONE, 0, Body.of())
    return Call("c1", "chat", request, Target("openai"), Journal(lambda: 0.0), Allowance())


def test_an_allowance_is_spent_one_by_one_and_then_nothing_is_sent() -> None:
    allowance = Allowance(2)
    allowance.spend()
    allowance.spend()
    with pytest.raises(Failure) as raised:
        allowance.spend()

    assert raised.value.fault is Fault.BREAKER_OPEN
    assert "2 were made" in raised.value.detail
    assert (allowance.left, allowance.spent) == (0, 2)


@pytest.mark.parametrize(
    ("left", "tries", "then"), [(6, 0, 6), (6, 1, 3), (6, 2, 2), (6, 99, 2), (12, 2, 4), (1, 1, 1), (2, 3, 2), (0, 1, 0)]
)
def test_an_app_that_has_tried_before_has_fewer_exchanges_and_one_to_fall_back(left: int, tries: int, then: int) -> None:
    allowance = Allowance(left)
    allowance.shrink(tries)

    assert (allowance.left, allowance.spent) == (then, 0)


def test_a_call_may_make_six_exchanges_unless_told_otherwise() -> None:
    assert Allowance().left == EXCHANGES == 6


def test_a_derived_call_has_every_field_of_its_original() -> None:
    call = a_call()
    for name in Call.__slots__:
        setattr(call, name, object())
    derived = call.derive()

    assert derived is not call
    assert [name for name in Call.__slots__ if getattr(derived, name) is not getattr(call, name)] == []


@pytest.mark.parametrize("name", Call.__slots__)
def test_a_change_is_in_the_derived_call_alone(name: str) -> None:
    call = a_call()
    before = getattr(call, name)
    derived = call.derive(**{name: "changed"})

    assert getattr(derived, name) == "changed"
    assert getattr(call, name) is before


def test_a_field_that_a_call_does_not_have_is_refused() -> None:
    with pytest.raises(AttributeError):
        a_call().derive(modle="gpt-4o")


def test_what_is_spent_by_a_derived_call_is_spent_by_all() -> None:
    call = a_call()
    call.derive(target=Target("groq")).allowance.spend()

    assert call.allowance.spent == 1


def test_targets_are_values() -> None:
    assert Target("openai", "gpt-4o") == Target("openai", "gpt-4o")
    assert len({Target("openai"), Target("openai", None), Target("groq")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Target("openai").model = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("deadline", "answer_by", "latest"), [(None, None, None), (5.0, None, 5.0), (None, 4.0, 4.0), (5.0, 4.0, 4.0), (3.0, 4.0, 3.0)]
)
def test_no_wait_passes_the_sooner_limit(deadline: float | None, answer_by: float | None, latest: float | None) -> None:
    derived = a_call().derive(deadline=deadline, answer_by=answer_by)

    assert derived.latest == latest
    assert derived.derive().latest == latest
