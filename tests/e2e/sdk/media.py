"""Sound and pictures of the scripted upstream; most of their requests are forms."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import NamedTuple

from tests.e2e.sdk.texts import pieces
from tests.e2e.sdk.upstream import Answer, Arrival
from tests.e2e.sdk.wording import BORN, Json, as_events, as_json, data_event, usual

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
AUDIO = b"ID3\x04\x00" + bytes(range(256)) * 1024
TRANSCRIPT = "The quick brown fox, naïvely, jumps over 東京."


class Part(NamedTuple):
    """One part of a form; `filename` is "" where it is a plain field."""

    name: str
    filename: str
    data: bytes


def form(arrival: Arrival) -> list[Part]:
    """The parts of a multipart body, in order."""
    boundary = arrival.header("content-type").partition("boundary=")[2].strip('"').encode()
    parts = []
    for each in arrival.body.split(b"--" + boundary)[1:-1]:
        head, _, data = each[2:-2].partition(b"\r\n\r\n")
        [disposition] = [line for line in head.decode().split("\r\n") if line.lower().startswith("content-disposition:")]
        about = dict(item.split("=", 1) for item in disposition.split("; ")[1:])
        parts.append(Part(about["name"].strip('"'), about.get("filename", "").strip('"'), data))
    return parts


def named(arrival: Arrival) -> dict[str, bytes]:
    """The form by name; the last wins."""
    return {part.name: part.data for part in form(arrival)}


def transcription(arrival: Arrival) -> Answer:
    fields = named(arrival)
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


async def sound() -> AsyncIterator[bytes]:
    """Sound of no stated length, in uneven chunks."""
    at, size = 0, 1
    while at < len(AUDIO):
        yield AUDIO[at : at + size]
        at, size = at + size, size * 3 % 30_011


def picture(arrival: Arrival) -> Answer:
    counts = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30, "input_tokens_details": {"text_tokens": 10, "image_tokens": 0}}
    image = base64.b64encode(PNG).decode()
    if arrival.path.endswith("/edits"):
        seen = [len(part.data) for part in form(arrival) if part.filename]
        return as_json(
            arrival,
            {
                "created": BORN,
                "data": [{"b64_json": image, "revised_prompt": f"{named(arrival)['prompt'].decode()} {seen}"}],
                "usage": counts,
            },
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
