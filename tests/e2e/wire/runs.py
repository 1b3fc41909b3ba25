"""Run a case against a port and judge what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.e2e.wire.client import Client
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.http1 import Message
from tests.e2e.wire.play import Case, filled
from tests.e2e.wire.upstream import Upstream

SETTLE_S = 3.0


def played(case: Case, port: int, upstream: Upstream) -> Seen:
    """Play the case against `port`: the upstream's own, or a proxy's in front of it."""
    run = upstream.expect(case.id, case.upstream, case.tunnel)
    with Client(port, case.methods) as client:
        run.client = client
        client.play(case.client, case.id)
        if case.replies:
            client.until(lambda: client.reader.whole >= case.replies or client.reader.broken is not None, "the reply did not end")
            if not case.expected.complete:
                client.problems.clear()  # it did not end, as it should
        ended = client.finish(case.expected.closes)
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline and not (len(run.arrivals) >= case.requests and all(each.over.is_set() for each in run.arrivals)):
        time.sleep(0.002)
    del upstream.runs[case.id]
    return Seen(run, client, ended, port == upstream.port)


def wait_for(ready: Callable[[], bool], what: str, patience_s: float = 5.0) -> None:
    """Until it is so; an AssertionError says what was not."""
    deadline = time.monotonic() + patience_s
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s"
        time.sleep(0.002)


def _lines(message: Message) -> list[bytes]:
    return [name + b": " + value for name, value in message.headers]


def unmet(seen: Seen, case: Case, rewrite: bool) -> list[str]:
    """What the case expects in so many words and did not get."""
    expected, found = case.expected, list(seen.problems)
    if len(seen.replies) < case.replies or len(seen.arrivals) != case.requests:
        return [*found, f"{len(seen.replies)} replies of {case.replies}, {len(seen.arrivals)} requests of {case.requests} upstream"]
    if case.requests:
        found += _unmet_request(seen.arrivals[-1].message, case, rewrite)
    if case.replies:
        found += _unmet_reply(seen.replies[case.replies - 1], case)
    if expected.closes and seen.ended != "fin":
        found.append(f"the connection is {seen.ended}, and should be closed")
    if expected.interim and not (rewrite and "expect" in case.differs) and tuple(each.status for each in seen.interims) != expected.interim:
        found.append(f"interim replies {[each.status for each in seen.interims]}, not {expected.interim}")
    if case.check is not None:
        try:
            case.check(seen)
        except AssertionError as problem:
            found.append(f"check: {problem}")
    return found


def _named(case: Case, rewrite: bool) -> Iterator[bytes]:
    """The beginnings of the request lines that this case allows to be different."""
    if "zeros" in case.differs or (rewrite and case.rewritten):
        yield b"content-length:"
    if rewrite and "expect" in case.differs:
        yield b"expect:"
    if rewrite and "encoding" in case.differs:
        yield b"content-encoding:"


def _unmet_request(message: Message, case: Case, rewrite: bool) -> list[str]:
    expected, found = case.expected, []
    if expected.target is not None and message.target != expected.target:
        found.append(f"target {message.target!r}, not {expected.target!r}")
    if expected.sent is not None:
        body = filled(expected.sent, case.id)
        body = case.rewritten(body) if rewrite and case.rewritten else body
        if message.body != body:
            found.append(f"request body {_short(message.body)}, not {_short(body)}")
    lines = _lines(message)
    free = tuple(_named(case, rewrite))  # compared elsewhere, as they may be another's to choose
    lines += [each for each in expected.request_has if each.lower().startswith(free)]
    found += [f"no request field {each!r}" for each in expected.request_has if filled(each, case.id) not in lines]
    trailers = tuple(name + b": " + value for name, value in message.trailers)
    if expected.request_trailers and trailers != expected.request_trailers:
        found.append(f"request trailers {trailers}, not {expected.request_trailers}")
    return found


def _unmet_reply(message: Message, case: Case) -> list[str]:
    expected, found = case.expected, []
    if expected.status is not None and message.status != expected.status:
        found.append(f"status {message.status}, not {expected.status}: {message.head!r} {_short(message.body)}")
    if expected.reason is not None and message.reason != expected.reason:
        found.append(f"reason {message.reason!r}, not {expected.reason!r}")
    if expected.body is not None and message.body != filled(expected.body, case.id):
        found.append(f"reply body {_short(message.body)}, not {_short(expected.body)}")
    lines = _lines(message)
    found += [f"no reply field {each!r}" for each in expected.reply_has if each not in lines]
    found += [f"reply field {each!r}" for each in expected.reply_lacks if message.values(each)]
    if tuple(name + b": " + value for name, value in message.trailers) != expected.trailers and expected.trailers:
        found.append(f"trailers {message.trailers}, not {expected.trailers}")
    if message.complete != expected.complete:
        found.append(f"the reply is {'whole' if message.complete else 'cut'}, and should not be")
    return found


def _short(data: bytes | bytearray) -> str:
    return repr(bytes(data)) if len(data) < 400 else f"{bytes(data[:200])!r} ... ({len(data)} bytes)"
