"""What an operator sees of a serving process: its end, its probes, its log, an upstream that dies, an app that leaves."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e import calls
from tests.e2e.calls import CHAT, body, get, metric, open_call, post, release, until
from tests.e2e.processes import Running, serving
from tests.e2e.sdk.upstream import ScriptedUpstream
from tests.e2e.sdk.wording import KEY

CANARY = "canary-4711"
REWRITE = """version: 1
policies:
  - name: small
    match: {endpoint: chat, keywords: {any_of: [hello]}}
    apply: {rewrite: {model: gpt-4o-mini}}
  - name: watched
    mode: shadow
    match: {endpoint: chat}
    apply: {params: {max: {max_tokens: 5}}}
"""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policies") / "p.yaml"
    path.write_text(REWRITE)
    return path


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with calls.upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(policies: Path, upstream: ScriptedUpstream) -> Iterator[Running]:
    """One process for what does not end it."""
    with serving(policies, upstream.url) as running:
        yield running
        assert is_calm(running)


def refuses(running: Running) -> bool:
    try:
        socket.create_connection(("127.0.0.1", running.port), 1).close()
    except OSError:
        return True
    return False


def dial(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), 10)


def ask_for_stream(running: Running, play: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream with its first event read."""
    connection = open_call(running.port, body(stream=True), x_play=play)
    reply = connection.getresponse()
    assert reply.status == 200
    assert reply.readline().startswith((b"data: ", b": "))
    return connection, reply


def is_calm(running: Running) -> bool:
    """Whether the log is one of an orderly process."""
    logged = running.logged()
    return "Traceback" not in logged and "never retrieved" not in logged and "exception" not in logged.lower()


# The end


def test_term_lets_calls_and_streams_end(policies: Path, upstream: ScriptedUpstream) -> None:
    with serving(policies, upstream.url, ["--drain", "20"]) as running:
        upstream.forget()
        idle = dial(running)
        idle.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        plain = open_call(running.port, body("Say hello."), x_play="held")
        connection, stream = ask_for_stream(running, "lockstep 2")
        until(lambda: upstream.arrived == 3, "all three have arrived")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: get(running.admin_port, "/readyz").status == 503, "readiness says no", 1)
        ready, alive = get(running.admin_port, "/readyz"), get(running.admin_port, "/livez")
        in_grace = post(running.port)
        while idle.recv(65536):
            pass
        until(lambda: refuses(running), "no new connection is taken", 3)
        still_there = running.process.poll() is None
        release(upstream)
        answer = plain.getresponse()
        whole, rest = answer.read(), stream.read()
        code = running.process.wait(5)
        calm = is_calm(running)
        logged = {line["path"] + str(line.get("stream", "")): line for line in calls.calls(running) if line["ms"] > 100}

    plain.close(), connection.close(), idle.close()
    assert (ready.status, ready.body, alive.status) == (503, b"draining\n", 200)
    assert (in_grace.status, in_grace.headers["connection"]) == (200, "close")
    assert still_there
    assert (answer.status, json.loads(whole)["choices"][0]["finish_reason"]) == (200, "stop")
    assert rest.endswith(b"data: [DONE]\n\n")
    assert code == 0
    assert {line["status"] for line in logged.values()} == {200}
    assert len(logged) == 2
    assert not any("client_left" in line or "fault" in line for line in logged.values())
    assert calm


def read_all(sock: socket.socket) -> bytes:
    """Until the end, orderly or not."""
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except ConnectionError:
        pass
    return data


def raw(data: bytes, play: str) -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nx-play: {play}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_what_outlasts_the_drain_is_cut_visibly(number: signal.Signals, policies: Path, upstream: ScriptedUpstream) -> None:
    with serving(policies, upstream.url, ["--drain", "0.2"]) as running:
        upstream.forget()
        stream, plain = dial(running), dial(running)
        stream.sendall(raw(body(stream=True), "endless"))
        plain.sendall(raw(body(), "silent"))
        until(lambda: upstream.arrived == 2, "both have arrived")
        begun = stream.recv(65536)
        running.process.send_signal(number)
        streamed, refused = begun + read_all(stream), read_all(plain)
        code = running.process.wait(5)
        calm = is_calm(running)
        stream.close(), plain.close()

    assert code == 0
    assert streamed.startswith(b"HTTP/1.1 200 ")
    assert b"data: " in streamed
    assert not streamed.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in streamed
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"x-chassis-origin: static" in refused
    assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "overloaded"
    assert all(arrival.left_at is not None for arrival in upstream.take())
    assert calm


