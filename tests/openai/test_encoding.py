"""Compressed bodies are read, and never too much of them."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from proxy.openai.encoding import DECODED_BYTES, MOST_AT_ONCE, decoded, unpacker
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


PACKED = {b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b" ZSTD": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("encoding", PACKED)
def test_a_reply_is_unpacked_as_it_comes(encoding: bytes) -> None:
    data = b"some words " * 500
    packed = PACKED[encoding](data)
    unpack = unpacker(encoding)
    assert unpack is not None
    out = b"".join(unpack(packed[at : at + 7]) for at in range(0, len(packed), 7))

    assert out == data


@pytest.mark.parametrize("encoding", PACKED)
def test_a_reply_that_is_not_what_its_encoding_says_is_unread(encoding: bytes) -> None:
    unpack = unpacker(encoding)
    assert unpack is not None

    with pytest.raises(Unread, match="not the data"):
        unpack(b"\x00\x01 no such thing " * 20)


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b" ZSTD"])
def test_a_chunk_that_unpacks_to_too_much_is_unread(encoding: bytes) -> None:
    unpack = unpacker(encoding)
    assert unpack is not None

    with pytest.raises(Unread, match="out of one chunk"):
        unpack(PACKED[encoding](b"x" * (MOST_AT_ONCE + 10_000)))


@pytest.mark.parametrize("encoding", [b"", b"identity", b"x-odd", b"gzip, br"])
def test_an_encoding_that_is_not_known_has_no_unpacker(encoding: bytes) -> None:
    assert unpacker(encoding) is None
