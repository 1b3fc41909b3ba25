"""Line 28: bytes move when they are there, whatever they are, and a head that trickles in is ended."""

from __future__ import annotations

import socket
import statistics
import threading
import time

import pytest

from tests.e2e.wire.cases_chat import ASK, CHAT, CHUNKED, HELLO, JSON, SSE
from tests.e2e.wire.client import Client
from tests.e2e.wire.conftest import MODES, Wire
from tests.e2e.wire.play import LAST, Do, Pause, Step, chunk, filled, reply, request, script

PROMPT_S = 0.1  # what a chunk may take from the upstream's socket to the client's
PAUSE_S = 0.3
TRIES = 3  # a busy machine may be late once; a proxy that holds chunks back is late each time
HEAD_S = 10.0  # the proxy's deadline for a request head
PACED = {
    "chunked": (reply(b"200 OK", SSE, CHUNKED), chunk, LAST),
    "until-the-close": (reply(b"200 OK", SSE), bytes, b""),
    "with-a-length": (reply(b"200 OK", JSON, b"Content-Length: %d" % (len(HELLO) * 3)), bytes, b""),
    "encoded": (reply(b"200 OK", SSE, CHUNKED, b"Content-Encoding: zstd"), chunk, LAST),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PACED)
def test_a_chunk_before_a_pause_arrives_long_before_its_end(wire: Wire, name: str, mode: str) -> None:
    for _ in range(TRIES):
        head_s, delays = paced_delays(wire, name, mode)
        if head_s < PAUSE_S and max(delays) < PAUSE_S and statistics.median(delays) < PROMPT_S:
            break

    assert head_s < PAUSE_S, "the head waited for the first chunk"
    assert max(delays) < PAUSE_S, f"a chunk waited for the next one: {delays}"
    assert statistics.median(delays) < PROMPT_S


def paced_delays(wire: Wire, name: str, mode: str) -> tuple[float, list[float]]:
    """What the head and each of three chunks took from the upstream's write to the client, in seconds."""
    head, framed, last = PACED[name]
    piece = framed(HELLO)
    ends: tuple[Step, ...] = (last,) if last else (Do.FIN,)
    pause = Pause(PAUSE_S)
    run = wire.upstream.expect(f"paced-{name}", (script(head, pause, piece, pause, piece, pause, piece, pause, *ends),))
    with Client(wire.port(mode)) as client:
        run.client = client
        client.send(filled(request(CHAT, JSON, body=ASK), run.id))
        client.until(lambda: client.reader.whole >= 1, "the reply did not end")
    [arrival], [message] = run.arrivals, client.reader.messages
    until = time.monotonic() + PAUSE_S
    while len(arrival.played_at) <= 6 and time.monotonic() < until:  # the last piece may be here before its sender has noted the time
        time.sleep(0.001)
    sent_at = [arrival.played_at[step] for step in (2, 4, 6)]

    assert client.problems + run.problems == []
    assert message.body == HELLO * 3
    return message.began_at - arrival.played_at[0], [message.arrived_at(len(HELLO) * (i + 1)) - at for i, at in enumerate(sent_at)]


BUSY = {
    "line-ends": b"\r\n" * 1_000_000,
    "line-feeds": b"\n" * 2_000_000,
    "blank-lines": b"abc\r\n\r\n" * 300_000,
    "zeros": b"0\r\n\r\n" * 400_000,
    "text": b"ab" * 1_000_000,
}


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("name", BUSY)
def test_an_upload_costs_the_same_whatever_its_bytes_are_and_hinders_nobody(wire: Wire, name: str, framing: str) -> None:
    usual_s, _ = upload_beside_calls(wire, BUSY["text"], framing)
    took, waits = upload_beside_calls(wire, BUSY[name], framing)

    assert took < 1.0 + 6 * usual_s, f"{len(BUSY[name]):,} bytes took {took:.1f} s, text takes {usual_s:.2f} s"
    assert max(waits) < 1.0, f"another call waited {max(waits):.2f} s"


