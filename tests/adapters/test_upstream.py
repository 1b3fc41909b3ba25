from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.adapters.upstream import Upstream, Upstreams, client_tls, outbound
from proxy.assembly.load import Policies, load_text
from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call, Target
from proxy.core.faults import Failure, Fault
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.stage import Stage
from proxy.openai.endpoints import Endpoint, endpoint_of
from proxy.openai.payload import Payload
from proxy.wire.head import request_head

HOME = "{version: 1, upstreams: {home: {url: 'https://a.example/v1'%s}, other: {url: 'https://b.example/v1', key: none%s}}}"
CHAT = b'{"model": "gpt-4o", "messages": [{"role":"user","content":"Hi"}], "seed":1e3}'


def declared(home: str = "", other: str = "", env: dict[str, str] | None = None) -> Policies:
    return load_text(HOME % (home, other), "p.yaml", env or {"KEY": "ours"})


class Pool:
    """Remembers what it was asked to send, and answers 200."""

    def __init__(self, failure: Failure | None = None, body: Body | None = None) -> None:
        self.sent: list[Request] = []
        self.closed = 0
        self._body = body
        self.connect_s: list[float | None] = []
        self._failure = failure

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        self.sent.append(request)
        self.connect_s.append(connect_s)
        if self._failure is not None:
            raise self._failure
        return Reply(200, b"OK", [], Framing.LENGTH, self._body or Body.of(b""))

    def close(self) -> None:
        self.closed += 1


class Bench:
    """Both upstreams of a policy file over pools that only look."""

    def __init__(self, home: str = "", other: str = "", failure: Failure | None = None) -> None:
        policies = declared(home, other)
        self.counted: list[tuple[str, str]] = []
        self.pools = {name: Pool(failure) for name in policies.upstreams}
        self.service = Upstreams(
            {
                name: Upstream(each, name == policies.home, self.pools[name], lambda *seen: self.counted.append(seen))
                for name, each in policies.upstreams.items()
            }
        )

    async def ask(self, call: Call) -> Request:
        reply = await self.service(call)
        assert reply.target == call.target
        return self.pools[call.target.upstream].sent[-1]


def a_call(
    body: bytes = CHAT,
    *,
    headers: Headers | None = None,
    target: Target | None = None,
    path: bytes = b"/v1/chat/completions",
    framing: Framing = Framing.LENGTH,
    trailers: Headers | None = None,
    held: bool = True,
    encoding: bytes | None = None,
) -> Call:
    endpoint = endpoint_of(b"POST", path)
    pairs = headers if headers is not None else [(b"Host", b"proxy"), (b"Content-Length", b"%d" % len(body))]
    request = Request(b"POST", path, 1, pairs, framing, len(body), Body.of(body, trailers))
    call = Call("c", endpoint, request, target or Target("home"), Journal(lambda: 0.0), Allowance())
    if held:
        call.payload = Payload(request.body.take(), endpoint, encoding)
    return call


async def test_home_without_settings_is_sent_the_very_request() -> None:
    call = a_call(held=False)

    assert await Bench().ask(call) is call.request


async def test_a_held_body_that_nobody_edits_leaves_byte_for_byte() -> None:
    sent = await Bench().ask(a_call())

    assert await sent.body.read_all() == CHAT
    assert (sent.framing, sent.length) == (Framing.LENGTH, len(CHAT))


async def test_the_models_name_is_put_into_the_body_and_nothing_else_changes() -> None:
    sent = await Bench().ask(a_call(target=Target("home", "gpt-4o-mini")))
    data = await sent.body.read_all()

    assert data == CHAT.replace(b"gpt-4o", b"gpt-4o-mini")
    assert sent.length == len(data)
    assert b"Content-Length: %d\r\n" % len(data) in request_head(sent, b"a.example")


async def test_the_name_that_is_asked_already_changes_no_byte() -> None:
    sent = await Bench().ask(a_call(target=Target("home", "gpt-4o"), headers=[(b"Content-MD5", b"x")]))

    assert await sent.body.read_all() == CHAT
    assert sent.headers == [(b"Content-MD5", b"x")]


