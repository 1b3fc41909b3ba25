"""selection -- `-k`: words that a case's name or file has, joined by `and`, `or` and `not`, with parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable

Test = Callable[[str], bool]
_TOKEN = re.compile(r"\s*(?:(\()|(\))|\"([^\"]*)\"|'([^']*)'|([^\s()\"']+))")


class Unclear(ValueError):
    """An expression that is not one; the text says why."""


def selection(expression: str) -> Test:
    """Whether a text has what `expression` says, in any case. Words that stand together must stand so in the text. Raises Unclear."""
    reader = _Reader(_tokens(expression))
    test = reader.any_of()
    if reader.tokens:
        raise Unclear(f"'{reader.tokens[0][1]}' is not expected here")
    return test


def _tokens(expression: str) -> list[tuple[str, str]]:
    """(kind, text): a word, an operator or a parenthesis; a quoted word is never an operator."""
    found = []
    at = 0
    expression = expression.rstrip()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise Unclear("a quotation mark is not closed")
        at = match.end()
        opens, closes, double, single, bare = match.groups()
        if opens or closes:
            found.append((opens or closes, opens or closes))
        elif bare is not None and bare.lower() in ("and", "or", "not"):
            found.append((bare.lower(), bare))
        else:
            found.append(("word", bare if bare is not None else double if double is not None else single or ""))
    return found


class _Reader:
    """Recursive descent: `or` binds least, `not` most."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens

    def _next(self, kind: str) -> bool:
        if self.tokens and self.tokens[0][0] == kind:
            self.tokens.pop(0)
            return True
        return False

    def any_of(self) -> Test:
        tests = [self._all_of()]
        while self._next("or"):
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda text: any(test(text) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._next("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda text: all(test(text) for test in tests)

    def _one(self) -> Test:
        if self._next("not"):
            test = self._one()
            return lambda text: not test(text)
        if self._next("("):
            test = self.any_of()
            if not self._next(")"):
                raise Unclear("a parenthesis is not closed")
            return test
        words = []
        while self.tokens and self.tokens[0][0] == "word":
            words.append(self.tokens.pop(0)[1])
        if not words:
            raise Unclear(f"a word is expected before '{self.tokens[0][1]}'" if self.tokens else "a word is expected at its end")
        phrase = " ".join(words).casefold()
        return lambda text: phrase in text.casefold()
