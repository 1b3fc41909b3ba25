"""Lines 24, 27 and 29: which connection a request takes, when it is sent again, and to which target, Host and name it goes."""

from __future__ import annotations

import datetime
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e import processes
from tests.e2e.wire.cases_chat import ASK, CHAT, CHUNKED, HELLO, JSON, SSE, rewritten
from tests.e2e.wire.client import Client
from tests.e2e.wire.conftest import HERE, MODES, Wire
from tests.e2e.wire.play import LAST, Do, Pause, Replies, Script, Step, chunk, filled, reply, request, script
from tests.e2e.wire.test_hostile_upstreams import assert_bad_gateway
from tests.e2e.wire.upstream import Run, Upstream

POST = request(CHAT, JSON, body=ASK)
GET = request(b"GET /v1/models")


def served(
    wire: Wire, case: str, scripts: tuple[Script, ...], *steps: Step, replies: int, mode: str = "plain", port: int | None = None
) -> tuple[Client, Run]:
    """Play the steps on one client connection until so many replies are whole, on upstream connections that are all new."""
    wire.upstream.shut_idle()
    run = wire.upstream.expect(case, scripts)
    with Client(port or wire.port(mode)) as client:
        run.client = client
        client.play(steps, case)
        client.until(lambda: client.reader.whole >= replies, "not all replies")
        client.finish()
    return client, run


