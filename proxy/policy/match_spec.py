"""match_spec -- what `match` and `signals` may say, as pydantic models: a predicate on the request as the app sent it.

Stands apart from `match`, which makes conditions of it; a new condition is one field here and one builder there.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from proxy.openai.endpoints import Endpoint
from proxy.openai.features import HAS
from proxy.policy.keywords import spelled
from proxy.policy.language import Language
from proxy.policy.problems import did_you_mean, listed, shortened
from proxy.policy.regex import RegexSpec
from proxy.policy.sample import SampleSpec
from proxy.policy.schedule import ScheduleSpec
from proxy.policy.spec import OneOrMany, Spec, Wrong
from proxy.policy.upstreams import HeaderName, Name
from proxy.policy.whose import IN, Role

MAX_KEYWORDS = 10_000  # of one list; a list of that length compiles in about 0.1 s


def _feature(value: str) -> str:
    if value not in HAS:
        raise Wrong(f"unknown feature '{shortened(value)}'", did_you_mean(value, HAS) or f"known: {listed(sorted(HAS))}", got=False)
    return value


def _glob(value: str) -> str:
    if not value or len(value) > 256:
        raise Wrong("must be 1 to 256 characters, with * for any run and ? for any one of them", got=False)
    return value


def _keyword(value: str) -> str:
    if not spelled(value):
        raise Wrong("a keyword needs a letter, a digit or a sign")
    if len(value) > 256:
        raise Wrong("a keyword may have at most 256 characters", got=False)
    return value


def _path_glob(value: str) -> str:
    if value[0] not in "/*?":
        raise Wrong("no path is like this: each begins with '/'", f"did you mean '*/{value}'?" if len(value) < 60 else "", got=True)
    return value


Feature = Annotated[
    str,
    AfterValidator(_feature),
    Field(json_schema_extra={"title": "feature", "enum": list(HAS), "enumDescriptions": list(HAS.values())}),
]
Glob = Annotated[str, AfterValidator(_glob), Field(json_schema_extra={"title": "glob", "minLength": 1, "maxLength": 256})]
PathGlob = Annotated[
    str,
    AfterValidator(_glob),
    AfterValidator(_path_glob),
    Field(json_schema_extra={"title": "glob", "minLength": 1, "maxLength": 256, "pattern": "^[/*?]"}),
]
Keyword = Annotated[str, AfterValidator(_keyword), Field(json_schema_extra={"title": "word or phrase", "pattern": r"\S", "maxLength": 256})]
Keywords = Annotated[OneOrMany[Keyword], Field(max_length=MAX_KEYWORDS)]


class RangeSpec(Spec):
    """A number between bounds; at least one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    below: int | None = Field(None, ge=1, le=100_000_000, description="True for fewer than this.", examples=[400])
    at_least: int | None = Field(None, ge=1, le=100_000_000, description="True for this many and more.", examples=[4000])

    @model_validator(mode="after")
    def _agrees(self) -> RangeSpec:
        if self.below is None and self.at_least is None:
            raise Wrong("needs `below` or `at_least`", got=False)
        if self.below is not None and self.at_least is not None and self.at_least >= self.below:
            raise Wrong(f"can never be true: at least {self.at_least} and below {self.below}", got=False)
        return self


class ScoreSpec(Spec):
    """A score between bounds; at least one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    below: float | None = Field(None, gt=0, le=1, description="True for a lower score.", examples=[0.4])
    at_least: float | None = Field(None, gt=0, le=1, description="True for this score and higher ones.", examples=[0.8])

    @model_validator(mode="after")
    def _agrees(self) -> ScoreSpec:
        if self.below is None and self.at_least is None:
            raise Wrong("needs `below` or `at_least`", got=False)
        if self.below is not None and self.at_least is not None and self.at_least >= self.below:
            raise Wrong(f"can never be true: at least {self.at_least:g} and below {self.below:g}", got=False)
        return self


class HeaderSpec(Spec):
    """A test of one request header: a glob or a list of them, or `{present: true}`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    shorthand: ClassVar[str | None] = "equals"
    equals: OneOrMany[Glob] | None = Field(None, description="True when a value of the header is one of these; globs, case-sensitive.")
    present: bool | None = Field(None, description="True when the header is there (`true`) or is not (`false`).")

    @model_validator(mode="after")
    def _agrees(self) -> HeaderSpec:
        if (self.equals is None) == (self.present is None):
            raise Wrong("needs one of `equals` and `present`", got=False)
        return self


