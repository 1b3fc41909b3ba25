from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.core.body import Body
from proxy.core.call import Allowance, Call, Target
from proxy.core.journal import Journal
from proxy.core.request import Framing, Request
from proxy.openai.endpoints import Endpoint, endpoint_of
from proxy.openai.moves import is_api_path, why_it_stays
from proxy.openai.payload import Payload

CHAT = b"/v1/chat/completions"


def call(
    target: bytes = CHAT, body: Any = None, *, method: bytes = b"POST", upgrade: bytes | None = None, raw: bytes | None = None
) -> Call:
    endpoint = endpoint_of(method, target)
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else b""
    request = Request(method, target, 1, [], Framing.LENGTH if data else Framing.NONE, len(data), Body.of(data))
    request.upgrade = upgrade
    made = Call("1", endpoint, request, Target("home"), Journal(lambda: 0.0), Allowance())
    return made.derive(payload=Payload(data, endpoint)) if data else made


def user(text: str = "hi") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (CHAT, {"model": "m", "messages": user()}),
        (CHAT + b"?api-version=1", {"model": "m", "messages": user()}),
        (CHAT, {"model": "m", "messages": user(), "store": False}),
        (b"/v1/embeddings", {"model": "m", "input": "x"}),
        (b"/v1/completions", {"model": "m", "prompt": "x"}),
        (b"/v1/responses", {"model": "m", "input": "x", "store": False}),
    ],
)
def test_what_has_no_state_may_move(target: bytes, body: Any) -> None:
    assert why_it_stays(call(target, body)) is None


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (b"/v1/responses", {"model": "m", "input": "x", "previous_response_id": "resp_1"}),
        (b"/v1/responses", {"model": "m", "input": "x", "conversation": "conv_1"}),
        (b"/v1/responses", {"model": "m", "input": "x", "store": True}),
        (b"/v1/responses", {"model": "m", "input": "x", "background": True}),
        (CHAT, {"model": "m", "messages": user(), "store": True}),
    ],
)
def test_what_refers_to_state_stays(target: bytes, body: Any) -> None:
    assert why_it_stays(call(target, body)) == "it refers to state on its upstream"


@pytest.mark.parametrize("target", [b"/v1/files", b"/v1/batches", b"/v1/files/file-1/content", b"/v1/fine_tuning/jobs"])
def test_what_is_kept_on_a_server_stays(target: bytes) -> None:
    assert why_it_stays(call(target, method=b"GET")) == "it refers to state on its upstream"


def test_an_upgraded_connection_stays() -> None:
    assert why_it_stays(call(b"/v1/realtime?model=m", method=b"GET", upgrade=b"websocket")) == "an upgraded connection"


@pytest.mark.parametrize(
    "target", [b"/openai/v1/chat/completions", b"/chat/completions", b"/V1/chat/completions", b"/v1x/chat/completions"]
)
def test_what_is_outside_of_v1_stays(target: bytes) -> None:
    assert why_it_stays(call(target, {"model": "m", "messages": user()})) == "a path outside of /v1"


def test_a_body_that_cannot_be_read_stays_and_says_why() -> None:
    assert (why_it_stays(call(raw=b"{oops")) or "").startswith("its body cannot be read: not JSON")
    assert why_it_stays(call()) == "its body cannot be read: the body is not held"
    twice = why_it_stays(call(raw=b'{"messages": [], "store": false, "store": true}'))
    assert twice is not None
    assert twice.startswith("its body cannot be read: ")


@pytest.mark.parametrize(
    ("target", "is_one"),
    [
        (b"/v1", True),
        (b"/v1/", True),
        (b"/v1/x", True),
        (b"/v1?x", True),
        (b"/v1//x", True),
        (b"/v1x", False),
        (b"//v1/x", False),
        (b"/%761/x", False),
        (b"/", False),
        (b"*", False),
        (b"", False),
        (b"http://a/v1/x", False),
    ],
)
def test_only_the_first_segment_as_it_is_written_counts(target: bytes, is_one: bool) -> None:
    assert is_api_path(target) is is_one


def test_every_endpoint_has_an_answer() -> None:
    for endpoint in Endpoint:
        asked = call(body={"model": "m", "messages": user()}).derive(endpoint=endpoint)

        assert why_it_stays(asked) in (None, "it refers to state on its upstream")
