"""when -- the faults that a policy acts on: the words of `core.faults.Fault`, one or a list of them.

Stands under the kinds that act on what went wrong: retry, fallback, circuit_breaker, degrade.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from proxy.core.faults import TRANSIENT, Fault
from proxy.policy.spec import OneOrMany

When = Annotated[OneOrMany[Fault], Field(min_length=1)]
FALLBACK_WHEN = TRANSIENT | {Fault.QUOTA}  # another target has another account


def acts_on(when: Iterable[Fault]) -> frozenset[Fault]:
    """The faults that a `when` means: who names `server_error` means every 5xx, 503 and 529 too, which have a word of their own."""
    named = frozenset(when)
    return named | {Fault.OVERLOADED} if Fault.SERVER_ERROR in named else named
