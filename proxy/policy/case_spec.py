"""case_spec -- what a test file of policies may say, as pydantic models: its cases, each a request or several and what they expect.

Stands over the models of its parts. The JSON schema of a test file is the schema of `SuiteSpec`. Read at load only.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from proxy.openai.endpoints import Endpoint
from proxy.policy.expect_spec import ExpectSpec
from proxy.policy.play_spec import FreeText, HeaderText, PlaySpec
from proxy.policy.spec import Json, Line, Model, OneOrMany, Seconds, Wrong
from proxy.policy.upstreams import HeaderName, Name

MAX_TIMES = 10_000_000  # characters of a text that is repeated
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
PROMPTED = (Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS)


def _policies(value: Any) -> Any:
    """Files, or the policies themselves."""
    names = value if isinstance(value, list) else [value]
    if isinstance(value, dict) or (names and all(isinstance(name, str) and name for name in names)):
        return value
    raise Wrong("is a file or a list of files, a mapping with the policies themselves, or their text", got=False)


def _method(value: str) -> str:
    if not _TOKEN(value):
        raise Wrong("must be a method such as GET or POST")
    return value


def _moment(value: str) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Wrong("must be a time such as 2026-03-02T09:30:00Z") from None
    if moment.tzinfo is None:
        raise Wrong("must say its zone", "write a Z or +01:00 behind it")
    return value


Policies = Annotated[
    Json,
    AfterValidator(_policies),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}, {"type": "object"}]}),
]
Method = Annotated[str, AfterValidator(_method)]
Moment = Annotated[str, AfterValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


class RepeatedSpec(Model):
    """A text, or one that is repeated: for prompts of a size."""

    shorthand: ClassVar[str | None] = "text"
    text: FreeText = Field(description="The text.")
    times: int = Field(1, ge=1, le=1_000_000, description="How often.")

    @model_validator(mode="after")
    def _is_bounded(self) -> RepeatedSpec:
        if len(self.text) * self.times > MAX_TIMES:
            raise Wrong(f"is longer than {MAX_TIMES:,} characters in all", got=False)
        return self

    @property
    def whole(self) -> str:
        """All of it."""
        return self.text * self.times


class LeavesSpec(Model):
    """When the app leaves. A duration alone is `after`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    shorthand: ClassVar[str | None] = "after"
    after: Seconds | None = Field(None, description="So long after its request.")
    chunks: int | None = Field(None, ge=1, le=10_000, description="Once it has so many pieces of the body.")

    @model_validator(mode="after")
    def _is_one(self) -> LeavesSpec:
        if (self.after is None) == (self.chunks is None):
            raise Wrong("needs one of `after` and `chunks`", got=False)
        return self


class RequestSpec(Model):
    """What the app sends: in short (a model, a prompt) or in full (a body)."""

    # in short
    endpoint: Endpoint | None = Field(None, description="Which API: `chat` by default, `responses`, `completions` or `embeddings`.")
    model: FreeText | None = Field(None, description="The model.")
    system: FreeText | None = Field(None, description="The system message, or the instructions of Responses.")
    prompt: RepeatedSpec | None = Field(
        None, description='The user\'s message, or the input; `{text: "word ", times: 500}` for one of a size.'
    )
    messages: Json = Field(None, description="Messages, or input items, in full, instead of `prompt`.")
    stream: bool | None = Field(None, description="Whether a stream is asked for.")
    params: dict[str, Json] = Field(default_factory=dict, description="Further members of the body.", examples=[{"temperature": 1}])

    # in full
    method: Method | None = Field(None, description="The method; POST where there is a body.")
    path: Line | None = Field(None, description="The path, with a query where there is one.", examples=["/v1/models"])
    headers: dict[HeaderName, OneOrMany[HeaderText]] = Field(
        default_factory=dict,
        description="Headers, over those that an SDK sends (`authorization: Bearer sk-app`, `content-type`); `absent` takes one out.",
        examples=[{"x-team": "payments"}],
    )
    body: Json = Field(None, description="The body: a mapping or a list is sent as JSON, text as it is, JSON or not.")
    encoding: Literal["gzip", "deflate"] | None = Field(None, description="The body is sent compressed.")
    leaves: LeavesSpec | None = Field(None, description="When the app leaves, before the end or after; else it waits for ten minutes.")

    @model_validator(mode="after")
    def _agrees(self) -> RequestSpec:
        short = [
            name for name in ("endpoint", "model", "system", "prompt", "messages", "stream", "params") if name in self.model_fields_set
        ]
        if "body" in self.model_fields_set and short:
            raise Wrong(f"`{short[0]}` is the short form, `body` the full one", "put it into the body", got=False, at=(short[0],))
        if self.prompt is not None and self.messages is not None:
            raise Wrong("`prompt` and `messages` both say what is asked", "take one out", got=False, at=("prompt",))
        if self.endpoint is not None and self.endpoint not in PROMPTED:
            raise Wrong("has no short form", f"give `method`, `path` and `body` for {self.endpoint.value}", got=False, at=("endpoint",))
        if not self.model_fields_set & {"model", "prompt", "messages", "params", "body", "path"}:
            raise Wrong("asks for nothing", "give a `model` and a `prompt`, or a `path`, or a `body`", got=False)
        if self.path is not None and not self.path.startswith("/"):
            raise Wrong("must start with '/'", at=("path",))
        if any(ord(c) < 33 or ord(c) == 127 for c in self.path or ""):
            raise Wrong("may hold no space", "write %20", got=False, at=("path",))
        return self


