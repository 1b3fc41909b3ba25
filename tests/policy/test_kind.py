from __future__ import annotations

import dataclasses

import pytest

from proxy.assembly.stack import STACK
from proxy.core.call import Call
from proxy.core.reply import Reply
from proxy.core.service import Layer, Service
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.spec import Spec


class ASpec(Spec):
    """Nothing to set."""


def build(spec: ASpec, site: Site) -> Layer:
    async def layer(call: Call, inner: Service) -> Reply:
        return await inner(call)

    return layer


def test_a_kind_acts_as_a_whole_and_reads_no_body_unless_it_says_so() -> None:
    kind = Kind("a", ASpec, Floor.CALL, build, None)

    assert kind.fields(ASpec()) == frozenset(("",))
    assert kind.reads_body(ASpec()) is False
    assert kind.shadow is None


def test_a_kind_cannot_be_changed() -> None:
    kind = Kind("a", ASpec, Floor.CALL, build, None)

    with pytest.raises(dataclasses.FrozenInstanceError):
        kind.name = "b"  # type: ignore[misc]


def test_the_floors_are_how_often_a_layer_runs() -> None:
    assert [floor.value for floor in Floor] == ["call", "plan", "exchange"]


def test_the_stack_names_each_kind_once_and_its_floors_go_inward() -> None:
    names = [kind.place for kind in STACK]
    floors = [list(Floor).index(kind.floor) for kind in STACK]

    assert len(set(names)) == len(names)
    assert floors == sorted(floors)


@pytest.mark.parametrize("kind", STACK, ids=lambda kind: kind.name)
def test_the_name_is_the_module(kind: Kind) -> None:
    assert kind.enforce.__module__ == f"proxy.kinds.{kind.name}"
    assert kind.spec.__doc__


def test_the_second_layer_of_a_kind_may_be_for_other_specs() -> None:
    kind = Kind("a", ASpec, Floor.CALL, build, None)

    assert kind.acts(ASpec())
    assert kind.at(Floor.EXCHANGE, build).acts(ASpec())
    assert not kind.at(Floor.EXCHANGE, build, acts=lambda spec: False).acts(ASpec())
