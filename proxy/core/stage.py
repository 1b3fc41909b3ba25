"""stage -- what stands at the two sides of a body: its producer, and the synchronous steps that its bytes pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from proxy.core.faults import Failure

if TYPE_CHECKING:
    from proxy.core.body import Body

BugReport = Callable[[object, Exception], None]


class Flow(Protocol):
    """A producer, as its body sees it."""

    def body_full(self) -> None:
        """Stop reading for now."""

    def body_drained(self) -> None:
        """Read on. Better not at once: who asks is in the midst of taking."""

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
        """What it holds, asked when a bug drops it. The bytes given to the `feed` that broke follow by themselves: keep
        bytes as the last thing that `feed` does, or they are sent twice."""
        return b""


Feed = Callable[[bytes], bytes]


def feeds_of(stages: tuple[Stage, ...]) -> tuple[Feed, ...]:
    """The `feed` of each stage that has one."""
    return tuple(stage.feed for stage in stages if type(stage).feed is not Stage.feed)


def stage_of(feed: Feed) -> Stage:
    """Whose `feed` it is."""
    stage: Stage = feed.__self__  # type: ignore[attr-defined]
    return stage


def last_words(say: Callable[..., bytes], *args: object) -> bytes:
    """What a stage says when asked, b"" when it cannot."""
    try:
        return say(*args) or b""
    except Exception:
        return b""


def parting(stage: Stage, tail: bytes, failure: Failure, report: BugReport | None) -> bytes:
    """What leaves a stage at a break: what comes from inside of it, then its own last words. A bug loses nothing, but of a guard."""
    words = b""
    try:
        words = stage.feed(tail) if tail else b""
    except Failure:
        pass  # there is one already
    except Exception as bug:
        words = _left(stage, bug, report, tail)
    try:
        return words + (stage.fail(failure) or b"")
    except Exception as bug:
        return words + _left(stage, bug, report, b"")


def _left(stage: Stage, bug: Exception, report: BugReport | None, tail: bytes) -> bytes:
    if report is not None:
        report(stage, bug)
    return b"" if stage.critical else last_words(stage.rest) + tail
