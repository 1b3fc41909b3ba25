"""reload -- policies follow their files: the folder is watched, a change is checked whole, and only what is sound replaces what runs.

A ConfigMap's swap of `..data`, an editor's rename and a rotated secret are all the same to it: it looks when something moved, and every
`POLL_S` seconds in any case, and compares contents. Cost: a few file reads at each look, none of it in a call.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from proxy.policy.problems import PolicyError

POLL_S = 5.0  # the kubelet itself takes up to a minute to bring a new ConfigMap
SETTLE_MS = 100  # several files saved together are one change
log = logging.getLogger("chassis")


class Reload:
    """Watches, until it is cancelled. `apply` loads and swaps; it raises PolicyError or OSError where the new policies are refused."""

    def __init__(self, path: Path, secret_files: Callable[[], Iterable[Path]], apply: Callable[[], Awaitable[None]]) -> None:
        self._path = path
        self._secret_files = secret_files
        self._apply = apply
        self._seen = self.fingerprint()
        self._lock = asyncio.Lock()
        self.failures = 0
        self.last_error: PolicyError | OSError | None = None

    def fingerprint(self) -> str:
        """A hash of all that is watched: names and contents. A file that cannot be read is part of it too."""
        digest = hashlib.sha256()
        folder = self._path if self._path.is_dir() else None
        try:
            files = sorted(folder.iterdir()) if folder is not None else [self._path]
        except OSError:
            files = []
        for file in [*(f for f in files if not f.name.startswith(".")), *sorted(self._secret_files())]:
            try:
                content = file.read_bytes()
            except OSError as error:
                content = type(error).__name__.encode()
            digest.update(f"{file}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()

    async def run(self) -> None:
        """Looks at each movement in the folder, and now and then."""
        while True:
            watched = self._path if self._path.is_dir() else self._path.parent
            folders = {watched, *(file.parent for file in self._secret_files())}
            try:
                async for _ in awatch(
                    *(folder for folder in folders if folder.is_dir()),
                    debounce=SETTLE_MS * 4,
                    step=SETTLE_MS,
                    rust_timeout=int(POLL_S * 1000),
                    yield_on_timeout=True,
                    recursive=False,
                    watch_filter=None,
                ):
                    await self.look()
                    if not watched.is_dir():
                        break
            except (OSError, FileNotFoundError) as error:
                log.warning("policies: %s cannot be watched (%s); it is looked at every %g s", watched, error, POLL_S)
            await asyncio.sleep(POLL_S)
            await self.look()

    async def look(self, force: bool = False) -> None:
        """Loads anew where something changed, or in any case."""
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
            else:
                self.last_error = None
