"""What the scripted upstream says: the OpenAI API in small, believable and the same every time.

A request's answer depends on the request alone (files excepted, which are kept until deleted), so a direct run and one
through a proxy can be compared to the byte. Trouble is asked for with the header `x-play` (plays.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.e2e.sdk.upstream import Answer, Arrival, Headers

Json = dict[str, Any]
BORN = 1_760_000_000
KEY = "sk-test-0123"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
AUDIO = b"ID3\x04\x00" + bytes(range(256)) * 1024
TRANSCRIPT = "The quick brown fox, naïvely, jumps over 東京."
MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "ft:gpt-4o-mini:acme::9abc")


def usual(arrival: Arrival, content_type: str) -> Headers:
    """The head that api.openai.com puts on its replies, repeats and mixed case included."""
    seed = b" ".join([arrival.method, arrival.target, arrival.header("x-stainless-retry-count").encode()])
    return [
        (b"Date", b"Thu, 09 Oct 2025 08:53:20 GMT"),
        (b"Content-Type", content_type.encode()),
        (b"x-request-id", b"req_" + hashlib.sha256(seed).hexdigest()[:32].encode()),
        (b"openai-organization", b"acme-inc"),
        (b"openai-processing-ms", b"42"),
        (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-limit-requests", b"10000"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-reset-tokens", b"6m0s"),
        (b"set-cookie", b"__cf_bm=a1; path=/; HttpOnly"),
        (b"Set-Cookie", b"_cfuvid=b2; path=/; Secure"),
        (b"Server", b"cloudflare"),
        (b"CF-RAY", b"98b1c0ffee-FRA"),
        (b"X-Empty", b""),
        (b"alt-svc", b'h3=":443"; ma=86400'),
    ]


def as_json(arrival: Arrival, value: object, status: int = 200) -> Answer:
    return Answer(status, usual(arrival, "application/json"), json.dumps(value, ensure_ascii=False, indent=1).encode())


def as_error(
    arrival: Arrival, status: int, message: str, kind: str, code: str | None, param: str | None = None, extra: Headers | None = None
) -> Answer:
    body = json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()
    return Answer(status, usual(arrival, "application/json") + (extra or []), body)


def as_events(arrival: Arrival, events: list[bytes]) -> Answer:
    return Answer(200, usual(arrival, "text/event-stream; charset=utf-8"), one_by_one(events))


async def one_by_one(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def data_event(value: object, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


# -- chat completions


def text_of(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", f"<{part['type']}>")) for part in content)
    return str(content)


def instance(schema: Json, root: Json) -> Any:
    """A value that the schema allows."""
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return instance(schema["anyOf"][0], root)
    match schema.get("type"):
        case "object":
            return {name: instance(each, root) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [instance(schema["items"], root)] * 2
        case "integer":
            return 7
        case "number":
            return 2.5
        case "boolean":
            return True
        case _:
            return "Zürich"


def chat_message(request: Json) -> Json:
    last = request["messages"][-1]
    form = request.get("response_format", {})
    if request.get("tools") and last["role"] != "tool":
        calls = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {
                    "name": tool["function"]["name"],
                    "arguments": json.dumps(instance(tool["function"].get("parameters", {}), tool), ensure_ascii=False),
                },
            }
            for place, tool in enumerate(request["tools"])
        ]
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
    if form.get("type") == "json_schema":
        schema = form["json_schema"]["schema"]
        return {
            "role": "assistant",
            "content": json.dumps(instance(schema, schema), ensure_ascii=False),
            "refusal": None,
            "annotations": [],
        }
    return {"role": "assistant", "content": f"You said: {text_of(last['content'])} — naïve 👍", "refusal": None, "annotations": []}


def usage(request: Json, text: str) -> Json:
    asked = sum(len(text_of(each.get("content")).split()) for each in request["messages"])
    said = len(text.split())
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat(request: Json) -> Json:
    message = chat_message(request)
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choices = [{"index": index, "message": message, "logprobs": None, "finish_reason": reason} for index in range(request.get("n") or 1)]
    return {
        "id": "chatcmpl-BtX1",
        "object": "chat.completion",
        "created": BORN,
        "model": f"{request['model']}-2024-08-06",
        "choices": choices,
        "usage": usage(request, message["content"] or ""),
        "service_tier": "default",
        "system_fingerprint": "fp_5d58a6052a",
    }


def pieces(text: str, size: int = 5) -> Iterator[str]:
    yield from (text[at : at + size] for at in range(0, len(text), size))


def chat_deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": None if message.get("tool_calls") else "", "refusal": None}
    for piece in pieces(message["content"] or ""):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        yield {"tool_calls": [{"index": index, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]}
        for piece in pieces(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def chat_events(request: Json) -> list[bytes]:
    whole = chat(request)
    base = {
        "id": whole["id"],
        "object": "chat.completion.chunk",
        "created": BORN,
        "model": whole["model"],
        "system_fingerprint": "fp_5d58a6052a",
    }
    wants_usage = (request.get("stream_options") or {}).get("include_usage")
    ends = {"usage": None} if wants_usage else {}
    events = [b": OPENAI PROCESSING\n\n"]
    for choice in whole["choices"]:
        for delta in chat_deltas(choice["message"]):
            choices = [{"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": None}]
            events.append(data_event({**base, "choices": choices, **ends, "obfuscation": "Xq9"}))
        choices = [{"index": choice["index"], "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}]
        events.append(data_event({**base, "choices": choices, **ends}))
    if wants_usage:
        events.append(data_event({**base, "choices": [], "usage": whole["usage"]}))
    return [*events, b"data: [DONE]\n\n"]


# -- legacy completions, embeddings, moderations


def completion(request: Json) -> Json:
    prompts = request["prompt"] if isinstance(request["prompt"], list) else [request["prompt"]]
    choices = [
        {"index": index, "text": f" … after {prompt}", "logprobs": None, "finish_reason": "length"} for index, prompt in enumerate(prompts)
    ]
    counts = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    return {"id": "cmpl-7", "object": "text_completion", "created": BORN, "model": request["model"], "choices": choices, "usage": counts}


def completion_events(request: Json) -> list[bytes]:
    whole = completion(request)
    text = whole["choices"][0]["text"]
    parts = [
        {**whole, "usage": None, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]}
        for piece in pieces(text)
    ]
    return [*map(data_event, parts), b"data: [DONE]\n\n"]


def embedding(request: Json) -> Json:
    texts = request["input"] if isinstance(request["input"], list) and not isinstance(request["input"][0], int) else [request["input"]]
    data = []
    for index, text in enumerate(texts):
        seed = hashlib.sha256(str(text).encode()).digest()
        packed = struct.pack(
            f"<{request.get('dimensions', 32)}f", *(seed[i % 32] / 255 - 0.5 for i in range(request.get("dimensions", 32)))
        )
        vector = (
            base64.b64encode(packed).decode()
            if request.get("encoding_format") == "base64"
            else list(struct.unpack(f"<{len(packed) // 4}f", packed))
        )
        data.append({"object": "embedding", "index": index, "embedding": vector})
    return {"object": "list", "data": data, "model": request["model"], "usage": {"prompt_tokens": 8, "total_tokens": 8}}


def moderation(request: Json) -> Json:
    scores = {"violence": 0.01, "hate": 1.5e-05}
    return {
        "id": "modr-1",
        "model": request["model"],
        "results": [
            {
                "flagged": False,
                "categories": dict.fromkeys(scores, False),
                "category_scores": scores,
                "category_applied_input_types": {name: ["text"] for name in scores},
            }
        ],
    }


# -- audio and images, whose requests are forms


def form(arrival: Arrival) -> dict[str, bytes]:
    """The parts of a multipart body by name; of a part with a file name, `name.filename` too."""
    boundary = arrival.header("content-type").partition("boundary=")[2].strip('"').encode()
    parts: dict[str, bytes] = {}
    for each in arrival.body.split(b"--" + boundary)[1:-1]:
        head, _, data = each[2:-2].partition(b"\r\n\r\n")
        disposition = dict(item.split("=", 1) for item in head.decode().split("\r\n")[0].split("; ")[1:])
        name = disposition["name"].strip('"')
        parts[name] = data
        if "filename" in disposition:
            parts[f"{name}.filename"] = disposition["filename"].strip('"').encode()
    return parts


def transcription(arrival: Arrival) -> Answer:
    fields = form(arrival)
    kind = fields.get("response_format", b"json").decode()
    plain = {
        "text": TRANSCRIPT + "\n",
        "srt": f"1\n00:00:00,000 --> 00:00:02,500\n{TRANSCRIPT}\n\n",
        "vtt": f"WEBVTT\n\n00:00.000 --> 00:02.500\n{TRANSCRIPT}\n\n",
    }
    if kind in plain:
        return Answer(200, usual(arrival, "text/plain; charset=utf-8"), plain[kind].encode())
    if fields.get("stream") == b"true":
        deltas = [data_event({"type": "transcript.text.delta", "delta": piece}) for piece in pieces(TRANSCRIPT)]
        return as_events(arrival, [*deltas, data_event({"type": "transcript.text.done", "text": TRANSCRIPT})])
    value: Json = {"text": TRANSCRIPT, "usage": {"type": "duration", "seconds": len(fields["file"]) / 1000}}
    if kind == "verbose_json":
        value |= {"task": "transcribe", "language": "english", "duration": 2.5, "segments": []}
    return as_json(arrival, value)


async def audio() -> AsyncIterator[bytes]:
    """Sound of no stated length, in uneven chunks."""
    at, size = 0, 1
    while at < len(AUDIO):
        yield AUDIO[at : at + size]
        at, size = at + size, size * 3 % 30_011


def picture(arrival: Arrival) -> Answer:
    counts = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30, "input_tokens_details": {"text_tokens": 10, "image_tokens": 0}}
    image = base64.b64encode(PNG).decode()
    if arrival.path.endswith("/edits"):
        fields = form(arrival)
        seen = [len(data) for name, data in fields.items() if name.startswith("image") and "filename" not in name]
        return as_json(
            arrival,
            {"created": BORN, "data": [{"b64_json": image, "revised_prompt": f"{fields['prompt'].decode()} {seen}"}], "usage": counts},
        )
    request = json.loads(arrival.body)
    if request.get("stream"):
        base = {
            "b64_json": image,
            "created_at": BORN,
            "size": "1024x1024",
            "quality": "low",
            "background": "opaque",
            "output_format": "png",
        }
        partial = data_event({"type": "image_generation.partial_image", "partial_image_index": 0, **base}, "image_generation.partial_image")
        return as_events(
            arrival, [partial, data_event({"type": "image_generation.completed", "usage": counts, **base}, "image_generation.completed")]
        )
    return as_json(
        arrival, {"created": BORN, "data": [{"b64_json": image}] * (request.get("n") or 1), "output_format": "png", "usage": counts}
    )


# -- models and batches


def model(name: str) -> Json:
    return {"id": name, "object": "model", "created": BORN, "owned_by": "acme" if name.startswith("ft:") else "system"}


def batch(request: Json, status: str) -> Json:
    return {
        "id": "batch_1",
        "object": "batch",
        "endpoint": request.get("endpoint", "/v1/chat/completions"),
        "errors": None,
        "status": status,
        "input_file_id": request.get("input_file_id", "file-1"),
        "completion_window": "24h",
        "created_at": BORN,
        "metadata": request.get("metadata"),
        "output_file_id": None,
        "request_counts": {"total": 100, "completed": 95, "failed": 5},
    }


class Api:
    """The routes; `files` is all the state there is."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Json, bytes]] = {}

    def __call__(self, arrival: Arrival) -> Answer:
        if arrival.header("authorization") != f"Bearer {KEY}" and arrival.header("api-key") != KEY:
            return as_error(arrival, 401, "Incorrect API key provided: sk-****.", "invalid_request_error", "invalid_api_key")
        segments = [unquote(each) for each in arrival.path.split("/") if each]
        name = "/".join(segments[1:] if segments[0] == "v1" else segments[3:])  # Azure: /openai/deployments/NAME/…
        if arrival.method == b"POST" and arrival.header("content-type").startswith("application/json"):
            if answer := self._spoken(arrival, name):
                return answer
        elif arrival.method == b"POST" and name in ("audio/transcriptions", "audio/translations"):
            return transcription(arrival)
        elif arrival.method == b"POST" and name == "images/edits":
            return picture(arrival)
        return self._kept(arrival, segments[1:]) or as_error(
            arrival, 404, f"Invalid URL ({arrival.method.decode()} {arrival.path})", "invalid_request_error", None
        )

    def _spoken(self, arrival: Arrival, name: str) -> Answer | None:
        from tests.e2e.sdk import responses  # it builds on this module

        request: Json = json.loads(arrival.body) if arrival.body else {}
        streamed = request.get("stream")
        match name:
            case "chat/completions":
                return as_events(arrival, chat_events(request)) if streamed else as_json(arrival, chat(request))
            case "completions":
                return as_events(arrival, completion_events(request)) if streamed else as_json(arrival, completion(request))
            case "responses":
                return as_events(arrival, responses.events(request)) if streamed else as_json(arrival, responses.response(request))
            case "embeddings":
                return as_json(arrival, embedding(request))
            case "moderations":
                return as_json(arrival, moderation(request))
            case "audio/speech":
                return Answer(200, usual(arrival, "audio/mpeg"), audio())
            case "images/generations":
                return picture(arrival)
            case "batches":
                return as_json(arrival, batch(request, "validating"))
            case _:
                return None

    def _kept(self, arrival: Arrival, place: list[str]) -> Answer | None:
        match arrival.method, place:
            case b"GET", ["models"]:
                return as_json(arrival, {"object": "list", "data": [model(name) for name in MODELS]})
            case b"GET", ["models", *rest] if "/".join(rest) in MODELS:
                return as_json(arrival, model("/".join(rest)))
            case b"DELETE", ["models", name]:
                return as_json(arrival, {"id": name, "object": "model", "deleted": True})
            case b"GET", ["batches"]:
                return as_json(
                    arrival,
                    {"object": "list", "data": [batch({}, "completed")], "first_id": "batch_1", "last_id": "batch_1", "has_more": False},
                )
            case b"GET", ["batches", "batch_1"]:
                return as_json(arrival, batch({}, "in_progress"))
            case b"POST", ["batches", "batch_1", "cancel"]:
                return as_json(arrival, batch({}, "cancelling"))
            case b"POST", ["files"]:
                return self._upload(arrival)
            case b"GET", ["files"]:
                return self._listed(arrival)
            case method, ["files", name, *rest] if name in self.files:
                about, data = self.files[name]
                if rest == ["content"]:
                    disposition = f'attachment; filename="{about["filename"]}"'.encode()
                    return Answer(200, [*usual(arrival, "application/octet-stream"), (b"Content-Disposition", disposition)], data)
                if method == b"DELETE":
                    del self.files[name]
                    return as_json(arrival, {"id": name, "object": "file", "deleted": True})
                return as_json(arrival, about)
            case _, ["models" | "files" | "batches" as kind, name, *_]:
                return as_error(
                    arrival,
                    404,
                    f"No such {kind[:-1]}: '{name}'",
                    "invalid_request_error",
                    "model_not_found" if kind == "models" else None,
                    "id",
                )
            case _:
                return None

    def _upload(self, arrival: Arrival) -> Answer:
        fields = form(arrival)
        name = "file-" + hashlib.sha256(fields["file"]).hexdigest()[:12]
        about = {
            "id": name,
            "object": "file",
            "bytes": len(fields["file"]),
            "created_at": BORN,
            "filename": fields["file.filename"].decode(),
            "purpose": fields["purpose"].decode(),
            "status": "processed",
        }
        self.files[name] = about, fields["file"]
        return as_json(arrival, about)

    def _listed(self, arrival: Arrival) -> Answer:
        query = parse_qs(urlsplit(arrival.target.decode()).query)
        names = sorted(self.files)
        after, limit = query.get("after", [""])[0], int(query.get("limit", ["20"])[0])
        rest = [name for name in names if name > after]
        page = [self.files[name][0] for name in rest[:limit]]
        return as_json(arrival, {"object": "list", "data": page, "has_more": len(rest) > limit})