def test_a_second_term_leaves_at_once(policies: Path, upstream: ScriptedUpstream) -> None:
    with serving(policies, upstream.url, ["--drain", "60"]) as running:
        connection, _ = ask_for_stream(running, "endless")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: get(running.admin_port, "/readyz").status == 503, "it drains")
        still_there = running.process.poll() is None
        before = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        code = running.process.wait(5)
        took_s = time.monotonic() - before
        logged = running.logged()
        connection.close()

    assert still_there
    assert code == 0
    assert took_s < 2
    assert "a second signal: leaving at once" in logged
    assert "Traceback" not in logged


# Probes and metrics


def test_the_admin_port_answers(shared: Running) -> None:
    pages = {path: get(shared.admin_port, path) for path in ("/livez", "/readyz", "/metrics", "/policies", "/nothing")}
    told = pages["/policies"].json

    assert {path: page.status for path, page in pages.items()} == {
        "/livez": 200,
        "/readyz": 200,
        "/metrics": 200,
        "/policies": 200,
        "/nothing": 404,
    }
    assert pages["/livez"].body == b"ok\n"
    assert pages["/metrics"].headers["content-type"].startswith("text/plain; version=0.0.4")
    assert [(each["name"], each["mode"]) for each in told["policies"]] == [("small", "enforce"), ("watched", "shadow")]
    assert told["last_error"] is None


def test_the_data_port_owns_no_path(shared: Running, upstream: ScriptedUpstream) -> None:
    upstream.forget()
    for path in ("/livez", "/readyz", "/metrics", "/policies", "/"):
        get(shared.port, path, authorization=f"Bearer {KEY}")

    assert [arrival.path for arrival in upstream.take()] == ["/livez", "/readyz", "/metrics", "/policies", "/"]


def test_a_call_is_counted(shared: Running) -> None:
    line = 'chassis_calls_total{endpoint="chat",origin="upstream",status_class="2xx"}'
    decided = 'chassis_policy_decisions_total{kind="rewrite",mode="enforce",policy="small"}'
    before = metric(shared, line), metric(shared, decided), metric(shared, 'chassis_exchanges_total{outcome="2xx",upstream="default"}')
    post(shared.port)
    after = metric(shared, line), metric(shared, decided), metric(shared, 'chassis_exchanges_total{outcome="2xx",upstream="default"}')

    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]


def test_memory_stays_flat_over_two_thousand_calls(shared: Running) -> None:
    plain, streamed = body("hello " * 400), body("hello " * 20, stream=True)
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}

    def call(times: int) -> None:
        for number in range(times):
            connection.request("POST", CHAT, plain if number % 10 else streamed, headers)
            reply = connection.getresponse()
            assert reply.read()
            assert reply.status == 200

    call(500)
    before_kib = resident_kib(shared)
    call(2_000)
    after_kib = resident_kib(shared)
    connection.close()

    assert after_kib - before_kib < 3 * 1024  # to keep 1.5 KiB of each call would show
    assert metric(shared, "chassis_calls_in_flight") == 0


def resident_kib(running: Running) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


# The log


