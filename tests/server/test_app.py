from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.assembly.load import Policies, load
from proxy.core.ports import CallRecord, ExchangeRecord
from proxy.policy.problems import PolicyError
from proxy.server.app import Server, Settings, base_url, serve

REWRITE = "version: 1\npolicies: [{name: p, match: {endpoint: chat}, apply: {rewrite: {model: %s}}}]\n"
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()


class Recorder:
    def __init__(self) -> None:
        self.statuses: list[int | None] = []

    def call_ended(self, record: CallRecord) -> None:
        self.statuses.append(record.status)

    def exchange_ended(self, record: ExchangeRecord) -> None:
        raise AssertionError("no exchange is told where nothing traces")


def loading(path: Path | None) -> Callable[[str | None], Policies]:
    return lambda upstream: load(path, {}, upstream=upstream)


def settings(path: Path | None = None, **more: Any) -> Settings:
    return Settings(**({"policies": path, "upstream": None, "port": 0, "admin_port": 0, "log": "off", "scripted": True} | more))


@asynccontextmanager
async def running(path: Path | None = None, recorder: Recorder | None = None, **more: Any) -> AsyncIterator[Server]:
    server = Server(settings(path, **more), loading(path), {}, "0", [recorder] if recorder is not None else [])
    try:
        await server.start()
        yield server
    finally:
        await server.stop(0)


async def ask(server: Server, path: str = "/v1/chat/completions") -> tuple[int, dict[str, str], Any]:
    host, port = server.address
    async with (
        aiohttp.ClientSession() as app,
        app.post(f"http://{host}:{port}{path}", data=BODY, headers={"content-type": "application/json"}) as got,
    ):
        return got.status, {name.lower(): value for name, value in got.headers.items()}, await got.json()


