"""encoding -- a compressed request body, unpacked to be read: never more of it than a body that came unpacked may have.

Cost: about 3 ms a MiB of what comes out.
"""

from __future__ import annotations

import zlib

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