def test_one_line_a_call_without_content_and_secrets(shared: Running, upstream: ScriptedUpstream) -> None:
    before = calls.settled(shared)
    post(
        shared.port,
        body(f"hello {CANARY}-prompt", user=f"{CANARY}-user", max_tokens=9),
        f"{CHAT}?key={CANARY}-query",
        x_secret=f"{CANARY}-header",
        cookie=f"{CANARY}-cookie",
    )
    post(shared.port, body(), authorization=f"Bearer {CANARY}-key")
    post(shared.port, b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "' + CANARY.encode())
    post(shared.port, body(f"hello {CANARY}", stream=True), x_play="erring 2")
    until(lambda: len(calls.calls(shared)) == before + 4, "four lines")
    first, second, third, fourth = calls.calls(shared)[before:]

    assert CANARY not in shared.logged()
    assert KEY not in shared.logged()
    assert {name: first[name] for name in ("method", "path", "endpoint", "status", "exchanges", "model", "model_sent", "upstream")} == {
        "method": "POST",
        "path": CHAT,
        "endpoint": "chat",
        "status": 200,
        "exchanges": 1,
        "model": "gpt-4o",
        "model_sent": "gpt-4o-mini",
        "upstream": "default",
    }
    assert first["policies"] == ["small"]
    assert [(each["kind"], each["policy"], each.get("shadow", False)) for each in first["decisions"]] == [
        ("params", "watched", True),
        ("rewrite", "small", False),
    ]
    assert first["ms"] >= first["first_byte_ms"] > 0
    assert (second["status"], second["policies"]) == (401, ["small"])
    assert third["decisions"][0]["kind"] in ("unknown", "body_unread")
    assert fourth["stream"] is True


def test_every_line_on_standard_output_is_json(shared: Running) -> None:
    post(shared.port)
    calls.settled(shared)
    printed = shared.logged().splitlines()
    first = calls.lines(shared)[0]
    told_to_a_person = [line for line in printed if not line.startswith("{")]

    revision = get(shared.admin_port, "/policies").json["revision"]
    assert (first["level"], first["message"]) == ("info", f"serving on 127.0.0.1:{shared.port}: revision {revision}, 2 policies")
    assert all(json.loads(line)["ts"].endswith("Z") for line in printed if line.startswith("{"))
    assert [line.strip() for line in told_to_a_person if line.strip()] == [
        f"chassis: 2 policies, calls go to {printed[0].split('calls go to ')[1].split(';')[0]}; paste this where the app runs:",
        f"export OPENAI_BASE_URL={shared.url}",
    ]


@pytest.mark.parametrize("phase", ["before the head", "in a stream"])
def test_a_client_that_leaves_is_logged_and_lets_the_upstream_go(phase: str, shared: Running, upstream: ScriptedUpstream) -> None:
    upstream.forget()
    before = calls.settled(shared)
    if phase == "in a stream":
        connection, reply = ask_for_stream(shared, "endless")
        reply.close()
    else:
        connection = open_call(shared.port, x_play="silent")
    until(lambda: upstream.arrived == 1, "it has arrived")
    connection.close()
    until(lambda: len(calls.calls(shared)) > before, "its line")
    line = calls.calls(shared)[-1]
    (arrival,) = upstream.take()

    assert line["client_left"] is True
    assert line.get("status") == (200 if phase == "in a stream" else None)
    assert line["level"] == "info"
    assert arrival.left_at is not None


def test_the_text_form_is_a_line_for_a_person_and_off_is_silence(policies: Path, upstream: ScriptedUpstream) -> None:
    with serving(policies, upstream.url, ["--log", "text"]) as running:
        post(running.port, body(f"hello {CANARY}"))
        running.stop()
        text = running.logged()
    with serving(policies, upstream.url, ["--log", "off"]) as running:
        post(running.port)
        running.stop()
        silent = running.logged()

    assert "POST /v1/chat/completions 200 " in text
    assert " gpt-4o -> gpt-4o-mini default policies=small call=" in text
    assert CANARY not in text
    assert not any(line.startswith("{") for line in text.splitlines())
    assert "chat/completions" not in silent
    assert "draining" not in silent


# An upstream that dies, and comes back


def test_an_upstream_that_dies_is_an_error_that_the_sdk_knows_and_one_that_returns_is_used(policies: Path) -> None:
    with calls.upstream() as first:
        port = first.port
        with serving(policies, first.url) as running:
            with OpenAI(base_url=running.url, api_key=KEY, max_retries=0, timeout=10) as client:
                asked: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
                works = client.chat.completions.create(**asked)
                stream = client.chat.completions.create(**asked, stream=True, extra_headers={"x-play": "endless"})
                events = iter(stream)
                next(events)
                waiting = open_call(running.port, body(), x_play="silent")
                until(lambda: first.arrived >= 3, "all have arrived")
                first.stop()
                with pytest.raises((openai.APIError, httpx.RemoteProtocolError)):
                    for _ in events:
                        pass
                cut = waiting.getresponse()
                cut_body = cut.read()
                waiting.close()
                with pytest.raises(openai.InternalServerError) as away:
                    client.chat.completions.create(**asked)
                with pytest.raises(openai.APIStatusError) as away_streamed:
                    client.chat.completions.create(**asked, stream=True)
                ready = get(running.admin_port, "/readyz")
                with calls.upstream(port):
                    again = client.chat.completions.create(**asked)
            until(lambda: len(calls.calls(running)) == 6, "six lines")
            logged = calls.calls(running)
            counted = metric(running, 'chassis_exchanges_total{outcome="connect",upstream="default"}')
            calm = is_calm(running)

    assert works.choices[0].message.content == again.choices[0].message.content
    assert (cut.status, json.loads(cut_body)["error"]["type"]) == (502, "chassis_error")
    for error in (away.value, away_streamed.value):
        assert error.status_code == 502
        assert error.code == "upstream_unavailable"
        assert error.type == "chassis_error"
        assert "connect" in error.message
        assert error.response.headers["x-chassis-origin"] == "static"
    assert ready.status == 200
    assert counted >= 2
    assert {line["level"] for line in logged if "fault" in line} == {"error"}
    assert [line["detail"] for line in logged if line.get("fault") == "connect" and "refused" in line["detail"]] != []
    assert calm
