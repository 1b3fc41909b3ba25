"""keywords -- whole words and phrases in a text, in any case and any script; thousands of them in one pass.

Stands under the conditions, on `Text`: folded once a call (13 µs for 32 KB of ASCII) and shared by all of them.
A few words are sought one by one, dozens by one RE2 automaton, more by looking each word of the text up in a set:
an automaton of thousands would grow without bound under a hostile text.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

FEW = 6  # up to here one search a keyword (7 µs in 32 KB) is cheaper than the automaton (57 µs)
AUTOMATON_CHARACTERS = 4096  # of all keywords together; more go into a set (0.4 ms for 32 KB, whatever their number)
AUTOMATON_BYTES = 16 * 1024 * 1024  # RE2's budget of states; this many characters need far less
SHORT = 4096  # characters up to which str.find beats RE2's literal search, which costs 1.3 µs before the first byte

# Scripts written without spaces between words, and Hangul, whose particles join the word: these ask for no boundary.
_SPANS = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029),
    (0x3031, 0x3035), (0x303B, 0x303C), (0x3041, 0x3096), (0x3099, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x3105, 0x312F),
    (0x3131, 0x318F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
_unspaced = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in _SPANS) + "]")
_unspaced_run = re.compile(_unspaced.pattern + "+")
_gap = re.compile(r"[\W" + "".join(f"{chr(low)}-{chr(high)}" for low, high in _SPANS) + "]").search
_UNSPACED_RE2 = "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in _SPANS)
_BETWEEN_ASCII = str.maketrans({c: " " for c in map(chr, range(128)) if not (c.isalnum() or c == "_")})

# What is not seen, and so parts no word (soft hyphens, zero width, directions, variants of signs); what is typed for ' and -; Turkish i's,
# which have other cases there: I is ı, and i is İ.
_UNSEEN = (
    0xAD, 0x34F, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A),
    0xFE0E, 0xFE0F, 0xFEFF,
)  # fmt: skip
_SPELT_OTHERWISE = (
    *((chr(code), "") for code in _UNSEEN),
    ("\u2019", "'"), ("\u02bc", "'"), ("\u2018", "'"), ("\u2010", "-"), ("\u2011", "-"), ("\u0131", "i"), ("\u0130", "i"),
)  # fmt: skip
_wide = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f]+")  # letters and digits as wide as Han, narrow kana
_IN_BLOCK = bytes(upper == 0xFF for upper in range(256))
_IN_WIDE = bytes(0x10 <= low <= 0x19 or 0x21 <= low <= 0x3A or 0x41 <= low <= 0x5A or 0x66 <= low <= 0x9F for low in range(256))

DIRECT_CHARS = 64 * 1024  # searched at once: 0.1 ms of ASCII, 0.5 ms of Cyrillic
SLICE_CHARS = 16 * 1024  # of a longer text: what is searched before the loop gets its turn
REACH_CHARS = 600  # a phrase over more than this, white space included, is not found in a text that is cut
MAX_MARKS = 512  # combining marks in one stretch, beyond which a text is taken for one long word
_USUAL_GAPS = " \n\t.,:;()"
LONG_WORD_CHARS = 4096  # no keyword is in a word of this length: keywords have at most 256


def fold(text: str) -> str:
    """`text` as it is compared: composed, without case, width and what is not seen. Lengths may change."""
    if text.isascii():
        return text.lower()
    for sign, meant in _SPELT_OTHERWISE:
        if sign in text:
            text = text.replace(sign, meant)
    if _has_wide(text):
        text = _wide.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.casefold().replace("i\u0307", "i"))


def _has_wide(text: str) -> bool:
    """Whether a sign of `_wide` may be in it: five times as quick as to search for it, as Chinese has its commas in the same block."""
    data = text.encode("utf-16-le", "surrogatepass")
    upper = data[1::2]
    return b"\xff" in upper and bool(int.from_bytes(upper.translate(_IN_BLOCK)) & int.from_bytes(data[::2].translate(_IN_WIDE)))


def spelled(keyword: str) -> str:
    """A keyword as it is sought: folded, its white space single; empty for one that says nothing."""
    return " ".join(fold(keyword).split())


def _joins(character: str) -> bool:
    """Whether a word goes on in `character`: letters, digits, marks and `_`, of scripts that put spaces between words."""
    if character.isascii():
        return character.isalnum() or character == "_"
    return (character.isalnum() or unicodedata.category(character)[0] == "M") and not _unspaced.match(character)


class Text:
    """A text made ready for keywords: folded, and its bytes and words when they are first asked for."""

    __slots__ = ("_bytes", "_words", "folded", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        """`texts` are apart from each other: no phrase reaches from one into the next."""
        self.texts = texts
        self.folded = fold(texts[0] if len(texts) == 1 else "\0".join(texts))
        self._bytes: bytes | None = None
        self._words: frozenset[str] | None = None

    @property
    def bytes(self) -> bytes:
        """The folded text in UTF-8."""
        if self._bytes is None:
            self._bytes = self.folded.encode("utf-8", "surrogatepass" if not self.folded.isascii() else "strict")
        return self._bytes

    @property
    def words(self) -> frozenset[str]:
        """The words between what is no word."""
        if self._words is None:
            text = self.folded
            if text.isascii():
                self._words = frozenset(text.translate(_BETWEEN_ASCII).split())
            else:
                alphabet = {character for character in set(text) if not _joins(character)}
                if any(map(_unspaced.match, alphabet)):
                    text = _unspaced_run.sub(" ", text)
                for character in alphabet:
                    if not _unspaced.match(character):
                        text = text.replace(character, " ")
                self._words = frozenset(text.split(" "))
        return self._words


class Word:
    """One keyword or phrase."""

    __slots__ = ("_left", "_literal", "_phrase", "_right", "first", "text")

    def __init__(self, keyword: str) -> None:
        self.text = spelled(keyword)
        self._left = _joins(self.text[0])
        self._right = _joins(self.text[-1])
        parts = self.text.split(" ")
        self.first = parts[0]  # what is sought before anything else is looked at
        self._phrase = re.compile(r"\s+".join(map(re.escape, parts))).match if len(parts) > 1 else None
        self._literal: Any = None

    @property
    def is_simple(self) -> bool:
        """One word of letters and digits, bounded on both sides: a set of words finds it."""
        return self._phrase is None and all(_joins(c) for c in self.text)

    @property
    def bounds(self) -> tuple[bool, bool]:
        """Whether a boundary is asked for on its left and on its right."""
        return self._left, self._right

    def is_in(self, text: Text) -> bool:
        """Whether it stands in `text` as a whole word."""
        folded = text.folded
        if len(folded) > SHORT:
            if self._literal is None:
                self._literal = _literal(self.first)
            if self._literal.search(text.bytes) is None:
                return False
        return self._stands_in(folded)

    def _stands_in(self, folded: str) -> bool:
        first = self.first
        at = folded.find(first)
        while at >= 0:
            if not self._left or at == 0 or not _joins(folded[at - 1]):
                end = at + len(first)
                if self._phrase is not None:
                    whole = self._phrase(folded, at)
                    end = whole.end() if whole is not None else -1
                if end >= 0 and (not self._right or end == len(folded) or not _joins(folded[end])):
                    return True
            at = folded.find(first, at + 1)
        return False


class Words:
    """Many keywords: which way is cheapest is chosen once, by their number."""

    __slots__ = ("_few", "_patterns", "_set", "direct_chars", "words")

    def __init__(self, keywords: Iterable[str]) -> None:
        _re2()  # where it is missing, that shows at load and not in a call
        self.words = tuple(Word(text) for text in dict.fromkeys(map(spelled, keywords)))
        self._few = self.words
        self._set: frozenset[str] = frozenset()
        self._patterns: list[Any] = []
        self.direct_chars = DIRECT_CHARS
        if len(self.words) > FEW:
            if sum(len(word.text) + 4 for word in self.words) > AUTOMATON_CHARACTERS:
                self._set = frozenset(word.text for word in self.words if word.is_simple)
                self.direct_chars = SLICE_CHARS
                self._few = tuple(word for word in self.words if not word.is_simple)
            if len(self._few) > FEW:
                self._patterns = _automata(self._few)
                self._few = ()

    def any_in(self, text: Text) -> bool:
        """Whether at least one of them stands in `text`."""
        if self._set and not self._set.isdisjoint(text.words):
            return True
        for pattern in self._patterns:
            if pattern.search(text.bytes) is not None:
                return True
        folded = text.folded
        if len(folded) > SHORT:
            return any(word.is_in(text) for word in self._few)
        for word in self._few:  # noqa: SIM110 -- a generator would cost as much as the search
            if word.first in folded and word.is_in(text):
                return True
        return False

    def all_in(self, text: Text) -> bool:
        """Whether each of them stands in `text`."""
        if self._set and not self._set <= text.words:
            return False
        return all(word.is_in(text) for word in self.words if word.text not in self._set)

    def found_in(self, text: Text) -> list[str]:
        """Those that stand in `text`; for explanations, one search each."""
        return [word.text for word in self.words if word.is_in(text)]


def slices(text: str) -> Iterator[Text]:
    """A long text in parts that overlap by `REACH_CHARS`, each cut where no word is cut. A word too long for a keyword is left out."""
    at, size, in_long_word = 0, len(text), False
    while at < size:
        end = at + SLICE_CHARS
        if in_long_word:
            gap = _first_gap(text, at, end)
            in_long_word = gap < 0
            at = end if gap < 0 else gap
            yield Text(())
        elif end >= size:
            yield Text((text[at:],))
            return
        elif (cut := _last_gap(text, end - LONG_WORD_CHARS, end)) >= 0:
            yield Text((text[at:cut],))
            back = _first_gap(text, cut - REACH_CHARS, cut)
            at = back if back >= 0 else cut
        else:
            yield Text((text[at : _last_gap(text, at, end - LONG_WORD_CHARS) + 1],))
            at, in_long_word = end, True


def _first_gap(text: str, start: int, end: int) -> int:
    """The first place between `start` and `end` where no word goes on, -1 where one does all the way."""
    found = _gap(text, start, end)
    for _ in range(MAX_MARKS):
        if found is None or not _joins(found[0]):
            break
        found = _gap(text, found.end(), end)
    return found.start() if found is not None and not _joins(found[0]) else -1


def _last_gap(text: str, start: int, end: int) -> int:
    """A late place between `start` and `end` where no word goes on, -1 where there is none near the end."""
    usual = max(text.rfind(sign, start, end) for sign in _USUAL_GAPS)
    if usual >= 0:
        return usual
    return next((i for i in range(min(end, len(text)) - 1, max(start, end - LONG_WORD_CHARS) - 1, -1) if not _joins(text[i])), -1)


@functools.cache
def _re2() -> Any:
    import re2  # type: ignore[import-untyped]

    return re2


def _literal(text: str) -> Any:
    re2 = _re2()
    return re2.compile(re2.escape(text))


def _automata(words: Sequence[Word]) -> list[Any]:
    """Automata of at most `AUTOMATON_CHARACTERS` of keywords each."""
    re2 = _re2()
    options = re2.Options()
    options.max_mem = AUTOMATON_BYTES
    options.log_errors = False
    out: list[Any] = []
    group: list[Word] = []
    size = 0
    for word in words:
        if group and size + len(word.text) + 4 > AUTOMATON_CHARACTERS:
            out.append(_compiled(re2, group, options))
            group, size = [], 0
        group.append(word)
        size += len(word.text) + 4
    return [*out, _compiled(re2, group, options)]


def _compiled(re2: Any, words: Sequence[Word], options: Any) -> Any:
    """Keywords that ask for the same boundaries stand in one group, so that the boundaries' classes stand there once."""
    groups: dict[tuple[bool, bool], list[str]] = {}
    for word in words:
        middle = r"[\s\pZ\x{85}]+".join(map(re2.escape, word.text.split(" ")))
        groups.setdefault(word.bounds, []).append(middle)
    outside = rf"[^\pL\pN\pM_]|[{_UNSPACED_RE2}]"
    arms = [
        (f"(?:^|{outside})" if left else "") + f"(?:{'|'.join(each)})" + (f"(?:$|{outside})" if right else "")
        for (left, right), each in groups.items()
    ]
    return re2.compile("|".join(arms), options)