async def test_each_target_of_a_call_gets_its_own_model_from_the_bytes_that_came() -> None:
    bench = Bench(other=", models: {gpt-4o: their-4o}")
    call = a_call(target=Target("home", "gpt-4o-mini"))
    first = await bench.ask(call)
    second = await bench.ask(call.derive(target=Target("other", "llama")))
    third = await bench.ask(call.derive(target=Target("other")))

    bodies = [json.loads(await each.body.read_all())["model"] for each in (first, second, third)]
    assert bodies == ["gpt-4o-mini", "llama", "their-4o"]
    assert call.payload.raw == CHAT
    assert call.allowance.spent == 3


@pytest.mark.parametrize(("model", "sent"), [(None, "theirs"), ("gpt-4o", "theirs"), ("mini", "their-mini"), ("unmapped", "unmapped")])
async def test_the_name_map_is_of_what_is_asked_for_in_the_end(model: str | None, sent: str) -> None:
    got = await Bench(other=", models: {gpt-4o: theirs, mini: their-mini}").ask(a_call(target=Target("other", model)))

    assert json.loads(await got.body.read_all())["model"] == sent


async def test_a_chunked_body_that_is_edited_stays_chunked_with_its_trailers() -> None:
    headers: Headers = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked"), (b"Trailer", b"x-sum")]
    call = a_call(headers=headers, framing=Framing.CHUNKED, trailers=[(b"x-sum", b"1")], target=Target("home", "mini"))
    sent = await Bench().ask(call)

    assert sent.framing is Framing.CHUNKED
    assert sent.body.trailers == [(b"x-sum", b"1")]
    assert b"Transfer-Encoding: chunked\r\n" in request_head(sent, b"h")
    assert b"Content-Length" not in request_head(sent, b"h")


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP"])
async def test_a_compressed_body_that_is_edited_leaves_decoded_without_encoding_and_digests(encoding: bytes) -> None:
    packed = gzip.compress(CHAT)
    headers: Headers = [(b"content-ENCODING", encoding), (b"Content-MD5", b"1"), (b"Digest", b"2"), (b"repr-digest", b"3"), (b"x", b"4")]
    sent = await Bench().ask(a_call(packed, headers=headers, encoding=encoding, target=Target("home", "mini")))

    assert sent.headers == [(b"x", b"4")]
    assert await sent.body.read_all() == CHAT.replace(b"gpt-4o", b"mini")


async def test_a_compressed_body_that_nobody_edits_leaves_compressed() -> None:
    packed = gzip.compress(CHAT)
    headers: Headers = [(b"Content-Encoding", b"gzip"), (b"Content-MD5", b"1")]
    sent = await Bench().ask(a_call(packed, headers=headers, encoding=b"gzip"))

    assert sent.headers == headers
    assert await sent.body.read_all() == packed


async def test_a_digest_in_the_trailers_of_an_edited_body_is_dropped_too() -> None:
    trailers: Headers = [(b"Content-Digest", b"1"), (b"x-sum", b"2")]
    call = a_call(framing=Framing.CHUNKED, trailers=trailers, target=Target("home", "mini"))
    sent = await Bench().ask(call)

    assert sent.body.trailers == [(b"x-sum", b"2")]
    assert call.request.body.trailers == trailers


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'{"model":"a","model":"b"}', b"\xff\xfe"])
async def test_a_body_that_cannot_be_read_leaves_byte_for_byte_and_the_journal_says_so(body: bytes) -> None:
    call = a_call(body, target=Target("home", "mini"))
    sent = await Bench().ask(call)

    assert await sent.body.read_all() == body
    assert call.journal.kinds() == ["upstream"]
    assert call.journal.entries[0].what["skipped"] == "unreadable"


