"""What a case may expect."""

from __future__ import annotations

import pytest

from proxy.policy.expect_spec import WORDS, EntrySpec, ErrorSpec, ExpectSpec, ProblemSpec, ReplySpec, SentSpec, TextSpec, expected
from proxy.policy.spec import Wrong
from tests.policy.specs import read, refused


def test_short_forms_stand_for_the_field_that_matters() -> None:
    assert read(SentSpec, "groq llama").to == "groq llama"
    assert read(TextSpec, "ok").equals == "ok"
    assert read(ErrorSpec, "overloaded").code == "overloaded"
    assert read(EntrySpec, "retry").kind == "retry"
    assert read(ProblemSpec, "key").says == "key"


def test_exchanges_are_a_number_or_a_list() -> None:
    listed = read(ExpectSpec, "{exchanges: [openai gpt-5, {name: groq, body: {n: 1}}]}").exchanges

    assert read(ExpectSpec, "{exchanges: 0}").exchanges == 0
    assert isinstance(listed, tuple)
    assert [each.to or each.name for each in listed] == ["openai gpt-5", "groq"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "expects nothing"),
        ("{exchanges: -1}", "must be at least 0"),
        ("{exchanges: true}", "valid integer"),
        ("{took: {}}", "needs `below` or `at_least`"),
        ("{took: {below: 1s, at_least: 1s}}", "can never be true"),
        ("{problem: x, exchanges: 0}", "nothing can happen where the policies are refused"),
        ("{policies: [a b]}", "a name is 1 to 63"),
        ("{reply: {headers: {}}}", "at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    assert said in refused(ExpectSpec, text)


@pytest.mark.parametrize("kind", [SentSpec, ReplySpec, ErrorSpec])
def test_an_expectation_that_says_nothing_is_refused(kind: type[SentSpec]) -> None:
    assert "expects nothing" in refused(kind, "{}")


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_known(word: str) -> None:
    value = 1 if word in ("$below", "$at_least", "$length") else "x"

    assert expected({"a": [{word: value}]}) == {"a": [{word: value}]}


@pytest.mark.parametrize(
    ("value", "said", "at"),
    [
        ({"a": {"$contians": "x"}}, "unknown word '$contians'", ("a",)),
        ({"a": [{"$glob": 1}]}, "`$glob` takes a text", ("a", 0, "$glob")),
        ({"$below": True}, "`$below` takes a number", ("$below",)),
        ({"a": {"$first": {"$lst": 1}}}, "unknown word '$lst'", ("a", "$first")),
        ({"a": {"$glob": "x", "b": 1}}, "cannot stand beside plain keys", ("a",)),
    ],
)
def test_a_word_that_is_wrong_is_told_with_its_place(value: object, said: str, at: tuple[str | int, ...]) -> None:
    with pytest.raises(Wrong) as caught:
        expected(value)

    assert said in str(caught.value)
    assert caught.value.at == at


def test_what_is_exactly_meant_is_not_read_for_words() -> None:
    assert expected({"$is": {"$anything": 1}})
