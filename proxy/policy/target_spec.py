"""target_spec -- where else a call may be asked: a model, an upstream, or both.

Stands under the kinds that send a call to more than one target at once.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field, model_validator

from proxy.core.call import Target
from proxy.policy.spec import Spec, Wrong


class TargetSpec(Spec):
    """Where to ask. A text alone is a model at the same upstream."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "anyOf": [{"required": ["model"]}, {"required": ["upstream"]}]})
    shorthand: ClassVar[str | None] = "model"
    model: str | None = Field(None, min_length=1, max_length=256, description="The model to ask for; left out: the one asked anyway.")
    upstream: str | None = Field(None, description="The upstream to ask, one of `upstreams`; left out: where the call goes anyway.")

    @model_validator(mode="after")
    def _says_something(self) -> TargetSpec:
        if self.model is None and self.upstream is None:
            raise Wrong("needs `model` or `upstream`", got=False)
        return self

    def of(self, target: Target) -> Target:
        """The target that it is for a call that goes to `target`."""
        return Target(self.upstream or target.upstream, self.model or target.model)
