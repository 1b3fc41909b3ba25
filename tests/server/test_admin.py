"""The admin port: probes for anyone, the rest for those who may, secrets for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, web

from proxy.adapters.recent import Recent
from proxy.core.clock import LoopClock
from proxy.server.admin import admin_app, is_loopback
from proxy.server.feed import Feed
from proxy.server.page import HEADERS

Ask = Callable[..., Awaitable[tuple[int, object]]]
BEARER = {"Authorization": "Bearer s3cret"}


class Played:
    """A server's status."""

    def __init__(self) -> None:
        self.why: str | None = "starting"

    def not_ready(self) -> str | None:
        return self.why

    def policies(self) -> dict[str, object]:
        return {"revision": "abc", "generation": 3, "policies": [{"name": "small", "kinds": ("rewrite",)}]}

    def metrics(self) -> bytes:
        return b"chassis_calls_total 1.0\n"


@pytest.fixture
def status() -> Played:
    return Played()


@pytest.fixture
async def asking(status: Played) -> AsyncIterator[Callable[..., Awaitable[Ask]]]:
    """Starts an admin port with some settings; gives a function that asks it."""
    runners: list[web.AppRunner] = []
    session = ClientSession()

    async def start(**settings: object) -> Ask:
        runner = web.AppRunner(admin_app(status, **settings), access_log=None)  # type: ignore[arg-type]
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]

        async def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, object]:
            async with session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as response:
                assert response.headers["Cache-Control"] == "no-store"
                is_json = response.content_type == "application/json"
                return response.status, await response.json() if is_json else await response.text()

        return ask

    yield start
    await session.close()
    for runner in runners:
        await runner.cleanup()


async def test_alive_is_not_ready(asking: Callable[..., Awaitable[Ask]], status: Played) -> None:
    ask = await asking()

    assert await ask("/livez") == (200, "ok\n")
    assert await ask("/readyz") == (503, "starting\n")
    status.why = None
    assert await ask("/readyz") == (200, "ok\n")
    status.why = "draining"
    assert await ask("/readyz") == (503, "draining\n")
    assert await ask("/livez") == (200, "ok\n")


async def test_metrics_and_policies_are_shown(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking()

    assert await ask("/metrics") == (200, "chassis_calls_total 1.0\n")
    assert await ask("/policies") == (200, {"revision": "abc", "generation": 3, "policies": [{"name": "small", "kinds": ["rewrite"]}]})


async def test_metrics_have_prometheus_content_type(asking: Callable[..., Awaitable[Ask]], status: Played) -> None:
    runner = web.AppRunner(admin_app(status))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics") as response:
        kind = response.headers["Content-Type"]
    await runner.cleanup()

    assert kind == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/v1/models", "GET", 404), ("/livez", "POST", 405), ("/policies/x", "GET", 404)]
)
async def test_unknown_pages_are_json_errors(asking: Callable[..., Awaitable[Ask]], path: str, method: str, status: int) -> None:
    ask = await asking()

    code, said = await ask(path, method)
    assert code == status
    assert isinstance(said, dict)
    assert said["error"]["status"] == status
    assert path in said["error"]["message"]


async def test_a_head_request_is_answered(asking: Callable[..., Awaitable[Ask]], status: Played) -> None:
    status.why = None
    ask = await asking()

    assert await ask("/readyz", "HEAD") == (200, "")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "s3cret"}, 401),
        ({"Authorization": "Basic s3cret"}, 401),
        ({"Authorization": "Bearer s3cret\u00e4"}, 401),
        (BEARER, 200),
        ({"Authorization": "bearer  s3cret"}, 200),
    ],
)
async def test_a_token_guards_all_but_the_probes(asking: Callable[..., Awaitable[Ask]], headers: dict[str, str], code: int) -> None:
    ask = await asking(token="s3cret")

    assert [(await ask(path, **headers))[0] for path in ("/policies", "/metrics")] == [code, code]
    assert (await ask("/livez", **headers))[0] == 200
    assert (await ask("/nowhere", **headers))[0] == (404 if code == 200 else 401)


