"""Line 28: bytes move when they are there, a client that leaves is missed at once, a slow one slows the upstream, a trickling one is ended."""

from __future__ import annotations

import hashlib
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.wire.cases_chat import ASK, CHAT, CHUNKED, HELLO, JSON, ROLE, SSE
from tests.e2e.wire.cases_endpoints import HANDSHAKE, REALTIME, SWITCHED
from tests.e2e.wire.client import Client
from tests.e2e.wire.conftest import MODES, Wire
from tests.e2e.wire.play import LAST, Await, Big, Do, Pause, Script, Step, chunk, filled, reply, request, script

PROMPT_S = 0.1  # what a chunk may take from the upstream's socket to the client's
MISSED_S = 0.5  # within which an upstream must see that its client has left
HEAD_S = 10.0  # the proxy's deadline for a request head
LARGE = 30 * 1024 * 1024
ON_THE_WAY = 20 * 1024 * 1024  # the kernel's own buffers on two loopback connections (tcp_rmem and tcp_wmem, at most 6 and 4 MiB each)
GROWTH = 8 * 1024 * 1024  # of the process, while it holds a reply back


def wait_for(ready: Callable[[], bool], what: str, patience_s: float = 5.0) -> None:
    deadline = time.monotonic() + patience_s
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
        time.sleep(0.002)


def resident_bytes(pid: int) -> int:
    """What the process holds in memory (VmRSS)."""
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def is_established(local_port: int, remote_port: int) -> bool:
    """Whether the socket at `local_port` still holds its connection: behind a full window its end cannot arrive, so ask the kernel."""
    ends = f":{local_port:04X}", f":{remote_port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[3] == "01" for row in rows)


PACED = {
    "chunked": (reply(b"200 OK", SSE, CHUNKED), chunk, LAST),
    "until-the-close": (reply(b"200 OK", SSE), bytes, b""),
    "with-a-length": (reply(b"200 OK", JSON, b"Content-Length: %d" % (len(HELLO) * 3)), bytes, b""),
    "encoded": (reply(b"200 OK", SSE, CHUNKED, b"Content-Encoding: zstd"), chunk, LAST),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PACED)
def test_a_chunk_before_a_pause_arrives_long_before_its_end(wire: Wire, name: str, mode: str) -> None:
    head, framed, last = PACED[name]
    piece = framed(HELLO)
    ends: tuple[Step, ...] = (last,) if last else (Do.FIN,)
    run = wire.upstream.expect(f"paced-{name}", (script(head, Pause(0.3), piece, Pause(0.3), piece, Pause(0.3), piece, Pause(0.3), *ends),))
    with Client(wire.port(mode)) as client:
        run.client = client
        client.send(filled(request(CHAT, JSON, body=ASK), run.id))
        client.until(lambda: client.reader.whole >= 1, "the reply did not end")
    [arrival], [message] = run.arrivals, client.reader.messages
    sent_at = [arrival.played_at[step] for step in (2, 4, 6)]
    delays = [message.arrived_at(len(HELLO) * (i + 1)) - at for i, at in enumerate(sent_at)]

    assert client.problems + run.problems == []
    assert message.began_at - arrival.played_at[0] < 0.3, "the head waited for the first chunk"
    assert all(delay < 0.3 for delay in delays), f"a chunk waited for the next one: {delays}"
    assert statistics.median(delays) < PROMPT_S
    assert message.body == HELLO * 3


# -- a client that leaves


def endless(*first: Step) -> Script:
    steps: list[Step] = list(first)
    for _ in range(300):
        steps += [chunk(HELLO), Pause(0.01)]
    return script(*steps, Do.STALL)


