"""unread -- what is said where a body cannot be read, and what stands for a value that is not there."""

from __future__ import annotations

from enum import Enum


class Unread(Exception):
    """A body, or what was asked of it, cannot be read or edited safely. `why` is short, for the journal: no content."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Missing(Enum):
    """The type of MISSING."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing.MISSING
