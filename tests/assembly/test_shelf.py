from __future__ import annotations

import asyncio
from typing import Any

from proxy.assembly.rules import Layered, Part, Rule
from proxy.assembly.shelf import Shelf
from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.policy.kind import Floor, Kind, Shown, Site
from proxy.policy.spec import Spec
from tests.assembly.engines import Condition


class StateSpec(Spec):
    """A number."""

    size: int = 1


class State:
    """A layer that has state, and is false, as an empty container is."""

    def __init__(self, spec: StateSpec, site: Site) -> None:
        self.site = site
        self.size = spec.size

    def __len__(self) -> int:
        return 0

    async def __call__(self, call: Call, inner: Service) -> Reply:
        return await inner(call)


KIND = Kind("state", StateSpec, Floor.CALL, enforce=State, shadow=lambda spec, site: lambda call: None)
BLIND = Kind("blind", StateSpec, Floor.CALL, enforce=State, shadow=None)


def layered(size: int = 1, policy: str = "p", fields: tuple[str, ...] = ("",), kind: Kind = KIND) -> Layered:
    part = Part.of(kind, StateSpec.read({"size": size}))
    return Layered(Rule(0, policy, False, Condition(), (part,)), part, frozenset(fields))


def shelf(older: Shelf | None = None) -> Shelf:
    return Shelf(LoopClock(asyncio.get_running_loop()), {KIND.place: 0, BLIND.place: 1}, older)


def live(*each: Layered) -> frozenset[tuple[str, str]]:
    return frozenset((one.rule.name, one.part.digest) for one in each)


def reloaded(old: Shelf, *each: Layered) -> Shelf:
    new = shelf(old)
    new.keep_only(live(*each))
    return new


async def test_a_layer_is_built_once_with_what_it_won() -> None:
    it = shelf()
    first: Any = it.layer(layered(fields=("a", "b")))

    assert it.layer(layered(fields=("b", "a"))) is first
    assert (first.site.policy, first.site.fields) == ("p", {"a", "b"})


async def test_other_policies_specs_and_fields_have_layers_of_their_own() -> None:
    it = shelf()
    layers = [it.layer(layered(*given)) for given in ((1, "p"), (2, "p"), (1, "q"), (1, "p", ("x",)))]

    assert len({id(layer) for layer in layers}) == 4


async def test_a_layer_keeps_its_state_over_a_reload_that_leaves_its_spec() -> None:
    old = shelf()
    layer = old.layer(layered())
    new = reloaded(old, layered(), layered(7, "other"))

    assert new.layer(layered()) is layer


async def test_a_layer_keeps_its_state_over_many_reloads_in_which_no_call_used_it() -> None:
    old = shelf()
    layer = old.layer(layered())
    for _ in range(5):
        old = reloaded(old, layered())

    assert old.layer(layered()) is layer


async def test_a_changed_spec_has_a_new_layer_and_the_old_one_is_forgotten() -> None:
    old = shelf()
    layer = old.layer(layered(1))
    new = reloaded(old, layered(2))

    assert new.layer(layered(2)) is not layer
    assert reloaded(new, layered(1)).layer(layered(1)) is not layer


async def test_calls_in_flight_share_the_state_of_the_generation_after() -> None:
    old = shelf()
    new = reloaded(old, layered())

    assert old.layer(layered()) is new.layer(layered())


async def test_a_kind_that_cannot_be_observed_has_no_observer() -> None:
    it = shelf()

    assert it.observer("p", layered(kind=BLIND).part) is None
    assert it.observer("p", layered().part) is not None


async def test_the_order_is_the_stacks() -> None:
    assert shelf().order(KIND) < shelf().order(BLIND)


class Telling(State):
    """A layer that has something to tell."""

    def shown(self) -> list[Shown]:
        return [Shown("state", {"policy": self.site.policy}, {"size": self.size})]


async def test_what_layers_tell_is_told_of_those_that_are_in_use() -> None:
    kind = Kind("telling", StateSpec, Floor.EXCHANGE, enforce=Telling, shadow=None)
    one, two = layered(1, "a", kind=kind), layered(2, "b", kind=kind)
    old = shelf()
    old.layer(one)
    old.layer(two)
    old.layer(layered())
    before = [shown.labels["policy"] for shown in old.shown()]

    assert before == ["a", "b"]
    assert [shown.what for shown in reloaded(old, two).shown()] == [{"size": 2}]
