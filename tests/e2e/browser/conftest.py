"""A real browser before a real proxy. Without chromium or playwright these tests are skipped: `make e2e-browser` installs both."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.adapters.scripted import Scripted
from tests.e2e.processes import Running, free_ports, start

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
QUIET = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
WAIT_MS = 10_000
POLICIES = """version: 1
policies:
  - name: short-goes-small
    labels: {team: payments}
    match: {endpoint: chat, model: [gpt-4o, "gpt-4.1*"], not: {keywords: {any_of: [contract]}}}
    apply: {rewrite: {model: gpt-4o-mini}}
  - name: no-lawsuits
    match: {endpoint: chat, keywords: {any_of: [lawsuit]}}
    apply: {refuse: {status: 403, message: Ask the legal team.}}
  - name: try-the-new-model
    mode: shadow
    match: {endpoint: chat, model: "gpt-5*"}
    apply: {rewrite: {model: gpt-5-mini}}
"""


def chromium() -> str | None:
    """Where a browser is that playwright can drive; `CHROMIUM` names one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")  # no longer: playwright keeps a loop running in this thread, under which other tests could run none
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        pytest.skip("there is no chromium (make e2e-browser installs one, or CHROMIUM names it)")
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright (make e2e-browser installs it)")
    sandbox = () if os.getuid() else ("--no-sandbox",)  # chromium refuses to run as root with one
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*QUIET, *sandbox])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The scripted upstream without its pauses: it answers as fast as it is asked."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(Scripted(paced=False).app(), access_log=None)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@dataclass
class Proxy:
    """A proxy on ports that stay, so that it can be started again."""

    policies: Path
    upstream: str
    folder: Path
    port: int
    admin_port: int
    options: tuple[str, ...] = ()
    running: Running | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}/"

    def start(self) -> None:
        self.running = start(self.policies, self.upstream, self.options, folder=self.folder, ports=(self.port, self.admin_port))

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


@pytest.fixture
def starting(tmp_path: Path, upstream: str) -> Iterator[Callable[..., Proxy]]:
    """Starts proxies; they are stopped at the end."""
    proxies: list[Proxy] = []

    def start_one(*options: str) -> Proxy:
        folder = tmp_path / f"policies{len(proxies)}"
        folder.mkdir()
        policies = folder / "routes.yaml"
        policies.write_text(POLICIES)
        proxy = Proxy(policies, upstream, tmp_path, *free_ports(2), options)
        proxies.append(proxy)
        proxy.start()
        return proxy

    yield start_one
    for proxy in proxies:
        proxy.stop()


@pytest.fixture
def proxy(starting: Callable[..., Proxy]) -> Proxy:
    return starting()


@dataclass
class Tab:
    """A page of the browser, and all that went wrong in it."""

    page: Any
    wrong: list[str]

    def open(self, url: str) -> Any:
        self.page.goto(url)
        self.page.wait_for_selector('#link[data-state="live"]')
        return self.page


@pytest.fixture
def opening(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens tabs. In the end nothing may have gone wrong in any, but what a test took off the list."""
    contexts = []
    tabs: list[Tab] = []

    def open_one(width: int = 1440, height: int = 900, scheme: str = "light") -> Tab:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        tab = Tab(page, [])
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`))"
        )
        page.on("console", lambda message: tab.wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: tab.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (tab.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tabs.append(tab)
        return tab

    yield open_one
    for context in contexts:
        context.close()
    assert [tab.wrong for tab in tabs] == [[] for _ in tabs]


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: `SCREENSHOTS`, else a folder that is thrown away."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