HEAD = reply(b"200 OK", SSE, CHUNKED)
MORE = request(b"GET /v1/never")
PHASES: dict[str, tuple[Script, bytes, bytes]] = {
    "waiting-for-the-head": (script(Do.STALL), request(CHAT, JSON, body=ASK), b""),
    "waiting-after-an-interim-reply": (script(reply(b"102 Processing"), Do.STALL), request(CHAT, JSON, body=ASK), b"102 Processing"),
    "waiting-for-the-first-token": (script(HEAD, Do.STALL), request(CHAT, JSON, body=ASK), b"\r\n\r\n"),
    "after-keepalives": (script(HEAD, chunk(b": keepalive\n\n"), Do.STALL), request(CHAT, JSON, body=ASK), b": keepalive"),
    "after-the-first-token": (script(HEAD, chunk(ROLE), chunk(HELLO), Do.STALL), request(CHAT, JSON, body=ASK), HELLO),
    "mid-stream": (endless(HEAD), request(CHAT, JSON, body=ASK), HELLO),
    "mid-download": (script(reply(b"200 OK", b"Content-Length: 99999"), HELLO, Do.STALL), request(b"GET /v1/files/f/content"), HELLO),
    "with-a-request-queued-behind": (endless(HEAD), request(CHAT, JSON, body=ASK) + MORE, HELLO),
    "with-many-requests-queued-behind": (script(HEAD, chunk(HELLO), Do.STALL), request(CHAT, JSON, body=ASK) + MORE * 200, HELLO),
    "waiting-with-many-requests-queued-behind": (script(Do.STALL), request(CHAT, JSON, body=ASK) + MORE * 200, b""),
    "uploading": (Script((Do.STALL,), early=True), request(b"POST /v1/files", b"Content-Length: 1000000") + b"x" * 1000, b""),
    "uploading-in-chunks": (Script((Do.STALL,), early=True), request(b"POST /v1/files", CHUNKED, body=chunk(b"x" * 1000)), b""),
    "uploading-while-a-reply-comes": (Script((HEAD, chunk(HELLO), Do.STALL), early=True), request(b"POST /v1/files", CHUNKED, body=chunk(b"x" * 1000)), HELLO),
    "waiting-for-100": (Script((Do.STALL,), early=True), request(b"POST /v1/files", b"Expect: 100-continue", b"Content-Length: 9"), b""),
    "in-a-tunnel": (Script((SWITCHED, b"\x81\x02hi", Do.STALL), early=True), request(REALTIME, *HANDSHAKE), b"\x81\x02hi"),
    "waiting-for-a-tunnel": (Script((Do.STALL,), early=True), request(REALTIME, *HANDSHAKE), b""),
}


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("phase", PHASES)
def test_an_upstream_sees_at_once_that_its_client_has_left(wire: Wire, phase: str, mode: str, how: str) -> None:
    play, ask, heard = PHASES[phase]
    run = wire.upstream.expect(f"left-{phase}", (play,), tunnel="tunnel" in phase)
    client = Client(wire.port(mode))
    run.client = client
    client.send(filled(ask, run.id))
    wait_for(lambda: bool(run.arrivals) and heard in client.raw, "the exchange did not begin")
    time.sleep(0.02)
    left_at = time.monotonic()
    client.reset() if how == "resets" else client.leave()
    [arrival] = run.arrivals
    over = arrival.over.wait(5)
    client.close()

    assert over, "the upstream did not see it in 5 s"
    assert arrival.left_at is not None
    assert arrival.left_at - left_at < MISSED_S
    assert len(run.arrivals) == 1, "a request of a client that had left went upstream"


def test_a_client_that_leaves_while_its_body_is_held_never_reaches_the_upstream(wire: Wire) -> None:
    run = wire.upstream.expect("left-held", (script(Do.STALL),))
    before = wire.upstream.received
    client = Client(wire.port("rewrite"))
    client.send(filled(request(CHAT, JSON, b"Content-Length: 1000") + ASK, run.id))
    time.sleep(0.1)
    client.close()
    time.sleep(0.2)

    assert run.arrivals == []
    assert wire.upstream.received == before


def test_a_client_that_leaves_behind_a_stuck_upload_is_missed_at_once(wire: Wire) -> None:
    run = wire.upstream.expect("left-stuck", (Script((Do.DEAF, Pause(3.0), Do.LISTEN, Do.STALL), early=True),))
    client = Client(wire.port("plain"))
    client.send(filled(request(b"POST /v1/files", b"Content-Length: %d" % LARGE), run.id))
    wait_for(lambda: bool(run.arrivals), "the upload did not begin")
    sent = client.push(LARGE, 1.0)
    [arrival] = run.arrivals
    port = arrival.peer.transport.get_extra_info("peername")[1]
    established = is_established(port, wire.upstream.port)
    left_at = time.monotonic()
    client.reset()  # a plain end would wait behind the bytes that the proxy has not read, where nobody can see it
    wait_for(lambda: not is_established(port, wire.upstream.port), "the proxy did not end its connection to the upstream")
    took = time.monotonic() - left_at
    client.close()
    arrival.over.wait(5)

    assert established
    assert sent < ON_THE_WAY
    assert took < MISSED_S


