"""instruct -- add text to the instructions of a prompt: formatting rules, tone, what must always be said.

Floor CALL: inside params. All matching policies add up: their texts stand in file order.
Cost: a few microseconds, for the splice into the first message.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ConfigDict, Field, model_validator

from proxy.core.call import Call
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.openai.payload import Payload, Unread
from proxy.policy.facts import NO_BODY
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.spec import Spec, Wrong
from proxy.policy.view import View, Warned


class InstructSpec(Spec):
    """Add text to the system or developer message of a chat, or to `instructions` of a Responses call."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [{"append": "Answer in plain text."}]})
    prepend: str | None = Field(None, min_length=1, max_length=32_768, description="Text put before what the app says, and a blank line.")
    append: str | None = Field(None, min_length=1, max_length=32_768, description="Text put after what the app says, after a blank line.")

    @model_validator(mode="after")
    def _says_something(self) -> InstructSpec:
        if self.prepend is None and self.append is None:
            raise Wrong("needs `prepend` or `append`", got=False)
        return self


class Instruct:
    """Edits the payload. Notes that text was added, never the text of the app."""

    __slots__ = ("_policy", "_spec")

    def __init__(self, spec: InstructSpec, site: Site) -> None:
        self._policy = site.policy
        self._spec = spec

    async def __call__(self, call: Call, inner: Service) -> Reply:
        payload = self.apply(call, shadow=False)
        return await inner(call if payload is call.payload else call.derive(payload=payload))

    def observe(self, call: Call) -> None:
        """The same edit, noted only."""
        self.apply(call, shadow=True)

    def apply(self, call: Call, shadow: bool) -> Payload | None:
        """The payload with the text, the call's own where there is no place for it."""
        payload: Payload | None = call.payload
        if payload is None:
            call.journal.note("instruct", self._policy, shadow=shadow, skipped="no_body", why=NO_BODY)
            return payload
        spec = self._spec
        try:
            edited = payload.instruct(spec.prepend, spec.append)
        except Unread as unread:
            call.journal.note("instruct", self._policy, shadow=shadow, skipped="unreadable", why=unread.why)
            return payload
        added = [name for name in ("prepend", "append") if getattr(spec, name) is not None]
        call.journal.note("instruct", self._policy, acted=not shadow, shadow=shadow, added=added)
        return edited


def _none(spec: InstructSpec) -> frozenset[str]:
    return frozenset()


def _warn(spec: InstructSpec, view: View) -> Iterable[Warned]:
    return view.idle(("chat", "responses"), "`instruct`")


KIND = Kind(
    "instruct",
    InstructSpec,
    Floor.CALL,
    enforce=Instruct,
    shadow=lambda spec, site: Instruct(spec, site).observe,
    fields=_none,
    reads_body=lambda spec: True,
    warn=_warn,
)
