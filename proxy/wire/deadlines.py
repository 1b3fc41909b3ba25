"""deadlines -- what one client connection is waited for, and since when. Looked at by the listener's sweep; a call pays one store."""

from __future__ import annotations

import asyncio
import struct

try:
    import fcntl
    import termios
except ImportError:  # no such question on this system
    fcntl = None  # type: ignore[assignment]


class Deadlines:
    """Loop times in seconds. `due` is when the connection's head, next request or closing is late (0: nothing is awaited)."""

    __slots__ = ("_progress_at", "_quiet_since", "_unwritten", "due", "heard")

    def __init__(self, due: float) -> None:
        self.due = due
        self.heard = True  # a byte has come since the last look
        self._quiet_since = 0.0
        self._unwritten = -1  # bytes that the client had not taken at the last look
        self._progress_at = 0.0

    def at_most(self, due: float) -> None:
        """Due then, or before."""
        if not self.due or self.due > due:
            self.due = due

    def is_past(self, now: float) -> bool:
        """Whether `due` is over."""
        return self.due != 0.0 and now >= self.due

    def is_quiet(self, now: float, limit_s: float, excused: bool) -> bool:
        """Whether no byte of a body has come for `limit_s`; `excused` time does not count."""
        if self.heard or excused:
            self.heard = False
            self._quiet_since = now
            return False
        return now - self._quiet_since > limit_s

    def is_stuck(self, now: float, limit_s: float, unwritten: int) -> bool:
        """Whether the client has taken nothing of `unwritten` bytes for `limit_s`."""
        if unwritten != self._unwritten:
            self._unwritten = unwritten
            self._progress_at = now
            return False
        return unwritten > 0 and now - self._progress_at > limit_s


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that the peer has not taken, the kernel's among them: it lets us write on only when a megabyte or so is free again."""
    unwritten = transport.get_write_buffer_size()
    if not unwritten or fcntl is None:
        return unwritten
    try:
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):
        return unwritten
    return unwritten + int(unacknowledged)
