"""retry_spec -- what YAML may say about trying again.

Stands under the kinds that do: `retry`, and a target of `fallback` that has tries of its own.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field, model_validator

from proxy.core.faults import TRANSIENT, Fault
from proxy.policy.spec import Percent, Seconds, Spec, Wrong
from proxy.policy.units import duration_text
from proxy.policy.when import When


class BackoffSpec(Spec):
    """Waits between tries: drawn from nothing to a bound that grows from try to try (full jitter)."""

    initial: Seconds = Field(0.2, ge=0.001, le=60.0, description="The bound of the first wait.")
    max: Seconds = Field(
        5.0, ge=0.001, le=600.0, description="The bound of every wait. A `Retry-After` above it ends the tries of the target."
    )
    multiplier: float = Field(2.0, ge=1.0, le=10.0, description="By which the bound grows.")

    @model_validator(mode="after")
    def _grows(self) -> BackoffSpec:
        if self.initial > self.max and "initial" in self.model_fields_set:
            raise Wrong(f"`initial` is longer than `max`, which is {duration_text(self.max)}", got=False)
        return self


class RetryBudgetSpec(Spec):
    """Against storms: when everything fails, retries stay a share of the traffic. A share alone is `share`."""

    shorthand: ClassVar[str | None] = "share"
    share: Percent = Field(0.2, description="Of the calls to a target, so many may be followed by one more try.")
    at_least: int = Field(
        100, ge=0, le=1_000_000, description="So many retries are always allowed in `over`: a quiet service has no share to speak of."
    )
    over: Seconds = Field(10.0, ge=1.0, le=3600.0, description="The sliding window in which both are counted.")


class RetrySpec(Spec):
    """Ask the same target again. A number alone is `max_attempts`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [3, {"max_attempts": 3, "when": ["connect", "timeout"], "backoff": {"initial": "200ms", "max": "5s"}}]
        }
    )
    shorthand: ClassVar[str | None] = "max_attempts"
    max_attempts: int = Field(
        3, ge=1, le=10, description="Tries of the call's first target, the first included; `1` tries once, and tells the SDK not to either."
    )
    when: When = Field(
        tuple(fault for fault in Fault if fault in TRANSIENT), description="Faults worth another try.", examples=[["connect", "timeout"]]
    )
    backoff: BackoffSpec = Field(
        default_factory=lambda: BackoffSpec.read({}), description="Waits between tries; a `Retry-After` of the upstream wins."
    )
    retry_budget: RetryBudgetSpec = Field(
        default_factory=lambda: RetryBudgetSpec.read({}), description="How many retries the traffic may have."
    )
