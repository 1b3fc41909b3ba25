"""Line 28: a slow reader slows the sender, on either side, and memory stays bounded."""

from __future__ import annotations

import hashlib
import statistics
import time
from pathlib import Path

import pytest

from tests.e2e.wire.cases_chat import CHUNKED
from tests.e2e.wire.cases_tunnels import HANDSHAKE, REALTIME, SWITCHED
from tests.e2e.wire.client import Client
from tests.e2e.wire.conftest import Wire
from tests.e2e.wire.play import LAST, Await, Big, Do, Pause, Script, Step, chunk, filled, reply, request, script
from tests.e2e.wire.runs import wait_for
from tests.e2e.wire.test_timing import PROMPT_S

LARGE = 30 * 1024 * 1024
ON_THE_WAY = 20 * 1024 * 1024  # the kernel's own buffers on two loopback connections (tcp_rmem and tcp_wmem, at most 6 and 4 MiB each)
GROWTH = 8 * 1024 * 1024  # of the process, while it holds a reply back


def resident_bytes(pid: int) -> int:
    """What the process holds in memory (VmRSS)."""
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


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


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_chat_over_the_hold_limit_streams_on_unread_and_unchanged(wire: Wire, framing: str) -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "' + b"a" * 70_000_000 + b'"}]}'
    run = wire.upstream.expect("over-the-limit", (script(reply(b"200 OK", body=b"ok")),))
    framed = request(b"POST /v1/chat/completions", CHUNKED if framing == "chunked" else b"Content-Length: %d" % len(body))
    with Client(wire.port("rewrite")) as client:
        client.send(filled(framed, run.id))
        client.send(chunk(body) + LAST if framing == "chunked" else body)
        client.until(lambda: client.reader.whole >= 1, "no reply", 20.0)

    assert client.problems + run.problems == []
    [message], [arrival] = client.reader.messages, run.arrivals
    assert (message.status, bytes(message.body)) == (200, b"ok")
    assert not message.values(b"x-chassis-policies")
    assert arrival.message.framing == framing
    assert arrival.message.body == body


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