def policies(folder: Path, model: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(REWRITE % model)
    return path


@pytest.fixture
def taken() -> Any:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def test_it_takes_calls_when_it_has_started(tmp_path: Path) -> None:
    recorder = Recorder()
    async with running(policies(tmp_path, "small"), recorder) as server:
        status, headers, answer = await ask(server)
        address, ready = server.address, server.is_ready

    assert (status, answer["model"]) == (200, "small")
    assert (headers["x-chassis-policies"], headers["x-chassis-model"]) == ("p", "small")
    assert recorder.statuses == [200]
    assert address[1] != 0
    assert ready
    assert not server.is_ready


async def test_the_port_is_free_again_when_it_has_stopped() -> None:
    async with running() as server:
        address = server.address
    with socket.create_server(address):
        pass
    assert server.generation is not None
    assert server.generation.number == 1


async def test_wrong_policies_leave_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\npolicies: [{name: p, apply: {rewrit: {}}}]\n")

    with pytest.raises(PolicyError, match="did you mean 'rewrite'"):
        async with running(path):
            pass
    assert logging.getLogger("chassis").handlers == []


async def test_a_taken_admin_port_closes_the_data_port_again(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        free = spare.getsockname()[1]

    with pytest.raises(OSError, match=f"the admin port {taken} on 127.0.0.1 is taken; .* give another --admin-port"):
        async with running(port=free, admin_port=taken):
            pass
    with socket.create_server(("127.0.0.1", free)):
        pass


async def test_a_taken_data_port_says_which_flag_moves_it(taken: int) -> None:
    with pytest.raises(OSError, match=f"the data port {taken} on 127.0.0.1 is taken; .* give another --port"):
        async with running(port=taken):
            pass


async def test_a_change_of_the_file_is_in_force_for_the_next_call(tmp_path: Path) -> None:
    path = policies(tmp_path, "small")
    async with running(path) as server:
        _, _, before = await ask(server)
        policies(tmp_path, "smaller")
        assert server.reload is not None
        await server.reload.look()
        _, _, after = await ask(server)
        assert server.generation is not None
        number = server.generation.number

    assert (before["model"], after["model"], number) == ("small", "smaller", 2)


async def test_a_wrong_change_leaves_the_policies_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = policies(tmp_path, "small")
    async with running(path) as server:
        path.write_text("version: 1\npolicies: [{name: p, apply: {rewrit: {}}}]\n")
        assert server.reload is not None
        await server.reload.look()
        _, _, answer = await ask(server)
        counted = server.metrics.text().decode()

    assert answer["model"] == "small"
    assert "chassis_reload_failures_total 1.0" in counted
    assert "chassis_policies_generation 1.0" in counted
    assert f"policies: refused, the running ones stay:\n{path}:2:" in caplog.text


async def test_the_warnings_of_a_change_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = policies(tmp_path, "small")
    async with running(path) as server:
        path.write_text(REWRITE % "a" + "signals: {unused: {stream: true}}\n")
        assert server.reload is not None
        with caplog.at_level(logging.WARNING, "chassis"):
            await server.reload.look()

    assert f"policies: {path}:3:" in caplog.text
    assert "unused" in caplog.text


async def test_bypass_watches_nothing(tmp_path: Path) -> None:
    path = policies(tmp_path, "small")
    async with running(path, bypass=True) as server:
        assert server.reload is None


async def test_gauges_show_the_process() -> None:
    async with running() as server:
        await ask(server)
        tasks = len(asyncio.all_tasks())
        text = server.metrics.text().decode()

    assert "chassis_calls_in_flight 0.0" in text
    assert f"chassis_tasks {tasks}.0" in text
    assert "chassis_allocated_blocks 0.0" not in text
    assert 'chassis_exchanges_total{outcome="2xx",upstream="default"} 1.0' in text
    assert 'chassis_calls_total{endpoint="chat",origin="upstream",status_class="2xx"} 1.0' in text
    assert "chassis_event_loop_lag_seconds " in text


async def test_a_layer_that_breaks_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as server:
        server._report("rewrite", RuntimeError("a bug"))
        text = server.metrics.text().decode()

    assert 'chassis_layer_faults_total{layer="rewrite"} 1.0' in text
    assert "layer rewrite broke and was passed over" in caplog.text


async def test_term_drains_and_ends(tmp_path: Path) -> None:
    server = Server(settings(policies(tmp_path, "small"), drain_s=0.0), loading(tmp_path / "p.yaml"), {}, "0")
    answers: list[int] = []

    async def play() -> None:
        status, _, _ = await ask(server)
        answers.append(status)
        os.kill(os.getpid(), signal.SIGTERM)

    tasks: list[asyncio.Task[None]] = []
    await serve(server, lambda: tasks.append(asyncio.get_running_loop().create_task(play())))
    await tasks[0]

    assert answers == [200]
    assert not server.is_ready


async def test_hup_reads_the_policies_again(tmp_path: Path) -> None:
    path = policies(tmp_path, "small")
    server = Server(settings(path, drain_s=0.0), loading(path), {}, "0")
    swapped = asyncio.Event()
    apply = server._swap

    def seen(loaded: Policies) -> None:
        apply(loaded)
        if server.generation is not None and server.generation.number == 2:
            swapped.set()

    server._swap = seen  # type: ignore[method-assign]

    async def play() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await swapped.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    tasks: list[asyncio.Task[None]] = []
    await serve(server, lambda: tasks.append(asyncio.get_running_loop().create_task(play())))
    await tasks[0]

    assert server.generation is not None
    assert server.generation.number == 2


async def test_a_start_that_fails_is_cleaned_up(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 9\n")
    server = Server(settings(path), loading(path), {}, "0")

    with pytest.raises(PolicyError):
        await serve(server, lambda: None)
    assert server._runners[0].server is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4141/v1"),
        ("0.0.0.0", "http://127.0.0.1:4141/v1"),
        ("::", "http://[::1]:4141/v1"),
        ("10.0.0.7", "http://10.0.0.7:4141/v1"),
    ],
)
def test_the_page_tells_an_address_that_an_app_can_use(host: str, url: str) -> None:
    assert base_url(host, 4141) == url
