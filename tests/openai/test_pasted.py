"""What of a prompt is the asking: code, data, documents and quotes are told from it by their form."""

from __future__ import annotations

from time import perf_counter

import pytest

from proxy.openai.pasted import HEAD_CHARS, TAIL_CHARS, parts

PARAGRAPH = "The committee met on Monday and spoke about the path along the river, which is under water twice a year. " * 5
CSV = "sku,town,qty\n" + "\n".join(f"A{i},Lyon,{i}" for i in range(20))
LOG = "\n".join(f"2026-03-12 10:00:{i:02} GET /api/cart 200 {i * 37}" for i in range(20))


@pytest.mark.parametrize(
    ("text", "asking"),
    [
        ("What is a mutex?", "What is a mutex?"),
        ("Translate 'good night' to Welsh.", "Translate   to Welsh."),
        ('Spell "architecture".', "Spell  ."),
        ("Übersetze „Guten Tag“ ins Englische.", "Übersetze   ins Englische."),
        ("Traduis « bonjour » en anglais", "Traduis   en anglais"),
        ("「こんにちは」を英語で", " を英語で"),
        ("What does `git stash` do?", "What does   do?"),
        ("the user's dogs' food isn't what it's about", "the user's dogs' food isn't what it's about"),
        ("Fix 'He don't know' please", "Fix   please"),
    ],
)
def test_quoted_words_are_no_part_of_the_asking(text: str, asking: str) -> None:
    assert parts(text).asking == asking


def test_a_text_that_is_one_quote_is_the_asking() -> None:
    found = parts('"Prove that the square root of two is irrational."')

    assert "Prove" in found.asking
    assert found.quotes == 0


def test_fenced_code_is_attached() -> None:
    found = parts("Why is this slow?\n```python\nfor x in y:\n    why(x)\n```\nSay it in one line.")

    assert found.asking.split() == ["Why", "is", "this", "slow?", "Say", "it", "in", "one", "line."]
    assert found.code > 20


def test_a_fence_that_is_not_closed_goes_on_to_the_end() -> None:
    found = parts("Explain:\n```\nx = 1\ny = 2")

    assert found.asking.strip() == "Explain:"


@pytest.mark.parametrize("rows", [CSV, LOG, '{"a": 1, "b": [1, 2, 3], "c": "a long enough line of JSON to be data"}'])
def test_rows_of_data_are_attached(rows: str) -> None:
    found = parts(f"Which of these are late?\n\n{rows}")

    assert found.asking.split() == ["Which", "of", "these", "are", "late?"]
    assert found.data > 60


def test_what_speakers_said_is_attached() -> None:
    found = parts("Write the minutes.\nAna: shall we start\nTom: yes, the order is 500\nAna: and the price\nTom: 300 euros")

    assert found.asking == "Write the minutes."


def test_a_heading_that_ends_in_a_colon_is_no_speaker() -> None:
    assert "Requirements:" in parts("Requirements:\nAna: one\nTom: two\nAna: three\nTom: four").asking


@pytest.mark.parametrize("text", [f"Sum this up in a line.\n\n{PARAGRAPH}", f"{PARAGRAPH}\n\nSum this up in a line."])
def test_a_long_paragraph_beside_a_short_one_is_a_document(text: str) -> None:
    found = parts(text)

    assert found.asking.strip() == "Sum this up in a line."
    assert found.prose == len(PARAGRAPH)


def test_a_long_paragraph_alone_is_the_asking() -> None:
    found = parts(PARAGRAPH)

    assert found.asking == PARAGRAPH
    assert found.attached == 0


def test_a_document_in_a_script_without_spaces_is_found_by_its_length() -> None:
    found = parts("用一句话总结。\n" + "委员会在市政厅二楼开会讨论沿河的新自行车道。" * 10)

    assert found.asking == "用一句话总结。"


def test_a_tagged_document_is_attached() -> None:
    found = parts("Sum up <doc>first line\nsecond line</doc> in one line")

    assert found.asking == "Sum up   in one line"
    assert found.prose == len("first line\nsecond line")


def test_a_tag_without_an_end_is_left_as_it_stands() -> None:
    assert parts("make it <b>bold, what is <i>?").asking == "make it <b>bold, what is <i>?"


def test_two_lines_that_look_like_data_may_be_the_asking() -> None:
    assert parts("a,b,c\nSort these.").asking == "a,b,c\nSort these."


def test_of_a_long_text_the_middle_counts_as_what_most_of_it_is() -> None:
    rows = "1,2,3,4\n" * 10_000
    found = parts(f"How many rows?\n{rows}\nSay only the number.")

    assert found.asking.split() == ["How", "many", "rows?", "Say", "only", "the", "number."]
    assert found.data > 70_000
    assert found.prose == 0


@pytest.mark.parametrize("piece", ["'a ", "' ", '"', "“", "„a", "«", "`", "```", "<a>", "<ab></ab>", "Ana: x\n", "1,2,3\n", "\n", "x", "é"])
def test_a_hostile_text_costs_no_more_than_a_long_one(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    taken_s = []
    for _ in range(5):
        begun = perf_counter()
        found = parts(text)
        taken_s.append(perf_counter() - begun)

    assert min(taken_s) < 0.03  # 0.4 ms on a quiet machine
    assert len(found.asking) <= HEAD_CHARS + TAIL_CHARS + 2