@pytest.mark.parametrize("end", [Do.FIN, Do.RST], ids=["closed", "reset"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ask", [POST, GET], ids=["post", "get"])
def test_a_kept_connection_that_dies_under_a_request_is_replaced_and_the_request_sent_once_more(
    wire: Wire, ask: bytes, mode: str, end: Do
) -> None:
    scripts = (script(reply(b"200 OK", body=b"1")), script(end), script(reply(b"200 OK", body=b"2")))
    client, run = served(wire, f"again-{ask[:3].decode()}-{end.name}", scripts, ask, Replies(1), ask, replies=2, mode=mode)

    assert client.problems == []
    assert [(each.status, bytes(each.body)) for each in client.reader.messages] == [(200, b"1"), (200, b"2")]
    first, second, third = run.arrivals
    assert first.connection == second.connection, "the connection was not kept"
    assert third.connection != second.connection
    assert (second.message.head, second.message.body) == (third.message.head, third.message.body)
    assert client.reader.messages[1].values(b"x-chassis-exchanges") in ([], [b"1"]), "the resend is silent"


def test_what_is_sent_once_more_is_not_sent_a_third_time(wire: Wire) -> None:
    scripts = (script(reply(b"200 OK", body=b"1")), script(Do.FIN), script(Do.FIN), script(reply(b"200 OK", body=b"no")))
    client, run = served(wire, "again-twice", scripts, POST, Replies(1), POST, replies=2)

    assert client.problems == []
    assert_bad_gateway(client.reader.messages[1])
    assert len(run.arrivals) == 3


@pytest.mark.parametrize(
    "begun", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"], ids=["a-byte", "a-status-line", "an-interim-reply"]
)
def test_a_request_whose_reply_has_begun_is_not_sent_again(wire: Wire, begun: bytes) -> None:
    scripts = (script(reply(b"200 OK", body=b"1")), script(begun, Pause(0.05), Do.FIN), script(reply(b"200 OK", body=b"no")))
    client, run = served(wire, f"begun-{len(begun)}", scripts, POST, Replies(1), POST, replies=2)

    assert client.problems == []
    assert_bad_gateway(client.reader.finals[1])
    assert len(run.arrivals) == 2


def test_an_upload_that_cannot_be_repeated_is_sent_once(wire: Wire) -> None:
    form = b"--x\r\n" + b"0123456789" * 100_000
    upload = request(b"POST /v1/files", b'Content-Type: multipart/form-data; boundary="x"', b"Content-Length: 2000010") + form
    scripts = (script(reply(b"200 OK", body=b"1")), Script((Pause(0.2), Do.RST), early=True), script(reply(b"200 OK", body=b"no")))
    client, run = served(wire, "upload-once", scripts, GET, Replies(1), upload, Pause(0.3), form, replies=2)

    assert_bad_gateway(client.reader.messages[1])
    assert len(run.arrivals) == 2
    assert not run.arrivals[1].message.complete


def test_an_answer_to_an_unread_upload_arrives_although_the_upstream_resets_the_rest(wire: Wire) -> None:
    size = 8_000_000
    statuses = []
    for turn in range(5):
        case = f"unread-{turn}"
        refusal = reply(b"413 Content Too Large", JSON, b"Connection: close", body=b"too large")
        run = wire.upstream.expect(case, (Script((Do.DEAF, Pause(0.05), refusal, Do.FIN), early=True),))
        with Client(wire.port("plain")) as client:
            client.send(filled(request(b"POST /v1/files", b"Content-Length: %d" % size), case))
            client.push(size, 0.2)
            client.until(lambda client=client: client.reader.whole >= 1, "no answer")
        statuses += [(each.status, bytes(each.body)) for each in client.reader.messages]
        assert len(run.arrivals) == 1

    assert statuses == [(413, b"too large")] * 5


@pytest.mark.parametrize("mode", MODES)
def test_an_upstream_that_closes_after_each_reply_without_a_word_is_never_seen(wire: Wire, mode: str) -> None:
    count = 25
    scripts = tuple(script(reply(b"200 OK", body=b"%d" % i), Do.FIN) for i in range(count))
    steps = [step for i in range(count) for step in (POST, Replies(i + 1))]
    client, run = served(wire, "closes-silently", scripts, *steps, replies=count, mode=mode)

    assert client.problems == []
    assert [bytes(each.body) for each in client.reader.messages] == [b"%d" % i for i in range(count)]
    assert len({each.connection for each in run.arrivals}) == count


@pytest.mark.parametrize(
    "head",
    [
        reply(b"200 OK", b"Connection: close", body=b"1"),
        reply(b"200 OK", body=b"1", version=b"1.0"),
        reply(b"200 OK", b"Connection: Close, x", body=b"1"),
    ],
    ids=["close", "http-1.0", "a-list"],
)
def test_a_connection_that_says_it_will_close_is_not_used_again(wire: Wire, head: bytes) -> None:
    scripts = (script(head, Pause(0.1)), script(reply(b"200 OK", body=b"2")))
    client, run = served(wire, f"says-close-{len(head)}", scripts, POST, Replies(1), POST, replies=2)

    assert client.problems == []
    assert [bytes(each.body) for each in client.reader.messages] == [b"1", b"2"]
    assert run.arrivals[0].connection != run.arrivals[1].connection


def test_two_clients_share_a_kept_connection_one_after_the_other(wire: Wire) -> None:
    wire.upstream.shut_idle()
    run = wire.upstream.expect("shared", tuple(script(reply(b"200 OK", body=b"%d" % i)) for i in range(3)))
    bodies = []
    for _ in range(3):
        with Client(wire.port("plain")) as client:
            client.send(filled(POST, "shared"))
            client.until(lambda: client.reader.whole >= 1, "no reply")
            bodies += [bytes(each.body) for each in client.reader.messages]

    assert bodies == [b"0", b"1", b"2"]
    assert len({each.connection for each in run.arrivals}) == 1


OLD = request(CHAT, JSON, version=b"1.0", body=ASK)
OLD_KEPT = request(CHAT, JSON, b"Connection: keep-alive", version=b"1.0", body=ASK)


@pytest.mark.parametrize("ask", [OLD, OLD_KEPT], ids=["close", "keep-alive"])
def test_an_http_1_0_client_gets_a_chunked_reply_unchunked_and_ended_by_the_close(wire: Wire, ask: bytes) -> None:
    scripts = (script(HTTP_102, reply(b"200 OK", SSE, CHUNKED) + chunk(HELLO), Pause(0.02), chunk(HELLO) + b"0\r\nX-T: 1\r\n\r\n"),)
    client, run = served(wire, "old-chunked", scripts, ask, replies=1)

    assert client.problems == []
    [message] = client.reader.messages
    assert (message.framing, bytes(message.body), message.complete) == ("close", HELLO * 2, True)
    assert not message.values(b"transfer-encoding")
    assert message.tokens(b"connection") == {b"close"}
    assert client.ended == "fin"
    assert run.arrivals[0].message.first[2] == b"1"


@pytest.mark.parametrize("end", [Do.FIN, Do.RST], ids=["closed", "reset"])
def test_an_http_1_0_client_sees_a_cut_reply_as_a_reset(wire: Wire, end: Do) -> None:
    scripts = (script(reply(b"200 OK", SSE, CHUNKED) + chunk(HELLO), Pause(0.1), end),)
    wire.upstream.shut_idle()
    run = wire.upstream.expect("old-cut", scripts)
    with Client(wire.port("plain")) as client:
        run.client = client
        client.send(filled(OLD, "old-cut"))
        ended = client.wait_end(5)

    [message] = client.reader.messages
    assert (bytes(message.body), message.complete) == (HELLO, False)
    assert ended == "rst", "a clean end would look whole"


HTTP_102 = reply(b"102 Processing")


ABSOLUTE = {
    b"http://app.example/v1/models?a=%2F": b"/v1/models?a=%2F",
    b"HTTP://127.0.0.1:4141/v1/models": b"/v1/models",
    b"https://app.example/v1/models": b"/v1/models",
    b"http://app.example": b"/",
    b"http://app.example?x=1": b"/?x=1",
}


@pytest.mark.parametrize("target", ABSOLUTE)
def test_a_target_in_absolute_form_goes_to_our_upstream_and_nowhere_else(wire: Wire, target: bytes) -> None:
    client, run = served(wire, f"absolute-{len(target)}", (script(reply(b"200 OK", body=b"ok")),), request(b"GET " + target), replies=1)

    assert client.problems == []
    [arrival] = run.arrivals
    assert arrival.message.target == ABSOLUTE[target]
    assert arrival.message.values(b"host") == [wire.upstream.authority]


PREFIXED = {
    b"/v1/chat/completions": b"/openai/deployments/x/chat/completions",
    b"/v1": b"/openai/deployments/x",
    b"/v1/": b"/openai/deployments/x/",
    b"/v1?a=1": b"/openai/deployments/x?a=1",
    b"/v1/models?q=/v1/y&z=%2F": b"/openai/deployments/x/models?q=/v1/y&z=%2F",
    b"/v1//models": b"/openai/deployments/x//models",
    b"/v1/../models": b"/openai/deployments/x/../models",
    b"/v1/v1/models": b"/openai/deployments/x/v1/models",
    b"/v1%2Fmodels": b"/v1%2Fmodels",
    b"/v1beta/models": b"/v1beta/models",
    b"/V1/models": b"/V1/models",
    b"//v1/models": b"//v1/models",
    b"/health": b"/health",
    b"/": b"/",
}


@pytest.fixture(scope="module")
def prefixed(wire: Wire) -> Iterator[processes.Running]:
    base = f"http://127.0.0.1:{wire.upstream.port}/openai/deployments/x/"  # the slash at its end says nothing
    with processes.serving(HERE / "policies" / "rewrite.yaml", base) as proxy:
        yield proxy


def test_the_upstreams_path_stands_for_v1_and_for_nothing_else(wire: Wire, prefixed: processes.Running) -> None:
    got = {}
    for number, target in enumerate(PREFIXED):
        client, run = served(
            wire, f"prefix-{number}", (script(reply(b"200 OK", body=b"ok")),), request(b"GET " + target), replies=1, port=prefixed.port
        )
        assert client.problems == []
        got[target] = run.arrivals[0].message.target

    assert got == PREFIXED


def test_the_upstreams_path_and_a_rewritten_model_go_together(wire: Wire, prefixed: processes.Running) -> None:
    client, run = served(wire, "prefix-chat", (script(reply(b"200 OK", body=b"ok")),), POST, replies=1, port=prefixed.port)

    assert client.problems == []
    [arrival] = run.arrivals
    assert arrival.message.target == b"/openai/deployments/x/chat/completions"
    assert bytes(arrival.message.body) == rewritten(ASK)


def test_an_upstream_without_a_path_changes_no_target(wire: Wire) -> None:
    with processes.serving(HERE / "policies" / "plain.yaml", f"http://127.0.0.1:{wire.upstream.port}") as proxy:
        for number, target in enumerate(PREFIXED):
            client, run = served(
                wire, f"bare-{number}", (script(reply(b"200 OK", body=b"ok")),), request(b"GET " + target), replies=1, port=proxy.port
            )

            assert client.problems == []
            assert run.arrivals[0].message.target == target


OVER_TLS = """
version: 1
upstreams:
  default: {{url: "https://localhost:{port}/base/v1", tls: {{ca: {ca}}}}}
  misnamed: {{url: "https://127.0.0.1:{port}/v1", tls: {{ca: {ca}}}, key: none}}
  untrusted: {{url: "https://localhost:{port}/v1", key: none}}
  nobody: {{url: "http://127.0.0.1:{nobody}/v1", key: none}}
policies:
  - {{name: to-misnamed, match: {{header: {{x-to: misnamed}}}}, apply: {{rewrite: {{upstream: misnamed}}}}}}
  - {{name: to-untrusted, match: {{header: {{x-to: untrusted}}}}, apply: {{rewrite: {{upstream: untrusted}}}}}}
  - {{name: to-nobody, match: {{header: {{x-to: nobody}}}}, apply: {{rewrite: {{upstream: nobody}}}}}}
  - {{name: the-other-model, match: {{endpoint: chat, model: gpt-4o}}, apply: {{rewrite: {{model: gpt-4o-mini-2024-07-18}}}}}}
"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key with a certificate for localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return cert_file, key_file


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, processes.Running, list[str | None]]]:
    """An upstream over TLS, a proxy in front of it, and the server names that were asked for."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate(folder)
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.sni_callback = lambda _, name, __: names.append(name)
    upstream = Upstream(context)
    upstream.start()
    policies = folder / "tls.yaml"
    [nobody] = processes.free_ports(1)
    policies.write_text(OVER_TLS.format(port=upstream.port, ca=cert, nobody=nobody))
    try:
        with processes.serving(policies, None) as proxy:
            yield upstream, proxy, names
    finally:
        upstream.stop()


def test_an_upstream_over_tls_hears_its_own_name_host_and_path(tls: tuple[Upstream, processes.Running, list[str | None]]) -> None:
    upstream, proxy, names = tls
    run = upstream.expect(
        "tls", (script(reply(b"200 OK", SSE, CHUNKED), chunk(HELLO), Do.SEEN, chunk(HELLO), LAST), script(reply(b"200 OK", body=b"2")))
    )
    with Client(proxy.port) as client:
        run.client = client
        client.send(filled(request(CHAT, JSON, host=b"api.openai.com", body=ASK), "tls"))
        client.until(lambda: client.reader.whole >= 1, "no reply")
        client.send(filled(GET, "tls"))
        client.until(lambda: client.reader.whole >= 2, "no second reply")

    assert client.problems + run.problems == []
    assert [bytes(each.body) for each in client.reader.messages] == [HELLO * 2, b"2"]
    first, second = run.arrivals
    assert names[0] == "localhost"
    assert first.message.values(b"host") == [b"localhost:%d" % upstream.port]
    assert (first.message.target, second.message.target) == (b"/base/v1/chat/completions", b"/base/v1/models")
    assert bytes(first.message.body) == rewritten(ASK)
    assert first.connection == second.connection


@pytest.mark.parametrize(
    "head",
    [reply(b"200 OK", SSE, CHUNKED) + chunk(HELLO), reply(b"200 OK", JSON, b"Content-Length: 999") + HELLO],
    ids=["chunked", "length"],
)
def test_a_reply_over_tls_that_is_cut_looks_cut(tls: tuple[Upstream, processes.Running, list[str | None]], head: bytes) -> None:
    upstream, proxy, _ = tls
    case = f"tls-cut-{len(head)}"
    run = upstream.expect(case, (script(head, Do.SEEN, Do.FIN),))
    with Client(proxy.port) as client:
        run.client = client
        client.send(filled(POST, case))
        ended = client.wait_end(5)

    [message] = client.reader.messages
    assert run.problems == []
    assert ended != "open", f"{len(client.raw)} bytes here, the upstream's steps ended at {run.arrivals[0].played_at}"
    assert (bytes(message.body), message.complete) == (HELLO, False)


def test_a_client_that_leaves_is_missed_at_once_over_tls(tls: tuple[Upstream, processes.Running, list[str | None]]) -> None:
    upstream, proxy, _ = tls
    run = upstream.expect("tls-left", (script(reply(b"200 OK", SSE, CHUNKED) + chunk(HELLO), Do.STALL),))
    client = Client(proxy.port)
    client.send(filled(POST, "tls-left"))
    client.until(lambda: HELLO in client.raw, "no stream")
    left_at = time.monotonic()
    client.close()
    [arrival] = run.arrivals

    assert arrival.over.wait(5)
    assert arrival.left_at is not None
    assert arrival.left_at - left_at < 0.5


@pytest.mark.parametrize("upstream_name", ["nobody", "misnamed", "untrusted"])
def test_an_upstream_that_is_not_there_or_not_who_it_says_is_a_502_of_ours_and_hears_nothing(
    tls: tuple[Upstream, processes.Running, list[str | None]], upstream_name: str
) -> None:
    upstream, proxy, _ = tls
    before = upstream.received
    ask = filled(request(CHAT, JSON, b"X-To: " + upstream_name.encode(), body=ASK), upstream_name)
    with Client(proxy.port) as client:
        client.send(ask * 2)
        client.until(lambda: client.reader.whole >= 2, "not both replies")

    assert client.problems == []
    assert len(client.reader.messages) == 2, "the client's connection goes on"
    for message in client.reader.messages:
        assert_bad_gateway(message)
        assert json.loads(message.body)["error"]["code"] == "upstream_unavailable"
    assert upstream.received == before
