"""scalars -- a plain word of YAML to its value, by the core schema of YAML 1.2: only `true`, `null` and numbers are special.

Stands under the reader. YAML 1.1, which PyYAML speaks by itself, reads `no` as false, `1:30` as 90 and `010` as 8.
"""

from __future__ import annotations

import re
from typing import Any

MAX_DIGITS = 400  # no number of a policy is longer, and reading digits takes quadratic time

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+").fullmatch
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?").fullmatch
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((f"{sign}{word}" for sign in ("", "+") for word in (".inf", ".Inf", ".INF")), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class TooLong(ValueError):
    """A number of more than MAX_DIGITS digits."""


def scalar(text: str) -> Any:
    """The value of a plain scalar. Raises TooLong."""
    if text in _WORDS:
        return _WORDS[text]
    whole = _INT(text)
    if whole is None and _FLOAT(text) is None:
        return text
    if len(text) > MAX_DIGITS:
        raise TooLong(text[:MAX_DIGITS])
    if whole is None:
        return float(text)
    base = {"0o": 8, "0x": 16}.get(text[:2])
    return int(text[2:], base) if base else int(text)


def spelled(value: Any) -> str:
    """A scalar as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
