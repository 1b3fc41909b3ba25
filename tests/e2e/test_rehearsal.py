"""`chassis test` is the same proxy as `chassis serve`: the same cases over real sockets, against an upstream that plays the same scripts,
come out the same, byte for byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from proxy.adapters.playing import Close, Playing, Reset, Silence, Wait, play
from proxy.assembly.asking import Asked, asked
from proxy.assembly.load import Policies
from proxy.assembly.rehearse import rehearse
from proxy.assembly.suite import Case, read_suite
from proxy.core.body import Headers
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure
from proxy.policy.play_spec import PlaySpec
from proxy.wire.pool import Pool
from proxy.wire.settings import PoolSettings
from tests.e2e.processes import free_ports, serving

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: a close is a reset
POLICIES = """
version: 1
upstreams:
  home: {{url: "http://127.0.0.1:{port}/v1"}}
  other: {{url: "http://127.0.0.1:{port}/other/v1", key: "${{OTHER_KEY}}"}}
policies:
  - name: small
    match: {{endpoint: [chat, responses], model: gpt-4o, prompt_tokens: {{below: 100}}}}
    apply: {{rewrite: {{model: gpt-4o-mini}}, params: {{overrides: {{temperature: 0}}}}}}
  - name: moved
    match: {{header: {{x-to: other}}}}
    apply: {{rewrite: {{upstream: other, model: llama}}, instruct: {{append: Be brief.}}}}
  - name: closed
    match: {{keywords: {{any_of: [secret]}}}}
    apply: {{refuse: {{code: policy_refused, message: Not here.}}}}
  - name: watched
    mode: shadow
    match: {{header: {{x-team: search}}}}
    apply: {{refuse: {{}}}}
"""
CASES = """
cases:
  - {name: a rewritten call, request: {prompt: Hi, params: {temperature: 1, user: ü}}, expect: {exchanges: 1}}
  - {name: a streamed one, request: {prompt: Hi, stream: true}, upstreams: {home: {stream: [Hel, lo], gap: 20ms}}, expect: {exchanges: 1}}
  - {name: one of Responses, request: {endpoint: responses, prompt: Hi, stream: true}, expect: {exchanges: 1}}
  - {name: a moved one, request: {prompt: Hi, headers: {x-to: other, cookie: a=b, x-a: [1st, 2nd]}}, expect: {exchanges: 1}}
  - {name: an untouched one, request: {model: gpt-5, prompt: Hi, headers: {x-team: search, x-odd: "a  b"}}, expect: {exchanges: 1}}
  - {name: one without a body, request: {path: "/v1/models?limit=2"}, expect: {exchanges: 1}}
  - {name: one that is no JSON, request: {body: "{not json"}, expect: {exchanges: 1}}
  - {name: a compressed one, request: {prompt: Hi, encoding: gzip}, expect: {exchanges: 1}}
  - {name: a refused one, request: {prompt: It is a secret.}, expect: {exchanges: 0}}
  - name: an error
    request: {prompt: Hi}
    upstreams: {home: {status: 429, headers: {retry-after: "7", set-cookie: [a=1, b=2]}}}
    expect: {exchanges: 1}
  - {name: an empty reply, request: {prompt: Hi}, upstreams: {home: {status: 204}}, expect: {exchanges: 1}}
  - name: garbage as a stream
    request: {prompt: Hi, stream: true}
    upstreams: {home: {raw: ["data: {", "x\\n\\n", "no"]}}
    expect: {exchanges: 1}
  - {name: a cut stream, request: {prompt: Hi, stream: true}, upstreams: {home: {stream: [Hel], end: cut}}, expect: {exchanges: 1}}
  - {name: a reset before the reply, request: {prompt: Hi}, upstreams: {home: {reset: connect}}, expect: {exchanges: 1}}
  - {name: a reset within the head, request: {prompt: Hi}, upstreams: {home: {reset: head}}, expect: {exchanges: 1}}
  - name: a body shorter than said
    request: {prompt: Hi}
    upstreams: {home: {body: abc, headers: {content-length: "9"}}}
    expect: {exchanges: 1}
  - name: a large one
    request: {model: gpt-5, prompt: {text: "word ", times: 100000}}
    upstreams: {home: {body: {a: 1}}}
    expect: {exchanges: 1}
