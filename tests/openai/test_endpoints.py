"""Which API a request is for, and what ties it to its upstream."""

from __future__ import annotations

import json

import pytest

from proxy.openai.endpoints import Endpoint, endpoint_of, is_stateful
from proxy.openai.payload import Payload, Unread


@pytest.mark.parametrize(
    ("method", "target", "endpoint"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/openai/v1/chat/completions", "chat"),
        ("POST", "/chat/completions", "chat"),
        ("POST", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21", "chat"),
        ("POST", "http://host/v1/chat/completions", "chat"),
        ("POST", "/v1/chat/completions/", "chat"),
        ("GET", "/v1/chat/completions", "other"),
        ("GET", "/v1/chat/completions/chatcmpl-1", "other"),
        ("POST", "/v1/chat/completions/chatcmpl-1", "other"),
        ("POST", "/v1/xchat/completions", "completions"),
        ("POST", "/v1/responses", "responses"),
        ("POST", "/openai/responses?api-version=1", "responses"),
        ("GET", "/v1/responses/resp_1", "other"),
        ("DELETE", "/v1/responses/resp_1", "other"),
        ("POST", "/v1/responses/resp_1/cancel", "other"),
        ("POST", "/v1/completions", "completions"),
        ("POST", "/v1/embeddings", "embeddings"),
        ("POST", "/v1/images/generations", "images"),
        ("POST", "/v1/images/edits", "images"),
        ("POST", "/v1/audio/speech", "audio"),
        ("POST", "/v1/audio/transcriptions", "audio"),
        ("POST", "/v1/files", "files"),
        ("GET", "/v1/files?purpose=batch", "files"),
        ("GET", "/v1/files/file-1", "files"),
        ("GET", "/v1/files/file-1/content", "files"),
        ("DELETE", "/v1/files/file-1", "files"),
        ("GET", "/v1/vector_stores/vs_1/files", "other"),
        ("GET", "/v1/vector_stores/vs_1/files/file-1", "other"),
        ("GET", "/v1/containers/c/files/f/content", "other"),
        ("POST", "/v1/batches", "batches"),
        ("GET", "/v1/batches/batch_1", "batches"),
        ("POST", "/v1/batches/batch_1/cancel", "batches"),
        ("POST", "/v1/batches/batch_1/other", "other"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/gpt-4o", "models"),
        ("GET", "/v1/models/meta-llama/Llama-3:free", "models"),
        ("DELETE", "/v1/models/ft:x", "models"),
        ("GET", "/v1/realtime?model=gpt-realtime", "realtime"),
        ("POST", "/v1/realtime/sessions", "other"),
        ("POST", "/v1/moderations", "other"),
        ("POST", "/v1/uploads", "other"),
        ("POST", "/v1/fine_tuning/jobs", "other"),
        ("POST", "/v1/chat%2Fcompletions", "other"),
        ("OPTIONS", "/v1/chat/completions", "other"),
        ("POST", "/v1/chat/completions?x=/v1/embeddings", "chat"),
        ("GET", "*", "other"),
        ("", "", "other"),
        ("POST", "/", "other"),
        ("POST", "?", "other"),
    ],
)
def test_the_last_segments_and_the_method_decide(method: str, target: str, endpoint: str) -> None:
    assert endpoint_of(method.encode(), target.encode()) is Endpoint(endpoint)


def test_bytes_that_are_no_text_are_other() -> None:
    assert endpoint_of(b"\xff", b"\xff\x00\xfe//..") is Endpoint.OTHER


def payload(endpoint: Endpoint, **body: object) -> Payload:
    return Payload(json.dumps(body).encode(), endpoint)


@pytest.mark.parametrize("endpoint", [Endpoint.FILES, Endpoint.BATCHES, Endpoint.OTHER])
def test_stores_and_unknown_paths_are_stateful_whatever_the_body(endpoint: Endpoint) -> None:
    assert is_stateful(endpoint, Payload(b"\xff", endpoint))


@pytest.mark.parametrize("endpoint", [Endpoint.EMBEDDINGS, Endpoint.COMPLETIONS, Endpoint.IMAGES, Endpoint.AUDIO, Endpoint.MODELS])
def test_apis_without_memory_are_not_stateful_even_with_a_body_that_cannot_be_read(endpoint: Endpoint) -> None:
    assert not is_stateful(endpoint, Payload(b"--boundary", endpoint))


@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"store": True},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "reasoning", "encrypted_content": "gAAA"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    ],
)
def test_a_responses_request_that_names_what_its_upstream_remembers_is_stateful(body: dict[str, object]) -> None:
    assert is_stateful(Endpoint.RESPONSES, payload(Endpoint.RESPONSES, model="m", **body))


@pytest.mark.parametrize(
    "body",
    [
        {"input": "hi"},
        {"input": "hi", "store": False},
        {"input": "hi", "previous_response_id": None, "background": False, "conversation": None},
        {"input": [{"role": "user", "content": "say file_id and encrypted_content"}]},
        {"input": "hi", "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ],
)
def test_a_responses_request_that_says_all_itself_is_not_stateful(body: dict[str, object]) -> None:
    assert not is_stateful(Endpoint.RESPONSES, payload(Endpoint.RESPONSES, model="m", **body))


def test_a_chat_is_stateful_where_it_is_stored_or_names_a_file_or_an_earlier_voice() -> None:
    said = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    spoken = [{"role": "assistant", "audio": {"id": "audio_1"}}]

    assert is_stateful(Endpoint.CHAT, payload(Endpoint.CHAT, store=True, messages=[]))
    assert is_stateful(Endpoint.CHAT, payload(Endpoint.CHAT, messages=said))
    assert is_stateful(Endpoint.CHAT, payload(Endpoint.CHAT, messages=spoken))
    assert not is_stateful(Endpoint.CHAT, payload(Endpoint.CHAT, messages=[{"role": "user", "content": "hi"}]))


def test_where_the_body_cannot_be_read_nobody_knows() -> None:
    with pytest.raises(Unread):
        is_stateful(Endpoint.CHAT, Payload(b"not json", Endpoint.CHAT))
    with pytest.raises(Unread, match="not held"):
        is_stateful(Endpoint.RESPONSES, None)
