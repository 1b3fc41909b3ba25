from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.policy.timeouts_spec import CONNECT_S, TOTAL_S, TimeoutsSpec, TriesSpec


def test_a_target_has_limits_of_its_tries_and_no_total() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        TriesSpec.read({"total": "60s"})

    assert TriesSpec.read({"per_try": "60s"}).per_try == 60
    assert TimeoutsSpec.read({"total": "60s", "per_try": "20s"}).total == 60


def test_what_is_left_out_is_generous() -> None:
    spec = TimeoutsSpec.read({})

    assert (spec.connect, spec.first_token, spec.per_try, spec.total, spec.min_rate) == (CONNECT_S, None, None, TOTAL_S, None)
