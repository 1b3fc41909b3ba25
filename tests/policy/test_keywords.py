from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import keywords
from proxy.policy.keywords import Text, Word, Words, fold, spelled

FILLERS = [f"zqx{i}" for i in range(500)]


@functools.cache
def among(others: int, keyword: str) -> Words:
    return Words([*FILLERS[:others], keyword])


CASES = [
    ("contract", "A Contract.", True),
    ("contract", "contracts", False),
    ("contract", "precontract", False),
    ("contract", "sub_contract", False),
    ("contract", "contract2", False),
    ("contract", "(contract)", True),
    ("contract", "contract", True),
    ("contract", "contracts and a contract", True),
    ("contract", "co\nntract", False),
    ("sql", "NoSQL, SQL-like", True),
    ("a", "", False),
    ("straße", "STRASSE 5", True),
    ("STRASSE", "die straße", True),
    ("ﬁne", "FINE", True),
    ("naïve", "NAÏVE!", True),
    ("café", "cafe\u0301 noir", True),
    ("cafe", "cafe\u0301 noir", False),
    ("İstanbul", "İSTANBUL", True),
    ("договор", "Договор, пожалуйста", True),
    ("договор", "договоры", False),
    ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
    ("合同", "这是合同吗", True),
    ("合同", "这是合约吗", False),
    ("python", "用python写", True),
    ("契約", "契約書", True),
    ("계약", "계약서를 검토", True),
    ("สัญญา", "ทำสัญญาใหม่", True),
    ("कर", "करा", False),
    ("कर", "कर दो", True),
    ("عقد", "هذا عقد جديد", True),
    ("board of directors", "the Board  of\n\tDirectors!", True),
    ("board of directors", "board ofdirectors", False),
    ("board of directors", "board of directorship", False),
    ("board of", "of board of", True),
    ("a b", "a\u00a0b", True),
    ("  a   b  ", "a b", True),
    ("日本 語", "日本\u3000語", True),
    ("c++", "learn C++ now", True),
    ("c++", "xc++", False),
    ("c++", "c++11", True),
    (".net", "use .NET!", True),
    ("r&d", "our R&D team", True),
    ("😀", "well 😀", True),
    ("x*", "x* y", True),
    ("[a]", "say [A]", True),
]


@pytest.mark.parametrize("padding", ["", " ." * 3_000], ids=["short", "long"])
@pytest.mark.parametrize("others", [0, 3, 40, 500])
@pytest.mark.parametrize(("keyword", "text", "found"), CASES)
def test_a_keyword_is_a_whole_word_in_any_script_and_however_many_there_are(
    keyword: str, text: str, found: bool, others: int, padding: str
) -> None:
    words = among(others, keyword)
    content = Text([text + padding])

    assert words.any_in(content) is found
    assert Word(keyword).is_in(content) is found
    assert words.found_in(content) == ([spelled(keyword)] if found else [])


@pytest.mark.parametrize("others", [0, 40, 500])
def test_all_of_them_means_each(others: int) -> None:
    fillers = FILLERS[:others]
    words = Words([*fillers, "contract", "board of directors", "合同"])
    text = " ".join(fillers) + " the contract of the board of directors: 合同"

    assert words.all_in(Text([text]))
    assert not words.all_in(Text([text.replace("contract", "contracts")]))
    assert not words.all_in(Text([text.replace("合同", "")]))


def test_no_phrase_reaches_from_one_text_into_the_next() -> None:
    assert not Words(["board of"]).any_in(Text(["the board", "of trustees"]))
    assert Words(["board"]).any_in(Text(["the board", "of trustees"]))


def test_no_text_has_no_keyword() -> None:
    assert not Words(["a"]).any_in(Text([]))


def test_half_a_surrogate_pair_is_no_obstacle() -> None:
    for others in (0, 40, 500):
        assert Words([*FILLERS[:others], "contract"]).any_in(Text(["\ud800 contract " + "x " * 3_000]))
        assert not Words([*FILLERS[:others], "contract"]).any_in(Text(["\ud800contracts " + "x " * 3_000]))


def test_folding_takes_case_and_composition_away() -> None:
    assert fold("Cafe\u0301 STRASSE ß") == "café strasse ss"
    assert spelled(" \t\n") == ""


@given(
    st.text(alphabet="abAB _-1.é合ß\n", max_size=40),
    st.text(alphabet="abAB _1é合ß", min_size=1, max_size=6).filter(spelled),
)
def test_one_keyword_and_thousands_agree(text: str, keyword: str) -> None:
    content = Text([text])
    alone = Word(keyword).is_in(content)

    for others in (0, 40, 500):
        assert Words([*FILLERS[:others], keyword]).any_in(content) is alone


