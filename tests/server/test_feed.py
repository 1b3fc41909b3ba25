"""The live stream over a real socket: what a reader is told, in which order, and that nobody can hold it up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.adapters.recent import Recent
from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.server import feed as module
from proxy.server.feed import Feed
from tests.adapters.records import STARTED, a_call, a_record

Event = tuple[str, str | None, Any]


def ended(id: str, **changes: Any) -> Any:
    call: Call = a_call(**{name: changes.pop(name) for name in ("model", "target") if name in changes})
    call.id = id
    return a_record(call, **changes)


@dataclass
class Port:
    """A feed that is served."""

    feed: Feed
    recent: Recent
    url: str
    session: aiohttp.ClientSession
    runner: web.AppRunner
    hits: dict[str, Any]

    @asynccontextmanager
    async def reading(self, last: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
        headers = {"Last-Event-ID": last} if last is not None else {}
        async with self.session.get(self.url + "/calls/live", headers=headers) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            yield events(response)

    async def told(self, path: str = "/calls") -> tuple[int, Any]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.json(content_type=None) if response.status == 200 else await response.text()


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["event"], fields.get("id"), json.loads(fields["data"])
            fields = {}


async def upto(stream: AsyncIterator[Event], name: str) -> list[Event]:
    """Events until the first of that name, which is the last."""
    seen: list[Event] = []
    async with asyncio.timeout(5):
        async for event in stream:
            seen.append(event)
            if event[0] == name:
                return seen
    raise AssertionError(f"the stream ended without {name}: {seen}")


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with serving(Recent(5)) as port:
        yield port


@asynccontextmanager
async def serving(recent: Recent | None, **settings: Any) -> AsyncIterator[Port]:
    hits: dict[str, Any] = {}
    clock = LoopClock(asyncio.get_running_loop())
    waits = {"gather_s": 0.001, "pulse_s": 0.005, **settings}
    feed = Feed(recent, lambda: {"generation": 1, "hits": dict(hits)}, clock, "http://127.0.0.1:4141/v1", **waits)
    app = web.Application()
    app.add_routes(feed.routes())
    app.on_shutdown.append(feed.close)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield Port(feed, recent if recent is not None else Recent(), f"http://127.0.0.1:{runner.addresses[0][1]}", session, runner, hits)
    await runner.cleanup()


async def test_a_reader_is_told_the_last_calls_and_then_each_that_ends(port: Port) -> None:
    port.recent.call_ended(ended("a"))
    port.recent.call_ended(ended("b"))
    async with port.reading() as stream:
        hello, before = await upto(stream, "calls")
        await upto(stream, "pulse")
        port.recent.call_ended(ended("c"))
        after = (await upto(stream, "calls"))[-1]

    assert hello[0] == "hello"
    assert hello[2]["resumed"] is False
    assert ([call["call"] for call in before[2]], before[1]) == (["a", "b"], "b")
    assert ([call["call"] for call in after[2]], after[1]) == (["c"], "c")


async def test_a_call_is_told_as_its_log_line_has_it_with_the_times_of_its_decisions(port: Port) -> None:
    record = ended("a", fault="timeout", detail="no first token")
    record.call.journal.matched = ("p", "q")
    record.call.journal.note("rewrite", "p", acted=True, model="gpt-4o-mini")
    record.call.journal.note("params", "q", shadow=True, set=["seed"])
    port.recent.call_ended(record)
    status, told = await port.told()
    (call,) = told["calls"]

    assert status == 200
    assert (call["call"], call["status"], call["upstream"]) == ("a", 200, "openai")
    assert (call["model"], call["model_sent"]) == ("gpt-4o", "gpt-4o-mini")
    assert (call["fault"], call["detail"]) == ("timeout", "no first token")
    assert (call["ms"], call["first_byte_ms"]) == (1500.0, 500.0)
    assert (call["policies"], call["shadow"], call["matched"]) == (["p"], ["q"], ["p", "q"])
    assert call["decisions"] == [
        {"kind": "rewrite", "policy": "p", "model": "gpt-4o-mini", "at_ms": 250.0},
        {"kind": "params", "policy": "q", "shadow": True, "set": ["seed"], "at_ms": 250.0},
    ]


async def test_no_credential_and_no_query_is_told(port: Port) -> None:
    port.recent.call_ended(ended("a"))
    async with port.reading() as stream:
        seen = await upto(stream, "calls")
    _, told = await port.told()

    assert "canary" not in json.dumps([seen, told])


async def test_who_comes_back_is_told_what_ended_meanwhile(port: Port) -> None:
    for id in "abc":
        port.recent.call_ended(ended(id))
    async with port.reading(last="a") as stream:
        hello, calls = await upto(stream, "calls")

    assert hello[2]["resumed"] is True
    assert [call["call"] for call in calls[2]] == ["b", "c"]


async def test_who_comes_back_too_late_is_told_all_that_is_kept(port: Port) -> None:
    for id in "abcdefgh":
        port.recent.call_ended(ended(id))
    async with port.reading(last="a") as stream:
        hello, calls = await upto(stream, "calls")

    assert hello[2]["resumed"] is False
    assert [call["call"] for call in calls[2]] == ["d", "e", "f", "g", "h"]


async def test_who_missed_nothing_is_told_nothing_twice(port: Port) -> None:
    port.recent.call_ended(ended("a"))
    async with port.reading(last="a") as stream:
        seen = await upto(stream, "pulse")

    assert [name for name, _, _ in seen] == ["hello", "pulse"]


async def test_more_calls_than_can_be_read_are_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    async with serving(Recent(5), gather_s=0.05) as port, port.reading() as stream:
        await upto(stream, "pulse")
        for number in range(10):
            port.recent.call_ended(ended(str(number)))
        seen = [event for event in await upto(stream, "calls") if event[0] != "pulse"]

    assert seen[0] == ("lost", None, 7)
    assert [call["call"] for call in seen[1][2]] == ["7", "8", "9"]


async def test_a_pulse_tells_only_the_hits_that_changed(port: Port) -> None:
    port.hits.update(p={"matched": 1}, q={"matched": 1})
    async with port.reading() as stream:
        first = (await upto(stream, "pulse"))[-1][2]
        second = (await upto(stream, "pulse"))[-1][2]
        port.hits["q"] = {"matched": 2}
        third: dict[str, Any] = {"hits": {}}
        while not third["hits"]:
            third = (await upto(stream, "pulse"))[-1][2]

    assert first["hits"] == {"p": {"matched": 1}, "q": {"matched": 1}}
    assert second["hits"] == {}
    assert third["hits"] == {"q": {"matched": 2}}


async def test_readers_are_bounded_and_one_that_leaves_makes_room(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCHERS", 1)
    async with port.reading() as stream:
        await upto(stream, "hello")
        full = await port.told("/calls/live")
    for _ in range(200):  # until its next pulse finds it gone
        await asyncio.sleep(0.005)
        async with port.session.get(port.url + "/calls/live") as again:
            if again.status == 200:
                break

    assert full[0] == 503
    assert again.status == 200


async def test_nothing_is_kept_for_a_reader_that_has_left(port: Port) -> None:
    async with port.reading() as stream:
        await upto(stream, "hello")
        watched = len(port.recent._subscribers)
    for _ in range(200):
        if not port.recent._subscribers:
            break
        await asyncio.sleep(0.005)

    assert watched == 1
    assert port.recent._subscribers == ()


async def test_the_end_of_the_process_ends_the_stream_cleanly(port: Port) -> None:
    async with port.reading() as stream:
        await upto(stream, "pulse")
        ending = asyncio.ensure_future(port.runner.cleanup())
        rest = [event async for event in stream]
        await asyncio.wait_for(ending, 2)

    assert all(name == "pulse" for name, _, _ in rest)


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end() -> None:
    async with serving(Recent(200), gather_s=0.005) as port:
        reader, writer = await asyncio.open_connection(*port.runner.addresses[0][:2], limit=1024)
        writer.write(b"GET /calls/live HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for number in range(16_000):
            port.recent.call_ended(ended(str(number), model="m" * 255))
            if number % 200 == 0:
                await asyncio.sleep(0.006)
        began = asyncio.get_running_loop().time()
        await port.runner.cleanup()
        took = asyncio.get_running_loop().time() - began
        writer.close()

    assert took < 0.9


async def test_hostile_text_stays_one_event(port: Port) -> None:
    port.recent.call_ended(ended("a", model="</script>\n\ndata: x\r\n\u2028\x1b[31m"))
    async with port.reading() as stream:
        (_, id, calls) = (await upto(stream, "calls"))[-1]

    assert id == "a"
    assert calls[0]["model"] == "</script>\n\ndata: x\r\n\u2028\x1b[31m"


async def test_half_a_character_does_not_break_the_stream(port: Port) -> None:
    record = ended("a", model="half \ud83d")
    record.call.journal.note("odd", "p", acted=True, value="\ud83d", deep=["\ud83d"])
    port.recent.call_ended(record)
    async with port.reading() as stream:
        (_, _, calls) = (await upto(stream, "calls"))[-1]
    status, _ = await port.told()

    assert calls[0]["call"] == "a"
    assert status == 200


async def test_how_many_calls_are_listed_may_be_said(port: Port) -> None:
    for id in "abc":
        port.recent.call_ended(ended(id))
    _, two = await port.told("/calls?limit=2")
    wrong = [(await port.told(f"/calls?limit={text}"))[0] for text in ("-1", "x", "1e3", "9999999", "²")]

    assert [call["call"] for call in two["calls"]] == ["c", "b"]
    assert wrong == [400] * 5


async def test_where_no_calls_are_kept_the_pulse_goes_on() -> None:
    async with serving(None) as port:
        async with port.reading() as stream:
            hello, pulse = await upto(stream, "pulse")
        told = await port.told()

    assert hello[2]["kept"] is False
    assert hello[2]["base_url"] == "http://127.0.0.1:4141/v1"
    assert pulse[2]["generation"] == 1
    assert told == (200, {"kept": False, "calls": []})


def test_the_places_in_a_line_are_those_that_are_read() -> None:
    recent = Recent(1)
    recent.call_ended(ended("a"))
    (call,) = recent.latest()

    assert call.line[11] == STARTED
    assert call.line[17] is not None
    assert list(call.line[17]) == []
