"""A body that policies read and edit."""

from __future__ import annotations

import base64
import gc
import gzip
import json

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import HAS, MISSING, ROLES, Payload, Unread

CHAT = Endpoint.CHAT
BODY = (
    b'{"model": "gpt-4o", "temperature":1.0,"seed":1e3,"big":12345678901234567890123,'
    b'"messages":[{"role":"user","content":"caf\\u00e9 \\ud800"}] }\n'
)


def sent(payload: Payload) -> bytes:
    data = b"".join(payload.pieces())
    assert payload.size_bytes == len(data)
    return data


def test_an_unedited_body_is_sent_as_it_came() -> None:
    payload = Payload(BODY, CHAT)

    assert payload.model == "gpt-4o"
    assert payload.pieces()[0] is BODY
    assert (payload.edited, payload.edits, payload.decoded, payload.size_bytes) == (False, (), False, len(BODY))


def test_a_body_that_is_no_json_is_sent_all_the_same() -> None:
    payload = Payload(b"\xff--boundary", Endpoint.AUDIO)

    assert sent(payload) == b"\xff--boundary"


def test_a_rewritten_model_leaves_every_other_byte() -> None:
    assert sent(Payload(BODY, CHAT).set("model", "gpt-4o-mini")) == BODY.replace(b'"gpt-4o"', b'"gpt-4o-mini"')


def test_an_edit_gives_a_new_payload_and_leaves_the_old_one() -> None:
    before = Payload(BODY, CHAT)
    after = before.set("model", "x").remove("seed")

    assert (before.model, before.edited, sent(before)) == ("gpt-4o", False, BODY)
    assert (after.model, after.value("seed")) == ("x", MISSING)


def test_of_two_edits_of_one_key_the_last_one_holds() -> None:
    payload = Payload(BODY, CHAT)

    assert json.loads(sent(payload.set("n", 1).set("n", 2)))["n"] == 2
    assert sent(payload.set("n", 1).remove("n")) == BODY
    assert json.loads(sent(payload.remove("seed").set("seed", 5)))["seed"] == 5
    assert "seed" not in json.loads(sent(payload.set("seed", 5).remove("seed")))
    assert not payload.remove("nothing").edited


def test_a_new_member_is_the_last_one() -> None:
    assert sent(Payload(b'{"a":1 }', CHAT).set("b", [True]).set("c", None)) == b'{"a":1,"b":[true],"c":null }'
    assert sent(Payload(b"{ }", CHAT).set("b", 1)) == b'{"b":1 }'
    assert sent(Payload(b'{"a":1,"c":2}', CHAT).remove("a").remove("c").set("b", 1)) == b'{"b":1}'
    assert sent(Payload(b'{"a":1,"c":2}', CHAT).remove("c").set("b", 1)) == b'{"a":1,"b":1}'


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"model":"a","model":"b"}', b'{"model":"a","mod\\u0065l":"b"}'])
def test_what_cannot_be_read_cannot_be_edited(body: bytes) -> None:
    payload = Payload(body, CHAT)

    for ask in (lambda: payload.model, lambda: payload.value("model"), lambda: payload.set("model", "x"), lambda: payload.remove("model")):
        with pytest.raises(Unread):
            ask()
    assert sent(payload) == body


def test_a_value_that_json_cannot_say_is_refused_at_once() -> None:
    with pytest.raises(Unread, match="no JSON value"):
        Payload(BODY, CHAT).set("model", object())


@pytest.mark.parametrize(
    ("body", "stream"), [(b'{"stream":true}', True), (b'{"stream":1}', False), (b'{"stream":"true"}', False), (b"{}", False)]
)
def test_only_true_asks_for_a_stream(body: bytes, stream: bool) -> None:
    assert Payload(body, CHAT).stream is stream


def test_a_model_that_is_no_text_is_none() -> None:
    assert Payload(b'{"model":5}', CHAT).model is None
    assert Payload(b"{}", CHAT).model is None


