"""playing -- a script of a test file as what goes over the wire: bytes, waits, and how it ends. Pure functions of script and request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from proxy.core.body import Headers
from proxy.openai.answers import STREAMED, Said, Tokens, ToolCall, embeddings, whole
from proxy.openai.encoding import decoded
from proxy.openai.endpoints import Endpoint, endpoint_of
from proxy.openai.events import ChatEvents, event, stream_of
from proxy.openai.unread import Unread
from proxy.policy.play_spec import PlaySpec, StreamedSpec, ToolCallSpec

JSON, SSE, PLAIN = b"application/json", b"text/event-stream; charset=utf-8", b"text/plain; charset=utf-8"
VECTOR = (0.6, 0.8, 0.0)


@dataclass(slots=True, frozen=True)
class Wait:
    """Nothing, for so long."""

    wait_s: float


@dataclass(slots=True, frozen=True)
class Silence:
    """Nothing, ever again."""


@dataclass(slots=True, frozen=True)
class Reset:
    """The connection breaks."""


@dataclass(slots=True, frozen=True)
class Close:
    """The connection ends, in good order."""


Step = bytes | Wait | Silence | Reset | Close


@dataclass(slots=True)
class Playing:
    """The request that is answered: what an answer needs to know of it."""

    method: bytes
    target: bytes
    body: bytes
    encoding: bytes | None = None
    endpoint: Endpoint = field(init=False)
    asked: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = endpoint_of(self.method, self.target)
        try:
            asked = json.loads(decoded(self.body, self.encoding) if self.encoding else self.body)
        except (ValueError, RecursionError, Unread):
            asked = None
        self.asked = asked if isinstance(asked, dict) else {}

    @property
    def model(self) -> str:
        """The model asked for."""
        model = self.asked.get("model")
        return model if isinstance(model, str) else ""

    @property
    def wants_stream(self) -> bool:
        """Whether a stream is asked for, of an API that has them."""
        return self.asked.get("stream") is True and self.endpoint in STREAMED

    @property
    def wants_usage(self) -> bool:
        """Whether a stream of chat should tell its usage."""
        options = self.asked.get("stream_options")
        return self.endpoint is Endpoint.RESPONSES or (isinstance(options, dict) and options.get("include_usage") is True)


def play(spec: PlaySpec, asked: Playing) -> Iterator[Step]:
    """What happens after the request is there, in order."""
    if spec.delay:
        yield Wait(spec.delay)
    if spec.stall == "head":
        yield Silence()
    if spec.reset == "connect":
        yield Reset()
        return
    if spec.reset == "head":
        yield b"HTTP/1.1 200 OK\r\nContent-Ty"
        yield Reset()
        return
    streamed = _pieces(spec, asked)
    if streamed is not None:
        yield from _streamed(spec, asked, streamed)
    else:
        yield from _plain(spec, asked)


# Plain replies


def _plain(spec: PlaySpec, asked: Playing) -> Iterator[Step]:
    data, kind = _body(spec, asked)
    has_body = spec.status not in (204, 304)
    yield _head(spec, [(b"Content-Type", kind)] if has_body else [], b"%d" % len(data) if has_body else None)
    if not has_body or asked.method == b"HEAD":
        return
    if spec.stall == "first":
        yield Silence()
    if spec.first:
        yield Wait(spec.first)
    breaks = spec.reset == "body" or spec.end == "cut" or spec.stall == "body"
    yield from _dripped(data[: len(data) // 2] if breaks else data, spec.drip)
    if spec.stall == "body":
        yield Silence()
    if breaks:
        yield Reset()
    elif any(name.lower() == "content-length" for name in spec.headers):
        yield Close()  # whether or not it was true


def _body(spec: PlaySpec, asked: Playing) -> tuple[bytes, bytes]:
    if "body" in spec.model_fields_set:
        return _written(spec.body), (PLAIN if isinstance(spec.body, str) else JSON)
    if spec.status >= 400 and spec.reply is None and not spec.tool_calls:
        return orjson.dumps({"error": {**_error(spec.status), "param": None}}), JSON
    text = "ok" if spec.reply is None and not spec.tool_calls else spec.reply or ""
    if asked.endpoint in STREAMED:
        return orjson.dumps(whole(asked.endpoint, _said(spec, asked, text))), JSON
    if asked.endpoint is Endpoint.EMBEDDINGS:
        given = asked.asked.get("input")
        many = given if isinstance(given, list) and given and isinstance(given[0], (str, list)) else [given]
        as_base64 = asked.asked.get("encoding_format") == "base64"
        return orjson.dumps(embeddings(asked.model, [VECTOR] * len(many), 5 * len(many), as_base64)), JSON
    if asked.endpoint is Endpoint.MODELS:
        card = {"id": text, "object": "model", "created": 0, "owned_by": "played"}
        listed = asked.target.partition(b"?")[0].rstrip(b"/").endswith(b"models")
        return orjson.dumps({"object": "list", "data": [card]} if listed else card), JSON
    return orjson.dumps({"text": text}), JSON


def _error(status: int) -> dict[str, str]:
    """What OpenAI's API says with a status."""
    known = {
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "unsupported_country_region_territory"),
        404: ("invalid_request_error", "not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }
    type, code = known.get(status, ("server_error", "server_error") if status >= 500 else ("invalid_request_error", "invalid_value"))
    return {"message": _reason(status), "type": type, "code": code}


# Streams


def _pieces(spec: PlaySpec, asked: Playing) -> list[StreamedSpec] | None:
    """The pieces of a stream, None where the reply is no stream of ours."""
    if spec.stream is not None:
        return list(spec.stream)
    if spec.raw is not None:
        return [_made(raw=text) for text in spec.raw]
    if not asked.wants_stream or "body" in spec.model_fields_set or (spec.status >= 400 and spec.reply is None):
        return None
    pieces = [] if spec.tool_calls and spec.reply is None else [_made(text=word) for word in _words(spec.reply, "ok")]
    return [*pieces, *(_made(tool_call=call) for call in spec.tool_calls or ())]


def _made(**what: object) -> StreamedSpec:
    return StreamedSpec.model_validate(what)


def _words(text: str | None, default: str) -> list[str]:
    first, *others = (default if text is None else text).split(" ")
    return [piece for piece in (first, *(f" {word}" for word in others)) if piece]


def _streamed(spec: PlaySpec, asked: Playing, pieces: list[StreamedSpec]) -> Iterator[Step]:
    endpoint = asked.endpoint if asked.endpoint in STREAMED else Endpoint.CHAT
    events = stream_of(endpoint, _said(spec, asked, ""))
    bare = spec.raw is not None
    yield _head(spec, [(b"Content-Type", SSE), (b"Cache-Control", b"no-cache")], None)
    if spec.stall == "first":
        yield Silence()
    for step in _said_in_order(spec, asked, pieces, events, bare):
        yield from (_chunks(step, spec.drip) if isinstance(step, bytes) else [step])
    if spec.stall == "body":
        yield Silence()
    if spec.end == "cut" or spec.reset == "body":
        yield Reset()
        return
    yield b"0\r\n\r\n"


def _said_in_order(spec: PlaySpec, asked: Playing, pieces: list[StreamedSpec], events: ChatEvents, bare: bool) -> Iterator[bytes | Wait]:
    if not bare:
        yield events.opening()
    if spec.first:
        yield Wait(spec.first)
    calls = 0
    for place, piece in enumerate(pieces):
        if spec.gap and place:
            yield Wait(spec.gap)
        if piece.tool_call is not None:
            calls += 1
        yield Wait(piece.wait) if piece.wait is not None else _piece(piece, events, calls)
    if spec.stall == "body" or spec.reset == "body" or spec.end == "cut":
        return
    if spec.end == "error":
        yield events.error("The server had an error while processing your request.", "server_error")
    elif not bare and spec.end != "no_finish":
        yield events.closing(_said(spec, asked, ""), asked.wants_usage)
        if spec.end != "no_done":
            yield events.done


def _piece(piece: StreamedSpec, events: ChatEvents, calls: int) -> bytes:
    if piece.text is not None:
        return events.text(piece.text)
    if piece.reasoning is not None:
        return events.reasoning(piece.reasoning)
    if piece.refusal is not None:
        return events.refusal(piece.refusal)
    if piece.tool_call is not None:
        return events.call(_call(piece.tool_call, calls))
    if piece.error is not None:
        return events.error(piece.error, "server_error")
    if piece.comment is not None:
        return b": " + piece.comment.encode() + b"\n\n"
    if piece.raw is not None:
        return piece.raw.encode()
    return b"data: " + piece.data.encode() + b"\n\n" if isinstance(piece.data, str) else event(piece.data)


def _chunks(data: bytes, drip_s: float | None) -> Iterator[Step]:
    for part in _dripped(data, drip_s):
        yield part if isinstance(part, Wait) else b"%x\r\n%b\r\n" % (len(part), part) if part else b""


def _dripped(data: bytes, drip_s: float | None) -> Iterator[bytes | Wait]:
    if drip_s is None:
        yield data
        return
    for at in range(len(data)):
        yield Wait(drip_s)
        yield data[at : at + 1]


# Both


def _head(spec: PlaySpec, headers: Headers, length: bytes | None) -> bytes:
    """The head of a reply; `length` None: the body is chunked. A header of the script replaces ours of its name."""
    given = {name.lower() for name in spec.headers}
    framing = [(b"Content-Length", length)] if length is not None else [(b"Transfer-Encoding", b"chunked")]
    if "content-length" in given or spec.status in (204, 304):
        framing = []
    pairs = [(name, value) for name, value in (*headers, *framing) if name.decode().lower() not in given]
    pairs += [(name.encode(), value.encode()) for name, values in spec.headers.items() for value in values]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (spec.status, _reason(spec.status).encode(), lines)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _said(spec: PlaySpec, asked: Playing, text: str) -> Said:
    usage = spec.usage
    tokens = None if usage is False else Tokens(5, 2) if usage is True else Tokens(usage.prompt, usage.completion)
    calls = tuple(_call(call, place) for place, call in enumerate(spec.tool_calls or (), 1))
    return Said(asked.model, text, calls, tokens, spec.finish, id="played")


def _call(spec: ToolCallSpec, place: int) -> ToolCall:
    arguments = spec.arguments
    return ToolCall(spec.id or f"call_{place}", spec.name, arguments if isinstance(arguments, str) else json.dumps(arguments))


def _written(body: Any) -> bytes:
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else orjson.dumps(body)
