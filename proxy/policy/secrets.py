"""secrets -- texts with `${ENV}` and `${file:/path}` in them: resolved at load, read again for rotation, never shown.

Stands under the upstreams. Files are small and read whole; nothing here is called per call but `Secret.value`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Mapping

from proxy.policy.units import Wrong

Env = Mapping[str, str]
ReadFile = Callable[[str], bytes]

MAX_FILE_BYTES = 64 * 1024  # the longest tokens in use are a few KiB
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


def check_references(text: str) -> str:
    """`text`, if each `${…}` in it can be meant. Raises Wrong."""
    for inner in _REFERENCE.findall(text):
        if inner.startswith("file:"):
            if not inner.removeprefix("file:").startswith("/"):
                raise Wrong("a secret file needs an absolute path", "write ${file:/run/secrets/name}", got=False)
        elif not _NAME(inner):
            raise Wrong("a reference must be ${NAME} or ${file:/path}", got=False)
    if "${" in _REFERENCE.sub("", text):
        raise Wrong("a '${' is not closed", "write ${NAME} or ${file:/path}", got=False)
    return text


def has_reference(text: str) -> bool:
    """Whether anything in `text` is resolved at load."""
    return _REFERENCE.search(text) is not None


def read_file(path: str) -> bytes:
    """At most `MAX_FILE_BYTES` + 1 of a file. Raises OSError, for what is no file too: to open a pipe would wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


class Missing(Exception):
    """A reference leads nowhere. The text says which and why, without a value."""


class Secret:
    """A resolved text that never prints itself. `value` is for the bytes that go out, for nothing else."""

    __slots__ = ("_env", "_read", "_template", "_value")

    def __init__(self, template: str, env: Env, read: ReadFile = read_file) -> None:
        """Resolves `template`. Raises Missing."""
        self._template = template
        self._env = env
        self._read = read
        self._value = self._resolve()

    @property
    def value(self) -> str:
        """The text in clear."""
        return self._value

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it was read from, to be watched."""
        return tuple(inner.removeprefix("file:") for inner in _REFERENCE.findall(self._template) if inner.startswith("file:"))

    def reread(self) -> bool:
        """Reads the references again; True when the value changed. Raises Missing, and keeps the value that it had."""
        value = self._resolve()
        changed = value != self._value
        self._value = value
        return changed

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not written anywhere")

    def _resolve(self) -> str:
        value = _REFERENCE.sub(lambda found: self._one(found[1]), self._template)
        if any(ord(c) < 32 or ord(c) == 127 for c in value):
            raise Missing("the value holds a line break or another control character")
        return value

    def _one(self, inner: str) -> str:
        if not inner.startswith("file:"):
            value = self._env.get(inner)
            if value is None:
                raise Missing(f"the environment has no {inner}")
            value = value.strip("\r\n")
            if not value:
                raise Missing(f"{inner} is empty in the environment")
            return value
        path = inner.removeprefix("file:")
        try:
            data = self._read(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
            raise Missing(f"the secret file {path} cannot be read: {reason}") from None
        if len(data) > MAX_FILE_BYTES:
            raise Missing(f"the secret file {path} is larger than 64 KiB")
        try:
            text = data.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise Missing(f"the secret file {path} is not UTF-8") from None
        if not text:
            raise Missing(f"the secret file {path} is empty")
        return text
