"""encoding -- compressed bodies, unpacked to be read: a request whole, never more of it than a body that came unpacked may have; a reply
as it comes.

Cost: about 3 ms a MiB of what comes out.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from proxy.openai.unread import Unread

DECODED_BYTES = 64 * 1024 * 1024  # the hold limit of a body that is not compressed


def decoded(raw: bytes, encoding: bytes) -> bytes:
    """A compressed body, read: gzip (any number of members) and deflate (with its wrapper, or bare, as some send it)."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return raw
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        raise Unread(f"unknown encoding {name[:40].decode('latin-1')}")
    wbits = zlib.MAX_WBITS | 16
    if name == b"deflate":
        wrapped = raw[:1] != b"" and raw[0] & 0x0F == 8 and int.from_bytes(raw[:2], "big") % 31 == 0
        wbits = zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
    parts: list[bytes] = []
    room = DECODED_BYTES
    rest = raw
    try:
        while rest:
            one = zlib.decompressobj(wbits)
            part = one.decompress(rest, room + 1)
            room -= len(part)
            if room < 0:
                raise Unread(f"over {DECODED_BYTES >> 20} MiB when decompressed")
            if not one.eof:
                raise Unread(f"its {name.decode()} data is cut")
            parts.append(part)
            rest = one.unused_data
            if name == b"deflate" and rest:
                raise Unread("more after the end of its deflate data")
    except zlib.error as error:
        raise Unread(f"not {name.decode()} data") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


Unpack = Callable[[bytes], bytes]
MOST_AT_ONCE = 4 * 1024 * 1024  # out of one chunk: what is more is no answer of a model

ZSTD_BYTES = 256  # given to its decoder at a time, as that has no limit of its own: four bytes of it may be 128 KiB


def unpacker(encoding: bytes) -> Unpack | None:
    """Unpacks the chunks of a reply as they come, as a copy; None where this encoding cannot be read here.

    What it gives raises Unread at data that are not what they are said to be, or that unpack to more than `MOST_AT_ONCE`.
    """
    name = encoding.strip().lower()
    try:
        make = _UNPACKERS.get(name)
        return make() if make is not None else None
    except ImportError:
        return None


def _inflating() -> Unpack:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(data: bytes) -> bytes:
        try:
            out = inflate.decompress(data, MOST_AT_ONCE)
        except zlib.error as error:
            raise Unread("not the data that its encoding says") from error
        if inflate.unconsumed_tail:
            raise Unread(f"over {MOST_AT_ONCE >> 20} MiB out of one chunk")
        return out

    return unpack


def _brotli() -> Unpack:
    import brotli

    decoder = brotli.Decompressor()

    def unpack(data: bytes) -> bytes:
        try:
            out: bytes = decoder.process(data, output_buffer_limit=MOST_AT_ONCE)
        except brotli.error as error:
            raise Unread("not the data that its encoding says") from error
        if len(out) >= MOST_AT_ONCE or not decoder.can_accept_more_data():
            raise Unread(f"over {MOST_AT_ONCE >> 20} MiB out of one chunk")
        return out

    return unpack


def _zstd() -> Unpack:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()

    def unpack(data: bytes) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            for at in range(0, len(data), ZSTD_BYTES):
                parts.append(decoder.decompress(data[at : at + ZSTD_BYTES]))
                size += len(parts[-1])
                if size > MOST_AT_ONCE:
                    raise Unread(f"over {MOST_AT_ONCE >> 20} MiB out of one chunk")
        except zstandard.ZstdError as error:
            raise Unread("not the data that its encoding says") from error
        return b"".join(parts)

    return unpack


_UNPACKERS: dict[bytes, Callable[[], Unpack]] = {
    b"gzip": _inflating,
    b"x-gzip": _inflating,
    b"deflate": _inflating,
    b"br": _brotli,
    b"zstd": _zstd,
}
