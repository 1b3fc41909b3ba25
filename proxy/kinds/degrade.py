"""degrade -- what the app gets when all else has failed: a reply written for this, or an honest error that says when to come again.

Floor CALL, the outermost: outside timeouts, so that a call which has used up its time still gets it; the app's patience (`patience`) ends
a try while somebody listens.
It acts only while nothing of a reply is out. A stream that breaks later ends as every broken stream does.
Cost: 1 µs for a call that goes well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import ClassVar

from pydantic import ConfigDict, Field, field_validator

from proxy.core.body import Headers
from proxy.core.call import Call
from proxy.core.faults import Fault, Refusal, classify
from proxy.core.outcomes import Outcome, given, let_go, settled
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.openai.answers import STREAMED, Said, Tokens
from proxy.openai.endpoints import Endpoint
from proxy.openai.errors import code_of
from proxy.openai.patience import not_again
from proxy.openai.payload import Payload, Unread
from proxy.openai.static import said_reply, static_reply
from proxy.policy.facts import NO_BODY
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.spec import Seconds, Spec, Wrong
from proxy.policy.view import View, Warned
from proxy.policy.when import FALLBACK_WHEN, When, acts_on

_TIMES = (b"retry-after", b"retry-after-ms")
_BUSY = {"overloaded": Fault.OVERLOADED}  # our own refusals that are no policy's no, by their code


class DegradeSpec(Spec):
    """What the app gets when all else has failed. A text alone is the reply."""

    model_config = ConfigDict(json_schema_extra={"examples": ["The assistant is unavailable right now."]})
    shorthand: ClassVar[str | None] = "reply"
    reply: str = Field(
        min_length=1,
        max_length=100_000,
        description="Said in the place of the model, in the form of chat, completions or Responses, plain or as a stream, whichever was "
        "asked for. Not where the app wants JSON by a schema, a tool call, several choices or sound, and not where it goes on from what "
        "its upstream has kept: there, and on all other endpoints, the error stays one.",
        examples=["The assistant is unavailable right now."],
    )
    status: int = Field(
        200,
        ge=200,
        le=599,
        description="`200`: the reply is an answer; from `500` on: an error on every endpoint, with the reply as its message.",
    )
    when: When = Field(
        tuple(fault for fault in Fault if fault in FALLBACK_WHEN),
        description="The faults for which it stands in; all else passes as it came.",
    )
    retry_after: Seconds | None = Field(
        None,
        ge=1.0,
        le=86_400.0,
        description="The `retry-after` of an error that goes to the app, where the upstream named none.",
        examples=["30s"],
    )

    @field_validator("status")
    @classmethod
    def _is_an_answer_or_an_error(cls, status: int) -> int:
        if status != 200 and status < 500:
            raise Wrong("must be 200, or an error from 500 to 599")
        return status


class Degrade:
    """Stands in for what failed."""

    __slots__ = ("_clock", "_policy", "_spec", "_when")

    def __init__(self, spec: DegradeSpec, site: Site) -> None:
        self._policy = site.policy
        self._clock = site.clock
        self._spec = spec
        self._when = acts_on(spec.when)

    async def __call__(self, call: Call, inner: Service) -> Reply:
        try:
            outcome = await settled(call, inner)
        except Refusal as refusal:
            fault = _BUSY.get(refusal.code)
            if fault not in self._when or (reply := self._instead(call, fault, _when_again(refusal))) is None:
                raise
            return reply
        fault = classify(outcome)
        if fault is None or fault not in self._when:
            return given(outcome)
        reply = self._instead(call, fault, _when_again(outcome))
        if reply is None:
            return self._honest(outcome)
        let_go(outcome)
        return reply

    def _instead(self, call: Call, fault: Fault, again: Headers) -> Reply | None:
        """The reply that stands in, None where it may not."""
        spec = self._spec
        why, reply = None, None
        if spec.status == 200:
            why, reply = self._said(call)
        else:
            headers = not_again(again or self._times())
            reply = static_reply(spec.status, code_of(fault), spec.reply, headers)
        if reply is None:
            call.journal.note("degrade", self._policy, why=fault.value, skipped=why)
        else:
            call.journal.note("degrade", self._policy, acted=True, why=fault.value, status=spec.status)
        return reply

    def _said(self, call: Call) -> tuple[str, Reply | None]:
        """The reply as an answer, or why it may not be one."""
        payload: Payload | None = call.payload
        if call.endpoint not in STREAMED:
            return f"an answer of {call.endpoint} is no text", None
        if payload is None:
            return NO_BODY, None
        try:
            if why := _why_not(payload, self._spec.reply):
                return why, None
            streams, options = payload.stream, payload.value("stream_options")
            model = payload.model or ""
        except Unread as unread:
            return unread.why, None
        tells_usage = isinstance(options, dict) and options.get("include_usage") is True
        created = self._clock.wall_ns() // 10**9
        said = Said(model, self._spec.reply, usage=Tokens(0, 0), finish="stop", id=call.id, created=created)
        return "", said_reply(Endpoint(call.endpoint), said, streams, tells_usage)

    def _honest(self, outcome: Outcome) -> Reply:
        """The error as it is, with the time at which to come again where none is told."""
        if isinstance(outcome, Reply):
            if self._spec.retry_after is not None and not _when_again(outcome):
                outcome.headers = [*outcome.headers, *self._times()]
        elif outcome.retry_after_s is None:
            outcome.retry_after_s = self._spec.retry_after
        return given(outcome)

    def _times(self) -> Headers:
        wait_s = self._spec.retry_after
        return [(b"Retry-After", b"%d" % math.ceil(wait_s))] if wait_s is not None else []


def _when_again(outcome: Outcome | Refusal) -> Headers:
    """When the last upstream, or whoever spoke for it, says that it may be asked again."""
    if isinstance(outcome, Reply):
        return [(name, value) for name, value in outcome.headers if name.lower() in _TIMES]
    wait_s = outcome.retry_after_s
    return [(b"Retry-After", b"%d" % max(1, math.ceil(wait_s)))] if wait_s is not None else []


def _why_not(payload: Payload, reply: str) -> str | None:
    """Why a text would break the app that gets it. Raises Unread."""
    if payload.has("json_schema") or (payload.has("json_object") and not _is_object(reply)):
        return "the app wants JSON"
    if payload.has("required_tool"):
        return "the app wants a tool call"
    if payload.has("many_choices"):
        return "the app wants several choices"
    modalities, prompt = payload.value("modalities"), payload.value("prompt")
    if isinstance(modalities, list) and "audio" in modalities:
        return "the app wants sound"
    if payload.endpoint is Endpoint.COMPLETIONS and isinstance(prompt, list) and len(prompt) > 1 and not isinstance(prompt[0], int):
        return "the app has several prompts"
    if payload.endpoint is Endpoint.RESPONSES and payload.refers_to_state():
        return "the app goes on from what its upstream keeps"
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _warn(spec: DegradeSpec, view: View) -> Iterable[Warned]:
    if spec.status == 200:
        yield from view.idle(tuple(each.value for each in STREAMED), "`degrade.reply`", ("reply",))


KIND = Kind(
    "degrade",
    DegradeSpec,
    Floor.CALL,
    enforce=Degrade,
    shadow=None,
    reads_body=lambda spec: True,
    holds_reply=lambda spec: "a stream until its first content, plain JSON whole (4 MiB)",
    primes=lambda spec: True,
    waits=True,
    warn=_warn,
)
