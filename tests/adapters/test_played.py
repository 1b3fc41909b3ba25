"""Played upstreams stand behind a real pool: what is sent is written down, and every fault is the pool's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.adapters.played import Exchange, Network, Sender
from proxy.core.body import Body
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault
from proxy.core.request import Framing, Request
from proxy.core.virtual import run
from proxy.policy.addresses import address
from proxy.policy.play_spec import PlaySpec
from proxy.policy.shape import unfold
from proxy.policy.upstreams import Upstream, UpstreamSpec


def declared(url: str = "https://a.test/v1") -> Upstream:
    return Upstream("a", UpstreamSpec.read({"url": url}), address(url), None, True, (), (), None)


def scripts(*given: Any) -> dict[str, tuple[PlaySpec, ...]]:
    return {"a": tuple(PlaySpec.read(unfold(PlaySpec, each)[0]) for each in given)}


def request(body: bytes = b'{"model":"m"}') -> Request:
    headers = [(b"Host", b"app"), (b"Content-Length", b"%d" % len(body))]
    return Request(b"POST", b"/v1/chat/completions", 1, headers, Framing.LENGTH, len(body), Body.of(body))


def network(*given: Any) -> tuple[Network, Sender]:
    made = Network()
    made.set(scripts(*given))
    return made, made.sender(declared(), LoopClock(asyncio.get_running_loop()))


async def ask(sender: Sender, **more: Any) -> bytes:
    reply = await sender.send(request(**more))
    try:
        return await reply.body.read_all()
    finally:
        reply.close()


def test_what_is_received_is_written_down_as_it_came_over_the_wire() -> None:
    async def main() -> Exchange:
        made, sender = network("hello")
        data = await ask(sender)
        sender.close()
        assert b"hello" in data
        (exchange,) = made.exchanges
        return exchange

    exchange = run(main())

    assert (exchange.upstream, exchange.method, exchange.target, exchange.status) == ("a", b"POST", b"/v1/chat/completions", 200)
    assert exchange.headers[0] == (b"Host", b"a.test")
    assert exchange.body == b'{"model":"m"}'
    assert exchange.received


def test_scripts_are_played_in_order_and_the_last_repeats() -> None:
    async def main() -> list[bytes]:
        _, sender = network("one", "two")
        found = [await ask(sender) for _ in range(3)]
        sender.close()
        return found

    found = run(main())

    assert [b"one" in found[0], b"two" in found[1], b"two" in found[2]] == [True] * 3


@pytest.mark.parametrize(
    ("script", "fault", "said"),
    [
        ({"refuse": True}, Fault.CONNECT, "cannot connect to a.test:443: Connection refused"),
        ({"dns": True}, Fault.CONNECT, "the name a.test cannot be resolved: Name or service not known"),
        ({"dns": "no such host"}, Fault.CONNECT, "cannot be resolved: no such host"),
        ({"tls": "certificate has expired"}, Fault.CONNECT, "TLS failed: certificate has expired"),
        ({"stall": "connect"}, Fault.CONNECT, "no connection within 10 s"),
        ({"reset": "connect"}, Fault.CONNECT, "closed the connection without a reply"),
        ({"reset": "head"}, Fault.BAD_REPLY, "in the middle of a reply's head"),
        ({"reset": "body"}, Fault.TRUNCATED, "broke off its reply"),
        ({"body": "abc", "headers": {"content-length": "99"}}, Fault.TRUNCATED, "broke off its reply"),
    ],
)
@pytest.mark.parametrize("before", [(), ("ok",)], ids=["new connection", "kept connection"])
def test_every_fault_is_the_pools_own(script: dict[str, Any], fault: Fault, said: str, before: tuple[str, ...]) -> None:
    async def main() -> tuple[Failure, Network]:
        made, sender = network(*before, script)
        for _ in before:
            await ask(sender)
        with pytest.raises(Failure) as caught:
            await ask(sender)
        sender.close()
        return caught.value, made

    failure, made = run(main())

    assert failure.fault is fault
    assert said in failure.detail
    assert len(made.exchanges) == len(before) + 1
    assert said in (made.exchanges[-1].failure or "")
    assert made.bugs == []


def test_a_reader_that_leaves_ends_what_is_played() -> None:
    async def main() -> tuple[float, str | None]:
        made, sender = network({"stream": ["a", "b"], "gap": "100s"})
        loop = asyncio.get_running_loop()
        begun = loop.time()
        reply = await sender.send(request())
        await reply.body.read()
        reply.close()
        await asyncio.sleep(1)
        sender.close()
        return loop.time() - begun, made.exchanges[0].failure

    took, failure = run(main())

    assert took < 2
    assert failure == "truncated: closed before its end"


def test_a_request_of_many_reads_is_received_whole() -> None:
    async def main() -> int:
        made, sender = network("ok")
        await ask(sender, body=b"x" * 1_000_000)
        sender.close()
        return len(made.exchanges[0].body)

    assert run(main()) == 1_000_000


def test_a_reply_that_nobody_reads_is_held_back() -> None:
    async def main() -> int:
        _, sender = network({"raw": ["x" * 1_000_000] * 8})
        reply = await sender.send(request())
        await asyncio.sleep(10)
        held = reply.body.size
        data = await reply.body.read_all()
        reply.close()
        sender.close()
        assert len(data) == 8_000_000
        return held

    assert run(main()) < 4_000_000


def test_two_exchanges_at_once_are_told_apart() -> None:
    async def main() -> list[tuple[bytes, bytes]]:
        made, sender = network({"reply": "slow", "delay": "1s"}, "quick")
        slow = asyncio.create_task(ask(sender, body=b'{"model":"slow"}'))
        await asyncio.sleep(0.1)
        quick = await ask(sender, body=b'{"model":"quick"}')
        found = [(await slow, made.exchanges[0].body), (quick, made.exchanges[1].body)]
        sender.close()
        return found

    (slow, slow_body), (quick, quick_body) = run(main())

    assert b'"content":"slow"' in slow
    assert b"slow" in slow_body
    assert b'"content":"quick"' in quick
    assert b"quick" in quick_body


def test_scripts_may_be_set_anew() -> None:
    async def main() -> tuple[bytes, bytes]:
        made, sender = network("one")
        first = await ask(sender)
        made.set(scripts("two"))
        second = await ask(sender)
        sender.close()
        return first, second

    first, second = run(main())

    assert b"one" in first
    assert b"two" in second
