"""prime -- looks at the beginning of each reply before anybody gets it: what it is, whether it is good, where its first content is.

Floor EXCHANGE, innermost, of no policy: it stands where a layer of the stack asks for the fault of a reply (`Kind.primes`). What it finds
stands in `reply.fault`, where retry, fallback and the breaker read it; a body that breaks or ends too soon while it is held is a Failure.
What is held: an error to its end (64 KiB), a stream to its first content (64 KiB), plain JSON whole (4 MiB). All of it leaves as it came.
It asks the upstream not to encode what is read here; what comes encoded all the same is read as a copy.
Cost: 18 µs a plain reply of 1 KB, its JSON parsed once for all who ask; 45 µs a stream, and 1 µs a chunk of it.
"""

from __future__ import annotations

from functools import partial

from proxy.core.body import Body
from proxy.core.call import Call
from proxy.core.clock import Clock
from proxy.core.faults import PEEK_BYTES, Failure, Fault, classify
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import LENGTH
from proxy.core.service import Service
from proxy.openai.deltas import DONE, ERROR, FINISH, STREAMED
from proxy.openai.encoding import unpacker
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload, Unread
from proxy.openai.reply_reading import WholeReading
from proxy.openai.stream_reading import StreamReading
from proxy.openai.whole import begins_events, judged

WHOLE_BYTES = 4 * 1024 * 1024  # of a plain reply: an answer with its logprobs, some thousand embeddings
STREAM_BYTES = PEEK_BYTES  # of a stream without content: keepalives, and a response.created that repeats the request
JUDGED = STREAMED | {Endpoint.EMBEDDINGS, Endpoint.MODELS}  # that can only answer with JSON, or with events where they were asked for
BODILESS = (204, 205, 304)
ACCEPTS = b"accept-encoding"
PLAIN_NAMES = (b"", b"identity")


class Identity:
    """The outward half of it: what may be read of a reply is asked for unencoded."""

    __slots__ = ()

    async def __call__(self, call: Call, inner: Service) -> Reply:
        return await inner(unencoded(call))


class Prime:
    """The layer."""

    __slots__ = ("_now",)

    def __init__(self, clock: Clock) -> None:
        self._now = clock.now

    async def __call__(self, call: Call, inner: Service) -> Reply:
        reply = await inner(unencoded(call))
        status = reply.status
        if status < 200 or reply.tunnel is not None or call.request.method == b"HEAD" or status in BODILESS:
            return reply
        if status >= 400:
            await _until_its_end(reply)
        elif status < 300:
            await self._look(call, reply)
        return reply

    async def _look(self, call: Call, reply: Reply) -> None:
        endpoint = call.endpoint
        labelled = (reply.header(b"content-type") or b"").strip().lower()
        if endpoint not in JUDGED:
            if labelled.startswith(b"application/json") and reply.framing is LENGTH and _announced(reply) <= WHOLE_BYTES:
                await reply.body.until(None, WHOLE_BYTES)
            return
        asked = _asks_stream(call) if endpoint in STREAMED else False
        if asked or labelled.startswith(b"text/event-stream"):
            await self._stream(call, reply, asked)
        else:
            await self._whole(call, reply, asked)

    async def _stream(self, call: Call, reply: Reply, asked: bool | None) -> None:
        unpack = None
        if (encoding := _encoding(reply)) not in PLAIN_NAMES and (unpack := unpacker(encoding)) is None:
            call.journal.note("unreadable", why=_word(encoding))
            return
        where = _upstream(call, reply)
        body = reply.body
        over = partial(_ended, call.journal, where, _wants_usage(call))
        reading = StreamReading(Endpoint(call.endpoint), self._now, where, unpack, over)
        body.attach(reading)
        reply.reading = reading
        reply.last_words = reading.last_words
        if call.endpoint == Endpoint.RESPONSES and _value(call, "background") is True:
            return
        await body.until(lambda: reading.is_known, STREAM_BYTES)
        if reading.blind:
            if unpack is not None:
                call.journal.note("unreadable", why=_word(encoding))
            return
        if reading.is_events is False:
            await body.until(None, PEEK_BYTES)
            reply.fault = Fault.BAD_REPLY
            if asked and reading.is_json:
                _odd(call.journal, where, "json_for_stream")
        elif reading.bad or reading.error or reading.is_garbage:
            reply.fault = Fault.BAD_REPLY
        elif body.ended and not reading.any_event:  # an SDK that is given it ends without a word
            reply.close()
            raise Failure(Fault.BAD_REPLY, where, "the stream ended without an event")
        elif asked is False:
            reply.fault = Fault.BAD_REPLY
            _odd(call.journal, where, "stream_for_json")

    async def _whole(self, call: Call, reply: Reply, asked: bool | None) -> None:
        body = reply.body
        if reply.framing is LENGTH and _announced(reply) > WHOLE_BYTES:
            return
        encoding = _encoding(reply)
        if encoding in PLAIN_NAMES:
            if not body.ended:
                await body.until(None, 1)
            if begins_events(body.peek()):  # whatever its label
                await self._stream(call, reply, asked)
                return
        if not body.ended:
            await body.until(None, WHOLE_BYTES)
            if not body.ended:
                return
        data = body.peek()
        if encoding not in PLAIN_NAMES:
            unpack = unpacker(encoding)
            if unpack is None:
                call.journal.note("unreadable", why=_word(encoding))
                return
            try:
                data = unpack(data)
            except Unread:
                reply.fault = Fault.BAD_REPLY
                return
        verdict = judged(data, call.endpoint)
        reply.reading = WholeReading(data, verdict.value, self._now())
        reply.fault = verdict.fault


