"""Three small kinds: what the policy language may be filled with, without the product's own kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field, model_validator

from proxy.core.faults import Fault
from proxy.policy.problems import Path
from proxy.policy.spec import Bytes, Json, OneOrMany, Percent, Seconds, Spec, Wrong


class RewriteSpec(Spec):
    """Ask another model or upstream."""

    model: str | None = Field(None, description="The model to ask.")
    upstream: str | None = Field(None, description="The upstream to ask.")

    @model_validator(mode="after")
    def _says_something(self) -> RewriteSpec:
        if self.model is None and self.upstream is None:
            raise Wrong("needs `model` or `upstream`", got=False)
        return self

    def upstreams(self) -> Iterable[tuple[Path, str]]:
        if self.upstream is not None:
            yield ("upstream",), self.upstream


class RetrySpec(Spec):
    """Ask the same target again."""

    max_attempts: int = Field(3, ge=1, le=10, description="Tries in all.")
    when: tuple[Fault, ...] = Field((Fault.CONNECT,), description="Faults worth another try.")
    wait: Seconds = Field(1.0, gt=0, le=3600, description="Between two tries.")


class EntrySpec(Spec):
    """One target of a fallback."""

    model: str | None = Field(None, description="Its model.")
    upstream: str | None = Field(None, description="Its upstream.")


class FallbackSpec(Spec):
    """Ask other targets, in order."""

    shorthand: ClassVar[str | None] = "targets"
    targets: OneOrMany[EntrySpec] = Field(description="The targets.")

    def upstreams(self) -> Iterable[tuple[Path, str]]:
        for i, entry in enumerate(self.targets):
            if entry.upstream is not None:
                yield ("targets", i, "upstream"), entry.upstream


class HoldSpec(Spec):
    """Hold something."""

    size: Bytes = Field(1024, le=1024 * 1024, description="At most this much.")
    share: Percent = Field(0.01, description="Of how many calls.")
    body: dict[str, Json] = Field(default_factory=dict, description="Set in the body.")


KINDS: dict[str, type[Spec]] = {"rewrite": RewriteSpec, "retry": RetrySpec, "fallback": FallbackSpec, "hold": HoldSpec}
