"""`/explain`: the last calls, and for one of them what was decided and why, for people and for tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web

from proxy.server.admin import admin_app
from proxy.server.explaining import Explaining
from tests.assembly.engines import JSON, chat
from tests.assembly.test_explain_calls import Running
from tests.server.test_admin import Played

Ask = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def running() -> Running:
    return Running(calls=3000)


@pytest.fixture
async def ask(running: Running) -> AsyncIterator[Ask]:
    """Asks an admin port for a path; gives status, content type and text."""
    runner = web.AppRunner(admin_app(Played(), explaining=Explaining(running.calls)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with ClientSession() as session:

        async def asking(path: str, **headers: str) -> tuple[int, str, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as reply:
                return reply.status, reply.content_type, await reply.text()

        yield asking
    await runner.cleanup()


async def asked(ask: Ask, path: str) -> Any:
    status, kind, text = await ask(path)
    assert (status, kind) == (200, "application/json")
    return json.loads(text)


async def test_the_last_calls_are_listed_newest_first(ask: Ask, running: Running) -> None:
    for _ in range(3):
        await running.serve(chat())
    listed = await asked(ask, "/explain")
    two = await asked(ask, "/explain?limit=2")

    assert listed["kept"] == 3
    assert [call["call"][-1] for call in listed["calls"]] == ["3", "2", "1"]
    assert [call["call"][-1] for call in two["calls"]] == ["3", "2"]
    assert listed["calls"][0]["policies"] == ["small"]


async def test_a_call_is_explained_as_json_and_as_text(ask: Ask, running: Running) -> None:
    call = await running.serve(chat("hello"), headers=[*JSON, (b"Authorization", b"Bearer sk-canary")])
    found = await asked(ask, f"/explain?id={call.id}")
    by_format = await ask(f"/explain?id={call.id}&format=text")
    by_accept = await ask(f"/explain?id={call.id}", Accept="text/plain")
    brief = await ask(f"/explain?id={call.id}&format=text&brief=1")

    assert found["call"]["call"] == call.id
    assert {rule["name"]: rule["matches"] for rule in found["policies"]} == {"legal": False, "small": True, "keyed": False, "watched": True}
    assert found["exchange"]["edits"] == [{"path": "model", "old": "gpt-4o", "new": "mini"}]
    assert by_format == by_accept
    assert by_format[:2] == (200, "text/plain")
    assert by_format[2].startswith("chat call, model gpt-4o: POST /v1/chat/completions\n")
    assert "legal (p.yaml" in by_format[2]
    assert "legal (p.yaml" not in brief[2]
    assert "2 policies do not match" in brief[2]
    assert "canary" not in json.dumps(found) + by_format[2]


async def test_the_youngest_call_needs_no_id(ask: Ask, running: Running) -> None:
    status, _, text = await ask("/explain?id=last")
    await running.serve(chat())
    call = await running.serve(chat("hello"))

    assert (status, json.loads(text)["error"]["message"]) == (404, "no call has ended yet")
    assert (await asked(ask, "/explain?id=last"))["call"]["call"] == call.id


async def test_the_list_is_text_where_text_is_asked_for(ask: Ask, running: Running) -> None:
    nothing = await ask("/explain?format=text")
    call = await running.serve(chat())
    status, kind, text = await ask("/explain?format=text")

    assert nothing[2] == "no call has ended yet\n"
    assert (status, kind) == (200, "text/plain")
    assert text.endswith(f" call={call.id}\n")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain, application/json", "text/html,*/*"])
async def test_json_is_the_rule(ask: Ask, running: Running, accept: str) -> None:
    await running.serve(chat())

    assert (await ask("/explain", Accept=accept))[1] == "application/json"


ODD_IDS = ["nope", "", "%00%1b%5b2J", "%ff%fe", "x" * 4000, "../../etc/passwd", "0" * 32, "%F0%9F%92%A5", "'%3Cscript%3E"]


@pytest.mark.parametrize("id", ODD_IDS)
async def test_an_unknown_id_says_how_many_calls_are_kept(ask: Ask, running: Running, id: str) -> None:
    await running.serve(chat())
    status, kind, text = await ask(f"/explain?id={id}")
    message = json.loads(text)["error"]["message"]

    assert (status, kind) == (404, "application/json")
    assert "not one of the last 1" in message
    assert message.isprintable()
    assert len(message) < 250


@pytest.mark.parametrize("limit", ["-1", "x", "", "1e3", "٣", "9" * 20])
async def test_a_limit_is_a_number(ask: Ask, limit: str) -> None:
    status, _, text = await ask(f"/explain?limit={limit}")

    assert (status, json.loads(text)["error"]["message"]) == (400, "limit is a number of calls")


async def test_half_a_character_in_a_request_breaks_no_explanation(ask: Ask, running: Running) -> None:
    call = await running.serve(b'{"model": "gpt-\\ud800", "n": 123456789012345678901234567890, "messages": []}')

    assert (await ask(f"/explain?id={call.id}"))[0] == 200
    assert (await ask(f"/explain?id={call.id}&format=text"))[0] == 200
    assert (await ask("/explain"))[0] == 200


async def test_a_proxy_that_keeps_no_calls_says_so() -> None:
    runner = web.AppRunner(admin_app(Played()), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/explain?id=x") as reply:
        told = await reply.json()
    await runner.cleanup()

    assert reply.status == 404
    assert "--recent 0" in told["error"]["message"]


async def test_thousands_of_calls_go_on_while_somebody_asks(ask: Ask, running: Running) -> None:
    call = await running.serve(chat())

    async def serving() -> None:
        for _ in range(50):
            await running.serve(chat("meanwhile"))
            await asyncio.sleep(0)

    calls = asyncio.gather(*(serving() for _ in range(40)))
    statuses = [(await ask(f"/explain?id={call.id}"))[0] for _ in range(10)]
    await calls
    listed = await asked(ask, "/explain?limit=999999")

    assert statuses == [200] * 10
    assert (listed["kept"], len(listed["calls"])) == (2001, 2001)


@pytest.mark.parametrize(("settings", "status"), [({"token": "s3cret"}, 401), ({"loopback": False}, 403)])
async def test_who_may_not_see_the_policies_may_not_see_a_call(settings: dict[str, Any], status: int, running: Running) -> None:
    call = await running.serve(chat())
    runner = web.AppRunner(admin_app(Played(), explaining=Explaining(running.calls), **settings), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as session:
        for path in ("/explain", f"/explain?id={call.id}"):
            async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}{path}") as reply:
                told = await reply.text()

                assert reply.status == status
                assert "small" not in told
    await runner.cleanup()
