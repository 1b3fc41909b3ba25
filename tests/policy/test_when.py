from __future__ import annotations

import pytest

from proxy.core.faults import TRANSIENT, Fault
from proxy.policy.problems import PolicyError
from proxy.policy.spec import Spec
from proxy.policy.when import FALLBACK_WHEN, When, acts_on


class WhenSpec(Spec):
    """When."""

    when: When | None = None


@pytest.mark.parametrize(("given", "read"), [("connect", (Fault.CONNECT,)), (["quota", "timeout"], (Fault.QUOTA, Fault.TIMEOUT))])
def test_one_word_or_many(given: object, read: tuple[Fault, ...]) -> None:
    assert WhenSpec.read({"when": [given] if isinstance(given, str) else given}).when == read


@pytest.mark.parametrize("given", [[], ["conect"], ["CONNECT"], 5])
def test_another_word_is_none(given: object) -> None:
    with pytest.raises((PolicyError, ValueError)):
        WhenSpec.read({"when": given})


def test_fallback_also_leaves_an_account_that_is_spent() -> None:
    assert {Fault.QUOTA} == FALLBACK_WHEN - TRANSIENT


def test_who_names_server_errors_means_those_that_have_a_word_of_their_own_too() -> None:
    assert acts_on((Fault.SERVER_ERROR, Fault.CONNECT)) == {Fault.SERVER_ERROR, Fault.OVERLOADED, Fault.CONNECT}
    assert acts_on((Fault.OVERLOADED,)) == {Fault.OVERLOADED}