def test_a_client_that_leaves_without_having_read_is_missed_at_once(wire: Wire) -> None:
    run = wire.upstream.expect("left-unread", (script(reply(b"200 OK", b"Content-Length: %d" % LARGE), Big(LARGE), Do.STALL),))
    client = Client(wire.port("plain"), receive_buffer=65536)
    client.hold_reading()
    client.send(filled(request(b"GET /v1/files/f/content"), run.id))
    wait_for(lambda: bool(run.arrivals) and run.arrivals[0].sent_bytes > 0, "the reply did not begin")
    time.sleep(0.5)
    left_at = time.monotonic()
    client.leave()
    [arrival] = run.arrivals
    over = arrival.over.wait(5)
    client.close()

    assert over, "the upstream did not see it in 5 s"
    assert arrival.left_at is not None
    assert arrival.left_at - left_at < MISSED_S + 0.5
    assert arrival.sent_bytes < LARGE


def test_an_upstream_that_leaves_a_tunnel_is_seen_at_once(wire: Wire) -> None:
    run = wire.upstream.expect("tunnel-left", (Script((SWITCHED, Await(b"bye"), Do.FIN), early=True),), tunnel=True)
    with Client(wire.port("plain")) as client:
        client.send(filled(request(REALTIME, *HANDSHAKE), run.id))
        client.until(lambda: b"\r\n\r\n" in client.raw, "no tunnel")
        client.send(b"bye")
        left = run.arrivals[0].over.wait(5)
        left_at = time.monotonic()
        ended = client.wait_end(5)

    assert left
    assert ended == "fin"
    assert client.ended_at is not None
    assert client.ended_at - left_at < MISSED_S


# -- back-pressure


