"""globs -- names with `*` for any run of characters and `?` for any one: whole, case-sensitive, nothing else special.

Stands under the conditions on models, paths and headers. Plain names are one set look-up; a pattern takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable


def matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text is matched by one of `globs`."""
    plain: set[str] = set()
    prefixes: list[str] = []
    patterns: list[str] = []
    for glob in globs:
        if "*" not in glob and "?" not in glob:
            plain.add(glob)
        elif glob.endswith("*") and "*" not in glob[:-1] and "?" not in glob:
            prefixes.append(glob[:-1])
        else:
            patterns.append(_pattern(glob))
    if not prefixes and not patterns:
        return frozenset(plain).__contains__
    names, starts = frozenset(plain), tuple(prefixes)
    search = re.compile("|".join(patterns), re.DOTALL).fullmatch if patterns else None

    def matches(text: str) -> bool:
        return text in names or text.startswith(starts) or (search is not None and search(text) is not None)

    return matches


def _pattern(glob: str) -> str:
    """Each middle part is taken at its first place and never given back (an atomic group), so no input backtracks."""
    parts = ["".join("." if c == "?" else re.escape(c) for c in part) for part in re.split(r"\*+", glob)]
    if len(parts) == 1:
        return parts[0]
    first, *middle, last = parts
    return f"(?:{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last})"
