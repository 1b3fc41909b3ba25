"""The language of a prompt: told where it is clear, unknown where it is not, wrong never."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.policy.language import NAMES, language_of, lexicon
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.shape import unfold
from tests.policy.test_facts import facts, user

TEXTS = {
    "en": "Could you please explain why the sky is blue, and what would change if the air were thinner?",
    "de": "Kannst du mir bitte erklären, warum der Himmel blau ist und was sich ändern würde, wenn die Luft dünner wäre?",
    "fr": "Peux-tu m'expliquer pourquoi le ciel est bleu et ce qui changerait si l'air était plus mince ?",
    "es": "¿Puedes explicarme por qué el cielo es azul y qué cambiaría si el aire fuera más fino?",
    "it": "Puoi spiegarmi perché il cielo è blu e che cosa cambierebbe se l'aria fosse più rarefatta?",
    "pt": "Você pode me explicar por que o céu é azul e o que mudaria se o ar não fosse tão denso?",
    "nl": "Kun je me uitleggen waarom de lucht blauw is en wat er zou veranderen als het dunner werd?",
    "sv": "Kan du förklara för mig varför himlen är blå och vad som skulle ändras om luften var tunnare?",
    "da": "Kan du forklare mig, hvorfor himlen er blå, og hvad der ville ske, hvis luften ikke var så tyk, eller hvad?",
    "nb": "Kan du forklare meg hvorfor himmelen er blå, og hva som ville skje hvis luften ikke var så tykk, eller hva?",
    "fi": "Voitko selittää, miksi taivas on sininen ja mitä tapahtuisi, jos ilma olisi ohuempi kuin se nyt on?",
    "pl": "Czy możesz mi wyjaśnić, dlaczego niebo jest niebieskie i co by się zmieniło, gdyby powietrze nie było tak gęste?",
    "cs": "Můžeš mi vysvětlit, proč je obloha modrá a co by se změnilo, kdyby byl vzduch řidší než teď?",
    "sk": "Môžeš mi vysvetliť, prečo je obloha modrá a čo by sa zmenilo, keby bol vzduch redší ako teraz?",
    "hu": "El tudod magyarázni, hogy miért kék az ég, és mi változna, ha a levegő nem lenne olyan sűrű?",
    "ro": "Poți să îmi explici de ce este cerul albastru și ce s-ar schimba dacă aerul nu ar fi atât de dens?",
    "hr": "Možeš li mi objasniti zašto je nebo plavo i što bi se promijenilo kada zrak ne bi bio tako gust?",
    "tr": "Gökyüzünün neden mavi olduğunu bana açıklar mısın ve hava daha ince olsa ne değişir?",
    "id": "Bisakah kamu jelaskan mengapa langit berwarna biru dan apa yang akan berubah jika udara tidak setebal ini karena suatu hal?",
    "vi": "Bạn có thể giải thích cho tôi tại sao bầu trời màu xanh và điều gì sẽ thay đổi nếu không khí loãng hơn không?",
    "ca": "Em pots explicar per què el cel és blau i què canviaria si l'aire no fos tan dens com és avui amb això?",
    "ru": "Можешь ли ты объяснить мне, почему небо голубое и что изменилось бы, если бы воздух был тоньше?",
    "uk": "Чи можеш ти пояснити мені, чому небо блакитне і що змінилося б, якби повітря було тоншим?",
    "bg": "Можеш ли да ми обясниш защо небето е синьо и какво ще се промени, ако въздухът е по-рядък?",
    "sr": "Можеш ли да ми објасниш зашто је небо плаво и шта би се променило када ваздух не би био тако густ?",
    "el": "Μπορείς να μου εξηγήσεις γιατί ο ουρανός είναι γαλάζιος;",
    "he": "אתה יכול להסביר לי למה השמיים כחולים?",
    "ar": "هل يمكن أن تشرح لي لماذا السماء زرقاء وما الذي يتغير إذا كان الهواء أخف؟",
    "fa": "می‌توانی برای من توضیح بدهی که چرا آسمان آبی است و اگر هوا رقیق‌تر بود چه می‌شد؟",
    "hi": "क्या आप मुझे समझा सकते हैं कि आसमान नीला क्यों है और अगर हवा पतली हो तो क्या होगा?",
    "th": "ช่วยอธิบายหน่อยว่าทำไมท้องฟ้าถึงเป็นสีฟ้า",
    "ja": "なぜ空が青いのか説明してください。空気が薄かったらどうなりますか？",
    "ko": "하늘이 왜 파란지 설명해 주시겠어요?",
    "zh": "请解释一下为什么天空是蓝色的，如果空气更稀薄会怎么样？",
    "bn": "আকাশ নীল কেন তা কি আপনি আমাকে বোঝাতে পারেন?",
    "ta": "வானம் ஏன் நீலமாக இருக்கிறது என்று விளக்க முடியுமா?",
    "ka": "შეგიძლია ამიხსნა, რატომ არის ცა ლურჯი?",
    "hy": "Կարո՞ղ ես բացատրել, թե ինչու է երկինքը կապույտ:",
}
UNTOLD = {
    "nothing": "",
    "a word": "ok",
    "a greeting in one word": "Hallo",
    "a name": "Angela Merkel",
    "numbers": "12 + 34 = 46",
    "signs": "!!! ???",
    "emoji": "😀😀🎉",
    "nonsense": "asdf qwer zxcv",
    "a word that several have": "de la",
    "kanji alone": "東京都",
    "sql": "SELECT * FROM users WHERE id IN (1,2)",
    "a fence alone": "```\nthe of and to is that it was\n```",
    "a link alone": "https://example.com/the/of/and/to/is",
    "json": '{"name": "x", "items": [1, 2, 3]}',
    "half German, half English": "Das ist nicht der Text, den ich wollte. This is not the text that I wanted to have.",
    "half Russian, half English": "Это не тот текст, который мне нужен. This is not the text that I wanted.",
    "Kazakh": "Аспан неге көк екенін маған түсіндіріп бере аласыз ба, өтінемін?",
    "base64": "aGVsbG8gd29ybGQgdGhpcyBpcyBhIHRlc3Q" * 20,
}


def condition(language: Any) -> Any:
    return Compiler({}).condition(MatchSpec.read(unfold(MatchSpec, {"language": language})[0]))


@pytest.mark.parametrize("language", TEXTS)
def test_a_prompt_of_one_sentence_is_told(language: str) -> None:
    assert language_of(TEXTS[language]) == language
    assert language_of(TEXTS[language].upper() if language != "tr" else TEXTS[language]) == language


@pytest.mark.parametrize("text", UNTOLD.values(), ids=UNTOLD)
def test_what_is_not_clear_is_not_guessed(text: str) -> None:
    assert language_of(text) is None


@pytest.mark.parametrize("language", TEXTS)
def test_a_beginning_of_a_sentence_is_told_rightly_or_not_at_all(language: str) -> None:
    text = TEXTS[language]

    assert {language_of(text[:size]) for size in range(0, len(text), 3)} <= {language, None}


@pytest.mark.parametrize("language", ["de", "ja", "ru", "hi"])
def test_code_and_links_do_not_speak(language: str) -> None:
    code = "\n```python\nfor each in the_list:  # if this is not the one that you want\n    return it\n```\nhttps://a.com/what/is/this"

    assert language_of(TEXTS[language] + code * 3) == language


def test_a_decomposed_text_is_the_same() -> None:
    assert language_of("Ka\u0308nnst du mir erkla\u0308ren, was das fu\u0308r ein Wort ist?") == "de"


def test_the_lexicon_knows_the_languages_that_are_named() -> None:
    assert set(lexicon().languages) <= set(NAMES)
    assert all(len(words) > 30 for words in lexicon().sayings.values())
    assert all(word == word.lower() and word.strip() == word for words in lexicon().sayings.values() for word in words)


@pytest.mark.parametrize(
    "text", ["a " * 5000, "é " * 3000, "```" * 2000, "http://" * 900, "\u0301" * 6000, "中" * 6000, "".join(map(chr, range(0x370, 0xD000)))]
)
def test_no_text_takes_long(text: str) -> None:
    language_of(text)
    started = time.perf_counter()
    language_of(text)

    assert time.perf_counter() - started < 0.02  # 0.05 to 0.3 ms on a quiet machine


def test_no_text_breaks_it() -> None:
    draw = random.Random(4)
    for _ in range(300):
        text = "".join(
            chr(draw.choice((draw.randrange(0xD800), draw.randrange(0xE000, 0x11000), draw.randrange(0x250)))) for _ in range(60)
        )

        assert language_of(text) in (None, *NAMES)


# The condition


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", TEXTS["de"], True),
        ("en", TEXTS["de"], False),
        (["ja", "ko", "zh"], TEXTS["ko"], True),
        (["ja", "ko", "zh"], TEXTS["en"], False),
        ("en", "ok", None),
        ("en", "", None),
    ],
)
def test_it_is_the_language_of_the_last_user_message(language: Any, text: str, expected: bool | None) -> None:
    body = {"messages": [*user(TEXTS["fr"]), {"role": "assistant", "content": TEXTS["es"]}, *user(text)]}

    assert condition(language).test(facts(body)) is expected


@pytest.mark.parametrize("body", [{"messages": user("ok")}, {"messages": []}])
def test_what_is_unknown_stays_so_under_not_and_says_why(body: Any) -> None:
    seen = facts(body)

    assert Compiler({}).condition(MatchSpec.read({"not": {"language": ["en"]}})).test(seen) is None
    assert seen.unknown == ["the language of the prompt cannot be told"]
    assert condition("en").explain(seen).children[0].seen == "unknown: the language of the prompt cannot be told"


def test_a_body_that_cannot_be_read_is_unknown_for_its_own_reason() -> None:
    seen = facts(raw=b"{")

    assert condition("en").explain(seen).children[0].seen.startswith("unknown: not JSON")
    assert len(seen.unknown) == 1


def test_it_is_found_out_once_a_call_and_shown() -> None:
    seen = facts({"input": TEXTS["it"]}, endpoint=Endpoint.RESPONSES)
    verdicts = [condition(language).test(seen) for language in ("it", "en", ["en", "it"])]
    told = condition(["en", "it"]).explain(seen).children[0]

    assert verdicts == [True, False, True]
    assert seen.kept["language"] == "it"
    assert (told.name, told.expected, told.seen) == ("language", "one of en, it", "it")
