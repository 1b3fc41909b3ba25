"""stream_reading -- the one parser of a stream of events, as a stage: `reply.reading` of a reply that streams (see `reply_reading`).

Each event is parsed until the first content. From then on a chunk is only searched for the mark of content, and parsed where it has none:
the role of another choice, a new tool call, a finish reason, usage, `[DONE]`. Its bytes leave as they came, in whole events, so that a
break falls between events: half an event of up to 64 KiB waits for its end.
A bug in here ends the reading, not the stream.
Cost: 1 µs a chunk after the first content; 8 µs a chunk that is parsed, of which a stream has four or five.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from proxy.core.faults import Failure, Fault
from proxy.core.sse import Event, Splitter, events
from proxy.core.stage import Stage
from proxy.openai.deltas import CONTENT, DONE, ERROR, FINISH, NOTHING, says_of
from proxy.openai.encoding import Unpack
from proxy.openai.endpoints import Endpoint
from proxy.openai.errors import code_of, error_event
from proxy.openai.oddities import Oddities
from proxy.openai.unread import Unread
from proxy.openai.usage import ReplyReader, Usage

HALF_BYTES = 64 * 1024  # of an event that has not ended
RECENT = 16  # chunks that are given to the reader together
LONG_BYTES = 4096  # but for one longer than this
START_BYTES = 64  # looked at for what a body is
KEYS = (b"content", b"arguments", b"delta", b"text", b"reasoning_content", b"reasoning", b"refusal")
MARKS = tuple(b'"%b":%b"' % (key, gap) for key in KEYS for gap in (b"", b" "))

_is_field = re.compile(rb"(?:data|event|id|retry)?[:\r\n]").match
_done = re.compile(rb"(?:\A|[\r\n])data:[ \t]*\[DONE\]").search
_terminal = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed|cancelled)"').search
_finish = re.compile(rb'"finish_reason"\s*:\s*"[^"]').search
_usage = re.compile(rb'"usage"\s*:\s*\{').search
_numbers = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})\b').findall
_QUOTE = 34
_AT_BLANK = (b"\n\n", b"\r\r", b"\n\r", b"\n\r\n", b"\r\r\n")
_BOM = b"\xef\xbb\xbf"


class StreamReading(Stage):
    """Reads the events of a stream as they pass.

    `unpack`: for a stream that is encoded: a copy is read, and its bytes leave as they come. `where`: who sent it, for a person.
    `over` is told once, of one that came to its own end.
    """

    __slots__ = (
        "_is_open",
        "_now",
        "_over",
        "_reader",
        "_recent",
        "_says",
        "_split",
        "_splitter",
        "_start",
        "_tail",
        "_unpack",
        "_usage",
        "_where",
        "any_event",
        "bad",
        "began_at",
        "blind",
        "content_at",
        "endpoint",
        "error",
        "is_events",
        "mark",
        "oddities",
        "said",
    )
    is_stream = True

    def __init__(
        self,
        endpoint: Endpoint,
        now: Callable[[], float],
        where: str,
        unpack: Unpack | None = None,
        over: Callable[[StreamReading], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._says = says_of(endpoint)
        self._now = now
        self._over = over
        self._where = where
        self._unpack = unpack
        self._splitter = Splitter(HALF_BYTES)
        self._split = self._splitter.feed
        self._reader = ReplyReader()
        self._recent: list[bytes] = []  # that the reader has not been given yet
        self._usage: Usage | None = None
        self._start: bytes | None = b""  # what has come, until it is known what it is
        self._tail = b""  # a last event that came without its blank line, where the stream ended too soon
        self._is_open = False  # a part of an event has left: nothing can be said before its end
        self.is_events: bool | None = None  # None: nothing has come that tells
        self.any_event = False  # of data
        self.bad = False  # an event of data that no SDK can read
        self.blind = False  # a bug, or an encoding that cannot be read: nothing is known from there on
        self.said = NOTHING  # all that events said that were parsed
        self.mark = b""  # what stands before the text of an event with content
        self.error = False
        self.began_at: float | None = None
        self.content_at: float | None = None
        self.oddities = Oddities()

    @property
    def is_known(self) -> bool:
        """Whether enough has come: content, an end, an error, what is no event, or what nobody can read."""
        return self.said != NOTHING or self.bad or self.blind or self.is_events is False

    @property
    def finished(self) -> bool:
        """Whether a finish reason, `[DONE]` or the terminal event has passed."""
        return bool(self.said & (FINISH | DONE)) or self._ends()

    @property
    def tells_usage(self) -> bool:
        """Whether usage has passed."""
        return bool(_usage(self._keep().late()) or _usage(self._keep().kept()))

    def usage(self) -> Usage:
        """What the stream says of itself; at its end."""
        if self._usage is None:
            self._usage = self._keep().result()
        return self._usage

    # As a stage

    def feed(self, data: bytes) -> bytes:
        mark = self.mark
        if mark:  # plain events, whose content has begun: the one hot path
            block = self._split(data)
            if not block:
                return block
            at = block.find(mark)
            if at >= 0 and block[at + len(mark)] != _QUOTE and not self._splitter.torn:
                self.content_at = self._now()
                self._is_open = False
                recent = self._recent
                recent.append(block)
                if len(recent) == RECENT or len(block) > LONG_BYTES:
                    self._keep()
                return block
            self._try(block)
            return block
        if self.blind:
            return self._given_up(data)
        if self._unpack is None:
            return self._passed(data)
        try:
            copy = self._unpack(data)
        except Unread:
            self.blind = True
            return data
        if copy:
            self._passed(copy)
        return data

    def _passed(self, data: bytes) -> bytes:
        if self.is_events is not True:
            if self.began_at is None:
                self.began_at = self._now()
            if self.is_events is None:
                self._sort(data)
            if self.is_events is False:
                self._reader.feed(data)
                return self._given_up(data)
        block = self._split(data)
        if block:
            self._try(block)
        return block

    def end(self) -> bytes:
        half = self._splitter.end()
        out = half if self._unpack is None else b""
        if self.blind or not self.is_events:
            return out
        if half:
            self._try(half)
            if self.blind:
                return out
        if not self.any_event or self.bad or self.said & ERROR or self._is_over or self._ends():
            over, self._over = self._over, None
            if over is not None:
                over(self)
            return out
        self._tail = out if all(json_value(event.data) is not None for event in events(out) if event.data) else b""
        raise Failure(
            Fault.TRUNCATED, self._where, "the stream ended with neither a finish reason nor its closing event"
        )

    def rest(self) -> bytes:
        self.blind, self.mark = True, b""
        return self._splitter.end() if self._unpack is None else b""

    @property
    def _is_over(self) -> bool:
        """Whether all has been heard that ends a stream of its form."""
        return self.said & DONE != 0 and (self.said & FINISH != 0 or self.endpoint == Endpoint.RESPONSES)

    # What is said to a client whose stream breaks

    def last_words(self, failure: Failure) -> bytes | None:
        """An error event in the endpoint's own form. None where none can be said: the break must stay a visible one.

        That is so amid an event, in an encoded stream, after `[DONE]`, the terminal event or an error of the stream's own, and in what is
        no stream of events.
        """
        if not self.is_events or self.blind or self._is_open or self._unpack is not None:
            return None
        if self.said & (DONE | ERROR):
            return None
        late = self._keep().late()
        if _done(late) or _terminal(late) or self._tells_error(late):
            return None
        message = f"{failure.fault.value}: {failure.detail}"
        numbers = _numbers(late)
        event = error_event(self.endpoint, message, code_of(failure.fault), int(numbers[-1]) + 1 if numbers else 0)
        return self._tail + b"\n\n" + event if self._tail else event

    # Reading

    def _sort(self, data: bytes) -> None:
        """Finds out whether it is events at all: JSON and HTML are not, whatever their label; an odd first line may be a comment's."""
        start = ((self._start or b"") + data[:START_BYTES]).removeprefix(_BOM).lstrip(b" \t\r\n")
        if not start or _BOM.startswith(start):
            self._start = start
            return
        self._start = start
        self.is_events = start[:1] not in (b"{", b"[", b"<")

    @property
    def is_json(self) -> bool:
        """Whether it is JSON, in the place of events."""
        return self.is_events is False and (self._start or b"")[:1] in (b"{", b"[")

    @property
    def is_garbage(self) -> bool:
        """Whether no event has come, and what did come does not begin as one."""
        return not self.any_event and self.is_events is True and _is_field(self._start or b"") is None

    def _try(self, block: bytes) -> None:
        """Reads events one by one. A bug ends it: nothing has been kept back of them, so nothing is lost."""
        try:
            self._recent.append(block)
            if self._splitter.torn:
                self._read_torn(block)
                return
            self._is_open = False
            for event in events(block):
                if event.data is not None:
                    self._heard(event, event.data)
        except Exception as bug:
            self.blind, self.mark = True, b""
            if self.body.on_bug is not None:
                self.body.on_bug(self, bug)

    def _keep(self) -> ReplyReader:
        """Gives the reader what has come since it was given any."""
        if self._recent:
            self._reader.feed(b"".join(self._recent))
            self._recent.clear()
        return self._reader

    def _heard(self, event: Event, data: bytes) -> None:
        data = data.strip()
        if not data:
            return
        self.any_event = True
        if data.startswith(b"[DONE]"):
            self.said |= DONE
            return
        value = json_value(data)
        if not isinstance(value, dict):
            self.bad = self.bad or not self.said
            return
        says = ERROR if event.name == b"error" else self._says(value)
        if says & CONTENT:
            self.content_at = self._now()
            if self._unpack is None and (not self.mark or self.mark not in data):
                self.mark = _mark_in(data) or self.mark
            if b'"tool_calls"' in data:
                self.oddities.content(value)
        if says & ERROR:
            self.error = True
        self.said |= says

    def _read_torn(self, block: bytes) -> None:
        """A part of an event that is too long to wait for: what it says is guessed from its text."""
        self.any_event = True
        self.content_at = self._now()
        self._is_open = not block.endswith(_AT_BLANK)
        if self.endpoint == Endpoint.RESPONSES:
            self.said |= DONE if _terminal(block) else NOTHING
        elif _finish(block):
            self.said |= FINISH

    def _ends(self) -> bool:
        """Whether what has come last says that it is the end, or an error. For ends that came in one chunk with content."""
        late = self._keep().late()
        if _done(late) or (self.endpoint == Endpoint.RESPONSES and _terminal(late)):
            self.said |= DONE
        if not self.said & FINISH and self.endpoint != Endpoint.RESPONSES and (_finish(late) or _finish(self._reader.kept())):
            self.said |= FINISH
        if not self.said & (DONE | FINISH) and self._tells_error(late):
            self.said |= ERROR
            self.error = True
        return bool(self.said & (DONE | FINISH | ERROR))

    def _tells_error(self, late: bytes) -> bool:
        if b"error" not in late:
            return False
        for event in events(late):
            if event.data is not None and b"error" in event.data:
                value = json_value(event.data)
                if isinstance(value, dict) and self._says(value) & ERROR:
                    return True
        return False

    def _given_up(self, data: bytes) -> bytes:
        """What was held flows on, then all as it comes."""
        if self._unpack is not None:
            return data
        held = self._splitter.end()
        return held + data if held else data


def _mark_in(data: bytes) -> bytes:
    """What stands before the text of an event with content; b"" where it is spelt oddly: such a stream is parsed event by event."""
    for mark in MARKS:
        at = data.find(mark)
        if at >= 0 and data[at + len(mark)] != _QUOTE:
            return mark
    return b""


def json_value(data: bytes) -> Any:
    """The value of JSON; None where it is none. NaN and lone surrogates are read as the SDKs' parsers do."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
