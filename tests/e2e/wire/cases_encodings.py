"""Line 21: encoded replies stay as they were sent, streams too."""

from __future__ import annotations

import gzip
import zlib

import brotli
import zstandard

from tests.e2e.wire.cases_chat import ANSWER, ASK, CHAT, DONE, HELLO, JSON, SSE, STOP, plain, rewritten, stream
from tests.e2e.wire.cases_endpoints import BINARY
from tests.e2e.wire.compare import Seen
from tests.e2e.wire.play import (
    Case,
    Expected,
    reply,
    request,
    script,
)


def compressed_stream(name: str, parts: list[bytes], encoding: bytes) -> Case:
    """Each part is what the compressor had out after a flush; the next follows when the client has it."""
    return stream(21, f"sse-in-{name}", *parts, head=(SSE, b"Content-Encoding: " + encoding, b'ETag: "abc"', b"Vary: Accept-Encoding"))


def flushed(events: list[bytes], wbits: int) -> list[bytes]:
    packer = zlib.compressobj(wbits=wbits)
    return [*(packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH) for each in events), packer.flush()]


def brotlied(events: list[bytes]) -> list[bytes]:
    packer = brotli.Compressor()
    return [*(packer.process(each) + packer.flush() for each in events), packer.finish()]


def zstandarded(events: list[bytes]) -> list[bytes]:
    packer = zstandard.ZstdCompressor().compressobj()
    return [*(packer.compress(each) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for each in events), packer.flush()]


EVENTS = [HELLO, HELLO * 3, STOP, DONE]
PACKED = {
    "gzip": gzip.compress(ANSWER, mtime=0),
    "br": brotli.compress(ANSWER),
    "zstd": zstandard.compress(ANSWER),
    "deflate": zlib.compress(ANSWER),
}

TAGS = (b'ETag: W/"a-b"', b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==", b"Digest: sha-256=abc=", b"Vary: Accept-Encoding")
ENCODED = [
    *(plain(21, f"json-in-{name}", packed, JSON, b"Content-Encoding: " + name.encode(), *TAGS) for name, packed in PACKED.items()),
    compressed_stream("gzip", flushed(EVENTS, 31), b"gzip"),
    compressed_stream("deflate", flushed(EVENTS, 15), b"deflate"),
    compressed_stream("bare-deflate", flushed(EVENTS, -15), b"deflate"),
    compressed_stream("br", brotlied(EVENTS), b"br"),
    compressed_stream("zstd", zstandarded(EVENTS), b"zstd"),
    plain(21, "two-encodings", gzip.compress(PACKED["br"], mtime=0), JSON, b"Content-Encoding: br, gzip"),
    plain(21, "an-encoding-that-it-is-not", b"not gzip at all", JSON, b"Content-Encoding: gzip"),
    plain(21, "an-encoding-nobody-knows", BINARY, JSON, b"Content-Encoding: x-rot13"),
    plain(21, "gzip-cut-short", PACKED["gzip"][:-9], JSON, b"Content-Encoding: gzip"),
    plain(
        21,
        "an-error-in-gzip",
        gzip.compress(b'{"error": {"message": "no", "code": "context_length_exceeded"}}', mtime=0),
        JSON,
        b"Content-Encoding: gzip",
        first=b"400 Bad Request",
        status=400,
    ),
    Case(
        21,
        "accept-encoding-is-the-clients",
        (request(CHAT, JSON, b"Accept-Encoding: br;q=0.5, x-none", body=ASK),),
        (script(reply(b"200 OK", JSON, b"Content-Encoding: br", body=PACKED["br"])),),
        Expected(body=PACKED["br"], sent=ASK, request_has=(b"Accept-Encoding: br;q=0.5, x-none",)),
        rewritten=rewritten,
    ),
    Case(
        21,
        "no-accept-encoding-is-none",
        (request(CHAT, JSON, body=ASK),),
        (script(reply(b"200 OK", JSON, body=ANSWER)),),
        Expected(body=ANSWER),
        rewritten=rewritten,
        check=lambda seen: _lacks(
            seen, b"accept-encoding", b"user-agent", b"accept", b"connection", b"via", b"x-forwarded-for", b"forwarded"
        ),
    ),
]


def _lacks(seen: Seen, *names: bytes) -> None:
    for name in names:
        assert not seen.arrivals[0].message.values(name), f"invented: {seen.arrivals[0].message.head!r}"


CASES = ENCODED