class KeywordsSpec(Spec):
    """Whole words or phrases, in any case. All three lists that are given must hold."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "if": {"required": ["in"]}, "then": {"minProperties": 2}})
    any_of: Keywords | None = Field(None, description="True when one of them is in the text.", examples=[["contract", "root cause"]])
    all_of: Keywords | None = Field(None, description="True when each of them is in the text.")
    none_of: Keywords | None = Field(None, description="True when none of them is in the text.")
    in_: OneOrMany[Role] | None = Field(None, alias="in", description=IN)

    @model_validator(mode="after")
    def _says_something(self) -> KeywordsSpec:
        if self.any_of is None and self.all_of is None and self.none_of is None:
            raise Wrong("needs `any_of`, `all_of` or `none_of`", got=False)
        return self


class MatchSpec(Spec):
    """Conditions on the request. All keys that are given must hold; a list of values means any of them. An empty one always holds."""

    endpoint: OneOrMany[Endpoint] | None = Field(None, description="Which API is called, by method and path.", examples=["chat"])
    model: OneOrMany[Glob] | None = Field(
        None, description="The model asked for; globs, case-sensitive.", examples=[["gpt-4o", "gpt-4.1*"]]
    )
    path: OneOrMany[PathGlob] | None = Field(None, description="The path as sent, without the query; globs.", examples=["/v1/chat/*"])
    header: dict[HeaderName, HeaderSpec] | None = Field(
        None, min_length=1, description="Request headers; names in any case.", examples=[{"x-team": "payments"}]
    )
    stream: bool | None = Field(None, description="Whether the app asked for a stream.")
    has: OneOrMany[Feature] | None = Field(None, description="What the request carries; true when it has one of them.")
    messages: RangeSpec | None = Field(None, description="How many messages (or Responses input items) there are.")
    prompt_tokens: RangeSpec | None = Field(
        None, description="o200k_base tokens of all message texts and instructions, without overhead, tools and images."
    )
    questions: RangeSpec | None = Field(None, description="How many questions the last user message asks, pasted text left out.")
    complexity: ScoreSpec | None = Field(
        None,
        description="How hard the request looks, from 0 (simple) to 1 (complex). What is not understood scores high.",
        examples=[{"below": 0.4}],
    )
    keywords: KeywordsSpec | None = Field(None, description="Whole words or phrases in the last user message, or where `in` says.")
    regex: RegexSpec | None = Field(
        None, description="RE2 patterns in the last user message, or where `in` says.", examples=["(?i)\\bpassword\\s*[:=]"]
    )
    language: OneOrMany[Language] | None = Field(
        None,
        description="The language of the last user message, as ISO 639-1 names it; unknown where it cannot be told (too short, mixed).",
        examples=["de", ["ja", "ko", "zh"]],
    )
    sample: SampleSpec | None = Field(None, description="A sticky share of traffic.", examples=["10%"])
    schedule: OneOrMany[ScheduleSpec] | None = Field(
        None, description="Days and hours in a zone.", examples=[{"days": "mon-fri", "hours": "08:00-18:00", "zone": "Europe/Zurich"}]
    )
    signals: OneOrMany[Name] | None = Field(None, description="Named conditions of `signals`; true when one of them holds.")
    all: OneOrMany[MatchSpec] | None = Field(None, description="True when each of these holds.")
    any: OneOrMany[MatchSpec] | None = Field(None, description="True when one of these holds.")
    not_: MatchSpec | None = Field(None, alias="not", description="True when this does not hold. What is unknown stays unknown.")
