"""scripted -- an upstream that needs no key and no network: it speaks the OpenAI API on loopback and makes up its answers.

For `chassis demo` and for `make run` where no real upstream is named. Same question, same answer; the model it names is the one asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson
from aiohttp import web

from proxy.openai.answers import CREATED, Said, Tokens, embeddings, whole
from proxy.openai.endpoints import Endpoint
from proxy.openai.events import stream_of

FIRST_S = 0.12  # until the first word: what a small hosted model takes
WORD_S = 0.015
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "text-embedding-3-small")
FINGERPRINT = {Endpoint.CHAT: "fp_scripted"}
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
        return await self._answered(request, Endpoint.CHAT, lambda asked: _last_text(asked.get("messages")))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, Endpoint.COMPLETIONS, lambda asked: _as_text(asked.get("prompt")))

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        def prompt(asked: dict[str, Any]) -> str:
            given = asked.get("input")
            return given if isinstance(given, str) else _last_text(given)

        return await self._answered(request, Endpoint.RESPONSES, prompt)

    async def _answered(self, request: web.Request, endpoint: Endpoint, prompt: Callable[[dict[str, Any]], str]) -> web.StreamResponse:
        """What a model says to a prompt, plain or streamed as asked."""
        asked = await _asked(request)
        if isinstance(asked, web.Response):
            return asked
        words = list(_words(answer(prompt(asked))))
        given = next((asked[key] for key in ("messages", "input", "prompt") if key in asked), None)
        usage = Tokens(max(1, len(orjson.dumps(given)) // 4), len(words))
        said = Said(asked["model"], "".join(words), usage=usage, id=_id(asked), fingerprint=FINGERPRINT.get(endpoint))
        if not asked.get("stream"):
            await self._wait(FIRST_S + WORD_S * len(words) / 4)
            return _json(whole(endpoint, said))
        options = asked.get("stream_options")
        tells_usage = endpoint is Endpoint.RESPONSES or (isinstance(options, dict) and bool(options.get("include_usage")))
        return await _stream(request, self._events(endpoint, said, words, tells_usage))

    async def _events(self, endpoint: Endpoint, said: Said, words: list[str], tells_usage: bool) -> AsyncIterator[bytes]:
        events = stream_of(endpoint, said)
        if opening := events.opening():
            yield opening
        await self._wait(FIRST_S)
        for word in words:
            yield events.text(word)
            await self._wait(WORD_S)
        yield events.closing(said, tells_usage) + events.done

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        if isinstance(asked, web.Response):
            return asked
        given = asked.get("input")
        size = asked.get("dimensions") or DIMENSIONS
        if not isinstance(size, int) or not 1 <= size <= MAX_DIMENSIONS:
            return _error(400, f"'dimensions' must be 1 to {MAX_DIMENSIONS}", "invalid_value")
        texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
        tokens = max(1, len(orjson.dumps(given)) // 4)
        vectors = [_vector(orjson.dumps(text), size) for text in texts]
        return _json(embeddings(asked["model"], vectors, tokens, asked.get("encoding_format") == "base64"))

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


def _as_text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else orjson.dumps(prompt).decode()


def _vector(text: bytes, size: int) -> list[float]:
    raw = hashlib.shake_256(text).digest(2 * size)
    values = [(number - 32_767.5) / 32_767.5 for number in struct.unpack(f"<{size}H", raw)]
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [value / norm for value in values]


def _id(asked: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(asked)).hexdigest()[:24]


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"}


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