def test_texts_are_those_of_the_roles_asked_for() -> None:
    body = {"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}
    payload = Payload(json.dumps(body).encode(), CHAT)

    assert payload.texts(frozenset(("system",))) == ("d",)
    assert payload.texts(frozenset(("user", "assistant"))) == ("u", "a")
    assert payload.prompt_texts() == payload.texts(ROLES) == ("d", "u", "a")
    assert payload.last_user() == "u"


def test_texts_keep_lone_surrogates() -> None:
    assert Payload(BODY, CHAT).last_user() == "caf\u00e9 \ud800"


def test_a_hidden_second_content_makes_texts_unknown() -> None:
    payload = Payload(b'{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}', CHAT)

    assert payload.model == "m"
    for ask in (payload.last_user, payload.prompt_texts, lambda: payload.has("images")):
        with pytest.raises(Unread, match="twice"):
            ask()


def test_a_long_text_that_begins_like_a_data_url_is_not_overlooked() -> None:
    text = "data:" + "a secret plan " * 50_000
    payload = Payload(json.dumps({"messages": [{"role": "user", "content": text}]}).encode(), CHAT)

    assert payload.last_user() == text
    assert payload.prompt_texts() == (text,)


def test_prompts_of_ids_are_counted_and_have_no_text() -> None:
    payload = Payload(b'{"prompt":[[1,2],[3]]}', Endpoint.COMPLETIONS)

    assert (payload.prompt_ids(), payload.prompt_texts()) == (3, ())


def test_features_are_those_of_the_closed_list() -> None:
    payload = Payload(b'{"tools":[{}]}', CHAT)

    assert payload.has("tools")
    assert not any(payload.has(what) for what in HAS if what != "tools")
    with pytest.raises(KeyError):
        payload.has("tool")


def test_instructions_add_up_in_the_order_of_the_calls() -> None:
    payload = Payload(b'{"messages":[{"role":"system","content":"s"}]}', CHAT).instruct("1", "3").instruct("2", None).instruct(None, "4")

    assert json.loads(sent(payload))["messages"][0]["content"] == "1\n\n2\n\ns\n\n3\n\n4"
    assert payload.texts(ROLES) == ("1\n\n2\n\ns\n\n3\n\n4",)
    assert payload.value("messages") == [{"role": "system", "content": "1\n\n2\n\ns\n\n3\n\n4"}]


def test_instructions_and_other_edits_do_not_disturb_each_other() -> None:
    chat = Payload(b'{"a":1,"messages":[],"b":2}', CHAT).set("a", 3).instruct("x", None).remove("b").set("c", 4)
    responses = Payload(b'{"input":"x"}', Endpoint.RESPONSES).instruct("x", "y").set("c", 4)

    assert sent(chat) == b'{"a":3,"messages":[{"role":"system","content":"x"}],"c":4}'
    assert json.loads(sent(responses)) == {"input": "x", "c": 4, "instructions": "x\n\ny"}
    assert responses.texts(frozenset(("system",))) == ("x\n\ny",)
    assert responses.value("instructions") == "x\n\ny"


def test_no_text_is_no_edit() -> None:
    payload = Payload(b"{}", CHAT)

    assert payload.instruct(None, None) is payload
    assert payload.instruct("", "") is payload


def test_a_prompt_is_not_edited_in_two_ways() -> None:
    payload = Payload(b'{"messages":[]}', CHAT)

    with pytest.raises(Unread, match="replaced"):
        payload.set("messages", []).instruct("x", None)
    with pytest.raises(Unread, match="edited before"):
        payload.instruct("x", None).set("messages", [])


def test_edits_say_what_was_there_and_what_will_be() -> None:
    payload = (
        Payload(b'{"model":"a","n":1,"messages":[{"role":"system","content":"s"}]}', CHAT)
        .set("model", "b")
        .remove("n")
        .set("seed", 7)
        .instruct("p", "q")
    )

    assert payload.edits == (
        ("model", "a", "b"),
        ("n", 1, MISSING),
        ("seed", MISSING, 7),
        ("messages[0].content (before)", None, "p"),
        ("messages[0].content (after)", None, "q"),
    )


def test_a_compressed_body_is_read_and_sent_packed_or_edited_and_sent_unpacked() -> None:
    packed = gzip.compress(BODY)
    payload = Payload(packed, CHAT, b"gzip")
    edited = payload.set("model", "x")

    assert payload.model == "gpt-4o"
    assert (sent(payload), payload.decoded) == (packed, False)
    assert (sent(edited), edited.decoded) == (BODY.replace(b'"gpt-4o"', b'"x"'), True)


def test_an_unknown_encoding_cannot_be_read_and_is_sent() -> None:
    payload = Payload(b"packed", CHAT, b"br")

    with pytest.raises(Unread, match="unknown encoding br"):
        payload.value("model")
    assert sent(payload) == b"packed"


def test_identity_is_no_encoding() -> None:
    assert not Payload(BODY, CHAT, b"identity").set("model", "x").decoded


def test_a_large_image_is_neither_parsed_nor_copied() -> None:
    url = "data:image/png;base64," + base64.b64encode(bytes(3_000_000)).decode()
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = json.dumps({"messages": [{"role": "user", "content": content}], "model": "gpt-4o"}).encode()
    payload = Payload(body, CHAT)

    assert payload.last_user() == "what is it?"
    assert payload.has("images")
    pieces = payload.set("model", "x").instruct("p", None).pieces()
    assert b"".join(pieces) == body.replace(b'"gpt-4o"', b'"x"').replace(b"[{", b'[{"role":"system","content":"p"},{', 1)
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) < 100_000


