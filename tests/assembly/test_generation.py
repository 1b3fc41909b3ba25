from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.assembly import generation as module
from proxy.assembly.generation import Generation, Outside, build, open_pool, tokens_for
from proxy.assembly.load import Policies, load_text
from proxy.core.body import Body
from proxy.core.clock import LoopClock
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from tests.assembly.engines import call_of, chat, notes
from tests.assembly.engines import rules_of as rules

TWO = "upstreams: {a: {url: 'https://a/v1', key: '${KEY}'}, b: {url: 'https://b/v1', key: none}}"


class Pool:
    """Answers when it is let to."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.closed = False
        self.go = asyncio.Event()
        self.go.set()

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        self.sent.append(request)
        await self.go.wait()
        return Reply(200, b"OK", [], Framing.LENGTH, Body.of(b""))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    made: list[Pool] = []

    def opened(declared: Any, clock: Any) -> Pool:
        made.append(Pool())
        return made[-1]

    monkeypatch.setattr(module, "open_pool", opened)
    return made


def policies(listed: str = "[]", upstreams: str = TWO, key: str = "k1") -> Policies:
    return load_text(f"{{version: 1, {upstreams}, policies: {listed}}}", "p.yaml", {"KEY": key})


def outside() -> Outside:
    return Outside(LoopClock(asyncio.get_running_loop()), lambda name, bug: None)


async def ask(generation: Generation, **more: Any) -> Reply:
    call = call_of(chat(), **more)
    return await generation.service(call.derive(target=generation.home))


async def test_an_unrelated_edit_keeps_pools_and_layers(pools: list[Pool]) -> None:
    out = outside()
    old = build(policies("[{name: p, apply: {rewrite: {model: x}}}]"), out)
    await ask(old)
    layers = dict(old.shelf._layers)
    new = build(policies("[{name: q, apply: {refuse: {}}, match: {stream: true}}, {name: p, apply: {rewrite: {model: x}}}]"), out, old)
    await ask(new)
    old.retire(new)

    assert (old.number, new.number) == (1, 2)
    assert new.upstreams == old.upstreams
    assert not any(pool.closed for pool in pools)
    assert [new.shelf._layers[key] for key in layers] == list(layers.values())
    assert layers


async def test_a_rotated_secret_has_a_new_credential_and_leaves_the_other_pool(pools: list[Pool]) -> None:
    out = outside()
    old = build(policies(), out)
    new = build(policies(key="k2"), out, old)
    old.retire(new)
    await ask(new)

    assert [pool.closed for pool in pools] == [True, False, False]
    assert pools[2].sent[0].header(b"authorization") == b"Bearer k2"
    assert new.upstreams["b"] is old.upstreams["b"]


async def test_an_upstream_that_becomes_home_is_another(pools: list[Pool]) -> None:
    out = outside()
    old = build(policies(), out)
    new = build(policies(upstreams="upstreams: {b: {url: 'https://b/v1', key: none}, a: {url: 'https://a/v1', key: '${KEY}'}}"), out, old)

    assert new.home.upstream == "b"
    assert not set(new.upstreams.values()) & set(old.upstreams.values())


async def test_a_call_in_flight_keeps_its_generation(pools: list[Pool]) -> None:
    out = outside()
    old = build(policies(), out)
    pools[0].go.clear()
    asked = asyncio.ensure_future(ask(old))
    await asyncio.sleep(0)
    new = build(policies("[{name: p, apply: {refuse: {}}}]", key="k2"), out, old)
    old.retire(new)
    pools[0].go.set()

    assert (await asked).status == 200
    assert pools[0].sent[0].header(b"authorization") == b"Bearer k1"
    assert (await ask(new)).status == 403


async def test_a_call_whose_body_is_still_coming_keeps_its_generation_too(pools: list[Pool]) -> None:
    out = outside()
    old = build(policies("[{name: p, match: {model: gpt-4o}, apply: {rewrite: {model: old}}}]"), out)
    call = call_of(streaming=True)
    asked = asyncio.ensure_future(old.service(call.derive(target=old.home)))
    await asyncio.sleep(0)
    new = build(policies("[{name: p, match: {model: gpt-4o}, apply: {rewrite: {model: new}}}]", key="k2"), out, old)
    old.retire(new)
    call.request.body.feed(b'{"model":"gpt-4o","messages":[]}')
    call.request.body.end()
    await asked

    assert await pools[0].sent[0].body.read_all() == b'{"model":"old","messages":[]}'
    assert notes(call, "rewrite")


async def test_a_generation_that_cannot_be_built_leaves_the_old_one_whole(pools: list[Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    out = outside()
    old = build(policies("[{name: p, apply: {rewrite: {model: x}}}]"), out)
    await ask(old)
    layers = dict(old.shelf._layers)

    def broken(rules: Any) -> None:
        raise OSError("no tokenizer")

    monkeypatch.setattr(module, "tokens_for", broken)
    with pytest.raises(OSError, match="no tokenizer"):
        build(policies(key="k2"), out, old)
    assert old.shelf._layers == layers
    assert (await ask(old)).status == 200


async def test_bodies_are_held_for_the_names_of_home_alone(pools: list[Pool]) -> None:
    named = ", models: {gpt-4o: theirs}"
    for home, other, sent in ((named, "", b"theirs"), ("", named, b"gpt-4o")):
        upstreams = f"upstreams: {{a: {{url: 'https://a/v1'{home}}}, b: {{url: 'https://b/v1', key: none{other}}}}}"
        generation = build(policies(upstreams=upstreams), outside())
        call = call_of(streaming=True)
        asked = asyncio.ensure_future(generation.service(call.derive(target=generation.home)))
        await asyncio.sleep(0.01)
        assert bool(pools[-2].sent) is (home == "")

        call.request.body.feed(b'{"model":"gpt-4o"}')
        call.request.body.end()
        await asked
        assert await pools[-2].sent[0].body.read_all() == b'{"model":"%b"}' % sent


async def test_a_certificate_that_cannot_be_used_is_an_os_error(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("nothing")

    with pytest.raises(OSError, match=r"."):
        build(policies(upstreams=f"upstreams: {{a: {{url: 'https://a/v1', tls: {{ca: '{pem}'}}}}}}"), outside())


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password"),
    [
        ("http://proxy.corp:3128", "proxy.corp", 3128, None, ""),
        ("http://proxy.corp", "proxy.corp", 80, None, ""),
        ("http://u:p:w@proxy.corp:1/", "proxy.corp", 1, "u", "p:w"),
        ("http://u@x:p@proxy.corp:1", "proxy.corp", 1, "u@x", "p"),
        ("http://[::1]:3128", "::1", 3128, None, ""),
        ("http://[::1]", "::1", 80, None, ""),
    ],
)
async def test_an_http_proxy_is_taken_apart(url: str, host: str, port: int, user: str | None, password: str) -> None:
    declared = policies(upstreams=f"upstreams: {{a: {{url: 'https://a/v1', proxy: '{url}'}}}}").upstreams["a"]
    pool: Any = open_pool(declared, LoopClock(asyncio.get_running_loop()))
    proxy = pool.settings.proxy

    assert (proxy.host, proxy.port, proxy.user, proxy.password) == (host, port, user, password)
    pool.close()


def test_the_tokenizer_is_loaded_only_where_a_policy_counts() -> None:
    assert tokens_for(rules("- {name: p, apply: {refuse: {}}}\n")) is None
    assert tokens_for(rules("- {name: p, match: {not: {prompt_tokens: {below: 5}}}, apply: {refuse: {}}}\n")) is not None
