"""Each signal of the complexity score: what sets it, and what looks like it and does not."""

from __future__ import annotations

import pytest

from proxy.policy import complexity_words
from proxy.policy.complexity_signals import DOWN, SIGNALS, UP, Request, questions, values, view
from proxy.policy.complexity_words import Lexicon

CSV = "sku,town,qty\n" + "\n".join(f"A{i},Lyon,{i}" for i in range(20))
LETTER = "Dear Anna,\nthanks for the flowers.\nWhy did you send them?\nSee you on Monday, and prove me wrong.\nTom"


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return complexity_words.load()


def signals(lexicon: Lexicon, last: str, **more: object) -> dict[str, float]:
    return values(view(Request(last, **more), lexicon))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signal", "text"),
    [
        ("fact", "Which river runs through Graz?"),
        ("fact", "could you please tell, what is a mutex"),
        ("fact", "日本で一番高い山は何ですか？"),
        ("recall", "Wie heißt die Hauptstadt von Peru?"),
        ("shift", "Übersetze ins Polnische: Guten Tag"),
        ("pick", "Extract the dates: 'on 3 May'"),
        ("small", "a slogan for a shoe shop"),
        ("snippet", "regex for a date"),
        ("brief", "What is DNS? One sentence."),
        ("talk", "Merci !"),
        ("home", "how long do I boil an egg"),
        ("prove", "Докажи, что их бесконечно много."),
        ("why", "なぜ失敗しますか"),
        ("make", "Entwirf ein Schema für Rechnungen"),
        ("weigh", "비교하고 평가하세요"),
        ("trouble", "it hangs only under load"),
        ("reckon", "What are the odds of two sixes?"),
        ("expert", "Is it linearizable under a network partition?"),
        ("bounds", "without loops and in at most ten lines"),
        ("more", "Do it and explain each step"),
        ("own", "our server"),
        ("tells", "Our replica is late, but only on Mondays."),
        ("unknown", "Nola iritsiko naiz geltokira gaur gauean?"),
        ("numbers", "12 of 14"),
        ("math", "f(x) = 2"),
        ("code", "what is it?\n```\nx = 1\n```"),
        ("attached", f"Extract the towns.\n\n{CSV}"),
        ("material", f"Why are the numbers so low?\n\n{CSV}"),
        ("silent", CSV),
        ("questions", "Is it? Was it? Will it be?"),
        ("sentences", "It fails. I tried again. It fails still."),
        ("length", "one"),
        ("short", "one two"),
    ],
)
def test_a_signal_is_set_by_what_it_says(lexicon: Lexicon, signal: str, text: str) -> None:
    assert signal in signals(lexicon, text)


@pytest.mark.parametrize(
    ("signal", "text"),
    [
        ("fact", "Is my design safe?"),
        ("prove", "improve and approve it"),
        ("make", "Translate 'design a compiler' to Czech"),
        ("why", "Spell 'why'."),
        ("tells", "Our replica is late, is it?"),
        ("tells", "Rewrite the text: our replica is late"),
        ("unknown", "is the river of my town up"),
        ("unknown", "hm?"),
        ("code", "what is code?"),
        ("attached", "Extract the towns."),
        ("attached", f"Why are the numbers so low?\n\n{CSV}"),
        ("material", f"Extract the towns.\n\n{CSV}"),
        ("silent", f"Extract the towns.\n\n{CSV}"),
        ("questions", "Is it?!? https://example.org/?a=1"),
        ("numbers", f"Extract the towns.\n\n{CSV}"),
        ("few_tools", "hi"),
        ("many_tools", "hi"),
        ("history", "hi"),
        ("goes_on", "hi"),
        ("media", "hi"),
    ],
)
def test_a_signal_is_not_set_by_what_only_looks_like_it(lexicon: Lexicon, signal: str, text: str) -> None:
    assert signal not in signals(lexicon, text)


@pytest.mark.parametrize(
    "text",
    [
        f"Translate this letter to French:\n\n{LETTER}",
        f"Translate this letter to French.\n{LETTER}",
        f"{LETTER}\nTranslate this letter to French.",
        "Translate to French: why do you ask?",
    ],
)
def test_a_plain_order_counts_without_the_text_that_it_is_for(lexicon: Lexicon, text: str) -> None:
    found = signals(lexicon, text)

    assert found["attached"] == 1
    assert found.keys().isdisjoint(("why", "prove", "trouble", "sentences"))


@pytest.mark.parametrize(
    "text",
    [
        "Summarise: prove the theorem, then compare the two proofs and say why one fails",
        "Convert this:\n- prove that it is safe\n- compare the two\n- say why one is slower\n- and which to take",
    ],
)
def test_a_second_order_behind_a_colon_is_not_overlooked(lexicon: Lexicon, text: str) -> None:
    found = signals(lexicon, text)

    assert found.keys() >= {"prove", "weigh", "why"}


def test_a_hard_word_counts_a_quarter_where_a_fact_about_it_is_asked(lexicon: Lexicon) -> None:
    asked = signals(lexicon, "Who proved the four colour theorem?")
    told = signals(lexicon, "Prove the four colour theorem.")

    assert asked["prove"] < told["prove"] / 2
    assert "recall" in asked


def test_tools_are_few_or_many(lexicon: Lexicon) -> None:
    assert "few_tools" in signals(lexicon, "set a timer", tools=2)
    assert "many_tools" not in signals(lexicon, "set a timer", tools=2)
    assert "few_tools" not in signals(lexicon, "set a timer", tools=3)

    few_words = signals(lexicon, "turn the lights in the hall off", tools=3)["many_tools"]
    many_words = signals(lexicon, "go through my mail, find the open bills and pay each of them today", tools=3)["many_tools"]

    assert "many_tools" not in signals(lexicon, "set a timer", tools=3)
    assert 0 < few_words < many_words


def test_the_system_prompt_tells_the_kind_of_task(lexicon: Lexicon) -> None:
    narrow = signals(lexicon, "it does nothing", system="Classify the message. Reply with one word.")
    agent = signals(lexicon, "it does nothing", system="You are an engineer with access to production.")

    assert "narrow_system" in narrow
    assert "narrow_system" not in agent
    assert "agent_system" in agent


def test_what_was_said_before_counts_apart(lexicon: Lexicon) -> None:
    found = signals(lexicon, "and now?", earlier=("Here is my proof that it converges.",))

    assert found["history"] > 0
    assert "goes_on" in found
    assert "prove" not in found


def test_media_and_schema_are_seen(lexicon: Lexicon) -> None:
    found = signals(lexicon, "read it", has_media=True, has_schema=True)

    assert found["media"] == found["schema"] == 1


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("a? b?", 2), ("what?!? no", 1), ("吗？呢？", 2), ("ما؟", 1), ("x?y=1", 0), ("???", 1)]
)
def test_questions_are_counted(text: str, count: int) -> None:
    assert questions(text) == count


def test_every_signal_has_words_and_a_direction() -> None:
    assert all(signal.says and signal.direction in (UP, DOWN) for signal in SIGNALS.values())
    assert len({signal.says for signal in SIGNALS.values()}) == len(SIGNALS)
