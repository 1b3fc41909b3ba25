"""language -- in which language a prompt is written, where that can be told cheaply: by its script, else by its commonest words.

Stands beside the other conditions, on the first 1,000 characters of the last user message, without fenced code and links. Deterministic:
each common word of a language speaks for it, one that several share for each of them a part; so do letters that few languages have.
What is too short, mixed, or of a language that is not told here is unknown, and never guessed.
Cost: 50 µs for 1 KB and more, 10 µs for a question; once a call.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.policy.conditions import Leaf
from proxy.policy.facts import Facts
from proxy.policy.problems import did_you_mean, listed, shortened
from proxy.policy.spec import Wrong

LAST: frozenset[str] = frozenset()  # the last user message
UNTOLD = "the language of the prompt cannot be told"
LOOK_CHARACTERS = 1_000
NAMES: Mapping[str, str] = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "gl": "Galician", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "km": "Khmer",
    "kn": "Kannada", "ko": "Korean", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam",
    "mr": "Marathi", "ms": "Malay", "my": "Burmese", "nb": "Norwegian", "ne": "Nepali", "nl": "Dutch", "pa": "Punjabi", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian",
    "sv": "Swedish", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip
_OTHERWISE = {
    "deutsch": "de",
    "français": "fr",
    "español": "es",
    "português": "pt",
    "farsi": "fa",
    "mandarin": "zh",
    "bosnian": "hr",
    "no": "nb",
    "nn": "nb",
    "jp": "ja",
    "cn": "zh",
    "kr": "ko",
    "gr": "el",
    "cz": "cs",
    "dk": "da",
    "se": "sv",
    "ua": "uk",
    "iw": "he",
}

UNIT = 60  # of a word that speaks for one language alone; shared by up to six without rest
ENOUGH = 90  # one word and a half
COVERED = 0.10  # the part of all words that must speak for the language
RIVALS = 3  # the languages next to it against which it must hold
OWN = 2  # words and letters that speak for it and not for a rival
CLEARLY = 3  # times as many of them as speak for the rival and not for it
MAX_WORDS = 120
SELDOM = ("gl", "af", "eo")  # known to be told from others, but not often to be expected
MAINLY = 0.65  # the part of all letters that must be of one script
MANY = 100  # characters of one script: only Han and Hangul have so many in a short text
CJK_WEIGHT = 3  # letters of others for one of these: they say more
MIN_HAN = 12  # without kana and without a common Chinese character, fewer may be Japanese
_CHINESE = frozenset("的是不了在有我这這个個们們你他吗嗎什么麼请請和与與为為怎如何")
_LANE = 16  # bits of one language's sum

# The script of the blocks of 16 code points from the first number on, up to but not with the second; what is in none is of no script
_BLOCKS: tuple[tuple[str, int, int], ...] = (
    ("latin", 0x00, 0x30), ("greek", 0x37, 0x40), ("cyrillic", 0x40, 0x53), ("armenian", 0x53, 0x59), ("hebrew", 0x59, 0x60),
    ("arabic", 0x60, 0x70), ("arabic", 0x75, 0x78), ("devanagari", 0x90, 0x98), ("bengali", 0x98, 0xA0), ("gurmukhi", 0xA0, 0xA8),
    ("gujarati", 0xA8, 0xB0), ("tamil", 0xB8, 0xC0), ("telugu", 0xC0, 0xC8), ("kannada", 0xC8, 0xD0), ("malayalam", 0xD0, 0xD8),
    ("sinhala", 0xD8, 0xE0), ("thai", 0xE0, 0xE8), ("lao", 0xE8, 0xF0), ("burmese", 0x100, 0x10A), ("georgian", 0x10A, 0x110),
    ("hangul", 0x110, 0x120), ("khmer", 0x178, 0x180), ("georgian", 0x1C9, 0x1CC),
    ("latin", 0x1E0, 0x1F0), ("greek", 0x1F0, 0x200), ("kana", 0x304, 0x310),
    ("hangul", 0x313, 0x319), ("han", 0x340, 0x4DC), ("han", 0x4E0, 0xA00), ("hangul", 0xAC0, 0xD7B), ("han", 0xF90, 0xFB0),
    ("arabic", 0xFB5, 0xFE0), ("arabic", 0xFE7, 0xFF0), ("kana", 0xFF6, 0xFFA),
)  # fmt: skip
_BY_SCRIPT = {
    "greek": "el", "armenian": "hy", "hebrew": "he", "bengali": "bn", "gurmukhi": "pa", "gujarati": "gu", "tamil": "ta", "telugu": "te",
    "kannada": "kn", "malayalam": "ml", "sinhala": "si", "thai": "th", "lao": "lo", "burmese": "my", "georgian": "ka", "khmer": "km",
    "hangul": "ko",
}  # fmt: skip
_WORDED = ("latin", "cyrillic", "arabic", "devanagari")

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_LINK = re.compile(r"https?://\S+|\S+@\S+")
_ASCII_BETWEEN = str.maketrans({code: " " for code in range(128) if not (0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A)})
_MARKED_WORD = re.compile(r"[\u0900-\u0963\u0970-\u097f]+")
_KANA = re.compile("[\u3041-\u30ff]+")
_HAN = re.compile("[\u3400-\u9fff]+")


def _language(value: str) -> str:
    if value in NAMES:
        return value
    by_name = {name.lower(): code for code, name in NAMES.items()}
    lower = value.lower()
    code = _OTHERWISE.get(lower) or by_name.get(lower) or (lower if lower in NAMES else "") or lower.replace("_", "-").partition("-")[0]
    near = f"did you mean '{code}'?" if code in NAMES else ""
    by_near_name = did_you_mean(lower, by_name) if len(lower) > 3 else ""
    for name in by_name:
        if f"'{name}'" in by_near_name:
            near = near or f"did you mean '{by_name[name]}'?"
    raise Wrong(f"unknown language '{shortened(value)}'", near or f"known: {listed(sorted(NAMES), len(NAMES))}", got=False)


Language = Annotated[
    str,
    AfterValidator(_language),
    Field(json_schema_extra={"title": "language", "enum": list(NAMES), "enumDescriptions": list(NAMES.values())}),
]


@dataclass(slots=True, frozen=True)
class Lexicon:
    """What speaks for which language: a sum with a lane of bits for each."""

    languages: tuple[str, ...]
    sayings: Mapping[str, frozenset[str]]  # by language: words and letters
    sums: Mapping[str, int]  # by word or letter
    letters: frozenset[str]
    others: frozenset[str]  # letters that no language here has
    of_code: frozenset[str]  # English words that program code has, too

    def ranked(self, found: Sequence[str]) -> list[tuple[int, str]]:
        """How much speaks for a language, most first, and for its next rivals."""
        total = sum(map(self.sums.__getitem__, found))
        lanes = memoryview(total.to_bytes(2 * len(self.languages), sys.byteorder)).cast("H").tolist()
        if sys.byteorder == "big":
            lanes.reverse()
        best = sorted(range(len(lanes)), key=lanes.__getitem__, reverse=True)[: RIVALS + 1]
        return [(lanes[i], self.languages[i]) for i in best]


@functools.cache
def lexicon() -> Lexicon:
    """The lexicon of `language.json`."""
    data = json.loads(Path(__file__).with_name("language.json").read_text("utf-8"))
    languages = tuple(data["words"])
    sayings = {language: frozenset(words.split()) for language, words in data["words"].items()}
    for letter, named in data["letters"].items():
        for language in named.split():
            sayings[language] |= {letter}
    speaking: dict[str, list[int]] = {}
    for i, language in enumerate(languages):
        for saying in sayings[language]:
            speaking.setdefault(saying, []).append(i)
    sums = {saying: sum((UNIT // len(named)) << (_LANE * i) for i in named) for saying, named in speaking.items()}
    return Lexicon(languages, sayings, sums, frozenset(data["letters"]), frozenset(data["others"]), frozenset(data["of_code"].split()))


def language_of(text: str) -> str | None:
    """The code of the language, None where it cannot be told."""
    text = text[:LOOK_CHARACTERS]
    if "```" in text or "~~~" in text:
        text = _FENCED.sub(" ", text)
    if "://" in text or "@" in text:
        text = _LINK.sub(" ", text)
    if text.isascii():
        return _by_words(text.lower(), "latin")
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    script = _script_of(text)
    if script in _WORDED:
        return _by_words(text.lower(), script)
    if script == "han":
        return _of_han(text)
    return _BY_SCRIPT.get(script)


def _script_of(text: str) -> str:
    """The script of most letters, empty where there is no such one. Kana and Han are `han`."""
    if _is_latin1(text):
        return "latin"
    blocks = _blocks()
    of_script: dict[str, list[str]] = {}
    for character in frozenset(text):
        if character.isalpha():
            of_script.setdefault(blocks.get(ord(character) >> 4, ""), []).append(character)
    if "kana" in of_script:
        of_script["han"] = of_script.get("han", []) + of_script.pop("kana")
    if len(of_script) < 2:
        return next(iter(of_script), "")
    counts = {script: sum(map(text.count, characters)) for script, characters in of_script.items() if len(characters) < MANY}
    for script in of_script.keys() - counts:  # to count each of hundreds of characters would take long
        counts[script] = len(text) - len(text.encode("latin-1", "ignore"))
    for script in ("han", "hangul"):
        counts[script] = counts.get(script, 0) * CJK_WEIGHT
    script = max(counts, key=lambda name: counts[name])
    return script if counts[script] >= MAINLY * sum(counts.values()) else ""


def _is_latin1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


@functools.cache
def _blocks() -> Mapping[int, str]:
    return {block: script for script, first, after in _BLOCKS for block in range(first, after)}


def _of_han(text: str) -> str | None:
    kana = sum(map(len, _KANA.findall(text)))
    han = sum(map(len, _HAN.findall(text)))
    if kana * 10 >= han:
        return "ja" if kana > 1 else None
    if kana > 2:
        return None
    return "zh" if han >= MIN_HAN or (han >= 2 and not _CHINESE.isdisjoint(text)) else None


def _by_words(text: str, script: str) -> str | None:
    """By the commonest words of a lower-case text."""
    known = lexicon()
    present = frozenset(text)
    words = _words(text, script, present)[:MAX_WORDS]
    found = [word for word in words if word in known.sums]
    if not text.isascii():
        if not present.isdisjoint(known.others):
            return None
        for letter in present & known.letters:
            found += [letter] * min(text.count(letter), 3)
    (most, language), *rivals = known.ranked(found)
    if most < ENOUGH or most < COVERED * UNIT * len(words) or (language == "en" and known.of_code.issuperset(found)):
        return None
    speaking = frozenset(found)
    for against, rival in rivals:
        if against and not _holds(speaking, language, rival):
            return None
    return language


def _words(text: str, script: str, present: frozenset[str]) -> list[str]:
    if script == "devanagari":
        return _MARKED_WORD.findall(text)  # its vowel signs are no letters
    if text.isascii():
        return text.translate(_ASCII_BETWEEN).split()
    for character in present:
        if not character.isalpha():
            text = text.replace(character, " ")
    return text.split()


def _holds(speaking: frozenset[str], language: str, rival: str) -> bool:
    """Whether what speaks for one language alone outweighs what speaks for the other alone."""
    mine = len(speaking & _only(language, rival))
    theirs = len(speaking & _only(rival, language))
    return mine >= (1 if rival in SELDOM else OWN) and mine >= CLEARLY * theirs


@functools.cache
def _only(language: str, rival: str) -> frozenset[str]:
    sayings = lexicon().sayings
    return sayings[language] - sayings[rival]


class LanguageIs(Leaf):
    """The language of the last user message."""

    __slots__ = ("_wanted",)
    name, cost = "language", 14

    def __init__(self, languages: tuple[str, ...]) -> None:
        lexicon()  # where it cannot be read, that shows at load and not in a call
        self._wanted = frozenset(languages)
        self.expected = languages[0] if len(languages) == 1 else f"one of {', '.join(languages)}"

    def test(self, facts: Facts) -> bool | None:
        texts = facts.texts(LAST)
        if texts is None:
            return None
        language = facts.once("language", lambda: language_of("\n".join(texts)))
        if language is None:
            facts.cannot(UNTOLD)
            return None
        return language in self._wanted

    def seen(self, facts: Facts) -> str:
        return str(facts.kept["language"])

    def why(self, facts: Facts) -> str:
        return super().why(facts) if facts.texts(LAST) is None else UNTOLD
