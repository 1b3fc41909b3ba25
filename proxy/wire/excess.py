"""excess -- how much of a chunked body is not data: extensions, sizes, trailers. An honest sender's share is small and stays small."""

from __future__ import annotations

ALLOWED = 16 * 1024  # bytes beyond what the data excuse: trailers and a rare extension fit, a flood of either does not
PER_CHUNK = 16  # bytes around a chunk: a size, two line ends, a short extension


class Excess:
    """Counts both sides: bytes read, and bytes of data in them."""

    __slots__ = ("_excess",)

    def __init__(self) -> None:
        self._excess = 0

    def reset(self) -> None:
        """A new body begins."""
        self._excess = 0

    def fed(self, size: int) -> None:
        """So many bytes are about to be parsed."""
        self._excess = max(self._excess, 0) + size

    def carried(self, size: int) -> None:
        """A chunk, or part of one, had so many bytes of data, each of which excuses one more."""
        self._excess -= PER_CHUNK + 2 * size

    @property
    def is_too_much(self) -> bool:
        """Asked after what was fed is parsed."""
        return self._excess > ALLOWED
