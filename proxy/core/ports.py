"""ports -- what is told outward of a call and of its exchanges, and who is told. Layers write records, adapters make spans and lines.

A record rides inward in `call.trace` while it fills, so that the upstream adapter can write what only it knows: `target`, `address`. Times
are loop times, in seconds; `clock.wall_of_ns` makes a Unix time of one. A record holds its call, hence its body: a recorder takes what it
needs and lets go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from proxy.core.body import Headers
    from proxy.core.call import Call, Target
    from proxy.core.clock import Clock


class Outcome(StrEnum):
    """How a call or an exchange ended."""

    OK = "ok"  # a reply went whole to whoever asked, whatever its status
    REFUSED = "refused"  # a policy, or the proxy itself, said no
    FAILED = "failed"  # no reply that could be used, or its body broke
    LEFT = "left"  # whoever asked left first: the app, or a layer that needed the exchange no more


class Trace(Protocol):
    """A place in a distributed trace, decided before anything is sent."""

    @property
    def trace_id(self) -> int:
        """128 bits."""

    @property
    def span_id(self) -> int:
        """64 bits: of the span that will tell of this call or exchange."""

    @property
    def parent_id(self) -> int | None:
        """The span that this one belongs under; None for the first of a trace."""

    @property
    def sampled(self) -> bool:
        """Whether the span will be told at all."""

    @property
    def traceparent(self) -> bytes:
        """The header that makes whoever receives it a child of this span."""

    def exchange(self) -> Trace:
        """A child: the place of one upstream exchange."""


@dataclass(slots=True)
class CallRecord:
    """One call, from its head to the moment when the app has it all or has left."""

    call: Call
    clock: Clock
    started: float
    trace: Trace | None = None
    exchanges: list[ExchangeRecord] = field(default_factory=list)  # begun, in order
    unread: bytes | None = None  # a body that was here with the head, until somebody wants to know the model that it names
    head: float | None = None  # the reply was known
    ended: float = 0.0
    status: int | None = None  # None: the app left before there was one
    origin: str = ""  # `upstream`, `static`, `cache`; "" without a reply
    target: Target | None = None  # that answered, or that was asked last
    address: str = ""
    headers: Headers = field(default_factory=list)  # of the reply; they may hold cookies
    outcome: Outcome = Outcome.OK
    fault: str | None = None
    detail: str = ""  # for a person; no content, no secrets


@dataclass(slots=True)
class ExchangeRecord:
    """One upstream exchange, from its start to the end of its source."""

    call: Call
    clock: Clock
    target: Target
    started: float
    trace: Trace | None = None
    address: str = ""  # host:port
    head: float | None = None
    first_chunk: float | None = None  # only known where the reply was read
    ended: float = 0.0
    status: int | None = None
    streamed: bool = False
    outcome: Outcome = Outcome.OK
    fault: str | None = None
    detail: str = ""
    usage: Any = None  # a `proxy.openai.usage.Usage`, only where the reply was read


def is_stream(headers: Headers) -> bool:
    """Whether a reply's headers announce a stream of events."""
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            return value.lower().startswith(b"text/event-stream")
    return False


class Recorder(Protocol):
    """Takes finished records, on the loop: what costs more than microseconds it does elsewhere."""

    def call_ended(self, record: CallRecord) -> None:
        """The app has its reply, or has left."""

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """An upstream's reply has ended or broken, or was let go."""
