"""tokens -- how long a prompt is in o200k_base tokens: exact, and never more than about a millisecond on the loop at once.

Most questions need no tokenizer: a token is 1 to 128 bytes, so a text's size answers them. Else the extension of bpe-openai counts slice
by slice, only up to the limit. It holds the interpreter's lock while it counts, so a thread would not help: long counts give way between
slices. Counts are remembered, as each turn of a conversation sends its history again.
Cost: loading takes 0.1 s and 67 MiB, when a policy asks; 0.5 µs where bounds decide; 25 µs a KB of English, 15 µs for 32 KB seen before.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from time import perf_counter

TOKEN_BYTES = 128  # the longest entry of o200k_base
SLICE_CHARS = 2048  # 0.6 ms for letters without a space, the slowest text; 50 µs for English
STEP_S = 0.0007  # of counting before the loop gets its turn, or `below` gives up; one more slice may follow
REMEMBERED = 4096  # counts of texts, about 150 bytes each
WORTH_CHARS = 16  # a shorter text is counted as quickly as it is looked up
HASHED_CHARS = 1024 * 1024  # hashing a longer one takes 0.5 ms

# Between these two characters o200k's pre-tokenizer always splits, so counts of the two sides add up exactly:
# - any character but white space, then a space: no piece holds a space after another character;
# - a letter or digit, then a line end or a mark other than the apostrophe (of "it's"): only marks and line ends go on after a mark.
# The letters are of scripts that every version of Unicode knows alike.
_LETTER = "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0400-\u0481\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3"
_MARK = "\\t\\n\\r!-&(-/:-@\\[-`{-~\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
_exact_cut = re.compile(f"(?:(?<=[^\\s])(?= )|(?<=[{_LETTER}])(?=[{_MARK}]))")
_surrogates = re.compile("[\ud800-\udfff]")


class Tokens:
    """Counts texts. `load` once, before the first question: it reads the vocabulary. One for a process."""

    __slots__ = ("_count", "_known")

    def __init__(self) -> None:
        self._count: Callable[[str], int] | None = None
        self._known: OrderedDict[tuple[int, int], int] = OrderedDict()

    def load(self) -> None:
        """Loads the tokenizer, 0.1 s. Raises ImportError where bpe-openai is not installed."""
        if self._count is None:
            self._count = _counter()

    def below(self, texts: Sequence[str], limit: int, ids: int = 0) -> bool | None:
        """Whether the texts and `ids` more tokens are fewer than `limit`; None where that takes too long to say at once."""
        room = limit - ids
        if (sure := _by_size(texts, room)) is not None:
            return sure
        if (total := self._remembered(texts)) is not None:
            return total < room
        until = perf_counter() + STEP_S
        for counted in self._counted(texts, room):
            room -= counted
            if room <= 0:
                return False
            if counted and perf_counter() > until:
                return None
        return True

    def _remembered(self, texts: Sequence[str]) -> int | None:
        """The tokens of texts that were all counted before: the same prompt, or a conversation asked about twice."""
        known = self._known
        total = 0
        for text in texts:
            size = len(text)
            key = (hash(text) if size < HASHED_CHARS else 0, size)
            if (counted := known.get(key)) is None:
                return None
            known.move_to_end(key)
            total += counted
        return total

    async def below_slowly(self, texts: Sequence[str], limit: int, ids: int = 0) -> bool:
        """As `below`, always with an answer: the loop gets its turn after each millisecond."""
        room = limit - ids
        if (sure := _by_size(texts, room)) is not None:
            return sure
        until = perf_counter() + STEP_S
        for counted in self._counted(texts, room):
            room -= counted
            if room <= 0:
                return False
            if counted and perf_counter() > until:
                await asyncio.sleep(0)
                until = perf_counter() + STEP_S
        return True

    async def count(self, texts: Sequence[str]) -> int:
        """The tokens of all texts."""
        total = 0
        until = perf_counter() + STEP_S
        for counted in self._counted(texts, None):
            total += counted
            if perf_counter() > until:
                await asyncio.sleep(0)
                until = perf_counter() + STEP_S
        return total

    def _counted(self, texts: Sequence[str], room: int | None) -> Iterator[int]:
        """Counts, slice by slice, that add up to the whole; a text that was counted before, or ends soon after the limit, in one step."""
        if self._count is None:
            self.load()
        count = self._count
        assert count is not None
        known = self._known
        for text in texts:
            size = len(text)
            if size < WORTH_CHARS:
                yield count(_clean(text)) if text else 0
                continue
            key = None
            if size < HASHED_CHARS and (room is None or size < 64 * room):
                key = (hash(text), size)
                if (total := known.get(key)) is not None:
                    known.move_to_end(key)
                    yield total
                    continue
            total = 0
            for part in slices(_clean(text)):
                counted = count(part)
                total += counted
                yield counted
            if key is not None:
                known[key] = total
                if len(known) > REMEMBERED:
                    known.popitem(last=False)


def slices(text: str) -> Iterator[str]:
    """A text in slices of about SLICE_CHARS whose counts add up to its own.

    Exact but for a run of more than SLICE_CHARS characters without a place to cut, which is cut anywhere: a token more or less for each.
    """
    at, size = 0, len(text)
    while size - at > SLICE_CHARS:
        found = _exact_cut.search(text, at + SLICE_CHARS, at + 2 * SLICE_CHARS)
        cut = found.start() if found is not None else min(at + SLICE_CHARS, size)
        yield text[at:cut]
        at = cut
    yield text[at:]


def _by_size(texts: Sequence[str], room: int) -> bool | None:
    """What sizes alone say, exactly: a token is at least one byte and at most TOKEN_BYTES."""
    if room <= 0:
        return False
    chars = sum(map(len, texts))
    if chars >= TOKEN_BYTES * room:
        return False
    if chars >= room:
        return None
    if 4 * chars < room:
        return True
    size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
    return True if size < room else None


def _clean(text: str) -> str:
    """Without lone surrogates, which JSON may hold and UTF-8 may not: each counts as one replacement character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _surrogates.sub("\ufffd", text)
    return text


def _counter() -> Callable[[str], int]:
    """The extension's counter, without its Python wrapper, which reads three vocabularies in Python (0.9 s, 70 MiB) and limits lengths."""
    package = find_spec("bpe_openai")
    places = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec("bpe_openai._bindings", places) if places is not None else None
    if spec is None or spec.loader is None:
        raise ImportError("token counts need the package bpe-openai")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    count: Callable[[str], int] = module.tokenizer_for_encoding("o200k_base").count
    return count
