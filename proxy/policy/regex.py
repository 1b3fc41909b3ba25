"""regex -- patterns of RE2 in the texts: linear time, whatever the text.

Stands beside the other conditions. RE2 is loaded when a policy asks. Several patterns are one automaton, so a list costs one pass:
3 µs for 1 KB, 60 µs for 32 KB. A pattern whose automaton grows with the text (`[ab]*a[ab]{200}c`) takes up to a thousand times that:
the pace of each is measured when it is loaded, and what would hold the loop for a millisecond is searched in a thread, as RE2 leaves
the interpreter free.
"""

from __future__ import annotations

import asyncio
import functools
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from proxy.policy.conditions import Leaf
from proxy.policy.facts import Facts, TakesLong
from proxy.policy.problems import shortened
from proxy.policy.spec import OneOrMany, Spec, Wrong
from proxy.policy.whose import IN, Role, in_words, roles_of

MAX_PATTERNS = 100  # of one condition
MAX_CHARACTERS = 1000  # of one pattern
MAX_PROGRAM = 10_000  # RE2's instructions of one pattern; the usual ones have 10 to 100, `\pL` has 1,200
MEMORY_BYTES = 4 * 1024 * 1024  # RE2's budget of one automaton
DIRECT_NS = 500_000  # searched at once, up to
DIRECT_BYTES = 64 * 1024
PROBE_BYTES = 512  # of each text against which the pace is measured
FIRST_BYTES = 64
WILD_NS = 1_000.0  # a byte: slower than this is not measured to its end
MAX_WORK = 1 << 30  # bytes times instructions: 8 ns for each at the worst; beyond it the verdict is unknown

_ALPHABETS = (b"abcdefghijklmnopqrstuvwxyz      ", b"0123456789-.,:/ ", b"abcde\xe0\xe9\xf1\xfc ")
_LOOKS = ("(?=", "(?!", "(?<=", "(?<!")
_REASONS = (
    ("invalid perl operator: (?>", "RE2 has no atomic groups", "it never backtracks: a plain group does the same"),
    ("invalid perl operator: ", "RE2 does not know this group", "it has (?:…), (?i), (?s), (?m) and (?P<name>…)"),
    ("invalid escape sequence: \\Z", "RE2 does not know this escape", "write `\\z` for the end of the text"),
    ("invalid escape sequence: \\u", "RE2 does not know this escape", "write `\\x{20AC}` for a code point"),
    ("invalid escape sequence: ", "RE2 does not know this escape", ""),
    ("bad repetition operator: ", "repeats what is repeated already", "RE2 has no possessive `++`; it never backtracks"),
    ("invalid repetition size: ", "repeats too often, or from more to less", "at most 1000 times, those inside each other multiplied"),
    ("no argument for repetition operator: ", "there is nothing to repeat before", "write `\\` before it to mean the sign itself"),
    ("invalid character class range: ", "is no range or class of characters that RE2 knows", ""),
    ("missing ]: ", "a `[` is not closed", "write `\\[` to mean the sign itself"),
    ("missing ): ", "a `(` is not closed", "write `\\(` to mean the sign itself"),
    ("unexpected ): ", "a `)` closes nothing", "write `\\)` to mean the sign itself"),
    ("trailing \\", "ends with a single `\\`", "write `\\\\` to mean the sign itself"),
    ("invalid named capture group: ", "is no name of a group", "write `(?P<name>…)`, or a plain group"),
    ("pattern too large", "the pattern is too large", "make its repetitions shorter, or split it"),
)  # fmt: skip


def _pattern(value: str) -> str:
    """A pattern that RE2 takes. Raises Wrong."""
    if not value:
        raise Wrong("a pattern must not be empty", "an empty one is in every text", got=False)
    if len(value) > MAX_CHARACTERS:
        raise Wrong(f"a pattern may have at most {MAX_CHARACTERS:,} characters", "split it: a list means any of them", got=False)
    if "\b" in value:
        raise Wrong("a pattern has a backspace in it, as `\\b` in double quotes is one", "put the pattern in single quotes", got=False)
    if value.endswith("\n"):
        raise Wrong("a pattern ends with a line break, as a block after `|` does", "write `|-`, or put it in single quotes", got=False)
    size = compiled(value).programsize
    if size > MAX_PROGRAM:
        hint = "make its repetitions shorter, above all those of `\\pL` or `.`"
        raise Wrong(f"the pattern is too large: {size:,} instructions of RE2, at most {MAX_PROGRAM:,}", hint, got=False)
    return value


