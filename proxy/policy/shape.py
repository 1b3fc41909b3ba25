"""shape -- what the models expect at a path of a YAML value: short forms, missing values, and the names to suggest.

Stands between plain values and pydantic: unfolding first keeps the models free of `before` validators, so that strict mode
judges JSON and nothing is coerced on the way.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import JsonValue

from proxy.policy.problems import Path
from proxy.policy.spec import Model
from proxy.policy.units import Many

Found = tuple[Path, str, str]  # path, message, hint
_UNIONS = (Union, types.UnionType)


def unfold(annotation: Any, value: Any, path: Path = ()) -> tuple[Any, list[Found]]:
    """`value` with every short form written out, and the keys that were left without a value."""
    found: list[Found] = []
    return _unfold(annotation, value, path, found), found


def _unfold(annotation: Any, value: Any, path: Path, found: list[Found]) -> Any:
    if _is_free(annotation):
        return value
    if value is None:
        return value
    if _is_many(annotation) and not isinstance(value, list):
        value = [value]
    for kind in branches(annotation):
        if isinstance(kind, type) and issubclass(kind, Model):
            if kind.shorthand is not None and _is_short(kind, kind.shorthand, value):
                value = {kind.shorthand: value}
            if isinstance(value, dict):
                return _unfold_fields(kind, value, path, found)
        elif get_origin(kind) is tuple and isinstance(value, list):
            return [_unfold(get_args(kind)[0], item, (*path, i), found) for i, item in enumerate(value)]
        elif get_origin(kind) in (dict, Mapping) and isinstance(value, dict):
            inner = get_args(kind)[1]
            return {key: _unfold(inner, item, (*path, key), found) for key, item in value.items()}
    return value


def _unfold_fields(spec: type[Model], value: dict[str, Any], path: Path, found: list[Found]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    known = fields(spec)
    for key, item in value.items():
        annotation = known.get(key)
        at = (*path, key)
        if annotation is None:
            out[key] = item
        elif item is None and not _is_free(annotation):
            found.append((at, "has no value", "write one, or take the key out"))
        else:
            out[key] = _unfold(annotation, item, at, found)
    return out


def _is_short(kind: type[Model], shorthand: str, value: Any) -> bool:
    """Whether `value` stands for the field alone. A mapping does that lacks the field and has keys which only its entries have."""
    if not isinstance(value, dict):
        return True
    annotation = fields(kind)[shorthand]
    entry = {*names_at(annotation, (0,)), *names_at(annotation, ())}
    return shorthand not in value and bool(value.keys() & (entry - fields(kind).keys()))


def names_at(annotation: Any, loc: Path) -> list[str]:
    """The field names that may stand where `loc` leads, for a suggestion."""
    reached = list(branches(annotation))
    for part in loc:
        reached = [kind for each in reached for kind in _step(each, part)]
    return sorted({name for kind in reached if isinstance(kind, type) and issubclass(kind, Model) for name in fields(kind)})


def _step(kind: Any, part: str | int) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, Model):
        annotation = fields(kind).get(str(part))
        if annotation is not None:
            yield from branches(annotation)
    elif get_origin(kind) is tuple:
        yield from branches(get_args(kind)[0]) if isinstance(part, int) else ()
    elif get_origin(kind) in (dict, Mapping):
        yield from branches(get_args(kind)[1])


@functools.lru_cache(maxsize=256)
def fields(spec: type[Model]) -> dict[str, Any]:
    """YAML name to annotation, the markers of `Annotated` kept."""
    out: dict[str, Any] = {}
    for name, field in spec.model_fields.items():
        annotation: Any = field.annotation
        for marker in field.metadata:
            if isinstance(marker, Many):
                annotation = Annotated[annotation, marker]
        out[field.alias or name] = annotation
    return out


def _is_many(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return any(isinstance(marker, Many) for marker in annotation.__metadata__) or _is_many(annotation.__origin__)
    return get_origin(annotation) in _UNIONS and any(_is_many(each) for each in get_args(annotation))


def _is_free(annotation: Any) -> bool:
    """Whether any JSON may stand there, null too."""
    if get_origin(annotation) is Annotated:
        return _is_free(annotation.__origin__)
    return annotation is Any or annotation is JsonValue


def branches(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation: unions opened, markers taken off."""
    if get_origin(annotation) is Annotated:
        yield from branches(annotation.__origin__)
    elif get_origin(annotation) in _UNIONS:
        for each in get_args(annotation):
            yield from branches(each)
    elif annotation is not type(None):
        yield annotation
