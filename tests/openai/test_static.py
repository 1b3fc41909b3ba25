from __future__ import annotations

import json

import pytest

from proxy.core.request import Framing
from proxy.openai.answers import Said, Tokens
from proxy.openai.endpoints import Endpoint
from proxy.openai.static import said_reply, static_reply

SAID = Said("gpt-4o", "Try again later.", usage=Tokens(0, 0), finish="stop", id="abc", created=1_800_000_000)


def test_an_error_has_the_apis_form_and_says_whose_it_is() -> None:
    reply = static_reply(503, "upstream_unavailable", "Down.", [(b"Retry-After", b"7")])
    data = b"".join(map(bytes, reply.body.chunks))

    assert (reply.status, reply.reason, reply.origin, reply.framing) == (503, b"Service Unavailable", "static", Framing.LENGTH)
    assert json.loads(data) == {"error": {"message": "Down.", "type": "chassis_error", "param": None, "code": "upstream_unavailable"}}
    assert reply.headers == [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(data)),
        (b"x-chassis-origin", b"static"),
        (b"Retry-After", b"7"),
    ]


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES])
def test_an_answer_is_whole_and_new(endpoint: Endpoint) -> None:
    reply = said_reply(endpoint, SAID, streams=False)
    body = json.loads(b"".join(map(bytes, reply.body.chunks)))

    assert (reply.status, reply.origin) == (200, "static")
    assert body["model"] == "gpt-4o"
    assert body["id"].endswith("abc")
    assert body.get("created", body.get("created_at")) == 1_800_000_000
    assert body["usage"]["total_tokens"] == 0
    assert "Try again later." in json.dumps(body)


@pytest.mark.parametrize(("endpoint", "last"), [(Endpoint.CHAT, b"[DONE]"), (Endpoint.COMPLETIONS, b"[DONE]"), (Endpoint.RESPONSES, b"}")])
def test_as_a_stream_it_has_all_its_events(endpoint: Endpoint, last: bytes) -> None:
    reply = said_reply(endpoint, SAID, streams=True)
    data = b"".join(map(bytes, reply.body.chunks))
    events = [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]

    assert reply.headers[:2] == [(b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Content-Length", b"%d" % len(data))]
    assert data.rstrip().endswith(last)
    assert "Try again later." in json.dumps(events)
    assert all(event.get("created", 1_800_000_000) == 1_800_000_000 for event in events)
    assert any(event.get("usage") or event.get("response", {}).get("usage") for event in events)


def test_usage_is_told_in_a_stream_of_chat_where_it_was_asked_for() -> None:
    data = b"".join(map(bytes, said_reply(Endpoint.CHAT, SAID, streams=True, tells_usage=False).body.chunks))

    assert b'"usage"' not in data