Pattern = Annotated[
    str, AfterValidator(_pattern), Field(json_schema_extra={"title": "RE2 pattern", "minLength": 1, "maxLength": MAX_CHARACTERS})
]


class RegexSpec(Spec):
    """RE2 patterns, searched anywhere in the text: one, or a list of which any will do.

    The syntax is that of <https://github.com/google/re2/wiki/Syntax>: no look-around, no back-references. Case counts, unless the
    pattern begins with `(?i)`. `\\w`, `\\d` and `\\b` know ASCII alone; `\\pL` is a letter of any script.
    """

    shorthand: ClassVar[str | None] = "any_of"
    any_of: Annotated[OneOrMany[Pattern], Field(max_length=MAX_PATTERNS)] = Field(
        description="True when one of these is found in the text.", examples=["(?i)\\bpassword\\s*[:=]"]
    )
    in_: OneOrMany[Role] | None = Field(None, alias="in", description=IN)

    @property
    def roles(self) -> frozenset[str]:
        """Whose messages; none for the last user message."""
        return roles_of(self.in_)


@functools.cache
def _re2() -> Any:
    import re2  # type: ignore[import-untyped]

    return re2


def compiled(pattern: str) -> Any:
    """The automaton of a pattern. Raises Wrong, with RE2's reason in our words."""
    re2 = _re2()
    options = re2.Options()
    options.max_mem = MEMORY_BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise _wrong(error.args[0].decode("utf-8", "replace"), pattern) from error
    except UnicodeEncodeError as error:
        raise Wrong("a pattern must be text that UTF-8 can write", got=False) from error


def _wrong(said: str, pattern: str) -> Wrong:
    what = said.partition(": ")[2]
    shown = f" `{shortened(what, 40)}`" if what else ""
    if said.startswith("invalid perl operator: ") and what.startswith(_LOOKS):
        behind = "look-behind" if "<" in what else "look-ahead"
        return Wrong(f"RE2 has no look-around: the {behind}{shown}", "say it with two conditions, or match what stands around", got=False)
    if said.startswith("invalid escape sequence: \\") and (what[1:].isdigit() or what[1:] in ("k", "g")):
        return Wrong(f"RE2 has no back-references:{shown}", "they cannot be searched in linear time", got=False)
    if what == "(?P" and "(?P=" in pattern:
        return Wrong("RE2 has no back-references: `(?P=`", "they cannot be searched in linear time", got=False)
    for start, message, hint in _REASONS:
        if said.startswith(start):
            return Wrong(f"{message}:{shown}" if shown else message, hint, got=False)
    return Wrong(f"is no pattern of RE2: {shortened(said)}", got=False)


class Automaton:
    """Patterns as one automaton, and how fast it is."""

    __slots__ = ("_own", "_search", "program")

    def __init__(self, patterns: Sequence[str]) -> None:
        found = compiled(patterns[0] if len(patterns) == 1 else "|".join(f"(?:{pattern})" for pattern in patterns))
        self._search = found.search
        self.program: int = found.programsize
        self._own = "".join(patterns)

    def pace_ns(self) -> float:
        """Nanoseconds a byte: measured, which takes up to 50 ms."""
        return pace_ns(self._search, self._own)

    def is_in(self, text: bytes) -> bool:
        """Whether one of the patterns is found in `text`, which is UTF-8."""
        return self._search(text) is not None