def expected_digest() -> str:
    return hashlib.sha256(bytes(range(256)) * (LARGE // 256)).hexdigest()


FRAMINGS: dict[str, tuple[Step, ...]] = {
    "length": (reply(b"200 OK", b"Content-Length: %d" % LARGE), Big(LARGE)),
    "one-chunk": (reply(b"200 OK", CHUNKED), b"%x\r\n" % LARGE, Big(LARGE), b"\r\n" + LAST),
    "close": (reply(b"200 OK"), Big(LARGE), Do.FIN),
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_client_that_does_not_read_stops_the_upstream_and_costs_no_memory(wire: Wire, name: str) -> None:
    run = wire.upstream.expect(f"slow-{name}", (script(*FRAMINGS[name]),))
    pid = wire.proxies["plain"].process.pid
    with Client(wire.port("plain"), receive_buffer=65536) as client:
        run.client = client
        before = resident_bytes(pid)
        client.hold_reading()
        client.send(filled(request(b"GET /v1/files/f/content"), run.id))
        time.sleep(1.5)
        [arrival] = run.arrivals
        at_first, grown = arrival.sent_bytes, resident_bytes(pid) - before
        time.sleep(0.5)
        later, grown_later = arrival.sent_bytes, resident_bytes(pid) - before
        client.go_on()
        client.until(lambda: client.reader.whole >= 1, "the reply did not end", 20.0)

    assert client.problems + run.problems == []
    assert 0 < at_first < ON_THE_WAY, f"the upstream could send {at_first:,} bytes to a client that read none"
    assert later == at_first, "the upstream could send more to a client that read none"
    assert max(grown, grown_later) < GROWTH
    [message] = client.reader.messages
    assert hashlib.sha256(message.body).hexdigest() == expected_digest()


def test_an_upstream_that_does_not_read_stops_the_upload_and_costs_no_memory(wire: Wire) -> None:
    run = wire.upstream.expect("slow-upload", (Script((Do.DEAF, Pause(2.0), Do.LISTEN, Await(b"\xfd\xfe\xff"), Do.STALL), early=True),))
    pid = wire.proxies["plain"].process.pid
    with Client(wire.port("plain")) as client:
        before = resident_bytes(pid)
        client.send(filled(request(b"POST /v1/files", b"Content-Length: %d" % LARGE), run.id))
        sent = client.push(LARGE, 0.8)
        grown = resident_bytes(pid) - before
        rest = LARGE - sent
        whole = bytes(range(256)) * (LARGE // 256)
        client.send(whole[sent:])
        wait_for(lambda: run.arrivals[0].message.complete, "the upload did not end", 10.0)

    assert rest > 0
    assert sent < ON_THE_WAY, f"the proxy took {sent:,} bytes for an upstream that read none"
    assert grown < GROWTH
    assert hashlib.sha256(run.arrivals[0].message.body).hexdigest() == expected_digest()


def test_a_tunnel_whose_client_does_not_read_stops_the_upstream_and_costs_no_memory(wire: Wire) -> None:
    run = wire.upstream.expect("slow-tunnel", (Script((SWITCHED, Big(LARGE), Do.FIN), early=True),), tunnel=True)
    pid = wire.proxies["plain"].process.pid
    with Client(wire.port("plain"), receive_buffer=65536) as client:
        before = resident_bytes(pid)
        client.hold_reading()
        client.send(filled(request(REALTIME, *HANDSHAKE), run.id))
        time.sleep(1.0)
        [arrival] = run.arrivals
        at_first, grown = arrival.sent_bytes, resident_bytes(pid) - before
        client.go_on()
        client.until(lambda: client.reader.whole >= 1 and client.ended != "open", "the tunnel did not end", 20.0)

    assert at_first < ON_THE_WAY
    assert grown < GROWTH
    [message] = client.reader.messages
    assert hashlib.sha256(message.body).hexdigest() == expected_digest()


def test_a_slow_reader_does_not_slow_the_others(wire: Wire) -> None:
    run = wire.upstream.expect("slow-other", (script(reply(b"200 OK", b"Content-Length: %d" % LARGE), Big(LARGE)),))
    took = []
    with Client(wire.port("plain"), receive_buffer=65536) as slow:
        slow.hold_reading()
        slow.send(filled(request(b"GET /v1/files/f/content"), run.id))
        wait_for(lambda: bool(run.arrivals), "the slow reply did not begin")
        quick = wire.upstream.expect("quick-other", tuple(script(reply(b"200 OK", body=b"quick")) for _ in range(30)))
        with Client(wire.port("plain")) as client:
            for count in range(30):
                began_at = time.monotonic()
                client.send(filled(request(b"GET /v1/models"), quick.id))
                client.until(lambda count=count: client.reader.whole > count, "no reply")
                took.append(time.monotonic() - began_at)

    assert client.problems == []
    assert statistics.median(took) < PROMPT_S


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
    body = BUSY[name]
    run = wire.upstream.expect(f"busy-{name}-{framing}", (script(reply(b"200 OK", body=b"ok")),))
    quick = wire.upstream.expect("busy-quick", tuple(script(reply(b"200 OK", body=b"quick")) for _ in range(500)))
    data = chunk(body) + LAST if framing == "chunked" else body
    head = request(b"POST /v1/files", CHUNKED if framing == "chunked" else b"Content-Length: %d" % len(body))
    waits = []
    with Client(wire.port("plain")) as client, Client(wire.port("plain")) as other:
        began_at = time.monotonic()
        sending = threading.Thread(target=lambda: client.send(filled(head, run.id) + data))
        sending.start()
        while client.reader.whole < 1 and time.monotonic() - began_at < 6:
            asked_at = time.monotonic()
            other.send(filled(request(b"GET /v1/models"), quick.id))
            other.until(lambda: other.reader.whole > len(waits), "no reply beside the upload")
            waits.append(time.monotonic() - asked_at)
            time.sleep(0.02)
        took = time.monotonic() - began_at
        sending.join()

    assert client.problems + other.problems == []
    assert run.problems == []
    assert bytes(run.arrivals[0].message.body) == body
    assert took < 1.5, f"{len(body):,} bytes took {took:.1f} s"
    assert max(waits) < 0.5, f"another call waited {max(waits):.2f} s"


# -- slow heads

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
    early = [name for name, several in clients.items() for each in several if each.ended_at is not None and each.ended_at - began_at < HEAD_S / 2]
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


