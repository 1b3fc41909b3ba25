"""spec -- the base of every YAML model: strict (no silent coercion), closed (no unknown field), frozen.

Stands under the kinds' own models; schema, reference and problems are all made from the fields' descriptions and bounds.
Pydantic works at load only, never in a call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from proxy.policy.problems import Path
from proxy.policy.units import Bytes, Json, Line, OneOrMany, Percent, Seconds, Wrong

_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}

__all__ = ["Bytes", "Json", "Line", "Model", "OneOrMany", "Percent", "Seconds", "Spec", "Wrong"]


class Model(BaseModel):
    """What YAML may say about one thing.

    A model with a `shorthand` may be written as that field's value alone: a list of targets instead of `{targets: [...]}`.
    Sequences are tuples; validators raise `Wrong`; every field has a description.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    shorthand: ClassVar[str | None] = None

    @classmethod
    def read(cls, value: Any) -> Self:
        """Validates plain YAML values, short forms unfolded (`shape.unfold`). Raises pydantic's ValidationError.

        Goes by way of JSON: there pydantic's strict mode takes lists for tuples and text for enums, and nothing else.
        """
        return cls.model_validate_json(json.dumps(value))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        out = handler(schema)
        whole = handler.resolve_ref_schema(out)
        properties = whole.get("properties", {})
        for name, field in cls.model_fields.items():
            shown = properties.get(field.alias or name, {})
            _without_null(shown)
            for marker in field.metadata:
                if isinstance(marker, PlainSerializer) and "default" in shown:
                    shown["default"] = marker.func(shown["default"])  # type: ignore[call-arg]
                for keyword, attribute in _BOUNDS.items():
                    if hasattr(marker, attribute) and shown.get("type") == "string":  # of a text with a unit pydantic leaves them out
                        shown[keyword] = getattr(marker, attribute)
        if cls.shorthand is not None:
            full = dict(whole)
            short = full.get("properties", {}).get(cls.shorthand, {})
            whole.clear()
            whole.update({"anyOf": [short, full], "description": full.get("description", "")})
            if "examples" in full:
                whole["examples"] = full.pop("examples")
        return out


def _without_null(field: dict[str, Any]) -> None:
    """A key is left out, never null: what pydantic allows for an unset field is not offered to who writes YAML."""
    arms = field.get("anyOf")
    if arms is None or {"type": "null"} not in arms:
        return
    if field.get("default", ...) is None:
        del field["default"]
    rest = [arm for arm in arms if arm != {"type": "null"}]
    if len(rest) == 1:
        del field["anyOf"]
        field.update({**rest[0], **field})
    else:
        field["anyOf"] = rest


class Spec(Model):
    """The model of one part of a policy file."""

    def upstreams(self) -> Iterable[tuple[Path, str]]:
        """The upstreams that it sends calls to, each with its path inside the spec."""
        return ()