@given(
    st.text(alphabet="aab b_-é\u0301合\n", max_size=300),
    st.sampled_from(["a", "ab", "b a", "合", "é", "a合", "aabb", "-", "b-"]),
)
def test_a_text_in_slices_has_the_keywords_of_the_whole(text: str, keyword: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keywords, "SLICE_CHARS", 40)
        patch.setattr(keywords, "LONG_WORD_CHARS", 20)
        patch.setattr(keywords, "REACH_CHARS", 15)
        parts = list(keywords.slices(text))
    words = among(0, keyword)

    assert any(words.any_in(part) for part in parts) is words.any_in(Text([text]))
    assert all(len(part.folded) <= 2 * 60 for part in parts)


@pytest.mark.parametrize("text", ["a" * 2_000_000, "ab " * 700_000, "合" * 700_000, "é" * 700_000, "\u0301" * 300_000, " " * 2_000_000])
def test_each_slice_of_a_hostile_text_is_short_work(text: str) -> None:
    count = sum(len(part.folded) <= 2 * keywords.SLICE_CHARS for part in keywords.slices(text))

    assert count <= len(text) // (keywords.SLICE_CHARS - keywords.LONG_WORD_CHARS - keywords.REACH_CHARS) + 2
    assert count >= len(text) // (keywords.SLICE_CHARS + keywords.LONG_WORD_CHARS)


def test_what_stands_around_an_overlong_word_is_found() -> None:
    text = "contract " + "x" * 100_000 + " lawsuit " + "y" * 100_000 + "zcontractz"
    parts = list(keywords.slices(text))

    assert [any(among(0, word).any_in(part) for part in parts) for word in ("contract", "lawsuit", "xxxx", "zcontractz")] == [
        True,
        True,
        False,
        False,
    ]


SPELT = [
    ("istanbul", "İSTANBUL güzel"), ("İstanbul", "istanbul"), ("ısı", "ISI"), ("straße", "STRASSE"), ("straße", "STRAẞE"),
    ("strasse", "straße"), ("don't", "I don’t know"), ("don’t", "I don't know"), ("l'eau", "L’EAU froide"),
    ("eau", "L’eau froide"), ("e-mail", "my e\u2011mail"), ("e-mail", "my e\u2010mail"), ("contract", "con\xadtract"),
    ("contract", "con\u200btract"), ("contract", "con\u200d\u2060tract"), ("contract", "\ufeffcontract\u200b"),
    ("contract", "\u202econtract\u202c"), ("con\u200btract", "contract"), ("カタカナ", "ｶﾀｶﾅ"), ("ﾄｳｷｮｳ", "トウキョウ"),
    ("ガ", "ｶﾞ"), ("abc", "これはＡＢＣ。"), ("ａｂｃ", "abc"), ("2024", "２０２４年"), ("❤️", "I ❤ you"), ("❤", "I ❤️ you"),
    ("👨\u200d👩\u200d👧", "x 👨\u200d👩\u200d👧 y"), ("👍", "👍🏽"), ("new york", "new\u200b york"),
    ("new york", "New\xa0York's"), ("new york", "new\u3000york"), ("café", "un cafe\u0301 noir"), ("σίσυφος", "ΣΊΣΥΦΟΣ"),
    ("office", "oﬃce"), ("契約", "この契約書を"), ("สัญญา", "ทำสัญญาใหม่"), ("계약", "계약서를"), ("हिन्दी", "हिन्दी में"),
    ("عقد", "عقد جديد"), ("c++", "I like C++."), (".net", "a .NET app"),
]  # fmt: skip
NOT_SPELT = [
    ("cafe", "café"), ("caf", "cafe\u0301"), ("x", "x\u0301"), ("e-mail", "my email"), ("e-mail", "e — mail"), ("sql", "mysql"),
    ("a", "a_b"), ("10", "100"), ("елка", "ёлка"), ("договор", "договора"), ("हिन्द", "हिन्दी में"), ("عقد", "العقد"),
    ("state of the art", "state-of-the-art"), ("abc", "ＸＡＢＣ"), ("contract", "sub\u200bcontract"),
]  # fmt: skip


@pytest.mark.parametrize(("keyword", "text", "expected"), [(*each, True) for each in SPELT] + [(*each, False) for each in NOT_SPELT])
def test_a_word_is_the_same_however_it_is_spelt_in_each_way_of_searching(keyword: str, text: str, expected: bool) -> None:
    short, long = Text([text]), Text([text + " and more" * 1000])
    one, dozens, thousands = (Words([keyword, *(f"filler{i}" for i in range(more))]) for more in (0, 20, 800))

    assert [words.any_in(seen) for words in (one, dozens, thousands) for seen in (short, long)] == [expected] * 6
    assert [one.all_in(seen) for seen in (short, long)] == [expected] * 2
