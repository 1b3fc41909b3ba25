"""Line 25: large bodies, and JSON spelled in every way: where the model is rewritten nothing else may change."""

from __future__ import annotations

import hashlib
import json

from tests.e2e.wire.cases_chat import CHAT, CHUNKED, JSON, NEW, OLD, rewritten
from tests.e2e.wire.cases_endpoints import OK
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import (
    LAST,
    Big,
    Case,
    Do,
    Expected,
    chunk,
    reply,
    request,
    script,
)

SIZE = 24 * 1024 * 1024
IMAGE = b"data:image/png;base64," + b"iVBORw0KGgo" * 1_900_000
LARGE_ASK = (
    b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "' + IMAGE + b'"}}]}], "model": "gpt-4o"}'
)

DIGEST = hashlib.sha256(bytes(range(256)) * (SIZE // 256)).hexdigest()


def _hashes(seen: Seen) -> None:
    assert hashlib.sha256(seen.replies[0].body).hexdigest() == DIGEST, f"{len(seen.replies[0].body)} bytes down"


def _hashes_up(seen: Seen) -> None:
    assert hashlib.sha256(seen.arrivals[0].message.body).hexdigest() == DIGEST, f"{len(seen.arrivals[0].message.body)} bytes up"


def spelled(name: str, ask: bytes, old: bytes = OLD, rewrites: bool = True) -> Case:
    """A chat body spelled oddly: whatever happens to its model, every other byte stays."""
    return Case(
        25,
        f"spelling-{name}",
        (request(CHAT, JSON, body=ask),),
        (script(reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, sent=ask),
        rewritten=(lambda body: body.replace(old, NEW)) if rewrites else None,
    )


SPELLED = [
    spelled(
        "numbers",
        b'{"temperature": 1.0, "top_p": 1e3, "seed": 123456789012345678901234567890, "n": 1E+2, "x": -0.0, "y": 0.10, '
        b'"model": "gpt-4o", "messages": []}',
    ),
    spelled(
        "escapes", b'{"messages": [{"role": "user", "content": "\\u00e9 \\/ \\ud83d\\ude00 \\b\\f\\n\\r\\t \\\\ \\""}], "model": "gpt-4o"}'
    ),
    spelled("a-lone-surrogate", b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud83d half"}]}'),
    spelled("white-space", b'\r\n {\t"model"  :\n"gpt-4o"\t,\r\n"messages" : [ ] } \n\n'),
    spelled("key-order", b'{"z": 1, "messages": [], "a": 2, "model": "gpt-4o", "b": 3}'),
    spelled("another-key-twice", b'{"a": 1, "model": "gpt-4o", "a": 2, "messages": []}'),
    spelled("the-model-twice", b'{"model": "gpt-4o", "messages": [], "model": "gpt-4o"}', rewrites=False),
    spelled("the-models-key-escaped", b'{"\\u006dodel": "gpt-4o", "messages": []}'),
    spelled("the-models-value-escaped", b'{"model": "gpt\\u002d4o", "messages": []}', old=b'"gpt\\u002d4o"'),
    spelled(
        "models-elsewhere",
        b'{"metadata": {"model": "x"}, "model": "gpt-4o", "messages": '
        b'[{"role": "user", "content": "\\"model\\": \\"y\\""}], "tools": [{"model": "z"}]}',
    ),
    spelled("not-a-number", b'{"model": "gpt-4o", "temperature": NaN, "x": Infinity, "messages": []}', rewrites=True),
    spelled("not-json", b'{"model": "gpt-4o", "messages": [', rewrites=False),
    spelled("not-utf-8", b'{"messages": [{"role": "user", "content": "caf\xe9"}], "model": "gpt-5"}', rewrites=False),
    spelled("an-array", b'[{"model": "gpt-4o"}]', rewrites=False),
    spelled("a-model-that-is-no-text", b'{"model": ["gpt-4o"], "messages": []}', rewrites=False),
    spelled("a-model-of-null", b'{"model": null, "messages": []}', rewrites=False),
    spelled("empty", b"", rewrites=False),
    spelled("another-model", b'{"model": "gpt-4o-audio", "messages": [], "x": 1.0}', rewrites=False),
    spelled("a-thousand-keys", json.dumps({**{f"k{i}": i for i in range(1000)}, "model": "gpt-4o"}).encode()),
    spelled("deeply-nested", b'{"metadata": ' + b"[" * 400 + b"]" * 400 + b', "model": "gpt-4o", "messages": []}'),
]

LARGE = [
    Case(
        25,
        "a-large-chat",
        (request(CHAT, JSON, body=LARGE_ASK),),
        (script(reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, sent=LARGE_ASK),
        rewritten=rewritten,
    ),
    Case(
        25,
        "a-large-chat-in-chunks",
        (request(CHAT, JSON, CHUNKED), *(chunk(LARGE_ASK[i : i + 3_000_001]) for i in range(0, len(LARGE_ASK), 3_000_001)), LAST),
        (script(reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK, sent=LARGE_ASK),
        rewritten=rewritten,
    ),
    Case(
        25,
        "a-large-upload",
        (request(b"POST /v1/files", b"Content-Length: %d" % SIZE), Big(SIZE)),
        (script(reply(b"200 OK", JSON, body=OK)),),
        Expected(body=OK),
        check=_hashes_up,
    ),
    Case(
        25,
        "a-large-reply",
        (request(b"GET /v1/files/f/content"),),
        (script(reply(b"200 OK", b"Content-Length: %d" % SIZE), Big(SIZE)),),
        Expected(),
        check=_hashes,
    ),
    Case(
        25,
        "a-large-reply-that-the-close-ends",
        (request(b"GET /v1/files/f/content"),),
        (script(reply(b"200 OK"), Big(SIZE), Do.FIN),),
        Expected(),
        check=_hashes,
    ),
    Case(
        25,
        "a-large-chunk",
        (request(b"GET /v1/files/f/content"),),
        (script(reply(b"200 OK", CHUNKED), b"%x\r\n" % SIZE, Big(SIZE), b"\r\n" + LAST),),
        Expected(),
        check=_hashes,
    ),
]

CASES = [*SPELLED, *LARGE]
