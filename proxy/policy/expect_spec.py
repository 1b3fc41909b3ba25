"""expect_spec -- what a case of a test file may expect, as pydantic models; and the language of expected values.

A mapping expects its keys and lets others be, a list is as long as it says, a text or number is equal. Words with `$` say more. Stands
beside the models of cases; `proxy.assembly.compared` compares. Read at load only.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from proxy.policy.play_spec import AnyHeader, FreeText, HeaderText
from proxy.policy.problems import did_you_mean, listed, shortened
from proxy.policy.spec import Json, Line, Model, OneOrMany, Seconds, Wrong
from proxy.policy.upstreams import Name

WORDS = {
    "$contains": "a text that has this in it",
    "$glob": "a text of this form, with * and ?",
    "$below": "a number under this",
    "$at_least": "a number of this or more",
    "$length": "a text, list or mapping of this many",
    "$first": "a list that begins with this",
    "$last": "a list that ends with this",
    "$some": "a list with this in it",
    "$is": "exactly this, the words `absent` and `present` too",
}
_NUMBERS = ("$below", "$at_least", "$length")
_TEXTS = ("$contains", "$glob")


def expected(value: Any) -> Any:
    """`value`, if each `$` word in it is one. Raises Wrong with the place."""
    stack: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        each, at = stack.pop()
        if isinstance(each, list):
            stack.extend((item, (*at, i)) for i, item in enumerate(each))
        if not isinstance(each, dict):
            continue
        for key, inner in each.items():
            if not key.startswith("$"):
                stack.append((inner, (*at, key)))
                continue
            if key not in WORDS:
                hint = did_you_mean(key, WORDS) or f"known: {listed(sorted(WORDS))}"
                raise Wrong(f"unknown word '{shortened(key)}'", hint, got=False, at=at)
            if any(not other.startswith("$") for other in each):
                raise Wrong(f"`{key}` cannot stand beside plain keys", "put it into the value that it is about", got=False, at=at)
            is_number = isinstance(inner, (int, float)) and not isinstance(inner, bool)
            if (key in _NUMBERS and not is_number) or (key in _TEXTS and not isinstance(inner, str)):
                raise Wrong(f"`{key}` takes a {'number' if key in _NUMBERS else 'text'}", got=False, at=(*at, key))
            if key != "$is":
                stack.append((inner, (*at, key)))
    return value


Expected = Annotated[Json, AfterValidator(expected)]
Endings = Literal["clean", "cut", "error", "left"]


class TookSpec(Model):
    """A stretch of virtual time."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    below: Seconds | None = Field(None, description="Shorter than this.", examples=["5s"])
    at_least: Seconds | None = Field(None, description="This long, or longer.")

    @model_validator(mode="after")
    def _agrees(self) -> TookSpec:
        if self.below is None and self.at_least is None:
            raise Wrong("needs `below` or `at_least`", got=False)
        if self.below is not None and self.at_least is not None and self.at_least >= self.below:
            raise Wrong("can never be true", got=False)
        return self


class TextSpec(Model):
    """A text: as it stands, or what is in it."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    shorthand: ClassVar[str | None] = "equals"
    equals: FreeText | None = Field(None, description="Exactly this.")
    contains: OneOrMany[FreeText] | None = Field(None, description="Each of these is in it.")
    lacks: OneOrMany[FreeText] | None = Field(None, description="None of these is in it.")

    @model_validator(mode="after")
    def _says_something(self) -> TextSpec:
        if not self.model_fields_set:
            raise Wrong("needs `equals`, `contains` or `lacks`", got=False)
        return self


Headers = Annotated[dict[AnyHeader, HeaderText], Field(min_length=1)]


class SentSpec(Model):
    """What an upstream received in one exchange. A text is `upstream model`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    shorthand: ClassVar[str | None] = "to"
    to: Line | None = Field(None, description="The upstream, and the model that it was asked for; globs.", examples=["openai gpt-4o-mini"])
    name: Line | None = Field(None, description="The upstream.")
    model: Line | None = Field(None, description="The model that it was asked for; a glob.")
    method: Line | None = Field(None, description="The method.")
    path: Line | None = Field(None, description="The path, with the query; a glob.", examples=["/v1/chat/completions"])
    headers: Headers | None = Field(None, description="Headers by name: a glob, or `absent`.", examples=[{"authorization": "absent"}])
    body: Expected = Field(None, description="What the body says at least, `absent` for what it must not; a text: the body as it stands.")
    body_exactly: Json = Field(None, description="All that the body says.")
    untouched: bool | None = Field(
        None,
        description="Whether it is what the app sent: method, headers in order (but Host and what concerns one hop), body byte for byte.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> SentSpec:
        if not self.model_fields_set:
            raise Wrong("expects nothing", got=False)
        return self


class ErrorSpec(Model):
    """An error in the API's form, as a body or as an event of a stream. A text is its code."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    shorthand: ClassVar[str | None] = "code"
    code: Line | None = Field(None, description="The code.", examples=["upstream_timeout"])
    type: Line | None = Field(None, description="The type.", examples=["chassis_error"])
    message: TextSpec | None = Field(None, description="The message.")
    param: Line | None = Field(None, description="The parameter that is wrong.")

    @model_validator(mode="after")
    def _says_something(self) -> ErrorSpec:
        if not self.model_fields_set:
            raise Wrong("expects nothing", got=False)
        return self


class ReplySpec(Model):
    """What the app received."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    status: int | None = Field(None, ge=100, le=599, description="The status.", examples=[200])
    headers: Headers | None = Field(None, description="Headers by name: a glob, or `absent`.", examples=[{"x-chassis-upstream": "groq"}])
    text: TextSpec | None = Field(None, description="What the answer says: the content, joined; of an audio or unknown body, the body.")
    body: Expected = Field(None, description="What the body says at least; a text: the body as it stands.")
    body_exactly: Json = Field(None, description="All that the body says.")
    events: Expected = Field(None, description="The data of the stream's events, `[DONE]` as text; with `$first`, `$last` and `$some`.")
    tool_calls: Expected = Field(None, description="The tool calls: a list of `{name, arguments}`; arguments parsed where they are JSON.")
    error: ErrorSpec | None = Field(None, description="The error that the body, or the last event, is.")
    ends: Endings | None = Field(
        None, description="`clean`; `error`: with an error event; `cut`: the connection broke; `left`: the app left before the end."
    )

    @model_validator(mode="after")
    def _says_something(self) -> ReplySpec:
        if not self.model_fields_set:
            raise Wrong("expects nothing", got=False)
        return self


class EntrySpec(Model):
    """One entry of the journal. A text is its kind."""

    shorthand: ClassVar[str | None] = "kind"
    kind: Line = Field(
        description="What was decided: the kind of a policy, or a word of the engine's own.", examples=["rewrite", "shadowed"]
    )
    policy: Line | None = Field(None, description="By which policy.")
    acted: bool | None = Field(None, description="Whether the call was treated differently for it.")
    shadow: bool | None = Field(None, description="Whether a policy in shadow would have.")
    what: Expected = Field(None, description="What it says at least.", examples=[{"model": "gpt-4o-mini"}])


class ProblemSpec(Model):
    """A problem of the policy files. A text is what it says."""

    shorthand: ClassVar[str | None] = "says"
    says: Line = Field(description="Words of its message, its hint or its path.", examples=["has no key"])
    line: int | None = Field(None, ge=1, description="Its line.")
    file: Line | None = Field(None, description="The name of its file.")


class ExpectSpec(Model):
    """What a case expects. Of what it leaves out nothing is expected."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    upstream: SentSpec | None = Field(None, description="What was sent in the last exchange.")
    exchanges: int | tuple[SentSpec, ...] | None = Field(
        None,
        description="All exchanges in order, each as `upstream model` or in full; or how many.",
        examples=[["openai gpt-5", "groq llama*"]],
    )
    reply: ReplySpec | None = Field(None, description="What the app received.")
    policies: tuple[Name, ...] | None = Field(None, description="The policies that acted, in order: as `x-chassis-policies` tells them.")
    matched: tuple[Name, ...] | None = Field(None, description="The policies whose conditions held, in file order, those in shadow too.")
    shadow: tuple[Name, ...] | None = Field(None, description="The policies in shadow that would have acted, in order.")
    journal: OneOrMany[EntrySpec] | None = Field(
        None, description="Entries of the journal, in this order; others may stand between.", examples=[["retry", "fallback"]]
    )
    not_journal: OneOrMany[EntrySpec] | None = Field(None, description="Entries that the journal must not have.")
    took: TookSpec | None = Field(None, description="Virtual time from the request to the end of the reply.")
    began: TookSpec | None = Field(None, description="Virtual time from the request to the reply's head.")
    problem: OneOrMany[ProblemSpec] | None = Field(None, description="The policies must be refused, with these problems.")
    warning: OneOrMany[ProblemSpec] | None = Field(None, description="`check` must warn of these.")

    @model_validator(mode="after")
    def _agrees(self) -> ExpectSpec:
        if not self.model_fields_set:
            raise Wrong("expects nothing", "say what is sent, answered or decided", got=False)
        if isinstance(self.exchanges, int) and self.exchanges < 0:
            raise Wrong("must be at least 0", at=("exchanges",))
        if self.problem is not None and len(self.model_fields_set) > 1:
            raise Wrong("nothing can happen where the policies are refused", "expect `problem` alone", got=False)
        return self