@pytest.mark.parametrize("held", [True, False])
async def test_no_trailer_takes_a_credential_to_another_upstream(held: bool) -> None:
    trailers: Headers = [(b"Api-Key", b"canary"), (b"Cookie", b"canary"), (b"x-sum", b"canary"), (b"Content-Digest", b"1")]
    call = a_call(framing=Framing.CHUNKED, trailers=trailers, target=Target("other"), held=held)
    sent = await Bench().ask(call)
    await sent.body.read_all()

    assert sent.body.trailers == [(b"Content-Digest", b"1")]


async def test_trailers_that_are_still_to_come_are_held_to_it_too() -> None:
    call = a_call(b"", framing=Framing.CHUNKED, target=Target("other"), held=False)
    call.request.body = Body()
    sent = await Bench().ask(call)
    call.request.body.feed(b"abc")
    call.request.body.end([(b"X-Api-Key", b"canary"), (b"content-digest", b"1")])

    assert await sent.body.read_all() == b"abc"
    assert sent.body.trailers == [(b"content-digest", b"1")]


async def test_the_connection_header_of_the_app_cannot_take_away_what_is_ours_to_set() -> None:
    call = a_call(held=False, target=Target("other"), headers=[(b"Connection", b"x-tenant, x-mine, authorization"), (b"X-Mine", b"1")])
    call.request.named = frozenset((b"x-tenant", b"x-mine", b"authorization"))
    sent = await Bench(other=", headers: {set: {X-Tenant: a}, keep: [x-mine]}").ask(call)
    head = request_head(sent, b"b.example")

    assert b"X-Tenant: a\r\n" in head
    assert b"X-Mine" not in head


async def test_one_exchange_is_spent_and_counted() -> None:
    bench, call = Bench(), a_call()
    call.connect_s = 2.5
    await bench.ask(call)

    assert (call.allowance.spent, bench.counted, bench.pools["home"].connect_s) == (1, [("home", "2xx")], [2.5])


async def test_nothing_is_sent_when_the_allowance_is_spent() -> None:
    bench, call = Bench(), a_call()
    call.allowance = Allowance(0)

    with pytest.raises(Failure, match="no exchange left"):
        await bench.service(call)
    assert bench.pools["home"].sent == []
    assert bench.counted == []


async def test_a_bug_in_what_stands_in_a_reply_is_reported_by_its_name() -> None:
    class Wrong(Stage):
        def feed(self, data: bytes) -> bytes:
            raise ZeroDivisionError

    def gone(failure: Failure | None) -> None:
        raise KeyError

    told: list[tuple[str, str]] = []
    home, pool = declared().upstreams["home"], Pool(body=Body())
    upstream = Upstream(home, True, pool, report=lambda name, bug: told.append((name, type(bug).__name__)))
    reply = await upstream.exchange(a_call())
    reply.body.attach(Wrong())
    reply.body.after(gone)
    reply.body.feed(b"as it came")
    reply.body.end()
    data = await reply.body.read_all()
    reply.close()

    assert data == b"as it came"
    assert [(name.rpartition(".")[2], bug) for name, bug in told] == [("Wrong", "ZeroDivisionError"), ("gone", "KeyError")]


async def test_a_failure_says_which_upstream_and_is_counted() -> None:
    bench = Bench(failure=Failure(Fault.CONNECT, "a.example:443", "refused"))

    with pytest.raises(Failure) as caught:
        await bench.service(a_call())
    assert (caught.value.where, caught.value.fault) == ("home", Fault.CONNECT)
    assert bench.counted == [("home", "connect")]


async def test_a_body_that_the_app_broke_is_not_the_upstreams_fault() -> None:
    broken = Failure(Fault.INVALID, "app", "the client left before its request was complete")
    call = a_call(held=False)
    call.request.body = Body()
    call.request.body.fail(broken)
    bench = Bench(failure=broken)

    with pytest.raises(Failure) as caught:
        await bench.service(call)
    assert caught.value.where == "app"
    assert bench.counted == []


# What a declared upstream becomes


