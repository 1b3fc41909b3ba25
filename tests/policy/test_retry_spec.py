from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.core.faults import TRANSIENT
from proxy.policy.retry_spec import RetrySpec
from tests.policy.specs import read


def test_a_wait_that_begins_above_its_bound_is_refused() -> None:
    with pytest.raises(ValidationError, match="`initial` is longer than `max`, which is 1s"):
        RetrySpec.read({"backoff": {"initial": "2s", "max": "1s"}})
    with pytest.raises(ValidationError, match="which is 5s"):
        RetrySpec.read({"backoff": {"initial": "10s"}})


def test_by_default_what_passes_by_itself_is_tried_three_times() -> None:
    spec = RetrySpec.read({})

    assert spec.max_attempts == 3
    assert frozenset(spec.when) == TRANSIENT


def test_a_bound_below_the_first_one_is_the_bound() -> None:
    assert RetrySpec.read({"backoff": {"max": "100ms"}}).backoff.max == 0.1


def test_a_share_alone_is_the_budgets_share() -> None:
    spec = read(RetrySpec, "{max_attempts: 2, retry_budget: 10%}")

    assert (spec.retry_budget.share, spec.retry_budget.at_least) == (0.1, 100)
