"""params -- pin, default, cap or remove parameters of a request: temperature, seed, max_tokens and the like.

Floor CALL: inside rewrite, as what a model takes depends on the model.
All matching policies add up; where two name one field, the first in file order has it.
Cost: a few microseconds for each field that changes.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from proxy.core.call import Call
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.openai.payload import MISSING, Payload, Unread
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.spec import Json, Spec, Wrong

NOT_PARAMETERS = {
    "model": "use `rewrite: {model: …}`",
    "messages": "use `instruct`",
    "instructions": "use `instruct`",
    "input": "it is the prompt",
    "prompt": "it is the prompt",
    "stream": "it changes the form of the reply, which the app chose",
}


class ParamsSpec(Spec):
    """Pin, default, cap or remove parameters. Every other byte of the body stays as the app sent it."""

    defaults: dict[str, Json] = Field(default_factory=dict, description="Set where the app did not, as `{seed: 7}`.")
    overrides: dict[str, Json] = Field(default_factory=dict, description="Set whatever the app said, as `{temperature: 0}`.")
    remove: tuple[str, ...] = Field((), description="Taken out, as what a model refuses: `[top_logprobs]`.")
    max: dict[str, int | float] = Field(default_factory=dict, description="Numbers above these are lowered, as `{max_tokens: 1000}`.")

    @model_validator(mode="after")
    def _fields_are_parameters(self) -> ParamsSpec:
        named = [*self.defaults, *self.overrides, *self.remove, *self.max]
        if not named:
            raise Wrong("needs one of `defaults`, `overrides`, `remove`, `max`", got=False)
        for name in named:
            if (hint := NOT_PARAMETERS.get(name)) is not None:
                raise Wrong(f"'{name}' is not a parameter: {hint}", got=False)
        for name in self.overrides:
            if name in self.remove or name in self.defaults or name in self.max:
                raise Wrong(f"'{name}' is in `overrides` and elsewhere: an override stands alone", got=False)
        for name in self.remove:
            if name in self.defaults or name in self.max:
                raise Wrong(f"'{name}' is in `remove` and elsewhere: what is removed stands alone", got=False)
        return self


def _fields(spec: ParamsSpec) -> frozenset[str]:
    return frozenset((*spec.defaults, *spec.overrides, *spec.remove, *spec.max))


class Params:
    """Edits the payload. Notes each field that it changed."""

    __slots__ = ("_defaults", "_max", "_overrides", "_policy", "_remove")

    def __init__(self, spec: ParamsSpec, site: Site) -> None:
        won = site.fields
        self._policy = site.policy
        self._defaults = {name: _thawed(value) for name, value in spec.defaults.items() if name in won}
        self._overrides = {name: _thawed(value) for name, value in spec.overrides.items() if name in won}
        self._remove = [name for name in spec.remove if name in won]
        self._max = {name: cap for name, cap in spec.max.items() if name in won}

    async def __call__(self, call: Call, inner: Service) -> Reply:
        payload = self.apply(call, shadow=False)
        return await inner(call if payload is call.payload else call.derive(payload=payload))

    def observe(self, call: Call) -> None:
        """The same edits, noted only."""
        self.apply(call, shadow=True)

    def apply(self, call: Call, shadow: bool) -> Payload | None:
        """The payload with the edits, the call's own where nothing changes."""
        payload: Payload | None = call.payload
        if payload is None:
            call.journal.note("params", self._policy, shadow=shadow, skipped="no_body", why="the body is not JSON that is held")
            return payload
        try:
            payload, what = self._edit(payload)
        except Unread as unread:
            call.journal.note("params", self._policy, shadow=shadow, skipped="unreadable", why=unread.why)
            return call.payload  # type: ignore[no-any-return]
        if what:
            call.journal.note("params", self._policy, acted=not shadow, shadow=shadow, **what)
        return payload

    def _edit(self, payload: Payload) -> tuple[Payload, dict[str, object]]:
        placed: list[str] = []
        removed: list[str] = []
        capped: list[str] = []
        for name, value in self._overrides.items():
            if _differ(payload.value(name), value):
                payload = payload.set(name, value)
                placed.append(name)
        for name, value in self._defaults.items():
            if payload.value(name) is MISSING:
                payload = payload.set(name, value)
                placed.append(name)
        for name in self._remove:
            if payload.value(name) is not MISSING:
                payload = payload.remove(name)
                removed.append(name)
        for name, cap in self._max.items():
            value = payload.value(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value > cap:
                payload = payload.set(name, cap)
                capped.append(name)
        what: dict[str, object] = {"set": placed, "removed": removed, "capped": capped}
        return payload, {name: names for name, names in what.items() if names}


def _thawed(value: object) -> object:
    """A spec's value as JSON readers give it: lists, not tuples, so that the two compare."""
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    if isinstance(value, dict):
        return {key: _thawed(item) for key, item in value.items()}
    return value


def _differ(old: object, new: object) -> bool:
    """Whether two JSON values differ: 1 and True do, 0 and 0.0 do not."""
    return old != new or isinstance(old, bool) is not isinstance(new, bool)


KIND = Kind(
    "params",
    ParamsSpec,
    Floor.CALL,
    enforce=Params,
    shadow=lambda spec, site: Params(spec, site).observe,
    fields=_fields,
    reads_body=lambda spec: True,
)