def automata(patterns: Iterable[str]) -> list[Automaton]:
    """As few as can be: patterns together while they stay small. One that may end in a quotation stands alone."""
    out: list[Automaton] = []
    group: list[str] = []
    size = 0
    for pattern in dict.fromkeys(patterns):
        program = compiled(pattern).programsize
        alone = "\\Q" in pattern
        if group and (alone or size + program > MAX_PROGRAM // 10):
            out.append(Automaton(group))
            group, size = [], 0
        if alone:
            out.append(Automaton([pattern]))
            continue
        group.append(pattern)
        size += program
    return [*out, Automaton(group)] if group else out


def _pace_ns(automata: Iterable[Automaton]) -> float:
    """Of all together; not measured further once they are wild."""
    pace = 0.0
    for each in automata:
        pace += each.pace_ns()
        if pace > WILD_NS:
            break
    return pace


def pace_ns(search: Callable[[bytes], Any], pattern: str) -> float:
    """Nanoseconds a byte, on random texts of few letters, of the pattern's own, and of words: the slowest of them.

    Of each sort the quickest of three texts counts, so that a pause of the machine does not; those before fill the automaton, and end the
    measuring where it is wild.
    """
    draw = random.Random(PROBE_BYTES)
    own = "".join(sorted(set(re.sub(r"\\[A-Za-z]|[^\w ]", "", pattern)))).encode("latin-1", "ignore") or b"x"
    slowest = 1.0
    for alphabet in (b"ab", own, *_ALPHABETS):
        table = (alphabet * 256)[:256]
        paces = []
        for size in (FIRST_BYTES, FIRST_BYTES, PROBE_BYTES, PROBE_BYTES, PROBE_BYTES, PROBE_BYTES):
            paces.append(_timed_ns(search, draw.randbytes(size).translate(table).decode("latin-1").encode()))
            if len(paces) > 1 and min(paces[-2:]) > WILD_NS:
                return min(paces[-2:])
        slowest = max(slowest, min(paces[3:]))
    return slowest


def _timed_ns(search: Callable[[bytes], Any], text: bytes) -> float:
    start = time.perf_counter_ns()
    found = search(text)
    took = (time.perf_counter_ns() - start) / len(text)
    return took if found is None or found.end() > len(text) // 2 else 1.0  # it stopped early: this text says nothing


class MatchesRegex(Leaf):
    """Patterns in the texts, each text by itself. Its verdict is kept, as several policies may share it."""

    __slots__ = ("_automata", "_direct_bytes", "_most_bytes", "_patterns", "_roles")
    name, cost = "regex", 16

    def __init__(self, patterns: tuple[str, ...], roles: frozenset[str]) -> None:
        """`roles`: whose messages; none for the last user message."""
        self._patterns = patterns
        self._automata = automata(patterns)
        self._direct_bytes = min(DIRECT_BYTES, int(DIRECT_NS / _pace_ns(self._automata)))
        self._most_bytes = MAX_WORK // sum(each.program for each in self._automata)
        self._roles = roles
        shown = " or ".join(shortened(pattern) for pattern in patterns[:3]) + (f" or {len(patterns) - 3} more" if len(patterns) > 3 else "")
        self.expected = f"{shown} {in_words(roles)}"

    def test(self, facts: Facts) -> bool | None:
        if self in facts.memo:
            return facts.memo[self]
        texts = self._texts(facts)
        size = sum(map(len, texts or ()))
        verdict: bool | None = None
        if size > self._most_bytes:
            facts.cannot(self._too_long(size))
        elif size > self._direct_bytes:
            raise TakesLong(self)
        elif texts is not None:
            verdict = self._found(texts)
        facts.memo[self] = verdict
        return verdict

    async def settle(self, facts: Facts) -> None:
        """The same of a long text, beside the loop."""
        facts.memo[self] = await asyncio.to_thread(self._found, self._texts(facts) or [])

    def _texts(self, facts: Facts) -> list[bytes] | None:
        texts = facts.texts(self._roles)
        return None if texts is None else [text.encode("utf-8", "replace") for text in texts]

    def _found(self, texts: list[bytes]) -> bool:
        return any(each.is_in(text) for each in self._automata for text in texts)

    def _too_long(self, size: int) -> str:
        return f"a text of {size:,} bytes is too long for this regex, which takes {self._most_bytes:,}"

    def why(self, facts: Facts) -> str:
        size = sum(map(len, self._texts(facts) or ()))
        return self._too_long(size) if size > self._most_bytes else super().why(facts)

    def seen(self, facts: Facts) -> str:
        texts = self._texts(facts) or []
        size = sum(map(len, texts))
        if not facts.memo[self]:
            return f"not in {size:,} bytes of text"
        if size > self._direct_bytes:
            return f"found in {size:,} bytes of text"
        found = [shortened(pattern) for pattern in self._patterns if any(compiled(pattern).search(text) for text in texts)]
        return f"found {found[0]}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
