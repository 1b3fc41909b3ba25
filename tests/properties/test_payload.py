"""Edits of any body: what is asked for changes, and the spelling of all else stays, byte for byte."""

from __future__ import annotations

import json
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import MISSING, Payload, Unread
from proxy.openai.scan import members
from tests.properties.json_texts import COMMON, SEEDS, json_texts, objects, styled

QUICK = settings(max_examples=500, deadline=None, derandomize=True)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters(), max_size=5), st.lists(st.integers(0, 9), max_size=2))
TEXTS = st.none() | st.text(st.characters(), min_size=1, max_size=8)


def pairs_of(text: bytes) -> list[tuple[str, Any]]:
    pairs: list[list[tuple[str, Any]]] = []
    json.loads(text.decode(), object_pairs_hook=lambda found: pairs.append(found) or dict(found))
    return pairs[-1]


def spelt(text: bytes) -> list[tuple[bytes, bytes]]:
    return [(text[member.start : member.value].rstrip(b": \t\n\r"), text[member.value : member.end]) for member in members(text)]


def sent(payload: Payload) -> bytes:
    data = b"".join(payload.pieces())
    assert payload.size_bytes == len(data)
    return data


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, object]]:
    return draw(st.lists(st.tuples(st.sampled_from([*COMMON, "new"]), VALUES | st.just(MISSING)), min_size=1, max_size=5))


@QUICK
@given(objects(), st.sampled_from(COMMON))
def test_a_value_is_the_one_that_every_parser_sees_or_unread(text: str, key: str) -> None:
    raw = text.encode()
    values = [value for found, value in pairs_of(raw) if found == key]
    payload = Payload(raw, Endpoint.CHAT)
    if len(values) > 1:
        with pytest.raises(Unread, match="twice"):
            payload.value(key)
    elif values:
        value = payload.value(key)
        assert value == values[0] or repr(value) == repr(values[0]) or isinstance(value, (list, dict))
    else:
        assert payload.value(key) is MISSING


@QUICK
@given(objects(), edits())
def test_edits_change_what_is_asked_for_and_no_other_byte_of_any_member(text: str, wanted: list[tuple[str, object]]) -> None:
    raw = text.encode()
    before = pairs_of(raw)
    keys = [key for key, _ in before]
    payload = Payload(raw, Endpoint.MODELS)
    last: dict[str, object] = {}
    for key, value in wanted:
        try:
            payload = payload.remove(key) if value is MISSING else payload.set(key, value)
        except Unread:
            assert keys.count(key) > 1
            continue
        last.pop(key, None)
        last[key] = value
    after = sent(payload)

    untouched = [pair for pair, (key, _) in zip(spelt(raw), before, strict=True) if key not in last]
    kept = [pair for pair, (key, _) in zip(spelt(after), pairs_of(after), strict=True) if key not in last]
    assert kept == untouched
    assert {key: value for key, value in pairs_of(after) if key in last} == {
        key: value for key, value in last.items() if value is not MISSING
    }
    survivors = [key for key in keys if last.get(key) is not MISSING]
    assert [key for key, _ in pairs_of(after)][: len(survivors)] == survivors
    if not last:
        assert after == raw


@QUICK
@given(objects(), st.sampled_from(COMMON), st.text(st.characters(), max_size=6))
def test_a_value_that_is_set_takes_the_place_of_the_old_one_alone(text: str, key: str, value: str) -> None:
    raw = text.encode()
    found = [member for member in members(raw) if member.key == key]
    if len(found) != 1:
        return
    after = sent(Payload(raw, Endpoint.MODELS).set(key, value))

    assert after.startswith(raw[: found[0].value])
    assert after.endswith(raw[found[0].end :])
    assert json.loads(after[found[0].value : len(after) - len(raw) + found[0].end]) == value


WORDS = ["", "x", 'say "hi"\n', "é\u2028", "\ud800", "😀", "data:", "\\"]


@st.composite
def chats(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A chat and its messages, in any usual style, with odd values around them."""
    seed = draw(SEEDS)
    random = Random(seed)

    def content() -> Any:
        parts = [random.choice([{"type": "text", "text": random.choice(WORDS)}, {"type": "image_url"}]) for _ in range(random.randrange(4))]
        return random.choice([None, random.choice(WORDS), parts])

    roles = ["system", "developer", "user", "assistant"]
    messages = [{"role": random.choice(roles), "content": content()} for _ in range(random.randrange(5))]
    odd = draw(json_texts())
    before, after = random.choice([("", ""), (f'"x":{odd},', ""), ("", f' , "x" :{odd}'), ("\n", "\n")])
    return f'{{{before}"messages":{styled(messages, seed)}{after}}}', messages


def texts_of(content: Any) -> list[str]:
    if content is None:
        return [""]
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if part["type"] == "text"] or [""]


@QUICK
@given(chats(), st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
def test_instructions_are_added_around_what_the_app_says(chat: tuple[str, list[Any]], wanted: list[tuple[str | None, str | None]]) -> None:
    text, messages = chat
    payload = Payload(text.encode(), Endpoint.CHAT)
    for prepend, append in wanted:
        payload = payload.instruct(prepend, append)
    prepends = [prepend for prepend, _ in wanted if prepend]
    appends = [append for _, append in wanted if append]
    if not prepends and not appends:
        assert sent(payload) == text.encode()
        return
    after = json.loads(sent(payload).decode())["messages"]
    index = next((i for i, message in enumerate(messages) if message["role"] in ("system", "developer")), None)
    if index is None:
        assert after == [{"role": "system", "content": "\n\n".join([*prepends, *appends])}, *messages]
        return

    said = texts_of(messages[index]["content"])
    whole = "\n\n".join([*prepends, *([said[0]] if said[0] or len(said) > 1 else []), *appends]) if len(said) == 1 else None
    if whole is not None:
        assert texts_of(after[index]["content"]) == [whole]
    else:
        assert texts_of(after[index]["content"])[0] == "\n\n".join([*prepends, said[0]])
        assert texts_of(after[index]["content"])[-1] == "\n\n".join([said[-1], *appends])
        assert texts_of(after[index]["content"])[1:-1] == said[1:-1]
    assert after[:index] + after[index + 1 :] == messages[:index] + messages[index + 1 :]


@QUICK
@given(st.binary(max_size=60) | objects().map(lambda text: text.encode()[:-1]))
def test_no_bytes_make_it_raise_anything_but_unread(raw: bytes) -> None:
    for endpoint in (Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.COMPLETIONS):
        payload = Payload(raw, endpoint)
        edits_of = (lambda p: p.set("model", 1).pieces(), lambda p: p.remove("model").pieces(), lambda p: p.instruct("x", "y").pieces())
        for ask in (Payload.last_user, Payload.prompt_texts, Payload.prompt_ids, *edits_of):
            with suppress(Unread):
                ask(payload)
        assert sent(payload) == raw
