"""problems -- what is wrong with a policy file, where, and what to do: the one form in which configuration errors travel.

Stands at the bottom of `policy`, so that every module can report instead of raise. Costs nothing at run time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

Path = tuple[str | int, ...]


class Severity(StrEnum):
    """An error refuses the whole folder; a warning is only shown, unless `check --strict` is asked; a note says how things are."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(slots=True, frozen=True)
class Place:
    """A spot in a file, counted from 1; line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(slots=True, frozen=True)
class Problem:
    """One mistake. `path` is the dotted way to the value, empty where the mistake is not a value's; `hint` says what to do."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """The line that a person reads; editors jump to its place. A terminal's control characters are spelled."""
        parts = [str(Place(self.file, self.line, self.column))]
        if self.severity is not Severity.ERROR:
            parts.append(self.severity.value)
        if self.path:
            parts.append(self.path)
        parts.append(f"{self.message}; {self.hint}" if self.hint else self.message)
        return printable(": ".join(parts))

    def to_json(self) -> dict[str, str | int]:
        """The form for tools."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
            "severity": str(self.severity),
        }


class PolicyError(Exception):
    """The folder is refused. Carries every problem of every file, warnings too, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = ordered(problems)
        super().__init__("\n".join(map(str, self.problems)))


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """What refuses the folder first; then by file, line and column; each told once."""
    return tuple(sorted(dict.fromkeys(problems), key=_rank))


def _rank(problem: Problem) -> tuple[object, ...]:
    warns = problem.severity is not Severity.ERROR
    return warns, problem.file, problem.line, problem.column, problem.path, problem.message


def problem_at(place: Place, path: Path, message: str, hint: str = "", severity: Severity = Severity.ERROR) -> Problem:
    """A problem with its place and dotted path spelled out."""
    return Problem(place.file, place.line, place.column, dotted(path), message, hint, severity)


_PLAIN_KEY = re.compile(r"[\w-]+").fullmatch


def dotted(path: Path) -> str:
    """`policies[0].apply.retry`; keys that would be misread are quoted."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        elif len(part) < 64 and _PLAIN_KEY(part):
            out += f".{part}" if out else part
        else:
            out += f'["{shortened(part)}"]'
    return out


_WORDS_OF_OTHERS = {  # what people bring from other languages of policies, to our word for it
    **dict.fromkeys(("when", "if", "condition", "conditions", "selector"), "match"),
    **dict.fromkeys(("then", "do", "action", "actions"), "apply"),
    **dict.fromkeys(("enabled", "disabled"), "mode"),
    **dict.fromkeys(("above", "over", "from", "min", "gte"), "at_least"),
    **dict.fromkeys(("under", "max", "lt"), "below"),
    **dict.fromkeys(("api_key", "apikey", "token"), "key"),
    **dict.fromkeys(("base_url", "endpoint", "host"), "url"),
}
_VALUES_OF_OTHERS = {
    **dict.fromkeys(("disabled", "disable", "none"), "off"),
    **dict.fromkeys(("dry_run", "dryrun", "audit", "monitor", "observe", "log", "report"), "shadow"),
    **dict.fromkeys(("enabled", "enable", "on", "active", "enforced"), "enforce"),
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint naming the nearest of `known`, empty when nothing is near."""
    names = sorted(known)
    by_folded = {name.casefold().replace("-", "_"): name for name in names}
    sought = word[:200].casefold().replace("-", "_")
    for table in (_WORDS_OF_OTHERS, _VALUES_OF_OTHERS):
        if (meant := table.get(sought)) in by_folded:
            return f"did you mean '{by_folded[meant]}'?"
    near = difflib.get_close_matches(sought, by_folded, n=5, cutoff=0.6)
    best = max(near, key=lambda name: _likeness(sought, name), default="")
    if near and (len(sought) < 5 or _likeness(sought, best) >= 0.8):  # `cache` is no `race`, and `headers` no `hedge`
        return f"did you mean '{by_folded[best]}'?"
    return next((f"did you mean '{part}'?" for part in sought.split("/") if part in by_folded), "")


def _likeness(sought: str, name: str) -> float:
    return difflib.SequenceMatcher(None, sought, name).ratio() + _same_start(sought, name) / 20


def _same_start(one: str, other: str) -> int:
    """How many characters both begin with: people get the beginning of a word right."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def listed(names: Sequence[str], limit: int = 24) -> str:
    """`a, b, c`, cut where a reader would stop."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")


def printable(text: str) -> str:
    """`text` with its line breaks, escape sequences and direction marks spelled out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, limit: int = 60) -> str:
    """One line of `text` for a message: control characters spelled, the end of long ones left out."""
    clean = printable(text[: limit * 2])
    return clean if len(text) <= limit and len(clean) <= limit * 2 else f"{clean[: limit - 1]}…"
