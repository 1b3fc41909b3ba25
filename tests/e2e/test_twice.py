"""A call that is asked twice over real sockets: each exchange has its own whole body, and the loser's connection is gone at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.assembly.generation import Generation, Outside, build
from proxy.assembly.load import load_text
from proxy.core.body import Body
from proxy.core.call import Allowance, Call
from proxy.core.clock import LoopClock
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.openai.endpoints import endpoint_of

ANSWER = json.dumps({"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]})
LARGE = {"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * 40_000}]}


@dataclass
class Stub:
    """An upstream that lets every exchange but the `answers`-th one hang."""

    answers: int
    bodies: list[bytes] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    port: int = 0
    _open: set[asyncio.Future[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.add(over)
        try:
            await self._exchange(reader, writer)
        finally:
            writer.close()
            over.set_result(None)

    async def ended(self) -> None:
        """All connections are closed."""
        await asyncio.wait_for(asyncio.gather(*self._open), 5)
        await asyncio.sleep(0.01)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        self.bodies.append(await reader.readexactly(length))
        number = len(self.bodies)
        if number == self.answers:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(ANSWER) + ANSWER.encode())
        if await reader.read(1) == b"":
            self.gone.append(number)


@asynccontextmanager
async def running(stub: Stub, apply: str) -> AsyncIterator[Generation]:
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, limit=1 << 20)
    stub.port = server.sockets[0].getsockname()[1]
    text = f"version: 1\nupstreams: {{openai: {{url: 'http://127.0.0.1:{stub.port}/v1'}}}}\npolicies: [{{name: p, apply: {{{apply}}}}}]\n"

    def report(layer: str, bug: Exception) -> None:
        raise bug

    generation = build(load_text(text, "p.yaml", {}), Outside(LoopClock(asyncio.get_running_loop()), report))
    try:
        yield generation
    finally:
        for upstream in generation.upstreams.values():
            upstream.close()
        server.close()
        await stub.ended()


async def asked(generation: Generation, body: Any, chunked: bool) -> Reply:
    data = json.dumps(body).encode()
    clock = LoopClock(asyncio.get_running_loop())
    source = Body() if chunked else Body.of(data)
    headers = [(b"Host", b"x"), (b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(data))]
    request = Request(b"POST", b"/v1/chat/completions", 1, headers, Framing.LENGTH, len(data), source)
    if chunked:  # it comes in pieces, as from a slow app
        for at in range(0, len(data), 50_000):
            asyncio.get_running_loop().call_later(at / 1e7, source.feed, data[at : at + 50_000])
        asyncio.get_running_loop().call_later(0.1, source.end)
    call = Call("c", endpoint_of(request.method, request.target), request, generation.home, Journal(clock.now), Allowance())
    return await generation.service(call)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("apply", ["hedge: 20ms", "race: [gpt-4o, gpt-4o]"])
async def test_both_exchanges_have_the_whole_body_and_the_loser_is_gone_at_once(apply: str, in_pieces: bool) -> None:
    stub = Stub(answers=2)
    async with running(stub, apply) as generation:
        reply = await asyncio.wait_for(asked(generation, LARGE, in_pieces), 10)
        text = await reply.body.read_all()
        reply.close()
        for _ in range(100):
            if stub.gone:
                break
            await asyncio.sleep(0.01)

        assert (reply.status, text) == (200, ANSWER.encode())
        assert [json.loads(body) for body in stub.bodies] == [LARGE, LARGE]
        assert stub.gone == [1]
