"""glob_sets -- what two globs have in common: whether one matches all that another does, and whether any text fits both.

Stands under `logic`, for the warnings of `check`; never asked in a call. Cost: the product of the two lengths.
"""

from __future__ import annotations

from collections.abc import Iterable


def is_within(narrow: str, wide: str) -> bool:
    """Whether `wide` surely matches whatever `narrow` does. May say no where it does all the same (`a*b` in `*`-rich globs)."""
    if narrow == wide:
        return True
    if not narrow.startswith(_head(wide)):
        return False
    row = [True, *[False] * len(narrow)]  # what is matched of `narrow`, its own signs taken as letters
    for sign in wide:
        before, row = row, [sign == "*" and row[0], *[False] * len(narrow)]
        for i, letter in enumerate(narrow, 1):
            if sign == "*":
                row[i] = before[i] or row[i - 1]
            else:
                row[i] = before[i - 1] and (letter == sign or (sign == "?" and letter != "*"))
    return row[-1]


def may_meet(one: str, other: str) -> bool:
    """Whether some text is matched by both."""
    head, start = _head(one), _head(other)
    if not (head.startswith(start) or start.startswith(head)):
        return False
    row = [True, *[False] * len(other)]
    for j, sign in enumerate(other, 1):
        row[j] = row[j - 1] and sign == "*"
    for letter in one:
        before, row = row, [letter == "*" and row[0], *[False] * len(other)]
        for j, sign in enumerate(other, 1):
            if letter == "*":
                row[j] = before[j] or row[j - 1]
            elif sign == "*":
                row[j] = row[j - 1] or before[j]
            else:
                row[j] = before[j - 1] and ("?" in (letter, sign) or letter == sign)
    return row[-1]


def _head(glob: str) -> str:
    """What every text that it matches begins with."""
    return glob.partition("*")[0].partition("?")[0]


def are_within(narrow: Iterable[str], wide: Iterable[str]) -> bool:
    """Whether each of `narrow` is within one of `wide`."""
    wide = tuple(wide)
    return all(any(is_within(one, other) for other in wide) for one in narrow)


def samples(glob: str) -> tuple[str, ...]:
    """Some texts that it matches."""
    filled = glob.replace("?", "x")
    return (filled,) if "*" not in filled else (filled.replace("*", "x"), filled.replace("*", "") or "x", filled.replace("*", "q7-z"))
