"""chunks -- where the chunks of a body end, by their sizes: so that no byte inside of one is looked at, whatever it is.

It does not judge: llhttp is fed the same bytes and refuses what is malformed. Cost: half a microsecond a chunk, nothing a byte.
"""

from __future__ import annotations

import re

is_size = re.compile(rb"[0-9A-Fa-f]{1,16}(?=[;\r])").match
LINE_BYTES = 16 * 1024  # of one size with its extensions, kept while it is incomplete; a longer one is excess in any case


class Chunks:
    """Follows one body. `ended`: the size of its last chunk has been passed; trailers and a blank line are left."""

    __slots__ = ("_left", "_line", "ended")

    def __init__(self) -> None:
        self._left = 0  # of a chunk's data and its line end
        self._line = b""  # the beginning of a size line
        self.ended = False

    def reset(self) -> None:
        """A new body begins."""
        self._left = 0
        self._line = b""
        self.ended = False

    def skip(self, data: bytes, at: int) -> int:
        """How far `data` from `at` on is chunks: to its end (so too where no size can be read), or just behind the last size."""
        size = len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            newline = data.find(b"\n", at)
            if newline < 0:
                self._line = (self._line + data[at:])[: LINE_BYTES + 1]
                return size
            line, self._line = self._line + data[at : newline + 1], b""
            at = newline + 1
            found = is_size(line)
            if found is None:
                return size
            length = int(found[0], 16)
            if length == 0:
                self.ended = True
                return at
            self._left = length + 2
        return at
