"""play_spec -- what a test file may say about upstreams: each exchange that they play, as pydantic models.

Stands beside the models of cases; `proxy.adapters.played` plays them. Read at load only.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from proxy.policy.spec import Json, Line, Model, OneOrMany, Seconds, Wrong

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch


def _header_name(value: str) -> str:
    if not _TOKEN(value):
        raise Wrong("must be a header name")
    return value


def _header_value(value: str) -> str:
    if any(c in value for c in "\r\n\0"):
        raise Wrong("must be one line of text", got=False)
    return value


AnyHeader = Annotated[str, AfterValidator(_header_name)]
HeaderText = Annotated[str, AfterValidator(_header_value)]
FreeText = Annotated[str, Field(max_length=1024 * 1024)]


class ToolCallSpec(Model):
    """One call of a tool."""

    name: Line = Field(description="The tool's name.", examples=["get_weather"])
    arguments: Json = Field(
        default_factory=dict,
        description="Its arguments: a mapping is written as JSON, text is sent as it is, wrong JSON too.",
        examples=[{"city": "Paris"}],
    )
    id: Line | None = Field(None, description="Its id; by default `call_1`, `call_2`, …")


class UsageSpec(Model):
    """What the reply says that it used."""

    prompt: int = Field(5, ge=0, le=10**9, description="Tokens of the prompt.")
    completion: int = Field(2, ge=0, le=10**9, description="Tokens of the answer.")


class StreamedSpec(Model):
    """One piece of a stream: a text is a delta of content; a mapping is one of the others."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    shorthand: ClassVar[str | None] = "text"
    text: FreeText | None = Field(None, description="A delta of content.")
    reasoning: FreeText | None = Field(None, description="A delta of reasoning.")
    refusal: FreeText | None = Field(None, description="A delta of a refusal.")
    tool_call: ToolCallSpec | None = Field(None, description="A tool call, its arguments in two deltas.")
    error: Line | None = Field(None, description="An error event that says this, in the endpoint's own form.")
    comment: Line | None = Field(None, description="A comment, as servers send to keep a connection alive.", examples=["keep-alive"])
    data: Json = Field(None, description="An event with this as its data: a mapping is written as JSON, text is sent as it is.")
    raw: FreeText | None = Field(None, description="Bytes as they stand, UTF-8; they need not be an event.")
    wait: Seconds | None = Field(None, description="Nothing, for so long.")

    @model_validator(mode="after")
    def _is_one(self) -> StreamedSpec:
        if len(self.model_fields_set) != 1:
            raise Wrong("is one thing: text, reasoning, refusal, tool_call, error, comment, data, raw or wait", got=False)
        return self


class PlaySpec(Model):
    """One exchange, as an upstream plays it. A text alone is what it answers, in the endpoint's own form."""

    shorthand: ClassVar[str | None] = "reply"

    # what it says: at most one of these; without any it answers "ok"
    reply: FreeText | None = Field(None, description="The answer, in the endpoint's own form: plain, or a stream where one was asked for.")
    stream: Annotated[tuple[StreamedSpec, ...], Field(max_length=10_000)] | None = Field(
        None, description="The answer as a stream of these pieces, whatever was asked for.", examples=[["Hel", "lo"]]
    )
    body: Json = Field(None, description="The body: a mapping or a list is sent as JSON, text as it is.")
    raw: OneOrMany[FreeText] | None = Field(None, description="The body, piece by piece as it stands, under the head of a stream.")
    tool_calls: OneOrMany[ToolCallSpec] | None = Field(
        None, description="Tool calls in the endpoint's own form, plain or streamed as asked."
    )

    # how
    status: int = Field(200, ge=200, le=599, description="The status.")
    headers: dict[AnyHeader, OneOrMany[HeaderText]] = Field(
        default_factory=dict, description="Headers, over those that it has anyway.", examples=[{"retry-after": "1"}]
    )
    finish: Literal["stop", "length", "tool_calls", "content_filter"] | None = Field(
        None, description="The finish reason; by default what the content implies."
    )
    usage: UsageSpec | bool = Field(True, description="What it says that it used; `false` for nothing.")
    end: Literal["clean", "cut", "error", "no_done", "no_finish"] = Field(
        "clean",
        description="`clean`; `cut`: the connection breaks after what it said; `error`: an error event; `no_done`: without `[DONE]`; "
        "`no_finish`: with neither finish reason nor `[DONE]`.",
    )

    # when
    delay: Seconds = Field(0.0, description="Before the head.", examples=["2s"])
    first: Seconds = Field(0.0, description="Between the head and the first piece.")
    gap: Seconds = Field(0.0, description="Before each further piece of a stream.", examples=["50ms"])
    drip: Seconds | None = Field(None, description="The body byte by byte, so far apart.", examples=["1s"])

    # what goes wrong: at most one of these
    stall: Literal["connect", "head", "first", "body"] | None = Field(
        None,
        description="Silence for ever: no connection, no head, a head and nothing more, or what it says without the end.",
    )
    reset: Literal["connect", "head", "body"] | None = Field(
        None, description="A reset: once it has the request, within the head of its reply, or within the body."
    )
    refuse: bool = Field(False, description="No connection: refused.")
    dns: bool | Line = Field(False, description="No connection: the name cannot be resolved; a text says why.")
    tls: bool | Line = Field(False, description="No connection: TLS fails; a text says why.")

    @model_validator(mode="after")
    def _agrees(self) -> PlaySpec:
        said = [name for name in ("reply", "stream", "body", "raw", "tool_calls") if name in self.model_fields_set]
        if len(said) > 1 and said != ["reply", "tool_calls"]:
            raise Wrong(f"`{said[0]}` and `{said[1]}` both say what the body is", "take one out", got=False, at=(said[1],))
        broken = [name for name in ("stall", "reset", "refuse", "dns", "tls") if getattr(self, name)]
        if len(broken) > 1:
            raise Wrong(f"`{broken[0]}` and `{broken[1]}` cannot both happen", "take one out", got=False, at=(broken[1],))
        without = next((name for name in broken if self.is_unsaid), None)
        if without and (said or "status" in self.model_fields_set):
            raise Wrong(f"nothing is said after `{without}`", "take the rest out", got=False, at=(without,))
        return self

    @property
    def is_unconnected(self) -> bool:
        """Whether there is no connection."""
        return bool(self.refuse or self.dns or self.tls or self.stall == "connect")

    @property
    def is_unsaid(self) -> bool:
        """Whether no head ever comes."""
        return self.is_unconnected or self.stall == "head" or self.reset in ("connect", "head")
