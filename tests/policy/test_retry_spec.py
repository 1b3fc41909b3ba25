from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.core.faults import TRANSIENT
from proxy.policy.retry_spec import RetrySpec


def test_a_wait_that_begins_above_its_bound_is_refused() -> None:
    with pytest.raises(ValidationError, match="`initial` is longer than `max`"):
        RetrySpec.read({"backoff": {"initial": "2s", "max": "1s"}})


def test_by_default_what_passes_by_itself_is_tried_three_times() -> None:
    spec = RetrySpec.read({})

    assert spec.max_attempts == 3
    assert frozenset(spec.when) == TRANSIENT
