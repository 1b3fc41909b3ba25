"""What the scripted upstream says: the OpenAI API in small, believable and the same every time.

A request's answer depends on the request alone (files excepted, which are kept until deleted), so a direct run and one
through a proxy can be compared to the byte. Trouble is asked for with the header `x-play` (plays.py).
"""

from __future__ import annotations

import hashlib
import json
from urllib.parse import parse_qs, unquote, urlsplit

from tests.e2e.sdk import responses
from tests.e2e.sdk.media import form, picture, sound, transcription
from tests.e2e.sdk.texts import chat, chat_events, completion, completion_events, embedding, moderation
from tests.e2e.sdk.upstream import Answer, Arrival
from tests.e2e.sdk.wording import BORN, KEY, Json, as_error, as_events, as_json, usual

MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "ft:gpt-4o-mini:acme::9abc")


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
                return Answer(200, usual(arrival, "audio/mpeg"), sound())
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
        parts = {part.name: part for part in form(arrival)}
        file = parts["file"]
        name = "file-" + hashlib.sha256(file.data).hexdigest()[:12]
        about = {
            "id": name,
            "object": "file",
            "bytes": len(file.data),
            "created_at": BORN,
            "filename": file.filename,
            "purpose": parts["purpose"].data.decode(),
            "status": "processed",
        }
        self.files[name] = about, file.data
        return as_json(arrival, about)

    def _listed(self, arrival: Arrival) -> Answer:
        query = parse_qs(urlsplit(arrival.target.decode()).query)
        names = sorted(self.files)
        after, limit = query.get("after", [""])[0], int(query.get("limit", ["20"])[0])
        rest = [name for name in names if name > after]
        page = [self.files[name][0] for name in rest[:limit]]
        return as_json(arrival, {"object": "list", "data": page, "has_more": len(rest) > limit})
