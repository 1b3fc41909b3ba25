from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.adapters.scripted import MODELS, Scripted, answer

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is a chassis?"}]}


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    async with TestClient(TestServer(Scripted(paced=False).app())) as client:
        yield client


async def posted(client: Any, path: str, body: Any) -> tuple[int, bytes, str]:
    async with client.post(path, json=body) as reply:
        return reply.status, await reply.read(), reply.content_type


def events(data: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]


async def test_a_chat_is_answered_the_same_each_time_by_the_model_asked(client: Any) -> None:
    first, second = [await posted(client, "/v1/chat/completions", CHAT) for _ in (1, 2)]
    said = json.loads(first[1])

    assert first == second
    assert (first[0], said["model"], said["object"]) == (200, "gpt-4o", "chat.completion")
    assert said["choices"][0]["message"]["content"] == answer("What is a chassis?")
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]


@pytest.mark.parametrize("usage", [True, False])
async def test_a_streamed_chat_says_the_same(client: Any, usage: bool) -> None:
    _, data, kind = await posted(client, "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": usage}})
    seen = events(data)
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in seen if event["choices"])

    assert (kind, data.endswith(b"data: [DONE]\n\n")) == ("text/event-stream", True)
    assert text == answer("What is a chassis?")
    assert [event["choices"][0]["finish_reason"] for event in seen if event["choices"]][-1] == "stop"
    assert ("usage" in seen[-1]) is usage


async def test_a_response_is_streamed_with_rising_numbers_to_its_end(client: Any) -> None:
    _, data, _ = await posted(client, "/v1/responses", {"model": "gpt-4o", "input": "Why is it quiet?", "stream": True})
    seen = events(data)
    _, whole, _ = await posted(client, "/v1/responses", {"model": "gpt-4o", "input": "Why is it quiet?"})

    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    assert (seen[0]["type"], seen[-1]["type"]) == ("response.created", "response.completed")
    assert "".join(event.get("delta", "") for event in seen) == json.loads(whole)["output"][0]["content"][0]["text"]
    assert b"[DONE]" not in data


@pytest.mark.parametrize("stream", [True, False])
async def test_a_completion_is_answered(client: Any, stream: bool) -> None:
    _, data, _ = await posted(client, "/v1/completions", {"model": "gpt-4o", "prompt": "Once", "stream": stream})
    said = events(data) if stream else [json.loads(data)]

    assert "".join(each["choices"][0]["text"] for each in said) == answer("Once")


async def test_embeddings_are_the_same_as_numbers_and_packed(client: Any) -> None:
    asked = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8}
    plain = json.loads((await posted(client, "/v1/embeddings", asked))[1])["data"]
    packed = json.loads((await posted(client, "/v1/embeddings", {**asked, "encoding_format": "base64"}))[1])["data"]
    unpacked = [struct.unpack("<8f", base64.b64decode(each["embedding"])) for each in packed]

    assert unpacked == [pytest.approx(each["embedding"], abs=1e-6) for each in plain]
    assert plain[0]["embedding"] != plain[1]["embedding"]
    assert sum(value * value for value in plain[0]["embedding"]) == pytest.approx(1)


async def test_models_are_listed_and_told_one_by_one(client: Any) -> None:
    async with client.get("/v1/models") as reply:
        assert [each["id"] for each in (await reply.json())["data"]] == list(MODELS)
    async with client.get("/v1/models/gpt-4o") as reply:
        assert (await reply.json())["id"] == "gpt-4o"
    async with client.get("/v1/models/none") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (404, "model_not_found")


ODD: list[Any] = [
    {"model": "m"},
    {"model": "m", "messages": "text"},
    {"model": "m", "messages": [None, 4, {"content": [4, {"text": "x"}]}]},
    {"model": "m", "input": None, "prompt": [1, 2]},
    {"model": "m", "input": [{"role": "user", "content": "x"}], "stream_options": None, "dimensions": None},
    {"model": "m", "messages": [{"content": "{topic} {0} long words here"}]},
    {"model": "m", "stream": True, "stream_options": "yes", "messages": [{"content": "x"}]},
    {"model": "m", "dimensions": "many", "input": "x"},
    {"model": "m", "dimensions": -1, "input": "x"},
    {"model": "m", "dimensions": 10**9, "input": "x"},
]


@pytest.mark.parametrize("path", ["chat/completions", "responses", "completions", "embeddings"])
@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
async def test_no_odd_request_breaks_it(client: Any, path: str, body: Any) -> None:
    status, data, _ = await posted(client, f"/v1/{path}", body)

    assert status in (200, 400)
    assert data


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":4}', b'{"messages":[]}'])
async def test_what_is_no_request_is_answered_as_the_api_does(client: Any, body: bytes) -> None:
    async with client.post("/v1/chat/completions", data=body) as reply:
        assert reply.status == 400
        assert (await reply.json())["error"]["type"] == "invalid_request_error"


async def test_an_unknown_path_is_told_as_the_api_does(client: Any) -> None:
    async with client.delete("/v1/elsewhere") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (404, "unknown_url")
