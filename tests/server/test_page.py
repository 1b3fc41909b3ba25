from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from proxy.server.page import FOLDER, HEADERS, POLICY, is_page, page_routes

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted(FOLDER.iterdir())
MAX_LINES = 400  # as of any source file
FOREIGN = re.compile(r"(?:https?:)?//[\w.-]+\.\w+[\w/.-]*")
KNOWN = {"http://www.w3.org/2000/svg"}  # a name, not an address
MARKUP = re.compile(  # what makes markup or code of text
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment|srcdoc|javascript:"
)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=")


async def get(path: str) -> tuple[int, str, str]:
    app = web.Application()
    app.add_routes(page_routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}{path}") as response:
            return response.status, response.headers["Content-Type"], await response.text()
    finally:
        await runner.cleanup()


async def test_the_page_stands_at_the_root() -> None:
    status, kind, text = await get("/")

    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert text.startswith("<!doctype html>")


async def test_what_the_page_loads_is_there_with_its_type() -> None:
    html = (FOLDER / "index.html").read_text("utf-8")
    loaded = re.findall(r'(?:href|src)="(page/[^"]+)"', html)
    answers = [await get("/" + path) for path in loaded]

    assert len(loaded) == 2
    assert [(status, kind) for status, kind, _ in answers] == [
        (200, "text/css; charset=utf-8"),
        (200, "text/javascript; charset=utf-8"),
    ]


async def test_every_module_that_another_imports_is_served() -> None:
    imported = {name for path in FILES if path.suffix == ".js" for name in re.findall(r'from "\./([\w-]+\.js)"', path.read_text("utf-8"))}
    answers = {name: (await get(f"/page/{name}"))[0] for name in imported}

    assert imported == {path.name for path in FILES if path.suffix == ".js"} - {"main.js"}
    assert set(answers.values()) == {200}


@pytest.mark.parametrize("path", ["/page/", "/page/index.html", "/page/../page.py", "/page/%2e%2e/py.typed", "/page/nothing.js"])
async def test_nothing_else_is_served(path: str) -> None:
    assert (await get(path))[0] == 404


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_the_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_text(path: Path) -> None:
    text = path.read_text("utf-8")

    assert set(FOREIGN.findall(text)) <= KNOWN | {"http://127.0.0.1"}
    assert MARKUP.findall(text) == []
    assert path.suffix != ".html" or INLINE.findall(text) == []
    assert len(text.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_a_module_says_first_what_it_is(path: Path) -> None:
    assert path.read_text("utf-8").startswith(f"// {path.stem} -- ")


def test_a_wheel_has_the_page() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]["proxy"]
    packaged = {found.name for pattern in declared for found in (ROOT / "proxy").glob(pattern)}

    assert {path.name for path in FILES} <= packaged


def test_the_browser_is_told_to_run_nothing_but_the_pages_own_files() -> None:
    allowed = dict(part.split(" ", 1) for part in POLICY.split("; "))

    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == "'self'"
    assert allowed["frame-ancestors"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert "unsafe" not in POLICY
    assert HEADERS["X-Content-Type-Options"] == "nosniff"


def test_which_paths_are_the_pages_own() -> None:
    assert is_page("/")
    assert is_page("/page/main.js")
    assert not is_page("/policies")
    assert not is_page("/calls/live")
    assert not is_page("//")