class StepSpec(Model):
    """One of several requests. It begins when the one before is done, or at a time of its own."""

    name: Line | None = Field(None, description="What it is about, for messages.")
    request: RequestSpec = Field(description="What the app sends.")
    after: Seconds | None = Field(None, description="How long after the end of the one before.", examples=["30s"])
    at: Seconds | None = Field(None, description="When, from the case's beginning, whether or not those before are done.")
    upstreams: dict[Name, OneOrMany[PlaySpec]] = Field(default_factory=dict, description="What upstreams play from here on.")
    expect: ExpectSpec | None = Field(None, description="What it expects.")

    @model_validator(mode="after")
    def _agrees(self) -> StepSpec:
        if self.after is not None and self.at is not None:
            raise Wrong("`after` and `at` both say when", "take one out", got=False, at=("at",))
        if self.expect is not None and (self.expect.problem is not None or self.expect.warning is not None):
            raise Wrong("is about the policies, not about one request", "expect it of the case", got=False, at=("expect",))
        return self


class CaseSpec(Model):
    """One case: a request, or steps, over upstreams that play, and what is expected."""

    model_config = ConfigDict(json_schema_extra={"if": {"not": {"required": ["steps"]}}, "then": {"required": ["expect"]}})
    name: Line = Field(
        description="What must hold, in a sentence; unique in the file.", examples=["a short question goes to the small model"]
    )
    policies: Policies = Field(None, description="Instead of the file's: files, or the policies themselves, as a mapping or as text.")
    env: dict[Line, HeaderText] = Field(default_factory=dict, description="Variables for `${NAME}`, over the file's.")
    now: Moment | None = Field(None, description="The time at which it begins.", examples=["2026-03-02T09:30:00Z"])
    upstreams: dict[Name, OneOrMany[PlaySpec]] = Field(
        default_factory=dict,
        description='What each upstream plays, exchange by exchange; the last one repeats. One that is not named says "ok".',
    )
    request: RequestSpec | None = Field(None, description="What the app sends.")
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Several requests instead of one; what policies remember is kept between them."
    )
    expect: ExpectSpec | None = Field(None, description="What is expected; with `steps`, of all of them together.")

    @model_validator(mode="after")
    def _agrees(self) -> CaseSpec:
        expect = self.expect
        if self.request is not None and self.steps is not None:
            raise Wrong("`request` and `steps` both say what is asked", "make the request the first step", got=False, at=("steps",))
        if expect is None and not any(step.expect is not None for step in self.steps or ()):
            raise Wrong("expects nothing", "a case without `expect` proves nothing", got=False)
        about = set() if expect is None else expect.model_fields_set - {"problem", "warning"}
        if self.steps is None and self.request is None and about:
            raise Wrong("has no request", "say what the app sends, in `request`", got=False)
        if self.steps is not None and (wrong := sorted(about - {"exchanges", "took"})):
            raise Wrong(f"`{wrong[0]}` is about one request", "put it into the `expect` of a step", got=False, at=("expect", wrong[0]))
        if expect is not None and expect.problem is not None and (self.request is not None or self.steps is not None):
            raise Wrong("nothing is asked where the policies are refused", "take the request out", got=False)
        return self


class SuiteSpec(Model):
    """A test file of policies."""

    policies: Policies = Field(None, description="The policies under test: files beside this one; by default the file of the same name.")
    env: dict[Line, HeaderText] = Field(
        default_factory=dict, description="Variables for `${NAME}`; one that is not given is `<NAME>`, so that no test needs a secret."
    )
    now: Moment | None = Field(None, description="The time at which each case begins.")
    upstreams: dict[Name, OneOrMany[PlaySpec]] = Field(default_factory=dict, description="What upstreams play where a case says nothing.")
    cases: Annotated[tuple[CaseSpec, ...], Field(min_length=1)] = Field(description="The cases.")
