from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from proxy.policy.kind import Floor, Kind
from tests.policy.kinds_for_tests import RetrySpec


def layer(spec: Any, site: Any) -> Any:
    return spec, site


def test_a_kind_wins_or_loses_as_a_whole_and_needs_no_body_unless_it_says_so() -> None:
    kind = Kind("retry", RetrySpec, Floor.PLAN, enforce=layer, shadow=None)
    spec = RetrySpec.read({})

    assert kind.fields(spec) == frozenset(("",))
    assert kind.reads_body(spec) is False


def test_a_kind_does_not_change() -> None:
    kind = Kind("retry", RetrySpec, Floor.PLAN, enforce=layer, shadow=None)
    with pytest.raises(FrozenInstanceError):
        kind.name = "other"  # type: ignore[misc]
