"""units -- the values of YAML that carry a unit, as pydantic types: `200ms`, `64KiB`, `1%`; and lists that may be written as one value.

Stands under every spec. A bare number is refused with a hint, because `timeout: 5` has been read as 5 ms and as 5 minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)").fullmatch
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|KB|MB|GB)").fullmatch
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%").fullmatch

SECRET = {"writeOnly": True}  # json_schema_extra of a field that holds a secret


class Wrong(ValueError):
    """What a validator of ours says. `got`: whether the message should go on with what was found; `hint`: what to do.

    `at` leads from the value that is validated to the one that is wrong.
    """

    def __init__(self, message: str, hint: str = "", got: bool = True, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.got = got
        self.at = at


def seconds(value: Any) -> float:
    """The seconds of `200ms`, `2s`, `1m`, `1h` or `1d`. Raises Wrong."""
    found = _DURATION(value) if isinstance(value, str) else None
    if found is None:
        hint = f"did you mean '{value}s'?" if _is_number(value) else ""
        raise Wrong("must be a duration such as 200ms, 2s, 1m or 1h", hint)
    return float(found[1]) * _SECONDS[found[2]]


def size_bytes(value: Any) -> int:
    """The bytes of `64KiB`, `4MiB` or `512B`. Raises Wrong."""
    found = _SIZE(value) if isinstance(value, str) else None
    if found is None:
        hint = f"did you mean '{value}B'?" if _is_number(value) else ""
        raise Wrong("must be a size such as 512B, 64KiB or 4MiB", hint)
    return int(found[1]) * _SIZES[found[2]]


def share(value: Any) -> float:
    """The part of one of `0.5%` or `25%`. Raises Wrong."""
    found = _SHARE(value) if isinstance(value, str) else None
    if found is None or float(found[1]) > 100:
        meant = f"{value * 100:g}" if isinstance(value, float) and 0 < value < 1 else value
        raise Wrong("must be a share from 0% to 100%", f"did you mean '{meant}%'?" if _is_number(value) else "")
    return float(found[1]) / 100


def duration_text(value: float) -> str:
    """Seconds as YAML writes them, in the largest unit that stays whole."""
    for unit in ("d", "h", "m", "s"):
        if value and value % _SECONDS[unit] == 0:
            return f"{value / _SECONDS[unit]:.0f}{unit}"
    return f"{value * 1000:g}ms" if value else "0s"


def size_text(value: int) -> str:
    """Bytes as YAML writes them, in the largest unit that stays whole."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit}"
    return f"{value}B"


def share_text(value: float) -> str:
    """A part of one as YAML writes it."""
    return f"{value * 100:g}%"


def with_unit(bound: Any, written: Any) -> str:
    """`bound` of a limit with the unit with which the value was `written`, for a message."""
    if isinstance(written, str):
        if _DURATION(written):
            return duration_text(float(bound))
        if _SIZE(written):
            return size_text(int(bound))
        if _SHARE(written):
            return share_text(float(bound))
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(slots=True, frozen=True)
class Form:
    """Marks a text of a form with its JSON Schema: its noun, its pattern, and what an editor says of one that is wrong.

    `offered` are the usual ones, for an editor to offer; others may stand too.
    """

    noun: str
    pattern: str
    must_be: str
    offered: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        out = {"type": "string", "title": self.noun, "pattern": self.pattern, "patternErrorMessage": f"must be {self.must_be}"}
        return {**out, "anyOf": [{"enum": list(self.offered)}, {}]} if self.offered else out


Seconds = Annotated[
    float,
    BeforeValidator(seconds),
    PlainSerializer(duration_text, when_used="json"),
    Form("duration", r"^[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h|d)$", "a duration such as 200ms, 2s, 1m or 1h"),
]
Bytes = Annotated[
    int,
    BeforeValidator(size_bytes),
    PlainSerializer(size_text, when_used="json"),
    Form("size", r"^[0-9]{1,12}(B|KiB|MiB|GiB|KB|MB|GB)$", "a size such as 512B, 64KiB or 4MiB"),
]
Percent = Annotated[
    float,
    BeforeValidator(share),
    PlainSerializer(share_text, when_used="json"),
    Form("share", r"^(0?[0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?)%$", "a share from 0% to 100%"),
]


def _one_line(value: str) -> str:
    if any(c in value for c in "\r\n\0"):
        raise Wrong("must be one line of text", got=False)
    return value


Line = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(_one_line),
    Form("text", r"^[^\r\n\u0000]+$", "one line of text, not empty"),
]


def _finite(value: Any) -> Any:
    """What JSON can say."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, float) and (each != each or each in (float("inf"), float("-inf"))):
            raise Wrong("JSON has no infinity and no NaN", got=False)
        if isinstance(each, int) and not isinstance(each, bool) and not -(2**63) <= each < 2**64:
            raise Wrong("the number is too large for JSON", got=False)
        stack.extend(each.values() if isinstance(each, dict) else each if isinstance(each, (list, tuple)) else ())
    return value


Json = Annotated[Any, AfterValidator(_finite)]

T = TypeVar("T")


class Many:
    """Marks a list that may be written as one value: `shape.unfold` makes it a list before pydantic sees it."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many.get("items", {}), many]}


OneOrMany = Annotated[tuple[T, ...], Field(min_length=1), Many()]
