from __future__ import annotations

import json
import logging

import pytest

from proxy.core.body import Body
from proxy.core.call import Call, Target
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.openai.endpoints import Endpoint
from proxy.server.handler import ENDPOINTS, TARGET_BYTES, Handler, Pipeline

HOME = Target("home")


class Service:
    """Keeps what it is called with, and answers 200 or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[Call] = []
        self._error = error

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        if self._error is not None:
            raise self._error
        return Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))


def handler(service: Service, exchanges: int = 6) -> Handler:
    return Handler(Pipeline(service, HOME, exchanges), lambda: 1.5)


def request(target: bytes = b"/v1/chat/completions", method: bytes = b"POST") -> Request:
    return Request(method, target, 1, [], Framing.NONE, 0, Body.of(b""))


async def test_a_request_becomes_a_call_to_home() -> None:
    service, asked = Service(), request()
    reply = await handler(service, exchanges=3)(asked)
    (call,) = service.calls

    assert reply.status == 200
    assert (call.endpoint, call.target, call.allowance.left) == (Endpoint.CHAT, HOME, 3)
    assert call.request is asked
    assert call.journal.entries == []


@pytest.mark.parametrize(
    ("method", "target", "endpoint"),
    [
        (b"POST", b"/v1/responses", Endpoint.RESPONSES),
        (b"GET", b"/v1/responses", Endpoint.OTHER),
        (b"GET", b"/v1/models?x=1", Endpoint.MODELS),
        (b"POST", b"/anything", Endpoint.OTHER),
        (b"POST", b"/v1/embeddings?" + b"x" * TARGET_BYTES, Endpoint.EMBEDDINGS),
    ],
)
async def test_the_endpoint_is_that_of_method_and_path_each_time(method: bytes, target: bytes, endpoint: Endpoint) -> None:
    service = Service()
    handle = handler(service)
    for _ in range(2):
        await handle(request(target, method))

    assert [call.endpoint for call in service.calls] == [endpoint, endpoint]


async def test_remembered_request_lines_are_bounded_in_number_and_size() -> None:
    handle = handler(Service())
    for number in range(ENDPOINTS + 10):
        await handle(request(b"/v1/files/%d" % number, b"GET"))
    few = len(handle._endpoints)
    await handle(request(b"/v1/files/" + b"x" * 16_000, b"GET"))

    assert 0 < few <= ENDPOINTS
    assert max(len(target) for _, target in handle._endpoints) <= TARGET_BYTES


async def test_ids_differ_and_are_not_counted_up() -> None:
    service = Service()
    handle = handler(service)
    for _ in range(1_000):
        await handle(request())
    ids = [call.id for call in service.calls]

    assert len(set(ids)) == 1_000
    assert {len(id) for id in ids} == {16}
    assert int(ids[1], 16) - int(ids[0], 16) not in (1, -1)


async def test_a_new_pipeline_takes_the_next_call_and_not_the_one_before() -> None:
    before, after = Service(), Service()
    handle = handler(before)
    await handle(request())
    handle.pipeline = Pipeline(after, Target("other"), 2)
    await handle(request())

    assert (len(before.calls), len(after.calls)) == (1, 1)
    assert (before.calls[0].target, after.calls[0].target) == (HOME, Target("other"))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), Failure(Fault.CONNECT, "home", "nobody there")])
async def test_what_escapes_is_logged_and_answered_without_its_words(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "chassis"):
        reply = await handler(Service(error))(request())
    body = json.loads(await reply.body.read_all())

    assert reply.status == 500
    assert (b"x-chassis-origin", b"static") in reply.headers
    assert body["error"]["code"] == "internal_error"
    assert "bug" not in body["error"]["message"]
    assert "failed in the proxy itself" in caplog.text
