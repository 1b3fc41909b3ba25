"""stage -- what stands at the two sides of a body: its producer, and the synchronous steps that its bytes pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxy.core.body import Body
    from proxy.core.faults import Failure


class Flow(Protocol):
    """A producer, as its body sees it."""

    def body_full(self) -> None:
        """Stop reading for now."""

    def body_drained(self) -> None:
        """Read on."""

    def let_go(self, body: Body) -> None:
        """The body is not wanted any more, or it broke: stop the source at once. Called at most once."""


class Stage:
    """One step of a body. It hears exactly one of `end` and `fail`, once; inner stages first.

    `feed` not overridden costs nothing per chunk. Any method's bytes flow on outward.
    """

    __slots__ = ("body",)
    critical = False  # a bug in a critical stage breaks the body; any other is dropped and the bytes flow on
    body: Body

    def feed(self, data: bytes) -> bytes:
        """What leaves for `data`. May raise Failure: the body breaks here."""
        return data

    def end(self) -> bytes:
        """Last bytes. May raise Failure (truncated, invalid)."""
        return b""

    def fail(self, failure: Failure) -> bytes:
        """Last bytes before a break."""
        return b""

    def rest(self) -> bytes:
        """What it holds, asked when a bug drops it."""
        return b""
