"""scripted -- an upstream that needs no key and no network: it speaks the OpenAI API on loopback and makes up its answers.

For `chassis demo` and for `make run` where no real upstream is named. Same question, same answer; the model it names is the one asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
from aiohttp import web

FIRST_S = 0.12  # until the first word: what a small hosted model takes
WORD_S = 0.015
CREATED = 1_760_000_000
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "text-embedding-3-small")
DIMENSIONS = 256
MAX_DIMENSIONS = 3072  # of the largest model that the API has
OPENINGS = (
    "Good question. ",
    "In short: ",
    "Here is how I would put it. ",
    "Let us take it step by step. ",
)
BODIES = (
    "There are two sides to {topic}. The first is what it does for the people who use it every day; the second is what it costs to keep. "
    "Most of the trouble comes from looking at one of them alone.",
    "{Topic} is easier to see in a small example. Take one case, follow it from its beginning to its end, write down what surprised you, "
    "and only then look at the general rule.",
    "The usual answer about {topic} is right three times out of four. The fourth time it depends on the load, on the order of events, "
    "and on who is waiting for the result.",
)
CLOSINGS = (" Does that help?", " I can go deeper where you like.", "")


class Scripted:
    """The upstream's routes. `paced=False` answers without delay."""

    def __init__(self, paced: bool = True) -> None:
        self._paced = paced

    def app(self) -> web.Application:
        """A fresh aiohttp application."""
        app = web.Application(client_max_size=128 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{id}", self._model)
        app.router.add_route("*", "/{rest:.*}", _nothing_here)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        if isinstance(asked, web.Response):
            return asked
        prompt = _last_text(asked.get("messages"))
        words = list(_words(answer(prompt)))
        head = {"id": _id("chatcmpl", asked), "created": CREATED, "model": asked["model"], "system_fingerprint": "fp_scripted"}
        usage = _usage(orjson.dumps(asked.get("messages")).decode(), words, "prompt_tokens", "completion_tokens")
        if not asked.get("stream"):
            await self._wait(FIRST_S + WORD_S * len(words) / 4)
            message = {"role": "assistant", "content": "".join(words), "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event({**head, "object": "chat.completion.chunk", "choices": [choice]})

        async def events() -> AsyncIterator[bytes]:
            yield chunk({"role": "assistant", "content": "", "refusal": None})
            await self._wait(FIRST_S)
            for word in words:
                yield chunk({"content": word})
                await self._wait(WORD_S)
            yield chunk({}, "stop")
            options = asked.get("stream_options")
            if isinstance(options, dict) and options.get("include_usage"):
                yield _event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"

        return await _stream(request, events())

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        if isinstance(asked, web.Response):
            return asked
        prompt = asked.get("prompt")
        words = list(_words(answer(prompt if isinstance(prompt, str) else orjson.dumps(prompt).decode())))
        head = {"id": _id("cmpl", asked), "object": "text_completion", "created": CREATED, "model": asked["model"]}

        def piece(text: str, finish: str | None) -> dict[str, Any]:
            return {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}

        async def events() -> AsyncIterator[bytes]:
            await self._wait(FIRST_S)
            for word in words:
                yield _event(piece(word, None))
                await self._wait(WORD_S)
            yield _event(piece("", "stop"))
            yield b"data: [DONE]\n\n"

        if asked.get("stream"):
            return await _stream(request, events())
        await self._wait(FIRST_S)
        return _json({**piece("".join(words), "stop"), "usage": _usage(str(prompt), words, "prompt_tokens", "completion_tokens")})

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        if isinstance(asked, web.Response):
            return asked
        given = asked.get("input")
        words = list(_words(answer(given if isinstance(given, str) else _last_text(given))))
        text = "".join(words)
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"id": _id("msg", asked), "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        usage = _usage(orjson.dumps(given).decode(), words, "input_tokens", "output_tokens")
        usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        base = {
            "id": _id("resp", asked),
            "object": "response",
            "created_at": CREATED,
            "model": asked["model"],
            "instructions": asked.get("instructions"),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": asked.get("tools") or [],
        }
        begun = {**base, "status": "in_progress", "output": [], "usage": None}
        done = {**base, "status": "completed", "output": [item], "usage": usage}
        if not asked.get("stream"):
            await self._wait(FIRST_S + WORD_S * len(words) / 4)
            return _json(done)
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        empty = {**part, "text": ""}

        async def events() -> AsyncIterator[bytes]:
            yield _named(0, "response.created", response=begun)
            yield _named(1, "response.in_progress", response=begun)
            await self._wait(FIRST_S)
            yield _named(2, "response.output_item.added", output_index=0, item={**item, "status": "in_progress", "content": []})
            yield _named(3, "response.content_part.added", **at, part=empty)
            for n, word in enumerate(words, 4):
                yield _named(n, "response.output_text.delta", **at, delta=word, logprobs=[])
                await self._wait(WORD_S)
            n = 4 + len(words)
            yield _named(n, "response.output_text.done", **at, text=text, logprobs=[])
            yield _named(n + 1, "response.content_part.done", **at, part=part)
            yield _named(n + 2, "response.output_item.done", output_index=0, item=item)
            yield _named(n + 3, "response.completed", response=done)

        return await _stream(request, events())

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        if isinstance(asked, web.Response):
            return asked
        given = asked.get("input")
        size = asked.get("dimensions") or DIMENSIONS
        if not isinstance(size, int) or not 1 <= size <= MAX_DIMENSIONS:
            return _error(400, f"'dimensions' must be 1 to {MAX_DIMENSIONS}", "invalid_value")
        texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
        data = []
        for n, text in enumerate(texts):
            vector = _vector(orjson.dumps(text), size)
            packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": n, "embedding": packed if asked.get("encoding_format") == "base64" else vector})
        tokens = max(1, len(orjson.dumps(given)) // 4)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "data": data, "model": asked["model"], "usage": usage})

    async def _models(self, request: web.Request) -> web.Response:
        return _json({"object": "list", "data": [_model_card(name) for name in MODELS]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        return _json(_model_card(name)) if name in MODELS else _error(404, f"The model '{name}' does not exist", "model_not_found")

    async def _wait(self, wait_s: float) -> None:
        if self._paced:
            await asyncio.sleep(wait_s)


def answer(prompt: str) -> str:
    """The made-up answer to a prompt, always the same for the same prompt."""
    seed = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()
    words = [word for word in prompt.split() if len(word) > 3][:6]
    topic = " ".join(words).strip(" ?.!,;:") or "this"
    body = BODIES[seed[1] % len(BODIES)].format(topic=topic, Topic=topic[:1].upper() + topic[1:])
    return OPENINGS[seed[0] % len(OPENINGS)] + body + CLOSINGS[seed[2] % len(CLOSINGS)]


def _words(text: str) -> Iterator[str]:
    parts = text.split(" ")
    yield parts[0]
    for part in parts[1:]:
        yield " " + part


def _last_text(messages: Any) -> str:
    for message in reversed(messages if isinstance(messages, list) else []):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            return content
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                return str(part["text"])
    return ""


def _vector(text: bytes, size: int) -> list[float]:
    raw = hashlib.shake_256(text).digest(2 * size)
    values = [(number - 32_767.5) / 32_767.5 for number in struct.unpack(f"<{size}H", raw)]
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [value / norm for value in values]


def _usage(prompt: str, words: list[str], asked: str, answered: str) -> dict[str, Any]:
    before, after = max(1, len(prompt) // 4), len(words)
    return {asked: before, answered: after, "total_tokens": before + after}


def _id(kind: str, asked: dict[str, Any]) -> str:
    return f"{kind}-{hashlib.sha256(orjson.dumps(asked)).hexdigest()[:24]}"


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _named(number: int, name: str, **data: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + _event({"type": name, "sequence_number": number, **data})


def _json(data: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def _error(status: int, message: str, code: str) -> web.Response:
    return _json({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}, status)


async def _asked(request: web.Request) -> dict[str, Any] | web.Response:
    """The JSON body with its model, or the error that the real API would send."""
    try:
        asked = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return _error(400, "We could not parse the JSON body of your request.", "invalid_json")
    if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
        return _error(400, "you must provide a model parameter", "missing_model")
    return asked


async def _stream(request: web.Request, events: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"})
    await response.prepare(request)
    async for event in events:
        await response.write(event)
    await response.write_eof()
    return response


async def _nothing_here(request: web.Request) -> web.Response:
    return _error(404, f"Unknown request URL: {request.method} {request.path}.", "unknown_url")