"""


@dataclass
class Got:
    """What the app and the upstream received."""

    status: int | None = None
    headers: Headers = field(default_factory=list)
    data: bytes = b""
    cut: bool = False
    received: list[tuple[bytes, bytes, Headers, bytes]] = field(default_factory=list)


class Upstream:
    """A real server that plays one script to every request."""

    def __init__(self) -> None:
        self.script = PlaySpec.read({})
        self.received: list[tuple[bytes, bytes, Headers, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n").split(b"\r\n")
        method, target, _ = lines[0].split(b" ")
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines[1:])]
        fields = {name.lower(): value for name, value in headers}
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        self.received.append((method, target, headers, body))
        for step in play(self.script, Playing(method, target, body, fields.get(b"content-encoding"))):
            if isinstance(step, Wait):
                await asyncio.sleep(step.wait_s)
            elif isinstance(step, Silence):
                await asyncio.sleep(60)
            elif isinstance(step, Close | Reset):
                await writer.drain()
                if isinstance(step, Reset):
                    await asyncio.sleep(0.1)  # what was written is read before
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    writer.transport.abort()
                raise ConnectionResetError
            else:
                writer.write(step)
        await writer.drain()


@asynccontextmanager
async def running(port: int) -> AsyncIterator[Upstream]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", port)
    try:
        yield upstream
    finally:
        server.close()


async def over_sockets(port: int, sent: Asked) -> Got:
    """What comes of a request to a real port."""
    pool = Pool("127.0.0.1", port, PoolSettings(), LoopClock(asyncio.get_running_loop()))
    got, parts = Got(), list[bytes]()
    try:
        reply = await pool.send(sent.request())
        got.status, got.headers = reply.status, reply.headers
        try:
            await reply.body.pipe(parts.append)
        except Failure:
            got.cut = True
        reply.close()
    finally:
        pool.close()
    got.data = b"".join(parts)
    return got


def in_memory(case: Case, suite_file: Path) -> Got:
    """The same of `chassis test`."""
    assert isinstance(case.policies, Policies)
    spec = read_suite(suite_file).spec
    assert spec is not None
    played = rehearse(case.policies, spec, case.spec)
    assert played.bugs == []
    (heard,) = played.heard
    received = [(each.method, each.target, each.headers, each.body) for each in heard.exchanges if each.received]
    return Got(heard.status, heard.headers, heard.data, heard.broke is not None, received)


async def test_the_same_cases_come_out_the_same_in_memory_and_over_sockets(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "p.yaml").write_text(POLICIES.format(port=port))
    (tmp_path / "p.test.yaml").write_text(CASES)
    suite = read_suite(tmp_path / "p.test.yaml")
    assert not suite.problems
    real: dict[str, Got] = {}
    with serving(tmp_path / "p.yaml", None, environment={"OTHER_KEY": "<OTHER_KEY>"}) as served:
        async with running(port) as upstream:
            for case in suite.cases:
                assert case.spec.request is not None
                upstream.script = next(iter(case.spec.upstreams.values()), (PlaySpec.read({}),))[0]
                upstream.received = []
                real[case.name] = await over_sockets(served.port, asked(case.spec.request))
                real[case.name].received = upstream.received

    played = await asyncio.to_thread(lambda: {case.name: in_memory(case, tmp_path / "p.test.yaml") for case in suite.cases})

    assert played == real
    assert {name for name, got in real.items() if got.cut} == {"a cut stream", "a body shorter than said"}
    assert len(real) == len(CASES.split("name: ")) - 1
