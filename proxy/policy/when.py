"""when -- the faults that a policy acts on: the words of `core.faults.Fault`, one or a list of them.

Stands under the kinds that act on what went wrong: retry, fallback, circuit_breaker, degrade.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.core.faults import TRANSIENT, Fault
from proxy.policy.spec import OneOrMany

When = Annotated[OneOrMany[Fault], Field(min_length=1)]
FALLBACK_WHEN = TRANSIENT | {Fault.QUOTA}  # another target has another account