def test_a_bom_stays_in_its_place() -> None:
    assert sent(Payload(b'\xef\xbb\xbf{"model":"a"}', CHAT).set("model", "b")) == b'\xef\xbb\xbf{"model":"b"}'


def test_a_payload_leaves_no_cycle_behind() -> None:
    def used() -> None:
        payload = Payload(BODY, CHAT).set("model", "x").instruct("p", "q")
        assert payload.prompt_texts()
        assert payload.pieces()
        with pytest.raises(Unread):
            Payload(b"[", CHAT).value("model")

    used()
    gc.collect()
    gc.disable()
    try:
        used()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_what_cannot_be_read_says_so_each_time_with_an_error_of_its_own() -> None:
    payload = Payload(b"[1]", CHAT)
    with pytest.raises(Unread) as first:
        payload.value("a")
    with pytest.raises(Unread) as second:
        payload.value("a")

    assert first.value.why == second.value.why
    assert first.value is not second.value


def test_spans_say_where_other_bytes_are_sent_and_how_many() -> None:
    raw = b'{"a": 1, "model": "x", "b": [2]}'
    payload = Payload(raw, Endpoint.CHAT)
    edited = payload.remove("b").set("model", "longer").set("c", True)
    pieces = b"".join(bytes(piece) for piece in edited.pieces())
    start, end, put = edited.spans[0]

    assert payload.spans == ()
    assert (raw[start:end], put) == (b'"x"', len(b'"longer"'))
    assert len(pieces) == len(raw) + sum(put - (end - start) for start, end, put in edited.spans)
    assert list(edited.spans) == sorted(edited.spans)


def test_the_beginning_is_read_as_it_is_sent() -> None:
    payload = Payload(b'{"messages": [{"role": "user", "content": "first"}, {"role": "user", "content": "second"}]}', Endpoint.CHAT)
    edited = payload.set("messages", [{"role": "user", "content": "other words"}])

    assert payload.opening(100) == ("first",)
    assert payload.opening(4) == ("5:fi:st",)
    assert edited.opening(100) == ("other words",)


@pytest.mark.parametrize("raw", [b"{", b'{"messages": [], "messages": []}'])
def test_the_beginning_of_an_unread_body_is_not_told(raw: bytes) -> None:
    with pytest.raises(Unread):
        Payload(raw, Endpoint.CHAT).opening(100)
