"""Compressed bodies are read, and never too much of them."""

from __future__ import annotations

import gzip
import zlib

import pytest

from proxy.openai.encoding import DECODED_BYTES, decoded
from proxy.openai.unread import Unread

BODY = b'{"model":"m"}'
BARE = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (gzip.compress(BODY, mtime=0), b"gzip"),
        (gzip.compress(BODY, mtime=0), b" X-GZip"),
        (gzip.compress(BODY[:5], mtime=0) + gzip.compress(BODY[5:], mtime=0), b"gzip"),
        (zlib.compress(BODY), b"deflate"),
        (BARE.compress(BODY) + BARE.flush(), b"deflate"),
        (BODY, b"identity"),
        (BODY, b""),
    ],
)
def test_encoded_bodies_are_read(raw: bytes, encoding: bytes) -> None:
    assert decoded(raw, encoding) == BODY


@pytest.mark.parametrize(
    ("raw", "encoding", "why"),
    [
        (BODY, b"br", "unknown encoding br"),
        (BODY, b"gzip, br", "unknown encoding gzip, br"),
        (BODY, b"gzip", "not gzip data"),
        (gzip.compress(BODY, mtime=0)[:-4], b"gzip", "cut"),
        (gzip.compress(BODY, mtime=0) + b"trailer", b"gzip", "not gzip data"),
        (zlib.compress(BODY) + b"x", b"deflate", "more after the end"),
    ],
)
def test_encodings_that_cannot_be_read_say_why(raw: bytes, encoding: bytes, why: str) -> None:
    with pytest.raises(Unread, match=why):
        decoded(raw, encoding)


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(DECODED_BYTES // (1024 * 1024) + 1)) + packer.flush()

    with pytest.raises(Unread, match="over 64 MiB"):
        decoded(bomb, b"gzip")
