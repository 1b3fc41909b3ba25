"""What would be sent is what the engine and the upstream adapter make of a request; nothing is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.assembly.load import Policies, load_text
from proxy.assembly.looking import Exchange, Looking, Seen
from proxy.assembly.recorded import Asked
from tests.assembly.engines import JSON, UPSTREAMS, chat


def policies(rules: str, upstreams: str = UPSTREAMS, **env: str) -> Policies:
    return load_text(f"version: 1\n{upstreams}\npolicies: [{rules}]\n", "p.yaml", env)


async def seen(of: Policies, body: Any = b"", **more: Any) -> Seen:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await Looking(of).look(Asked(**{"headers": JSON, "body": data, **more}))


def exchange(found: Seen) -> Exchange:
    assert found.exchange is not None
    return found.exchange


async def test_the_head_is_the_one_that_would_leave() -> None:
    upstreams = "upstreams: {a: {url: 'https://a.example:8443/base/v1'}}"
    sent = [*JSON, (b"Host", b"127.0.0.1:4141"), (b"Connection", b"keep-alive"), (b"Authorization", b"Bearer sk")]
    found = exchange(await seen(policies("", upstreams), chat(), headers=sent))

    assert (found.upstream, found.origin, found.target) == ("a", "https://a.example:8443", b"/base/v1/chat/completions")
    assert found.headers == [
        (b"Content-Type", b"application/json"),
        (b"Host", b"a.example:8443"),
        (b"Authorization", b"Bearer sk"),
        (b"Content-Length", b"%d" % len(json.dumps(chat()))),
    ]
    assert found.payload is None


async def test_the_body_is_the_one_that_would_leave() -> None:
    found = exchange(await seen(policies("{name: p, apply: {rewrite: {model: m}, params: {overrides: {n: 1}}}}"), chat(n=2)))

    assert found.payload is not None
    assert json.loads(b"".join(bytes(piece) for piece in found.payload.pieces())) == {**chat(), "n": 1, "model": "m"}
    assert found.model == "m"


async def test_nothing_is_sent_where_a_policy_refuses() -> None:
    found = await seen(policies("{name: p, apply: {refuse: {status: 451}}}"), chat())

    assert found.refused
    assert (found.reply.status, found.matched) == (451, ("p",))


async def test_many_requests_do_not_mix() -> None:
    looking = Looking(policies("{name: p, match: {keywords: {any_of: [odd]}}, apply: {rewrite: {upstream: groq}}}"))
    for number in range(50):
        word = "odd" if number % 2 else "even"
        found = exchange(await looking.look(Asked(headers=JSON, body=json.dumps(chat(word)).encode())))

        assert found.upstream == ("groq" if number % 2 else "openai")


async def test_no_certificate_is_read_to_look(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    upstreams = f"upstreams: {{a: {{url: 'https://a/v1', tls: {{ca: '{tmp_path}/ca.pem'}}}}}}"

    assert exchange(await seen(policies("", upstreams), chat())).upstream == "a"


async def test_an_upstream_need_not_be_declared() -> None:
    found = exchange(await seen(policies("{name: p, apply: {rewrite: {model: m}}}", ""), chat()))

    assert (found.upstream, found.origin, found.model, found.headers) == ("default", "", "m", [])


@pytest.mark.parametrize("target", [b"/", b"/v1/nothing/known", b"*", b"/v1/chat/completions/", "/é".encode(), b"/" + b"x" * 16_000])
async def test_any_target_can_be_asked_about(target: bytes) -> None:
    found = await seen(policies("{name: p, apply: {rewrite: {model: m}}}"), b"{", target=target)

    assert exchange(found).upstream == "openai"


async def test_five_megabytes_can_be_asked_about() -> None:
    of = policies("{name: p, match: {keywords: {any_of: [needle]}}, apply: {refuse: {}}}")
    found = await seen(of, chat("hay " * 1_300_000 + "needle"))

    assert found.refused
