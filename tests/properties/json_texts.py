"""JSON texts in every spelling that the standard parser takes: white space, escapes, NaN, lone surrogates, huge numbers, repeated keys.

Written from one drawn seed: a hundred times quicker than a tree of strategies, so that many more are tried.
"""

from __future__ import annotations

import json
from random import Random

from hypothesis import strategies as st

COMMON = ["model", "messages", "stream", "n", "role", "content", "a"]
_GAPS = ["", "", "", "", " ", "\n", "\t \r\n"]
_NUMBERS = ["0", "-0", "1.0", "1e3", "1E-7", "0.10", "12345678901234567890123", "-1", "1e400", "NaN", "Infinity", "-Infinity"]
_ESCAPED = ["\\/", "\\u0041", "\\ud800", "\\udc00", "\\\\", '\\"', "\\u00e9", "\\ud83d\\ude00", "\\n", "\\u0000", '\\"data', '\\"model\\":']
_PLAIN = ["\u2028", "é", "😀", "data:", "{", "}", "[", "]", ":", ",", " ", "model", "\x7f", "\ufeff", "x", "日本"]


class Writer:
    """Writes one text. With `style`, gaps stand as one of the usual writers puts them, and keys are not escaped."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._style = self._random.choice([None, None, (",", ":"), (", ", ": ")])

    def object(self, depth: int = 3) -> str:
        """An object, members of common names and others."""
        members = [f"{self._key()}{self._colon()}{self.value(depth - 1)}" for _ in range(self._random.randrange(6))]
        return self._gap() + "{" + (self._comma().join(members) or self._gap()) + self._gap() + "}" + self._gap()

    def value(self, depth: int = 2) -> str:
        """Any value, no deeper than `depth`."""
        kind = self._random.randrange(7 if depth > 0 else 4)
        if kind == 0:
            return self._random.choice(_NUMBERS)
        if kind == 1:
            return self._random.choice(["true", "false", "null"])
        if kind < 4:
            return self._string()
        if kind == 4:
            return self.object(depth).strip(" \t\r\n")
        items = [self.value(depth - 1) for _ in range(self._random.randrange(4))]
        return "[" + (self._comma().join(items) or self._gap()) + self._gap() + "]"

    def _string(self) -> str:
        return '"' + "".join(self._random.choice(self._random.choice((_ESCAPED, _PLAIN))) for _ in range(self._random.randrange(6))) + '"'

    def _key(self) -> str:
        kind = self._random.randrange(6)
        if kind == 0:
            return self._string()
        key = self._random.choice(COMMON)
        if kind == 1 and self._style is None:
            return '"' + "".join(f"\\u{ord(char):04x}" if self._random.randrange(2) else char for char in key) + '"'
        return json.dumps(key)

    def _comma(self) -> str:
        return self._style[0] if self._style else f"{self._gap()},{self._gap()}"

    def _colon(self) -> str:
        return self._style[1] if self._style else f"{self._gap()}:{self._gap()}"

    def _gap(self) -> str:
        return "" if self._style else self._random.choice(_GAPS)


SEEDS = st.integers(0, 2**32)


def objects() -> st.SearchStrategy[str]:
    """An object, as a request body."""
    return SEEDS.map(lambda seed: Writer(seed).object())


def json_texts() -> st.SearchStrategy[str]:
    """Any value."""
    return SEEDS.map(lambda seed: Writer(seed).value())


def styled(value: object, seed: int) -> str:
    """A value as one of the usual writers writes it."""
    random = Random(seed)
    text = json.dumps(
        value,
        ensure_ascii=bool(random.randrange(2)),
        separators=random.choice([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
        indent=random.choice([None, None, 2]),
    )
    return text.replace("\ud800", "\\ud800")  # a lone surrogate can only be sent escaped
