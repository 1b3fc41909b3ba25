from __future__ import annotations

from proxy.assembly.stack import KINDS, ORDER, STACK
from proxy.policy.kind import Floor


def test_each_kind_stands_once_under_its_own_name() -> None:
    names = [kind.name for kind in STACK]

    assert len(set(names)) == len(names)
    assert list(KINDS) == names
    assert [ORDER[name] for name in names] == list(range(len(names)))


def test_floors_stand_in_order() -> None:
    floors = [list(Floor).index(kind.floor) for kind in STACK]

    assert floors == sorted(floors)


def test_no_is_said_before_any_work_and_the_model_is_known_before_its_parameters() -> None:
    assert ORDER["refuse"] < ORDER["rewrite"] < ORDER["params"] < ORDER["instruct"]
