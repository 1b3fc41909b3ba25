"""document_spec -- the models of a whole policy file. What may stand under `apply` is passed in: this floor knows no kinds.

Stands over the models of its parts; the JSON schema of the policy language is the schema of `document_model(kinds)`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, create_model, model_validator

from proxy.policy.match_spec import MatchSpec
from proxy.policy.spec import Model, Spec, Wrong
from proxy.policy.units import Form
from proxy.policy.upstreams import Name, UpstreamSpec

VERSION = 1


def _version(value: int) -> int:
    if value != VERSION:
        raise Wrong(f"must be {VERSION}, the only version that this program reads")
    return value


Version = Annotated[int, AfterValidator(_version), Field(json_schema_extra={"const": VERSION})]
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}").fullmatch


def _label(value: str) -> str:
    if not _LABEL(value):
        raise Wrong("a label's name is 1 to 63 letters, digits, '_', '-' and '.', the first a letter or '_'")
    return value


Label = Annotated[
    str,
    AfterValidator(_label),
    Form("label", "^[A-Za-z_][A-Za-z0-9_.-]{0,62}$", "1 to 63 letters, digits, '_', '-' and '.', the first a letter or '_'"),
]
LABEL_CHARS = 128  # of a value: it stands in every span and line of the policy's calls


def _label_value(value: str) -> str:
    if len(value) > LABEL_CHARS:
        raise Wrong(f"may have at most {LABEL_CHARS} characters", got=False)
    if not value.isprintable():
        raise Wrong("must be one line of printable text", got=False)
    return value


LabelValue = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(_label_value),
    Form("text", rf"^[^\r\n\u0000]{{1,{LABEL_CHARS}}}$", f"one line of text, 1 to {LABEL_CHARS} characters"),
]


class LimitsSpec(Spec):
    """Bounds on every call."""

    exchanges: int = Field(
        6, ge=1, le=100, description="Upstream exchanges that one call may use, over retries, fallbacks, hedges and re-asks together."
    )


class ApplySpec(Spec):
    """What to do with a call that matches, by kind."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _does_something(self) -> ApplySpec:
        if not self.model_fields_set:
            raise Wrong("must name at least one thing to do", got=False)
        return self

    def kinds(self) -> dict[str, Spec]:
        """What is set, in the order of the kinds."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class PolicySpec(Spec):
    """One policy: for which calls, and what then."""

    name: Name = Field(description="Unique in the folder; in reply headers, traces and metrics.", examples=["short-prompts-go-small"])
    mode: Literal["enforce", "shadow", "off"] = Field(
        "enforce", description="`enforce`: act; `shadow`: decide and report, change nothing; `off`: check the file only."
    )
    match: MatchSpec = Field(default_factory=lambda: MatchSpec.read({}), description="For which calls; without it, for every one.")
    labels: dict[Label, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Words of your own, in spans, metrics and log lines."
    )
    apply: ApplySpec = Field(description="What to do, by kind.")


class DocumentSpec(Model):
    """A policy file."""

    version: Version = Field(description="The version of the policy language.")
    upstreams: dict[Name, UpstreamSpec] = Field(
        default_factory=dict, description="Where calls may go, by name. Home is the one named `default`, else the first."
    )
    signals: dict[Name, MatchSpec] = Field(default_factory=dict, description="Named conditions, for reuse in `match`.")
    limits: LimitsSpec | None = Field(None, description="Bounds on every call.")
    policies: tuple[PolicySpec, ...] = Field((), description="In order of precedence: of what can act once, the first that matches wins.")


def document_model(kinds: Mapping[str, type[Spec]]) -> type[DocumentSpec]:
    """The model of a file in which these kinds may be applied, in this order."""
    return _document_model(tuple(kinds.items()))


@functools.lru_cache(maxsize=8)
def _document_model(kinds: tuple[tuple[str, type[Spec]], ...]) -> type[DocumentSpec]:
    fields: dict[str, Any] = {
        name: (spec, Field(default_factory=_unset, description=(spec.__doc__ or name).strip().partition("\n")[0])) for name, spec in kinds
    }
    apply = create_model("ApplySpec", __base__=ApplySpec, __doc__=ApplySpec.__doc__, **fields)
    described = PolicySpec.model_fields["apply"].description
    policy: Any = create_model("PolicySpec", __base__=PolicySpec, __doc__=PolicySpec.__doc__, apply=(apply, Field(description=described)))
    described = DocumentSpec.model_fields["policies"].description
    return create_model(
        "DocumentSpec", __base__=DocumentSpec, __doc__=DocumentSpec.__doc__, policies=(tuple[policy, ...], Field((), description=described))
    )


def _unset() -> None:
    """A kind that is not applied; never validated, so an empty `retry:` is a mistake and not the absence of it."""
