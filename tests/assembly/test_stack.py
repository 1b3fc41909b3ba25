from __future__ import annotations

from proxy.assembly.stack import INNER, INSIDE, KINDS, ORDER, PLACES, STACK
from proxy.policy.kind import Floor


def test_each_layer_has_one_place_and_each_name_one_kind() -> None:
    places = [kind.place for kind in STACK]

    assert len(set(places)) == len(places)
    assert [PLACES[place] for place in places] == list(range(len(places)))
    assert set(KINDS) == {name for name, _ in places} == set(ORDER)
    assert all(KINDS[name] is next(kind for kind in STACK if kind.name == name) for name in KINDS), "of two layers the outer one"
    assert {place for place in places if place in INSIDE} == {kind.place for kind in INNER}
    assert all(floor is Floor.EXCHANGE for _, floor in INSIDE)


def test_floors_stand_in_order() -> None:
    floors = [list(Floor).index(kind.floor) for kind in STACK]

    assert floors == sorted(floors)


def test_no_is_said_before_any_work_and_the_model_is_known_before_its_parameters() -> None:
    assert ORDER["refuse"] < ORDER["rewrite"] < ORDER["params"] < ORDER["instruct"]