async def test_on_the_network_without_a_token_only_counts_are_shown(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking(loopback=False)

    assert (await ask("/metrics"))[0] == 200
    assert (await ask("/livez", Host="pod-1:4142"))[0] == 200
    code, said = await ask("/policies")
    assert code == 403
    assert "CHASSIS_ADMIN_TOKEN" in str(said)


async def test_on_the_network_a_token_opens_it(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking(loopback=False, token="s3cret")

    assert (await ask("/policies", **BEARER))[0] == 200
    assert (await ask("/metrics"))[0] == 401


@pytest.mark.parametrize(
    ("host", "code"), [("127.0.0.1:4142", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:4142", 200), ("evil.example:4142", 403)]
)
async def test_a_web_page_under_a_rebound_name_sees_nothing(asking: Callable[..., Awaitable[Ask]], host: str, code: int) -> None:
    ask = await asking()

    assert (await ask("/policies", Host=host))[0] == code


async def test_a_page_that_breaks_is_a_plain_500(asking: Callable[..., Awaitable[Ask]], status: Played) -> None:
    def broken() -> bytes:
        raise RuntimeError("sk-canary")

    status.metrics = broken  # type: ignore[method-assign]
    ask = await asking()

    code, said = await ask("/metrics")
    assert code == 500
    assert "canary" not in str(said)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


# The page


async def played_feed() -> Feed:
    return Feed(Recent(5), lambda: {"hits": {}}, LoopClock(asyncio.get_running_loop()), "http://127.0.0.1:4141/v1", 0.001, 0.001)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},  # another port of this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://[::1"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/page/main.js", "/policies", "/calls", "/calls/live", "/explain", "/metrics"])
async def test_a_page_of_another_origin_gets_nothing(
    asking: Callable[..., Awaitable[Ask]], path: str, headers: dict[str, str]
) -> None:
    ask = await asking(feed=await played_feed())
    status, told = await ask(path, **headers)

    assert status == 403
    assert "another origin" in str(told)


async def test_a_link_from_elsewhere_may_be_followed_and_the_page_may_ask_its_own_port(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking(feed=await played_feed())
    followed = await ask("/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    own = await ask("/calls", **{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})

    assert followed[0] == 200
    assert own == (200, {"kept": True, "calls": []})


async def test_a_rebound_name_gets_no_page(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking(feed=await played_feed())

    for path in ("/", "/page/main.js", "/calls", "/calls/live"):
        assert (await ask(path, Host="evil.example:4142"))[0] == 403


async def test_with_a_token_the_page_opens_without_it_and_tells_nothing(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking(feed=await played_feed(), token="s3cret", loopback=False)

    assert (await ask("/"))[0] == 200
    assert (await ask("/page/main.js"))[0] == 200
    for path in ("/calls", "/calls/live", "/policies", "/page", "//"):
        assert (await ask(path))[0] == 401
    assert (await ask("/calls", **BEARER))[0] == 200


async def test_open_to_the_network_without_a_token_there_is_no_page(asking: Callable[..., Awaitable[Ask]]) -> None:
    ask = await asking(feed=await played_feed(), loopback=False)

    for path in ("/", "/page/main.js", "/calls", "/calls/live"):
        assert (await ask(path))[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/page/main.js", "/calls", "/calls/live", "/policies"])
async def test_the_page_and_its_data_are_only_read(asking: Callable[..., Awaitable[Ask]], path: str, method: str) -> None:
    ask = await asking(feed=await played_feed())

    assert (await ask(path, method))[0] == 405


async def test_every_answer_carries_the_browsers_orders(status: Played) -> None:
    runner = web.AppRunner(admin_app(status, feed=await played_feed()), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    seen = {}
    async with ClientSession() as session:
        for path in ("/", "/page/main.js", "/calls", "/calls/live", "/policies", "/nothing", "/livez"):
            async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}{path}") as response:
                seen[path] = {name: response.headers.get(name) for name in HEADERS}
                cross = response.headers.get("Access-Control-Allow-Origin")
                assert cross is None
    await runner.cleanup()

    assert all(headers == HEADERS for headers in seen.values())
