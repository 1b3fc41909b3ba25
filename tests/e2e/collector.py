"""A collector and an upstream on loopback, in a thread of their own: what a trace goes to, and what a call goes to."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 10.0  # for spans to come: a batch leaves each 100 ms, on a busy machine later
SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}


@dataclass
class Told:
    """One span as it came."""

    span: Span
    resource: dict[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        return plain(self.span.attributes)

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event.name, plain(event.attributes)) for event in self.span.events]


@dataclass
class Outside:
    """What stands around a proxy. `raw` holds each export's bytes, `asked` each request that the upstream had."""

    port: int = 0
    raw: list[bytes] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def collector(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def of_trace(self, trace: str, count: int) -> list[Told]:
        """The spans of one trace, SERVER first, when `count` have come. Raises AssertionError when they do not."""
        found = self._within(lambda: [told for told in self.told if told.trace == trace], count)
        return sorted(found, key=lambda told: (told.span.kind, told.span.start_time_unix_nano))

    def _within(self, look: Callable[[], list[Told]], count: int) -> list[Told]:
        deadline = time.monotonic() + WAIT_S
        while len(found := look()) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(found) == count, [(told.span.name, told.attributes) for told in found]
        return found

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/traces", self._take)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        data = await request.read()
        export = ExportTraceServiceRequest.FromString(data)
        self.raw.append(data)
        self.headers.append(dict(request.headers))
        for resource in export.resource_spans:
            about = plain(resource.resource.attributes)
            self.told += [Told(span, about) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        text = await request.read()
        body = json.loads(text) if text else {}
        self.bodies.append(body)
        model = body.get("model", "")
        if "fail" in request.headers.get("x-play", ""):
            return web.json_response({"error": {"message": "busy", "type": "server_error"}}, status=503)
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "sk-content-canary"}, "finish_reason": "stop"}
            return web.json_response({"id": "chatcmpl-1", "model": model + "-2024", "choices": [choice], "usage": USAGE})
        return await self._stream(request, model)

    async def _stream(self, request: web.Request, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        endless = "endless" in request.headers.get("x-play", "")
        for number in range(100_000 if endless else 3):
            choice = {"index": 0, "delta": {"content": f"{number}"}, "finish_reason": None}
            await response.write(b"data: " + json.dumps({"id": "chatcmpl-2", "model": model, "choices": [choice]}).encode() + b"\n\n")
            if "cut" in request.headers.get("x-play", ""):
                assert request.transport is not None
                request.transport.abort()
                return response
            if endless:
                await asyncio.sleep(0.02)
        last = {"id": "chatcmpl-2", "model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": USAGE}
        await response.write(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")
        return response


def plain(pairs: Any) -> dict[str, Any]:
    """OTLP attributes as a dict."""

    def value(of: AnyValue) -> Any:
        kind = of.WhichOneof("value")
        return [value(each) for each in of.array_value.values] if kind == "array_value" else getattr(of, kind or "string_value")

    found: list[KeyValue] = list(pairs)
    return {pair.key: value(pair.value) for pair in found}


@contextmanager
def outside() -> Iterator[Outside]:
    """Runs both until the end of the block."""
    world = Outside()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="outside")
    thread.start()

    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    async def start() -> web.AppRunner:
        runner = web.AppRunner(world.app(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        world.port = runner.addresses[0][1]
        return runner

    runner = wait(start())
    try:
        yield world
    finally:
        wait(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
