"""edits -- parameters of a request to pin, default, cap or remove: the YAML model, and the edits that it means.

Stands under the kinds that change what a model is asked for: `params`, and the targets of `fallback`.
Cost: a few microseconds for each field that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from proxy.openai.parameters import PARAMETERS, almost
from proxy.openai.payload import MISSING, Payload, Unread
from proxy.policy.problems import shortened
from proxy.policy.spec import Json, Spec, Wrong
from proxy.policy.units import Form
from proxy.policy.view import Warned

Edit = Callable[[Payload, str, Any], Payload]
NOT_PARAMETERS = {
    "model": "use `rewrite: {model: …}`",
    "messages": "use `instruct`",
    "instructions": "use `instruct`",
    "input": "it is the prompt",
    "prompt": "it is the prompt",
    "stream": "it changes the form of the reply, which the app chose",
}
Parameter = Annotated[
    str,
    Form(
        "parameter",
        f"^(?!({'|'.join(NOT_PARAMETERS)})$)",
        "a parameter, and neither the model nor the prompt",
        offered=tuple(sorted(PARAMETERS - set(NOT_PARAMETERS))),
    ),
]


class ParamsSpec(Spec):
    """Pin, default, cap or remove parameters. Every other byte of the body stays as the app sent it."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "if": {"maxProperties": 1},
            "then": {
                "properties": {
                    "defaults": {"minProperties": 1},
                    "overrides": {"minProperties": 1},
                    "max": {"minProperties": 1},
                    "remove": {"minItems": 1},
                }
            },
            "examples": [{"overrides": {"temperature": 0}, "max": {"max_tokens": 4096}}],
        }
    )
    defaults: dict[Parameter, Json] = Field(default_factory=dict, description="Set where the app did not, as `{seed: 7}`.")
    overrides: dict[Parameter, Json] = Field(default_factory=dict, description="Set whatever the app said, as `{temperature: 0}`.")
    remove: tuple[Parameter, ...] = Field((), description="Taken out, as what a model refuses: `[top_logprobs]`.")
    max: dict[Parameter, int | float] = Field(default_factory=dict, description="Numbers above these are lowered, as `{max_tokens: 1000}`.")

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


def slips(spec: ParamsSpec) -> Iterator[Warned]:
    """What is surely not meant."""
    for name, cap in spec.max.items():
        default = spec.defaults.get(name)
        if isinstance(default, (int, float)) and not isinstance(default, bool) and default > cap:
            yield Warned(("defaults", name), f"the default of {default} is lowered to {cap} at once: `max` of the same policy", "lower it")
    for section, named in (("defaults", spec.defaults), ("overrides", spec.overrides), ("max", spec.max)):
        for name in named:
            if (hint := almost(name)) is not None:
                yield Warned((section, name), f"'{shortened(name)}' is no parameter of the API", hint)
    for i, name in enumerate(spec.remove):
        if (hint := almost(name)) is not None:
            yield Warned(("remove", i), f"'{shortened(name)}' is no parameter of the API", hint)


class Edits:
    """The edits of a spec, in their order."""

    __slots__ = ("_edits",)

    def __init__(self, spec: ParamsSpec, fields: frozenset[str] | None = None) -> None:
        """`fields`: those that count, None for all."""
        edits: list[tuple[Edit, str, object]] = [(_override, name, _thawed(value)) for name, value in spec.overrides.items()]
        edits += [(_default, name, _thawed(value)) for name, value in spec.defaults.items()]
        edits += [(_remove, name, None) for name in spec.remove]
        edits += [(_cap, name, cap) for name, cap in spec.max.items()]
        self._edits = [edit for edit in edits if fields is None or edit[1] in fields]

    def apply(self, payload: Payload) -> tuple[Payload, dict[str, list[str]], list[str]]:
        """The payload with the edits, the same where nothing changes; the fields by what was done to them; what could not be read, and why.

        A field that cannot be read hides no other.
        """
        done: dict[str, list[str]] = {}
        unread: dict[str, None] = {}
        for edit, name, value in self._edits:
            try:
                edited = edit(payload, name, value)
            except Unread as exc:
                unread[exc.why] = None
                continue
            if edited is not payload:
                payload = edited
                done.setdefault(_DONE[edit], []).append(name)
        return payload, done, list(unread)


def _override(payload: Payload, name: str, value: object) -> Payload:
    return payload.set(name, value) if _differ(payload.value(name), value) else payload


def _default(payload: Payload, name: str, value: object) -> Payload:
    return payload.set(name, value) if payload.value(name) is MISSING else payload


def _remove(payload: Payload, name: str, value: object) -> Payload:
    return payload if payload.value(name) is MISSING else payload.remove(name)


def _cap(payload: Payload, name: str, cap: Any) -> Payload:
    value = payload.value(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return payload.set(name, cap) if is_number and value > cap else payload


_DONE: dict[Edit, str] = {_override: "set", _default: "set", _remove: "removed", _cap: "capped"}


def _thawed(value: object) -> object:
    """A spec's value as JSON readers give it: lists, not tuples, so that the two compare."""
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    if isinstance(value, dict):
        return {key: _thawed(item) for key, item in value.items()}
    return value


def _differ(old: object, new: object) -> bool:
    """Whether two JSON values differ: 1 and True do, 0 and 0.0 do not."""
    if old != new or isinstance(old, bool) is not isinstance(new, bool):
        return True
    if isinstance(old, list) and isinstance(new, list):
        return any(map(_differ, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return any(_differ(value, new[key]) for key, value in old.items())
    return False