def upload_beside_calls(wire: Wire, body: bytes, framing: str) -> tuple[float, list[float]]:
    """How long an upload of `body` took, and what each of the small calls beside it waited, in seconds."""
    run = wire.upstream.expect("busy", (script(reply(b"200 OK", body=b"ok")),))
    quick = wire.upstream.expect("busy-quick", tuple(script(reply(b"200 OK", body=b"quick")) for _ in range(1000)))
    data = chunk(body) + LAST if framing == "chunked" else body
    head = request(b"POST /v1/files", CHUNKED if framing == "chunked" else b"Content-Length: %d" % len(body))
    waits: list[float] = []
    with Client(wire.port("plain")) as client, Client(wire.port("plain")) as other:
        began_at = time.monotonic()
        sending = threading.Thread(target=lambda: client.send(filled(head, run.id) + data))
        sending.start()
        while client.reader.whole < 1 and time.monotonic() - began_at < 15:
            asked_at = time.monotonic()
            other.send(filled(request(b"GET /v1/models"), quick.id))
            other.until(lambda: other.reader.whole > len(waits), "no reply beside the upload")
            waits.append(time.monotonic() - asked_at)
            time.sleep(0.02)
        took = time.monotonic() - began_at
        sending.join()

    assert client.problems + other.problems == []
    assert bytes(run.arrivals[0].message.body) == body
    return took, waits


TRICKLES: dict[str, tuple[bytes, bytes]] = {
    "half-a-request-line": (b"POST /v1/chat/comple", b""),
    "half-a-head": (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-A: ", b""),
    "a-head-that-grows": (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n", b"X-A: 1\r\n"),
    "a-line-that-grows": (b"POST /v1/", b"a"),
    "empty-lines": (b"\r\n", b"\r\n"),
}


def test_a_head_that_trickles_in_is_ended_at_the_deadline_and_hinders_nobody(wire: Wire) -> None:
    before = wire.upstream.received
    clients = {name: [Client(wire.port("plain")) for _ in range(4)] for name in TRICKLES}
    kept = Client(wire.port("plain"))
    run = wire.upstream.expect("trickle-kept", (script(reply(b"200 OK", body=b"ok")),))
    kept.send(filled(request(b"GET /v1/models"), run.id))
    kept.until(lambda: kept.reader.whole >= 1, "no reply")
    clients["the-second-head"] = [kept]
    received = wire.upstream.received
    began_at = time.monotonic()
    for name, several in clients.items():
        for each in several:
            each.send(TRICKLES[name][0] if name in TRICKLES else b"GET /v1/second HTTP/1.1\r\n")
    while time.monotonic() - began_at < HEAD_S + 4 and any(each.ended == "open" for several in clients.values() for each in several):
        for name, (_, more) in TRICKLES.items():
            for each in clients[name]:
                if each.ended == "open" and more:
                    each.send(more)
        time.sleep(0.25)
    open_still = [name for name, several in clients.items() for each in several if each.ended == "open"]
    early = [
        name for name, several in clients.items() for each in several if each.ended_at is not None and each.ended_at - began_at < HEAD_S / 2
    ]
    answers = {name: [message.status for message in several[0].reader.messages] for name, several in clients.items()}
    for several in clients.values():
        for each in several:
            each.close()

    assert open_still == []
    assert early == []
    assert all(statuses in ([], [408]) for name, statuses in answers.items() if name != "the-second-head"), answers
    assert answers["the-second-head"] in ([200], [200, 408])
    assert received > before
    assert wire.upstream.received == received, "something of a half head went upstream"


def test_three_hundred_idle_connections_hinder_nobody(wire: Wire) -> None:
    idle = [socket.create_connection(("127.0.0.1", wire.port("plain"))) for _ in range(300)]
    try:
        run = wire.upstream.expect("idle", tuple(script(reply(b"200 OK", body=b"ok")) for _ in range(10)))
        with Client(wire.port("plain")) as client:
            began_at = time.monotonic()
            for count in range(10):
                client.send(filled(request(b"GET /v1/models"), run.id))
                client.until(lambda count=count: client.reader.whole > count, "no reply")
            took = time.monotonic() - began_at
    finally:
        for each in idle:
            each.close()

    assert client.problems == []
    assert client.reader.whole == 10
    assert took < 2.0
