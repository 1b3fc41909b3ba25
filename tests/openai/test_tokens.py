"""Token counts: exact, bounded in time, remembered."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.openai.tokens import SLICE_CHARS, TOKEN_BYTES, Tokens, _exact_cut, slices

ENGLISH = "The quick brown fox doesn't jump over 12345 lazy dogs; it's (really) tired.\n\n"
CHINESE = "今天天气很好，我们去公园散步吧。然后回家吃饭！"
PYTHON = "def f(x: int) -> str:\n    return f'{x:>10}'  # a comment\n\n\nclass A:\n\tpass\r\n"


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    tokens = Tokens()
    tokens.load()
    return tokens


def full(tokens: Tokens, text: str) -> int:
    assert tokens._count is not None
    return tokens._count(text)


@pytest.mark.parametrize(
    "text", [ENGLISH * 200, CHINESE * 500, PYTHON * 200, "привет, мир. " * 1000, "안녕하세요 세계, " * 800, ENGLISH + CHINESE]
)
async def test_a_count_in_slices_is_the_count_of_the_whole(tokens: Tokens, text: str) -> None:
    assert await tokens.count([text]) == full(tokens, text)
    assert len(list(slices(text))) > 1 or len(text) <= SLICE_CHARS


@pytest.mark.parametrize("text", ["hello world", ENGLISH, ENGLISH * 30, CHINESE * 30])
async def test_below_is_exact_at_the_limit(tokens: Tokens, text: str) -> None:
    count = full(tokens, text)

    for limit, ids in ((count, 0), (count + 1, 0), (count + 3, 3), (count + 4, 3), (1, 0)):
        expected = count + ids < limit
        assert await tokens.below_slowly([text], limit, ids) is expected
        assert tokens.below([text], limit, ids) in (expected, None)


async def test_texts_add_up(tokens: Tokens) -> None:
    texts = [ENGLISH, "", CHINESE, "x"]
    total = sum(full(tokens, text) for text in texts if text)

    assert await tokens.count(texts) == total
    assert await tokens.below_slowly(texts, total + 1)
    assert not await tokens.below_slowly(texts, total)


def test_sizes_answer_without_a_tokenizer() -> None:
    tokens = Tokens()

    assert tokens.below(["short"], 100) is True
    assert tokens.below(["é" * 49], 100) is True
    assert tokens.below(["x" * TOKEN_BYTES * 10], 10) is False
    assert tokens.below([], 1) is True
    assert tokens.below([], 5, ids=5) is False
    assert tokens.below(["x"], 0) is False
    assert tokens._count is None


def test_a_small_limit_on_a_long_text_is_answered_at_once(tokens: Tokens) -> None:
    text = ENGLISH * 600

    assert tokens.below([text], 400) is False
    assert not tokens._known or (hash(text), len(text)) not in tokens._known


def test_what_would_take_long_is_not_answered_at_once_but_slowly(tokens: Tokens) -> None:
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=200_000))
    started = perf_counter()
    answer = tokens.below([text], 80_000)
    took = perf_counter() - started

    assert answer is None
    assert took < 0.05
    assert asyncio.run(tokens.below_slowly([text], 80_000)) is False


async def test_a_long_count_gives_way_to_the_loop(tokens: Tokens) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(others())
    await tokens.count([str(i) + ENGLISH * 3000 for i in range(2)])
    task.cancel()

    assert turns > 10


async def test_a_text_that_was_counted_before_is_not_counted_again(tokens: Tokens) -> None:
    text = ENGLISH * 400
    count = await tokens.count([text])
    known = Tokens()
    known._known.update(tokens._known)
    known._count = refuse

    assert known.below(["".join(list(text))], count + 1) is True
    assert known.below([text], count) is False


def refuse(text: str) -> int:
    raise AssertionError("counted again")


async def test_what_is_remembered_is_bounded(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.openai.tokens.REMEMBERED", 3)
    few = Tokens()
    for i in range(10):
        await few.count([f"{i} " + ENGLISH * 10])

    assert len(few._known) == 3


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb " * 300, "ok \ud83d " * 1000])
async def test_lone_surrogates_count_as_a_replacement_character(tokens: Tokens, text: str) -> None:
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    assert await tokens.count([text]) == full(tokens, clean)


@pytest.mark.parametrize("text", ["a", " ", "\n", "🚀", "!", "1", "\u0301", "龘", "'s", "\u2028", "\x1c "])
async def test_no_hostile_run_is_counted_much_wrong(tokens: Tokens, text: str) -> None:
    text = text * 50_000
    whole = full(tokens, text)
    cuts = len(text) // SLICE_CHARS + 1

    assert abs(await tokens.count([text]) - whole) <= 3 * cuts


def test_the_wrapper_of_the_tokenizer_is_not_loaded(tokens: Tokens) -> None:
    assert "bpe_openai" not in sys.modules


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr("proxy.openai.tokens.find_spec", nothing)

    with pytest.raises(ImportError, match="bpe-openai"):
        Tokens().load()


LATIN = ["a", "The ", "word", "don't", "'s", "I'LL ", "'", "1", "12345", "é", "Ü", "ß", ".", "...", "!/", "-", "_", "{", "}", "ʼs"]
OTHERS = ["今", "天气", "，", "。", "、", "あ", "ア", "한", "글", "я", "Ж", "\u0301", "a\u0301", "🚀", "\u200d"]
GAPS = [" ", "  ", "\n", "\r\n", "\t", "\n\n ", "/\n", "\u00a0", "\u2028", "\x1c", "\x85", "\u3000"]
PIECES = st.sampled_from(LATIN + OTHERS + GAPS)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=60).map("".join))
def test_every_place_to_cut_is_one_where_the_tokenizer_splits(tokens: Tokens, text: str) -> None:
    whole = full(tokens, text)

    for cut in [found.start() for found in _exact_cut.finditer(text)]:
        assert full(tokens, text[:cut]) + full(tokens, text[cut:]) == whole, (text[:cut], text[cut:])
