"""Where the app's instructions stand."""

from __future__ import annotations

import json

import pytest

from proxy.openai.document import Document
from proxy.openai.endpoints import Endpoint
from proxy.openai.instructions import place_of
from proxy.openai.splice import spliced
from proxy.openai.unread import Unread


def edited(text: str, endpoint: Endpoint = Endpoint.CHAT, prepends: tuple[str, ...] = ("P",), appends: tuple[str, ...] = ("A",)) -> str:
    document = Document(text.encode())
    place = place_of(document, endpoint)
    assert place is not None
    return b"".join(spliced(document.text, place.splices(prepends, appends))).decode()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ('[{"role":"system","content":"s"}]', '[{"role":"system","content":"P\\n\\ns\\n\\nA"}]'),
        ('[ {"content" : "s" , "role":"developer"} ]', '[ {"content" : "P\\n\\ns\\n\\nA" , "role":"developer"} ]'),
        (
            '[{"role":"user","content":"u"},{"role":"system","content":"s"}]',
            '[{"role":"user","content":"u"},{"role":"system","content":"P\\n\\ns\\n\\nA"}]',
        ),
        ('[{"role":"system","content":""}]', '[{"role":"system","content":"P\\n\\nA"}]'),
        ('[{"role":"system","content":null}]', '[{"role":"system","content":"P\\n\\nA"}]'),
        ('[{"role":"user","content":"u"}]', '[{"role":"system","content":"P\\n\\nA"},{"role":"user","content":"u"}]'),
        ("[ ]", '[{"role":"system","content":"P\\n\\nA"} ]'),
        ('[{"role":"system","content":[]}]', '[{"role":"system","content":[{"type":"text","text":"P\\n\\nA"}]}]'),
        (
            '[{"role":"system","content":[{"type":"image_url"}]}]',
            '[{"role":"system","content":[{"type":"text","text":"P\\n\\nA"},{"type":"image_url"}]}]',
        ),
        (
            '[{"role":"system","content":[{"type":"text","text":"t"}]}]',
            '[{"role":"system","content":[{"type":"text","text":"P\\n\\nt\\n\\nA"}]}]',
        ),
        ('[{"role":"system","content":[{"type":"text","text":""}]}]', '[{"role":"system","content":[{"type":"text","text":"P\\n\\nA"}]}]'),
        (
            '[{"role":"system","content":[{"type":"text", "text" : "t"}, {"text":"u","type":"text"}]}]',
            '[{"role":"system","content":[{"type":"text", "text" : "P\\n\\nt"}, {"text":"u\\n\\nA","type":"text"}]}]',
        ),
        (
            '[{"role":"system","content":"a"},{"role":"system","content":"b"}]',
            '[{"role":"system","content":"P\\n\\na\\n\\nA"},{"role":"system","content":"b"}]',
        ),
        (
            '[{"role":"system","content":"\\ud800 1\\u00e9 caf\u00e9"}]',
            '[{"role":"system","content":"P\\n\\n\\ud800 1\\u00e9 caf\u00e9\\n\\nA"}]',
        ),
    ],
)
def test_text_goes_into_the_first_system_or_developer_message(messages: str, expected: str) -> None:
    for before, after in (('{"messages":', "}"), ('{"x":{"messages":[]}, "messages" : ', ',"n":1.0}')):
        assert edited(before + messages + after) == before + expected + after


def test_texts_add_up_in_order_with_a_blank_line_between() -> None:
    text = edited('{"messages":[{"role":"system","content":"s"}]}', prepends=("1", "2"), appends=("3", "4"))

    assert json.loads(text)["messages"][0]["content"] == "1\n\n2\n\ns\n\n3\n\n4"


def test_only_what_is_added_is_written() -> None:
    assert edited('{"messages":[{"role":"system","content":"s"}]}', appends=()) == '{"messages":[{"role":"system","content":"P\\n\\ns"}]}'
    assert edited('{"messages":[{"role":"system","content":"s"}]}', prepends=()) == '{"messages":[{"role":"system","content":"s\\n\\nA"}]}'


def test_what_is_added_is_escaped() -> None:
    text = edited('{"messages":[{"role":"system","content":"s"}]}', prepends=('"}],\\',), appends=("\n\u00e9\ud800",))

    assert json.loads(text)["messages"][0]["content"] == '"}],\\\n\ns\n\n\n\u00e9\ud800'


def test_instructions_of_a_responses_call_are_the_place() -> None:
    assert edited('{"instructions":"i","input":"x"}', Endpoint.RESPONSES) == '{"instructions":"P\\n\\ni\\n\\nA","input":"x"}'
    assert edited('{"instructions" : null}', Endpoint.RESPONSES) == '{"instructions" : "P\\n\\nA"}'
    assert place_of(Document(b'{"input":"x"}'), Endpoint.RESPONSES) is None


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ('{"prompt":"x"}', Endpoint.COMPLETIONS),
        ('{"input":"x"}', Endpoint.EMBEDDINGS),
        ('{"messages":"x"}', Endpoint.CHAT),
        ("{}", Endpoint.CHAT),
        ('{"messages":[{"role":"system"}]}', Endpoint.CHAT),
        ('{"messages":[{"role":"system","content":5}]}', Endpoint.CHAT),
        ('{"instructions":["x"]}', Endpoint.RESPONSES),
    ],
)
def test_where_there_is_no_place_nothing_is_edited(text: str, endpoint: Endpoint) -> None:
    with pytest.raises(Unread, match="no place for instructions"):
        place_of(Document(text.encode()), endpoint)


def test_a_message_with_a_key_twice_is_not_edited() -> None:
    with pytest.raises(Unread, match="'role' is there twice"):
        place_of(Document(b'{"messages":[{"role":"system","role":"user","content":"s"}]}'), Endpoint.CHAT)


def test_a_system_message_behind_a_large_image_is_found() -> None:
    url = "data:image/png;base64," + "QUJD" * 200_000
    before = '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"' + url + '"}}]},{"role":"system","content":'
    document = Document((before + '"s"}]}').encode())
    place = place_of(document, Endpoint.CHAT)

    assert place is not None
    assert document.raw[document.at(place.first) : document.at(place.last)] == b"s"