@pytest.mark.parametrize(
    ("settings", "credential", "drops"),
    [
        ("", None, False),
        (", key: '${KEY}'", (b"Authorization", b"Bearer ours"), False),
        (", key: '${KEY}', auth: {header: api-key}", (b"api-key", b"ours"), False),
        (", key: none", None, True),
        (", auth: none", None, True),
        (", key: '${KEY}', auth: none", None, True),
    ],
)
def test_the_credential_of_home(settings: str, credential: Any, drops: bool) -> None:
    out = outbound(declared(settings).upstreams["home"], True)

    assert (out.credential, out.drops_credential) == (credential, drops)


def test_settings_become_bytes() -> None:
    given = ", headers: {set: {X-A: 'é'}, keep: [X-Keep]}, query: {$filter: 'a b&c'}, trace: true"
    out = outbound(declared(other=given).upstreams["other"], False)

    assert out.set_headers == ((b"X-A", "é".encode()),)
    assert out.keep == frozenset((b"x-keep",))
    assert out.query == ((b"%24filter", b"a%20b%26c"),)
    assert (out.base, out.trace, out.home) == (None, True, False)


def upstream_of(policies: Policies, name: str = "home") -> Upstream:
    return Upstream(policies.upstreams[name], name == policies.home, Pool())


def test_it_is_the_same_while_everything_that_was_declared_is() -> None:
    old = upstream_of(declared(", key: '${KEY}'"))

    assert old.is_same(declared(", key: '${KEY}'").upstreams["home"], True)
    assert not old.is_same(declared(", key: '${KEY}', trace: true").upstreams["home"], True)
    assert not old.is_same(declared(", key: '${KEY}'").upstreams["home"], False)


def test_a_rotated_secret_makes_another() -> None:
    old = upstream_of(declared(", key: '${KEY}'"))

    assert not old.is_same(declared(", key: '${KEY}'", env={"KEY": "new"}).upstreams["home"], True)


def test_a_rotated_certificate_makes_another(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("one")
    settings = f", tls: {{ca: '{pem}'}}"
    old = upstream_of(declared(settings))

    assert old.is_same(declared(settings).upstreams["home"], True)

    pem.write_text("two")

    assert not old.is_same(declared(settings).upstreams["home"], True)


def test_plain_http_has_no_tls_and_a_bad_file_is_an_os_error(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("no certificate")
    bad = declared(f", tls: {{ca: '{pem}'}}").upstreams["home"]
    plain = load_text("{version: 1, upstreams: {a: {url: 'http://127.0.0.1:1/v1'}}}", "p.yaml", {}).upstreams["a"]

    assert client_tls(plain) is None
    with pytest.raises(OSError, match=r"."):
        client_tls(bad)


def test_closing_closes_the_pool() -> None:
    pool = Pool()
    Upstream(declared().upstreams["home"], True, pool).close()

    assert pool.closed == 1


def test_an_upstream_with_its_own_names_needs_the_body() -> None:
    assert upstream_of(declared(", models: {a: b}")).renames_models
    assert not upstream_of(declared()).renames_models
    assert Endpoint.CHAT == "chat"


def test_the_path_of_the_url_stands_for_v1() -> None:
    def base(url: str) -> bytes | None:
        policies = load_text(f"{{version: 1, upstreams: {{a: {{url: '{url}'}}}}}}", "p.yaml", {})
        return outbound(policies.upstreams["a"], True).base

    urls = ("https://a", "https://a/", "https://a/v1", "https://a/v1/", "https://a/openai/v1/", "https://a/openai", "https://a//")
    assert [base(url) for url in urls] == [None, None, None, None, b"/openai/v1", b"/openai", None]


def test_a_key_that_may_be_missing_is_not_sent_empty() -> None:
    text = "{version: 1, upstreams: {home: {url: 'https://a/v1', key: '${NOT_THERE}'}}}"
    policies = load_text(text, "p.yaml", {}, no_secrets=True)

    out = outbound(policies.upstreams["home"], home=True)

    assert out.credential is None
    assert out.headers([(b"Authorization", b"Bearer app"), (b"A", b"b")]) == [(b"A", b"b")]
