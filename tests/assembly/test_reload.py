from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from proxy.assembly.load import Policies, load
from proxy.assembly.reload import Reload
from proxy.policy.problems import PolicyError

POLL_S = 0.02
GOOD = "{version: 1, upstreams: {a: {url: 'https://a/v1'}}, policies: [{name: %s, apply: {refuse: {}}}]}"


class Loader:
    """Loads as the server does, and remembers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded: list[Policies] = [load(path, {})]
        self.raises: Exception | None = None
        self.active = 0
        self.overlapped = False
        self.reload = Reload(path, lambda: self.loaded[-1].other_files, self.apply, POLL_S)

    async def apply(self) -> None:
        self.overlapped |= self.active > 0
        self.active += 1
        try:
            await asyncio.sleep(0)
            if self.raises is not None:
                raise self.raises
            self.loaded.append(load(self.path, {}))
        finally:
            self.active -= 1

    @property
    def names(self) -> list[str]:
        return [rule.name for rule in self.loaded[-1].rules]


@asynccontextmanager
async def watching(loader: Loader) -> AsyncIterator[None]:
    task = asyncio.ensure_future(loader.reload.run())
    await asyncio.sleep(POLL_S / 4)
    try:
        yield
        assert not task.done(), "the watch has ended"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def becomes(holds: Callable[[], bool]) -> None:
    for _ in range(150):
        if holds():
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError("it did not become so within 3 s")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "policies"
    path.mkdir()
    (path / "a.yaml").write_text(GOOD % "one")
    return path


async def test_an_edit_is_in_force_soon(folder: Path) -> None:
    loader = Loader(folder)
    async with watching(loader):
        (folder / "a.yaml").write_text(GOOD % "two")
        await becomes(lambda: loader.names == ["two"])

    assert (loader.reload.failures, loader.reload.last_error) == (0, None)


async def test_a_bad_edit_keeps_the_running_policies_and_a_good_one_ends_the_error(folder: Path) -> None:
    loader = Loader(folder)
    async with watching(loader):
        (folder / "a.yaml").write_text("{version: 2}")
        await becomes(lambda: loader.reload.failures == 1)
        assert loader.names == ["one"]
        assert isinstance(loader.reload.last_error, PolicyError)

        (folder / "a.yaml").write_text(GOOD % "three")
        await becomes(lambda: loader.names == ["three"])
    assert loader.reload.last_error is None


async def test_a_bug_in_loading_does_not_end_the_watch(folder: Path) -> None:
    loader = Loader(folder)
    loader.raises = ZeroDivisionError()
    async with watching(loader):
        (folder / "a.yaml").write_text(GOOD % "two")
        await becomes(lambda: loader.reload.failures == 1)
        loader.raises = None
        (folder / "a.yaml").write_text(GOOD % "three")
        await becomes(lambda: loader.names == ["three"])


async def test_a_folder_may_vanish_and_come_back(folder: Path) -> None:
    loader = Loader(folder)
    async with watching(loader):
        folder.rename(folder.with_name("away"))
        await becomes(lambda: loader.reload.failures == 1)
        assert loader.names == ["one"]

        folder.mkdir()
        (folder / "b.yaml").write_text(GOOD % "back")
        await becomes(lambda: loader.names == ["back"])
        (folder / "b.yaml").write_text(GOOD % "again")
        await becomes(lambda: loader.names == ["again"])


async def test_the_swap_of_a_config_map_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    for number in ("1", "2"):
        (folder / f"..{number}").mkdir(parents=True)
        (folder / f"..{number}" / "p.yaml").write_text(GOOD % f"v{number}")
    (folder / "..data").symlink_to("..1")
    (folder / "p.yaml").symlink_to("..data/p.yaml")
    loader = Loader(folder)
    async with watching(loader):
        (folder / "..new").symlink_to("..2")
        os.replace(folder / "..new", folder / "..data")
        await becomes(lambda: loader.names == ["v2"])


async def test_a_rotated_secret_is_loaded(folder: Path) -> None:
    secret = folder.with_name("key")
    secret.write_text("old")
    (folder / "a.yaml").write_text(f"{{version: 1, upstreams: {{a: {{url: 'https://a/v1', key: '${{file:{secret}}}'}}}}}}")
    loader = Loader(folder)
    async with watching(loader):
        secret.write_text("rotated")
        await becomes(lambda: len(loader.loaded) > 1)

    credential = loader.loaded[-1].upstreams["a"].credential
    assert credential is not None
    assert credential.line == "Bearer rotated"


async def test_what_changed_before_the_watch_began_is_loaded(folder: Path) -> None:
    loader = Loader(folder)
    (folder / "a.yaml").write_text(GOOD % "two")
    async with watching(loader):
        await becomes(lambda: loader.names == ["two"])


async def test_touching_loads_nothing_but_hup_does(folder: Path) -> None:
    loader = Loader(folder)
    os.utime(folder / "a.yaml", (1, 1))
    await loader.reload.look()
    assert len(loader.loaded) == 1

    await loader.reload.look(force=True)
    assert len(loader.loaded) == 2


async def test_looks_at_once_load_one_after_the_other_and_once(folder: Path) -> None:
    loader = Loader(folder)
    (folder / "a.yaml").write_text(GOOD % "two")
    await asyncio.gather(*(loader.reload.look() for _ in range(8)))

    assert len(loader.loaded) == 2
    assert not loader.overlapped


async def test_a_pipe_among_the_files_stops_nothing(folder: Path) -> None:
    loader = Loader(folder)
    os.mkfifo(folder / "pipe")
    (folder / "a.yaml").write_text(GOOD % "two")
    await asyncio.wait_for(loader.reload.look(), 2)

    assert loader.names == ["two"]


async def test_a_single_file_is_watched_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / ".hidden"
    file.write_text(GOOD % "one")
    loader = Loader(file)
    async with watching(loader):
        file.with_name("new").write_text(GOOD % "two")
        os.replace(file.with_name("new"), file)
        await becomes(lambda: loader.names == ["two"])
