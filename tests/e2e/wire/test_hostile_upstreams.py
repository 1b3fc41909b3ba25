"""Lines 22, 29 and 31 from the upstream's side: a broken reply is a 502 of ours or a visible cut, and never another call's bytes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.wire.client import Client
from tests.e2e.wire.conftest import MODES, Wire
from tests.e2e.wire.http1 import Message
from tests.e2e.wire.play import LAST, Do, Script, Step, chunk, filled, reply, request, script
from tests.e2e.wire.upstream import Run

TE = b"Transfer-Encoding: chunked"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
OK = reply(b"200 OK", body=b"fine")
ASK = b'{"model": "gpt-4o", "messages": []}'


def head(*headers: bytes, first: bytes = b"HTTP/1.1 200 OK", body: bytes = b"hello") -> bytes:
    return b"\r\n".join((first, *headers)) + b"\r\n\r\n" + body


BROKEN_HEADS: dict[str, bytes] = {
    "two-lengths-that-differ": head(b"Content-Length: 5", b"Content-Length: 3"),
    "two-lengths-in-one-field": head(b"Content-Length: 5, 3"),
    "length-and-chunked": head(b"Content-Length: 5", TE, body=chunk(b"hello") + LAST),
    "chunked-and-length": head(TE, b"Content-Length: 5", body=chunk(b"hello") + LAST),
    **{
        f"a-length-of-{name}": head(b"Content-Length: " + value)
        for name, value in {
            "plus": b"+5",
            "minus": b"-5",
            "hex": b"0x5",
            "nothing": b"",
            "words": b"five",
            "thirty-digits": b"9" * 30,
        }.items()
    },
    **{
        f"chunked-as-{name}": head(b"Transfer-Encoding: " + value, body=chunk(b"hello") + LAST)
        for name, value in {
            "gzip-chunked": b"gzip, chunked",
            "chunked-identity": b"chunked, identity",
            "identity": b"identity",
            "chunked-twice": b"chunked, chunked",
            "a-prefix": b"xchunked",
            "quoted": b'"chunked"',
            "nul": b"chunked\x00",
        }.items()
    },
    "chunked-in-two-fields": head(TE, TE, body=chunk(b"hello") + LAST),
    "a-folded-field": head(b"X-A: 1\r\n 2", b"Content-Length: 5"),
    "a-blank-before-the-colon": head(b"Content-Length : 5"),
    "a-field-without-a-colon": head(b"X-A", b"Content-Length: 5"),
    "a-field-without-a-name": head(b": x", b"Content-Length: 5"),
    "a-blank-in-a-name": head(b"X A: 1", b"Content-Length: 5"),
    "a-nul-in-a-value": head(b"X-A: a\x00b", b"Content-Length: 5"),
    "a-nul-in-a-name": head(b"X\x00A: 1", b"Content-Length: 5"),
    "a-cr-in-a-value": head(b"X-A: a\rb", b"Content-Length: 5"),
    "a-lf-in-a-value": head(b"X-A: a\nX-B: b", b"Content-Length: 5"),
    "a-bell-in-a-value": head(b"X-A: a\x07b", b"Content-Length: 5"),
    "latin-1-in-a-name": head(b"X-\xe9: 1", b"Content-Length: 5"),
    "bare-lf-everywhere": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a-bare-lf-at-the-heads-end": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
    "http-0.9": b"hello world, no status line\r\n\r\n",
    "http-2": head(b"Content-Length: 5", first=b"HTTP/2.0 200 OK"),
    "http-1.9": head(b"Content-Length: 5", first=b"HTTP/1.9 200 OK"),
    "another-protocol": head(b"Content-Length: 5", first=b"ICY 200 OK"),
    "a-banner": b"SSH-2.0-OpenSSH_9.6\r\n",
    "garbage": b"\x00\x01\x02\xff\r\n\r\n",
    **{
        f"a-status-of-{status.decode().replace(' ', '-')}": head(b"Content-Length: 5", first=b"HTTP/1.1 " + status + b" OK")
        for status in (b"099", b"000", b"20", b"2000", b"2x0", b"-20")
    },
    "no-status": head(b"Content-Length: 5", first=b"HTTP/1.1"),
    "two-blanks-before-the-status": head(b"Content-Length: 5", first=b"HTTP/1.1  200 OK"),
    "a-nul-in-the-reason": head(b"Content-Length: 5", first=b"HTTP/1.1 200 O\x00K"),
    "a-switch-nobody-asked-for": head(b"Upgrade: websocket", b"Connection: Upgrade", first=b"HTTP/1.1 101 Switching Protocols"),
    "a-value-of-a-megabyte": head(b"X-A: " + b"a" * 1_000_000, b"Content-Length: 5"),
    "five-thousand-fields": head(*(b"X-%d: a" % i for i in range(5000)), b"Content-Length: 5"),
    "a-hundred-interim-replies": reply(b"102 Processing") * 100,
    "a-head-that-does-not-end": b"HTTP/1.1 200 OK\r\nContent-Len",
    "half-a-status-line": b"HTTP/1.",
    "a-100-and-nothing-more": b"HTTP/1.1 100 Continue\r\n\r\n",
}


def assert_bad_gateway(message: Message) -> None:
    assert message.status == 502, message.head
    assert message.value(b"x-chassis-origin") == b"static"
    assert message.value(b"content-type").startswith(b"application/json")
    error = json.loads(message.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "chassis_error"
    assert isinstance(error["code"], str)
    assert error["code"]


def _dropped(run: Run) -> None:
    assert run.arrivals[0].over.wait(4), "a connection with bytes that nobody asked for stayed open"


def play(
    wire: Wire, mode: str, case: str, scripts: tuple[Script, ...], *requests: bytes, between: Callable[[Run], None] | None = None
) -> tuple[Client, Run]:
    """The requests one after the other on one connection; `between` is called before each but the first."""
    run = wire.upstream.expect(case, scripts)
    with Client(wire.port(mode), [each.split()[0] for each in requests]) as client:
        run.client = client
        for count, each in enumerate(requests):
            if between is not None and count:
                between(run)
            client.send(filled(each, case))
            if not client.until(lambda count=count: client.reader.whole > count, "the reply did not end"):
                break
        client.finish()
    return client, run


CHAT = request(b"POST /v1/chat/completions", b"Content-Type: application/json", body=ASK)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", BROKEN_HEADS)
def test_a_broken_reply_head_is_a_502_of_ours_and_its_connection_is_not_used_again(wire: Wire, name: str, mode: str) -> None:
    ends = name in ("a-head-that-does-not-end", "half-a-status-line", "a-100-and-nothing-more")
    bad: tuple[Step, ...] = (BROKEN_HEADS[name], Do.FIN) if ends else (BROKEN_HEADS[name], Do.STALL)
    client, run = play(wire, mode, f"upstream-{name}", (script(*bad), script(OK)), CHAT, CHAT)

    assert client.problems == []
    finals = client.reader.finals
    assert_bad_gateway(finals[0])
    assert (finals[1].status, bytes(finals[1].body)) == (200, b"fine")
    first, second = run.arrivals
    assert first.connection != second.connection
    assert run.problems == []


@pytest.mark.parametrize("end", [Do.RST, Do.FIN], ids=["reset", "closed"])
def test_a_new_connection_that_breaks_before_any_reply_is_a_502_of_ours(wire: Wire, end: Do) -> None:
    wire.upstream.shut_idle()
    client, run = play(wire, "plain", f"upstream-{end.name}", (script(end), script(OK)), CHAT, CHAT)

    assert client.problems == []
    assert_bad_gateway(client.reader.finals[0])
    assert bytes(client.reader.finals[1].body) == b"fine"
    assert len(run.arrivals) == 2


BROKEN_BODIES: dict[str, bytes] = {
    "no-size": b"\r\nabc\r\n",
    "a-size-that-is-no-number": b"xyz\r\nabc\r\n",
    "a-size-with-0x": b"0x3\r\nabc\r\n",
    "a-size-with-a-minus": b"-3\r\nabc\r\n",
    "a-size-that-overflows": b"1" + b"0" * 16 + b"3\r\nabc\r\n",
    "a-bare-lf-after-the-size": b"3\nabc\r\n",
    "a-bare-lf-after-the-data": b"3\r\nabc\n",
    "data-too-long": b"3\r\nabcd\r\n",
    "an-extension-with-a-bare-lf": b"3;a\nabc\r\n",
    "an-extension-with-a-nul": b"3;a\x00\r\nabc\r\n",
    "a-trailer-without-a-colon": b"0\r\nX-A\r\n\r\n",
    "a-trailer-folded": b"0\r\nX-A: 1\r\n 2\r\n\r\n",
    "a-trailer-with-a-nul": b"0\r\nX-A: \x00\r\n\r\n",
    "an-extension-of-a-megabyte": b"3;" + b"a" * 1_000_000 + b"\r\nabc\r\n",
    "trailers-of-a-megabyte": b"0\r\n" + b"X-A: a\r\n" * 125_000 + b"\r\n",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_a_reply_whose_chunks_break_looks_cut_and_its_connection_is_not_used_again(wire: Wire, name: str, mode: str) -> None:
    scripts = (script(reply(b"200 OK", TE) + chunk(b"good"), Do.SEEN, BROKEN_BODIES[name] + LAST + EVIL, Do.STALL), script(OK))
    client, run = play(wire, mode, f"upstream-body-{name}", scripts, CHAT)

    [message] = client.reader.messages
    assert message.status == 200
    assert message.body.startswith(b"good")
    assert b"EVIL" not in message.body
    assert not message.complete
    assert client.reader.broken is None
    assert client.ended != "open"
    assert run.arrivals[0].over.wait(4), "the connection to the upstream stayed open"
    assert run.arrivals[0].left_at is not None
    assert run.problems == []


LEFTOVERS: dict[str, tuple[bytes, bytes]] = {
    "after-a-length": (CHAT, reply(b"200 OK", body=b"first") + EVIL),
    "half-a-reply-after-a-length": (CHAT, reply(b"200 OK", body=b"first") + b"HTTP/1.1 200"),
    "one-byte-after-a-length": (CHAT, reply(b"200 OK", body=b"first") + b"x"),
    "after-the-last-chunk": (CHAT, reply(b"200 OK", TE) + chunk(b"first") + LAST + EVIL),
    "an-interim-reply-after-a-length": (CHAT, reply(b"200 OK", body=b"first") + b"HTTP/1.1 100 Continue\r\n\r\n"),
    "after-a-204": (CHAT, reply(b"204 No Content") + EVIL),
    "a-body-with-a-204": (CHAT, reply(b"204 No Content", b"Content-Length: 83") + EVIL + b"x" * 40),
    "a-body-with-a-304": (CHAT, reply(b"304 Not Modified", b"Content-Length: 5") + b"hello" + EVIL),
    "chunks-with-a-304": (CHAT, reply(b"304 Not Modified", TE) + chunk(b"hello") + LAST + EVIL),
    "a-body-to-head": (request(b"HEAD /v1/models"), reply(b"200 OK", b"Content-Length: 5") + b"hello" + EVIL),
    "chunks-to-head": (request(b"HEAD /v1/models"), reply(b"200 OK", TE) + chunk(b"hello") + LAST + EVIL),
    "a-reply-to-head-without-framing": (request(b"HEAD /v1/models"), reply(b"200 OK") + EVIL),
}


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
@pytest.mark.parametrize("name", LEFTOVERS)
def test_what_an_upstream_sends_too_much_reaches_nobody(wire: Wire, name: str, late: bool) -> None:
    ask, answer = LEFTOVERS[name]
    case = f"upstream-left-{name}-{late}"
    good, _, rest = (
        (answer[: answer.index(b"\r\n\r\n") + 4], b"", answer[answer.index(b"\r\n\r\n") + 4 :])
        if b"first" not in answer
        else _after_first(answer)
    )
    steps: tuple[Step, ...] = (good, Do.SEEN, rest) if late else (answer,)
    scripts = (script(*steps, Do.STALL), *(script(reply(b"200 OK", body=b"own %d" % i)) for i in range(2)))
    client, run = play(wire, "plain", case, scripts, ask, CHAT, CHAT, between=_dropped if late else None)
    other, _ = play(wire, "plain", f"{case}-other", (script(reply(b"200 OK", body=b"other")),), CHAT)

    assert client.problems == []
    assert [bytes(each.body) for each in client.reader.messages] == [b"first" if b"first" in answer else b"", b"own 0", b"own 1"]
    assert client.reader.broken is None
    assert client.reader.pending == b""
    assert b"EVIL" not in client.raw
    assert [bytes(each.body) for each in other.reader.messages] == [b"other"]
    assert b"EVIL" not in other.raw
    assert {run.arrivals[1].connection, run.arrivals[2].connection}.isdisjoint({run.arrivals[0].connection})


def _after_first(answer: bytes) -> tuple[bytes, bytes, bytes]:
    end = answer.index(LAST) + len(LAST) if LAST in answer else answer.index(b"first") + 5
    return answer[:end], b"", answer[end:]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nfine",
        b"HTTP/1.1 200 OK\r\nContent-Length:4\r\n\r\nfine",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4 \t\r\nX-A:\r\n\r\nfine",
        b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:CHUNKED\r\n\r\n0004\r\nfine\r\n00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine\r\n",
    ],
    ids=["no-reason-and-no-blank", "no-blank-after-a-colon", "blanks-behind-values", "chunked-in-upper-case", "a-line-end-too-many"],
)
def test_a_reply_that_is_only_spelled_oddly_is_carried(wire: Wire, answer: bytes) -> None:
    client, run = play(wire, "plain", f"upstream-odd-{len(answer)}", (script(answer), script(OK)), CHAT, CHAT)

    assert client.problems == []
    assert [(each.status, bytes(each.body)) for each in client.reader.messages] == [(200, b"fine"), (200, b"fine")]
    assert len(run.arrivals) == 2


def test_sixteen_clients_at_once_each_get_their_own_reply_over_kept_connections(wire: Wire) -> None:
    clients = [Client(wire.port("plain")) for _ in range(16)]
    try:
        runs = []
        for number in range(len(clients)):
            scripts = tuple(script(reply(b"200 OK", TE) + chunk(b"%d-" % number), chunk(b"%d" % turn) + LAST) for turn in range(6))
            runs.append(wire.upstream.expect(f"crowd-{number}", scripts))
        for turn in range(6):
            for number, each in enumerate(clients):
                each.send(filled(request(b"GET /v1/%d" % number), f"crowd-{number}"))
            for client in clients:
                client.until(lambda client=client, turn=turn: client.reader.whole > turn, "no reply")
    finally:
        for client in clients:
            client.close()

    for number, client in enumerate(clients):
        assert client.problems == []
        assert [bytes(each.body) for each in client.reader.messages] == [b"%d-%d" % (number, turn) for turn in range(6)]
    used = {each.connection for run in runs for each in run.arrivals}
    assert len(used) < 96, "no connection to the upstream was used twice"
