"""Which classes of words stand in a text: whole words, beginnings, phrases, any case, accents or none, many scripts."""

from __future__ import annotations

import json
from time import perf_counter

import pytest

from proxy.policy import complexity_words
from proxy.policy.complexity_words import FIRST, MAX_CHARS, Lexicon, folded

WORDS = Lexicon(
    {
        "prove": {"any": "prov*, show that, thread-safe", "de": "zeige dass", "fr": "démontr*, prouv*", "unspaced": "证明, 증명"},
        "fact": {"any": "who, capital of", "unspaced": "首都"},
        "near": {"any": "a b c*, a b*, axe* d"},
    }
)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("Prove it", {"prove"}),
        ("PROVING it", {"prove"}),
        ("improve it", set()),
        ("show me that", set()),
        ("Show\n that it holds", {"prove"}),
        ("show that", {"prove"}),
        ("is it thread-safe?", {"prove"}),
        ("is it thread safe?", {"prove"}),
        ("Démontrez", {"prove"}),
        ("demontrez", {"prove"}),
        ("De\u0301montrez", {"prove"}),
        ("请证明这个", {"prove"}),
        ("증명하시오", {"prove"}),
        ("法国的首都是哪里", {"fact"}),
        ("the capital  of France", {"fact"}),
        ("a capitalofficial", set()),
        ("a b cd", {"near"}),
        ("a bd", {"near"}),
        ("axis bd", set()),
        ("axes d", {"near"}),
        ("axes", set()),
        ("who's", set()),
        ("", set()),
        ("?! …", set()),
    ],
)
def test_classes_are_found(text: str, classes: set[str]) -> None:
    assert set(WORDS.find(text).places) == classes


def test_each_place_counts_once_for_a_class() -> None:
    found = WORDS.find("prove, prove: prove that provable proofs")

    assert found.count("prove") == 4
    assert found.count("fact") == 0


def test_a_word_may_be_of_several_classes() -> None:
    found = Lexicon({"one": {"any": "design"}, "two": {"any": "desig*"}}).find("design")

    assert found.starts("one")
    assert found.starts("two")


def test_size_counts_words_and_of_scripts_without_spaces_two_characters_as_one() -> None:
    assert WORDS.find("one two three").size == 3
    assert WORDS.find("证明这个等式").size == 3
    assert WORDS.find("x" * 120).size == 10


def test_the_same_word_folds_the_same_however_it_is_written() -> None:
    assert folded("ÉTÉ’s Straße") == "ete's strasse"
    assert folded("й") == folded("и\u0306")
    assert folded("한국") == folded("\u1112\u1161\u11ab\u1100\u116e\u11a8")


def test_what_is_shipped_has_no_term_that_cannot_be_found() -> None:
    lexicon = complexity_words.load()
    kept = json.loads(complexity_words.WORDS_FILE.read_text("utf-8"))

    lost = [
        (name, term)
        for name, languages in kept.items()
        for listed in languages.values()
        for term in listed.split(",")
        if not lexicon.find(term.replace("*", "")).count(name)
    ]

    assert lost == []


def test_no_shipped_beginning_is_shorter_than_what_it_is_looked_up_by() -> None:
    kept = json.loads(complexity_words.WORDS_FILE.read_text("utf-8"))

    short = [
        word
        for languages in kept.values()
        for listed in languages.values()
        for term in folded(listed).split(",")
        for word in term.split()[:1]
        if word.endswith("*") and len(word) <= FIRST
    ]

    assert short == []


@pytest.mark.parametrize("piece", ["prove ", "证明", "증명 ", "é", "\u0301", "\ufdfa", "a b ", "\ud800", "😀"])
def test_a_long_text_is_looked_at_in_part(piece: str) -> None:
    lexicon = complexity_words.load()
    text = piece * (200_000 // len(piece))
    taken_s = []
    for _ in range(5):
        begun = perf_counter()
        found = lexicon.find(text)
        taken_s.append(perf_counter() - begun)

    assert min(taken_s) < 0.03  # at most 0.9 ms on a quiet machine
    assert found.size <= MAX_CHARS
