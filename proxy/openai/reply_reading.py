"""reply_reading -- one parser for a reply, shared by whoever asks what it says. `prime` attaches it, `reply.reading` is it.

    reading = reply.reading                      # None: nobody looked, or there is nothing to read (an error, audio, a file)
    reading.is_stream                            # True: events pass, and the fields below move
    reading.content_at                           # loop time of the last event with content; None: none yet
    reading.began_at                             # loop time of the first byte that came
    reading.finished                             # a finish reason, `[DONE]` or the terminal event has passed
    reading.error                                # an error event has passed
    reading.usage()                              # a `proxy.openai.usage.Usage`, at the end; read once

Keepalives, a role alone and empty texts are no content, so `content_at` is what an idle limit looks at when its alarm rings: nothing is
called per chunk. A stage that is attached to the body after it (any layer outside of `prime`) gets whole events of a stream.

A stream is read by `proxy.openai.stream_reading`. Cost of one that is whole: what parsing its JSON takes, once, for all who ask.
"""

from __future__ import annotations

from typing import Any, Protocol

from proxy.openai.usage import ReplyReader, Usage, read_object


class Reading(Protocol):
    """What `reply.reading` is, whether the reply is a stream or whole."""

    is_stream: bool
    began_at: float | None
    content_at: float | None
    error: bool

    @property
    def finished(self) -> bool:
        """Whether the answer has come to its end."""

    def usage(self) -> Usage:
        """What the reply says of itself."""


class WholeReading:
    """A reply that is all here. `value`: its JSON, where it was small enough to be parsed; shared, nobody may change it."""

    __slots__ = ("_raw", "_usage", "began_at", "content_at", "error", "value")
    is_stream = False
    finished = True

    def __init__(self, raw: bytes, value: Any, at: float) -> None:
        self._raw = raw
        self._usage: Usage | None = None
        self.value = value
        self.began_at: float | None = at
        self.content_at: float | None = at
        self.error = False

    def usage(self) -> Usage:
        """What the reply says of itself."""
        if self._usage is None:
            if isinstance(self.value, dict):
                self._usage = Usage()
                read_object(self._usage, self.value)
            else:
                reader = ReplyReader()
                reader.feed(self._raw)
                self._usage = reader.result()
        return self._usage
