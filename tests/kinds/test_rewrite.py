from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call, Target
from proxy.kinds.rewrite import KIND, RewriteSpec
from tests.kinds.layering import POLICY, observed, through
from tests.scripted import a_call

HI = [{"role": "user", "content": "Hi"}]
BODY = {"model": "gpt-4o", "messages": HI}
STATEFUL: list[dict[str, Any]] = [
    {"store": True},
    {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    {"messages": [{"role": "assistant", "audio": {"id": "audio-1"}}]},
]
STATEFUL_RESPONSES: list[dict[str, Any]] = [
    {"previous_response_id": "resp_1"},
    {"conversation": "conv_1"},
    {"store": True},
    {"background": True},
    {"prompt": {"id": "pmpt_1"}},
    {"input": [{"type": "item_reference", "id": "msg_1"}]},
    {"input": [{"type": "reasoning", "encrypted_content": "x"}]},
]


async def test_it_chooses_the_model_and_leaves_the_body_to_the_adapter() -> None:
    call = a_call(BODY)
    sent = await through(KIND, call, model="gpt-4o-mini")

    assert sent.call.target == Target("openai", "gpt-4o-mini")
    assert sent.body == call.payload.raw
    assert call.target == Target("openai")


async def test_the_upstream_alone_keeps_the_model_that_another_policy_chose() -> None:
    sent = await through(KIND, a_call(BODY).derive(target=Target("openai", "llama")), upstream="groq")

    assert sent.call.target == Target("groq", "llama")


async def test_the_model_alone_keeps_the_upstream_that_another_policy_chose() -> None:
    sent = await through(KIND, a_call(BODY).derive(target=Target("groq")), model="llama")

    assert sent.call.target == Target("groq", "llama")


@pytest.mark.parametrize(
    ("won", "target"),
    [("model", Target("openai", "llama")), ("upstream", Target("groq"))],
)
async def test_only_the_fields_that_it_won_are_set(won: str, target: Target) -> None:
    sent = await through(KIND, a_call(BODY), frozenset((won,)), model="llama", upstream="groq")

    assert sent.call.target == target


async def test_what_is_asked_already_is_not_noted_as_an_act() -> None:
    call = a_call(BODY)
    sent = await through(KIND, call, model="gpt-4o", upstream="openai")

    assert sent.call is call
    assert call.journal.entries == []


async def test_a_body_without_a_model_gets_one() -> None:
    call = a_call({"messages": HI})
    sent = await through(KIND, call, model="gpt-4o-mini")

    assert sent.call.target.model == "gpt-4o-mini"
    assert call.journal.entries[0].what == {"model": "gpt-4o-mini", "asked": None}


async def test_the_journal_keeps_the_model_that_the_app_named() -> None:
    call = a_call(BODY)
    await through(KIND, call, model="a")
    again = call.derive(target=Target("openai", "a"))
    await through(KIND, again, model="b")

    assert call.journal.model == "gpt-4o"
    assert [entry.what["asked"] for entry in call.journal.entries] == ["gpt-4o", "a"]


async def test_the_journal_says_no_more_of_a_models_name_than_a_name_has() -> None:
    call = a_call({"model": "x" * 100_000, "messages": HI})
    await through(KIND, call, model="gpt-4o-mini")

    assert len(str(call.journal.entries[0].what["asked"])) <= 256


@pytest.mark.parametrize("more", STATEFUL, ids=str)
async def test_a_stateful_chat_stays_where_its_state_is(more: dict[str, Any]) -> None:
    await stays(a_call({**BODY, **more}))


@pytest.mark.parametrize("more", STATEFUL_RESPONSES, ids=str)
async def test_a_stateful_response_stays_where_its_state_is(more: dict[str, Any]) -> None:
    await stays(a_call({"model": "gpt-4o", "input": "Hi", **more}, path=b"/v1/responses"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"GET", b"/v1/files"),
        (b"POST", b"/v1/batches"),
        (b"GET", b"/v1/responses/resp_1"),
        (b"POST", b"/v1/fine_tuning/jobs"),
        (b"GET", b"/models"),
        (b"POST", b"/v2/chat/completions"),
        (b"POST", b"//v1/chat/completions"),
        (b"POST", b"/%76%31/chat/completions"),
        (b"POST", b"/v1x/chat/completions"),
        (b"OPTIONS", b"*"),
    ],
)
async def test_what_is_not_of_v1_or_has_state_by_its_path_stays(method: bytes, path: bytes) -> None:
    await stays(a_call(BODY if method == b"POST" else None, method=method, path=path))


async def test_an_upgraded_connection_stays() -> None:
    call = a_call(method=b"GET", path=b"/v1/realtime?model=x")
    call.request.upgrade = b"websocket"
    await stays(call)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"store":false,"store":true,"messages":[]}'])
async def test_a_chat_whose_state_cannot_be_read_stays(body: bytes) -> None:
    await stays(a_call(body))


async def test_a_chat_that_is_not_held_stays() -> None:
    await stays(a_call(BODY, held=False))


async def stays(call: Call) -> None:
    sent = await through(KIND, call, upstream="groq", model="llama")
    entry = call.journal.entries[0]

    assert sent.call is call
    assert (entry.kind, entry.policy, entry.acted) == ("rewrite", POLICY, False)
    assert entry.what["stays"] == "openai"
    assert entry.what["why"]


@pytest.mark.parametrize("path", [b"/v1/models", b"/v1/models/gpt-4o", b"/v1?x", b"/v1/v1/models"])
async def test_a_get_without_state_may_be_moved(path: bytes) -> None:
    call = a_call(method=b"GET", path=path)
    sent = await through(KIND, call, upstream="groq")

    if b"models" in path:
        assert sent.call.target == Target("groq")
    else:
        assert sent.call.target == Target("openai")


async def test_a_model_needs_a_body_that_is_read() -> None:
    unheld, unread = a_call(BODY, held=False), a_call(b'{"model": "a", "model": "b"}')
    first = await through(KIND, unheld, model="x")
    second = await through(KIND, unread, model="x")

    assert first.call is unheld
    assert second.call is unread
    assert [call.journal.entries[0].what["skipped"] for call in (unheld, unread)] == ["no_body", "unreadable"]


def test_in_shadow_it_notes_the_same_and_moves_nothing() -> None:
    call = a_call(BODY)
    (entry,) = observed(KIND, call, model="llama", upstream="groq")

    assert (entry.shadow, entry.acted) == (True, False)
    assert entry.what == {"upstream": "groq", "model": "llama", "asked": "gpt-4o"}
    assert call.target == Target("openai")


def test_the_fields_are_what_is_set() -> None:
    assert KIND.fields(RewriteSpec.read({"model": "a"})) == {"model"}
    assert KIND.fields(RewriteSpec.read({"upstream": "a"})) == {"upstream"}
    assert KIND.fields(RewriteSpec.read({"model": "a", "upstream": "b"})) == {"model", "upstream"}


def test_the_upstream_is_named_with_its_place() -> None:
    assert list(RewriteSpec.read({"upstream": "groq"}).upstreams()) == [(("upstream",), "groq")]
    assert list(RewriteSpec.read({"model": "a"}).upstreams()) == []


@pytest.mark.parametrize("given", [{}, {"model": None}, {"model": ""}, {"model": "x" * 257}, {"model": 4}, {"models": "a"}])
def test_a_spec_that_says_nothing_or_no_name_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RewriteSpec.read(given)
