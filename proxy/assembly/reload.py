"""reload -- policies follow their files: a change is checked whole, and only what is sound replaces what runs.

It looks at names, sizes and times twice a second, through symbolic links, and loads when they have changed and come to rest. So a
ConfigMap's swap of `..data`, an editor's rename and a rotated key are all the same to it: docs/decisions/0003-polling.md.
Cost: some 50 us twice a second for a folder of ten files, none of it in a call.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from proxy.policy.problems import PolicyError
from proxy.policy.yaml12 import MAX_BYTES

POLL_S = 0.5  # the kubelet itself takes up to a minute to bring a new ConfigMap; a person who saves a file waits less than this
log = logging.getLogger("chassis")
Signature = tuple[tuple[str, int, int, int], ...]


class Reload:
    """Watches, until it is cancelled. `apply` loads and swaps; it raises PolicyError or OSError where the new policies are refused."""

    def __init__(
        self, path: Path, other_files: Callable[[], Iterable[Path]], apply: Callable[[], Awaitable[None]], poll_s: float = POLL_S
    ) -> None:
        self._path = path
        self._other_files = other_files  # keys and certificates
        self._apply = apply
        self._poll_s = poll_s
        self._seen = self.fingerprint()
        self._lock = asyncio.Lock()
        self.failures = 0
        self.last_error: PolicyError | OSError | None = None

    def signature(self) -> Signature:
        """Names, inodes, sizes and times of all that is watched. A file that is not there is part of it too."""
        return tuple(_stamp(file) for file in self._files())

    def fingerprint(self) -> str:
        """A hash of all that is watched: names and contents."""
        digest = hashlib.sha256()
        for file in self._files():
            try:
                content = _read(file)
            except OSError as error:
                content = type(error).__name__.encode()
            digest.update(f"{file}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
            digest.update(content)
        return digest.hexdigest()

    def _files(self) -> Iterator[Path]:
        try:
            names = sorted(name for name in os.listdir(self._path) if not name.startswith("."))
        except OSError:  # a single file, or gone for now
            yield self._path
        else:
            yield from (self._path / name for name in names)
        yield from sorted(set(self._other_files()))

    async def run(self) -> None:
        """Looks again and again. What is still being written is let come to rest first."""
        known = self.signature()
        await self.look()  # what changed since the start is in `known` already
        while True:
            await asyncio.sleep(self._poll_s)
            now = self.signature()
            if now == known:
                continue
            while True:
                known = now
                await asyncio.sleep(self._poll_s / 2)
                now = self.signature()
                if now == known:
                    break
            await self.look()

    async def look(self, force: bool = False) -> None:
        """Loads anew where the contents changed, or in any case."""
        async with self._lock:
            fingerprint = await asyncio.to_thread(self.fingerprint)
            if fingerprint == self._seen and not force:
                return
            self._seen = fingerprint
            try:
                await self._apply()
            except (PolicyError, OSError) as error:
                self.failures += 1
                self.last_error = error
                log.error("policies: refused, the running ones stay:\n%s", error)
            except Exception as bug:  # ours: the watch goes on, or no later edit would be seen
                self.failures += 1
                self.last_error = OSError(f"loading them failed in the proxy itself: {type(bug).__name__}")
                log.exception("policies: loading them failed, the running ones stay")
            else:
                self.last_error = None


def _read(file: Path) -> bytes:
    """A file's bytes, as far as any policy file goes. What is no file (a pipe would wait for ever) has none."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        return b""
    with open(file, "rb") as opened:
        return opened.read(MAX_BYTES + 1)


def _stamp(file: Path) -> tuple[str, int, int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return str(file), 0, 0, 0
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns
