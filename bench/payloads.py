"""payloads -- the request bodies of the bench, made from a fixed seed so that two runs send the same bytes.

English prose of varied sentences, not one sentence repeated: tokenizers and keyword searches cost what they cost on real prompts.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

MODEL = "gpt-4o"
_WHO = (
    "The harbour master", "Our night shift", "A young surveyor", "The second engineer",
    "Nobody in the office", "The oldest ferry", "My neighbour",
)
_DOES = (
    "wrote down", "had forgotten", "measured twice", "painted over",
    "asked about", "carried home", "explained patiently", "could not find",
)
_WHAT = (
    "the tide table", "seventeen wooden crates", "a letter from Lisbon",
    "the lamp's true bearing", "every broken gauge", "an unlabelled chart",
)
_WHEN = (
    "before the storm of 1987", "on a quiet Tuesday", "while the kettle boiled",
    "after the third bell", "in less than 40 minutes", "without a word",
)
_WHY = (
    "because the numbers did not agree", "so that others could check", "although it rained",
    "and it was still wrong", "which surprised us all",
)
_SYSTEM = "You are a careful assistant. Answer in plain words, name your sources, and say so when you do not know."


def prose(size: int, seed: int) -> str:
    """`size` ASCII characters of prose."""
    draw = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        sentence = f"{draw.choice(_WHO)} {draw.choice(_DOES)} {draw.choice(_WHAT)} {draw.choice(_WHEN)}, {draw.choice(_WHY)}."
        parts.append(sentence + ("\n" if draw.random() < 0.15 else " "))
        length += len(parts[-1])
    return "".join(parts)[: size - 1] + "."


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def chat(size: int, *, stream: bool = False, turns: int = 1) -> bytes:
    """A chat request of exactly `size` bytes; the last user message takes what the earlier turns leave."""
    earlier = [
        {"role": "user" if turn % 2 == 0 else "assistant", "content": prose(size // (turns + 1), turn)} for turn in range(turns - 1)
    ]
    last = {"role": "user", "content": ""}
    messages = [{"role": "system", "content": _SYSTEM}, *earlier, last]
    document: dict[str, Any] = {"model": MODEL, "messages": messages, "temperature": 0.2}
    if stream:
        document["stream"] = True
    left = size - len(_encode(document))
    last["content"] = prose(left, 99).replace("\n", " ")       # an escape would be two bytes
    return _encode(document)


def image(size: int) -> bytes:
    """A chat request of about `size` bytes: a short question and one inline image."""
    data = random.Random(7).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=65536)
    url = "data:image/png;base64," + "".join(data) * (size // 65536 + 1)
    parts = [{"type": "text", "text": "What is in this picture?"}, {"type": "image_url", "image_url": {"url": url[:size]}}]
    return _encode({"model": MODEL, "messages": [{"role": "user", "content": parts}]})


BODIES = {
    "1k": lambda: chat(1024),
    "1k-stream": lambda: chat(1024, stream=True),
    "32k": lambda: chat(32 * 1024, turns=9),
    "50m": lambda: image(50 * 1024 * 1024),
}


def write_bodies(folder: Path, names: set[str]) -> dict[str, Path]:
    """Writes the bodies `names` into `folder`; returns where."""
    paths = {}
    for name in sorted(names):
        paths[name] = folder / f"{name}.json"
        paths[name].write_bytes(BODIES[name]())
    return paths
