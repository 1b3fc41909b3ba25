"""`-k` selects by words, joined as pytest joins them."""

from __future__ import annotations

import pytest

from proxy.cli.selection import Unclear, selection

NAME = "chat.test.yaml a stalled primary is left for Groq"


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("stalled", True),
        ("STALLED", True),
        ("groq", True),
        ("chat.test", True),
        ("moved", False),
        ("stalled primary", True),
        ("primary stalled", False),
        ("stalled and groq", True),
        ("stalled and moved", False),
        ("moved or groq", True),
        ("not moved", True),
        ("not stalled", False),
        ("not not stalled", True),
        ("moved or stalled and groq", True),
        ("(moved or stalled) and not groq", False),
        ("not (moved or chat)", False),
        ('"left for"', True),
        ("'and'", False),
        ("stalled AND groq", True),
    ],
)
def test_a_name_is_selected_by_its_words(expression: str, selected: bool) -> None:
    assert selection(expression)(NAME) is selected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "a word is expected at its end"),
        ("stalled and", "a word is expected at its end"),
        ("and stalled", "a word is expected before 'and'"),
        ("(stalled", "a parenthesis is not closed"),
        ("stalled)", "')' is not expected here"),
        ("not", "a word is expected at its end"),
        ("()", "a word is expected before ')'"),
        ('"stalled', "a quotation mark is not closed"),
    ],
)
def test_an_expression_that_is_none_says_why(expression: str, said: str) -> None:
    with pytest.raises(Unclear) as caught:
        selection(expression)

    assert said in str(caught.value)
