"""Whatever is put into the folder of a running proxy: the old policies stay in force, and the admin port says what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.adapters.metrics import Metrics
from proxy.assembly.generation import Generation, Outside, build
from proxy.assembly.load import load
from proxy.assembly.reload import Reload
from proxy.core.clock import LoopClock
from proxy.server.status import Status
from tests.assembly.engines import call_of, chat

GOOD = "{version: 1, upstreams: {a: {url: 'https://a/v1'}}, policies: [{name: %s, apply: {refuse: {code: %s}}}]}"
Spoil = Callable[[Path], object]


class Running:
    """An engine that follows its folder, as the server does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outside = Outside(LoopClock(asyncio.get_running_loop()), self._report)
        self.generation: Generation = build(load(folder, {}), self.outside)
        self.reload = Reload(folder, lambda: self.generation.policies.other_files, self._apply)
        self.status = Status(Metrics(), lambda: self.generation, lambda: self.reload, lambda: None, lambda: 0)

    async def _apply(self) -> None:
        policies = await asyncio.to_thread(load, self.folder, {})
        self.generation = build(policies, self.outside, self.generation)

    def _report(self, layer: str, bug: Exception) -> None:
        raise bug

    async def refused_by(self) -> str:
        """The code with which a call is refused now."""
        reply = await self.generation.service(call_of(chat()))
        return str(json.loads(await reply.body.read_all())["error"]["code"])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").write_text(GOOD % ("old", "old"))
    running = Running(folder)
    yield running
    for upstream in running.generation.upstreams.values():
        upstream.close()


def written(data: bytes) -> Spoil:
    return lambda folder: (folder / "z.yaml").write_bytes(data)


BAD: dict[str, Spoil] = {
    "empty": written(b""),
    "bomb": written(b"a: &a [x]\n" + b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 40)) for c in range(98, 110))),
    "tab": written(b"version: 1\n\tpolicies: []\n"),
    "duplicate key": written(b"version: 1\nversion: 1\n"),
    "ten megabytes": written(b"#" * 10_485_760),
    "latin-1": written(b"version: 1 # caf\xe9\n"),
    "utf-16": written("version: 1\n".encode("utf-16")),
    "nul": written(b"version: 1\x00\n"),
    "deep": written(b"version: 1\npolicies: " + b"[" * 50_000),
    "two documents": written(b"version: 1\n---\nversion: 1\n"),
    "unknown version": written(b"version: 2\n"),
    "no version": written(b"policies: []\n"),
    "half written": written(b"version: 1\npolicies: [{name: p, appl"),
    "the same name": written((GOOD % ("old", "other")).encode()),
    "unknown upstream": written(b"version: 1\npolicies: [{name: p, apply: {rewrite: {upstream: nowhere}}}]\n"),
    "missing secret": written(b"version: 1\nupstreams: {b: {url: 'https://b/v1', key: '${NOPE}'}}\n"),
    "wrong type": written(b"version: 1\npolicies: 7\n"),
    "mistyped key": written(b"version: 1\npolices: []\n"),
    "pipe": lambda folder: os.mkfifo(folder / "z.yaml"),
    "link in a circle": lambda folder: (folder / "z.yaml").symlink_to("z.yaml"),
    "link to nothing": lambda folder: (folder / "z.yaml").symlink_to("nothing"),
    "no file left": lambda folder: (folder / "a.yaml").unlink(),
    "endless file": lambda folder: (folder / "z.yaml").symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_is_bad_leaves_the_old_policies_in_force_and_is_told(running: Running, what: str) -> None:
    BAD[what](running.folder)
    await asyncio.wait_for(running.reload.look(), 20)
    told: Any = running.status.policies()

    assert await running.refused_by() == "old"
    assert (told["generation"], told["reload_failures"], [each["name"] for each in told["policies"]]) == (1, 1, ["old"])
    problems = told["last_error"]["problems"]
    assert problems[0]["severity"] == "error"
    assert all(each["message"] and each["file"].startswith(str(running.folder)) for each in problems)


@pytest.mark.parametrize("what", ["empty", "pipe", "no file left", "link in a circle"])
async def test_what_is_mended_is_taken_over(running: Running, what: str) -> None:
    BAD[what](running.folder)
    await running.reload.look()
    (running.folder / "z.yaml").unlink(missing_ok=True)
    (running.folder / "a.yaml").write_text(GOOD % ("new", "new"))
    await running.reload.look()
    told: Any = running.status.policies()

    assert await running.refused_by() == "new"
    assert (told["generation"], told["reload_failures"], told["last_error"]) == (2, 1, None)