async def _until_its_end(reply: Reply) -> None:
    """Waits for an error's body, whose text may tell the fault. One that breaks off says what it can; the app sees it broken, too."""
    body = reply.body
    try:
        await body.until(None, PEEK_BYTES)
    except Failure as failure:
        if body.error is None:
            raise
        rest = Body()
        rest.on_bug = body.on_bug
        rest.feed(body.take())
        rest.fail(failure.bare())
        reply.body = rest
        reply.fault = classify(reply) or Fault.TRUNCATED
    else:
        reply.fault = classify(reply)


def _odd(journal: Journal, upstream: str, what: str) -> None:
    """Notes one of `oddities.WHAT`, to be counted."""
    journal.note("oddity", upstream=upstream, what=what)


def _ended(journal: Journal, upstream: str, wants_usage: bool, reading: StreamReading) -> None:
    """Notes what was odd of a stream, at its own end."""
    if reading.said & ERROR or reading.bad or not reading.any_event or reading.endpoint == Endpoint.RESPONSES:
        return
    for what in reading.oddities.found(bool(reading.said & DONE), bool(reading.said & FINISH), wants_usage and not reading.tells_usage):
        _odd(journal, upstream, what)


def unencoded(call: Call) -> Call:
    """The call, asking for a reply that is not encoded, where it is one that is read; the same one where nothing need change."""
    request = call.request
    if call.endpoint not in JUDGED or request.upgrade is not None:
        return call
    plain = headers = request.headers
    for at, (name, value) in enumerate(headers):
        if len(name) == 15 and name.lower() == ACCEPTS and value.strip().lower() != b"identity":
            plain = [*plain[:at], (name, b"identity"), *plain[at + 1 :]]
    if plain is headers:
        return call
    return call.derive(request=request.derive(request.target, plain, request.framing, request.length, request.body))


def _value(call: Call, key: str) -> object:
    payload: Payload | None = call.payload
    try:
        return payload.value(key) if payload is not None else None
    except Unread:
        return None


def _asks_stream(call: Call) -> bool | None:
    """Whether the app asked for a stream; None where its body is not held, or cannot be read."""
    payload: Payload | None = call.payload
    if payload is None:
        return None
    try:
        return payload.stream
    except Unread:
        return None


def _wants_usage(call: Call) -> bool:
    options = _value(call, "stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _announced(reply: Reply) -> int:
    """Bytes of a body with a length; its head has been checked."""
    return int(reply.header(b"content-length") or 0)


def _encoding(reply: Reply) -> bytes:
    return (reply.header(b"content-encoding") or b"").strip().lower()


def _word(encoding: bytes) -> str:
    return encoding[:20].decode("latin-1")


def _upstream(call: Call, reply: Reply) -> str:
    return reply.target.upstream if reply.target is not None else call.target.upstream
