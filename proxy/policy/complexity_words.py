"""complexity_words -- the word classes behind the complexity score, and which of them stand in a text.

Read from `complexity_words.json`: words, phrases and beginnings of words (`prov*`), without accents, in many languages;
scripts written without spaces are sought as they stand. Cost: loading 8 ms, when a policy asks; 20 µs for a sentence of 30 words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from proxy.policy.keywords import fold

FIRST = 3  # letters of a beginning by which it is looked up; none is shorter
MAX_CHARS = 1600  # of a text that is looked at, and MAX_WORDS: what is asked in more is complex by its length
MAX_WORDS = 200
UNSPACED_CHARS = 400
LONG_WORD = 12  # characters that count for a word at least, where there are hardly any spaces
WORDS_FILE = Path(__file__).with_name("complexity_words.json")
_accents = re.compile("[\u0300-\u036f]+")
_LETTERS = str.maketrans({"’": "'", "ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe"})  # what no accent is taken off of
_words = re.compile(r"[\w'+#\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff]+")
_unspaced = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_hangul = re.compile(r"[\uac00-\ud7a3]")
_Phrases = list[tuple[str, tuple[str, ...]]]  # class and the words that follow


@dataclass(slots=True, frozen=True)
class Found:
    """A text's words, and how often each class stands in it, by the places where."""

    words: Sequence[str]
    size: float  # in words, for scripts without spaces about two characters to one
    places: Mapping[str, set[int]]

    def count(self, name: str) -> int:
        """How many places have a word of this class."""
        return len(self.places.get(name, ()))

    def starts(self, name: str, at: int = 0) -> bool:
        """Whether a word of this class stands at a place."""
        return at in self.places.get(name, ())


class Lexicon:
    """The classes, ready to be sought all at once: one dictionary for whole words, one for beginnings."""

    __slots__ = ("_beginnings", "_loose", "_pairs", "_unspaced", "_words")

    def __init__(self, classes: Mapping[str, Mapping[str, str]]) -> None:
        """`classes`: by name, the terms of each language, separated by commas."""
        self._words: dict[str, list[str]] = {}  # the classes of a word
        self._pairs: dict[str, _Phrases] = {}  # by their first two words
        self._loose: dict[str, _Phrases] = {}  # by the first word, where the second is a beginning
        self._beginnings: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}  # by their first letters
        self._unspaced: list[tuple[str, str]] = []
        for name, languages in classes.items():
            for language, listed in languages.items():
                for term in dict.fromkeys(folded(listed).split(",")):
                    if language == "unspaced":
                        self._unspaced.append((term.strip(), name))
                    elif words := term.replace("-", " ").split():
                        self._add(name, words)

    def _add(self, name: str, words: list[str]) -> None:
        first, rest = words[0], tuple(words[1:])
        if first.endswith("*"):
            self._beginnings.setdefault(first[:FIRST], []).append((first[:-1], name, rest))
        elif not rest:
            self._words.setdefault(first, []).append(name)
        elif rest[0].endswith("*"):
            self._loose.setdefault(first, []).append((name, rest))
        else:
            self._pairs.setdefault(f"{first} {rest[0]}", []).append((name, rest[1:]))

    def find(self, text: str) -> Found:
        """What stands in `text`. Only its first words are looked up."""
        text = text[:MAX_CHARS]
        chars = len(text)
        text = folded(text)[:MAX_CHARS]
        places: dict[str, set[int]] = {}
        size = 0.0
        if not text.isascii() and (runs := _unspaced.findall(text) or _hangul.search(text)):
            text = self._find_unspaced(text, places)
            unspaced = sum(map(len, runs)) if isinstance(runs, list) else 0
            size, chars = unspaced / 2, chars - unspaced
        words = _words.findall(text)[:MAX_WORDS]
        known, pairs, beginnings, loose = self._words, self._pairs, self._beginnings, self._loose
        for at, word in enumerate(words):
            if word in known:
                for name in known[word]:
                    _note(places, name, at)
            if word in loose:
                for name, rest in loose[word]:
                    if _follows(words, at + 1, rest):
                        _note(places, name, at)
            if (start := word[:FIRST]) in beginnings:
                for beginning, name, rest in beginnings[start]:
                    if word.startswith(beginning) and (not rest or _follows(words, at + 1, rest)):
                        _note(places, name, at)
        for at, pair in enumerate(map(" ".join, pairwise(words))):
            if pair in pairs:
                for name, rest in pairs[pair]:
                    if not rest or _follows(words, at + 2, rest):
                        _note(places, name, at)
        return Found(words, size + max(len(words), chars / LONG_WORD), places)

    def _find_unspaced(self, text: str, places: dict[str, set[int]]) -> str:
        """Notes what is found as it stands; gives the text without scripts that have no spaces."""
        start = text[:UNSPACED_CHARS]
        for term, name in self._unspaced:
            at = start.find(term)
            if at >= 0:
                places.setdefault(name, set()).add(1000 + at if at else 0)
        return _unspaced.sub(" ", text)


def load() -> Lexicon:
    """The lexicon that is shipped."""
    return Lexicon(json.loads(WORDS_FILE.read_text("utf-8")))


def folded(text: str) -> str:
    """Without case and without Latin, Greek and Cyrillic accents; typographic apostrophes as typed ones."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", fold(text).translate(_LETTERS))
    return unicodedata.normalize("NFC", _accents.sub("", text))


def _note(places: dict[str, set[int]], name: str, at: int) -> None:
    if name in places:
        places[name].add(at)
    else:
        places[name] = {at}


def _follows(words: list[str], at: int, rest: tuple[str, ...]) -> bool:
    if at + len(rest) > len(words):
        return False
    for word, wanted in zip(words[at:], rest, strict=False):
        if word != wanted and not (wanted[-1] == "*" and word.startswith(wanted[:-1])):
            return False
    return True
