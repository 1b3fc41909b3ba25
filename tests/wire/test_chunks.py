"""chunks -- where a chunked body's chunks end, whatever is in them and however they come."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.chunks import Chunks


def framed(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_the_end_is_found_at_every_split(parts: list[bytes], cuts: list[int]) -> None:
    text = framed(parts)
    data = text + b"\r\nGET / HTTP/1.1\r\n"
    chunks = Chunks()
    done = at = 0
    for cut in [*cuts, len(data)]:
        piece = data[at : at + cut]
        at += len(piece)
        done += chunks.skip(piece, 0)
        if chunks.ended:
            break

    assert chunks.ended
    assert done == len(text)


@pytest.mark.parametrize("body", [b"\r\n" * 1000, b"\n" * 1000, b"0\r\n\r\n" * 500, b"a\r\n\r\n" * 500])
def test_line_ends_inside_of_a_chunk_are_only_bytes(body: bytes) -> None:
    chunks = Chunks()

    assert chunks.skip(framed([body]), 0) == len(framed([body]))
    assert chunks.ended


def test_an_extension_is_no_part_of_a_size() -> None:
    chunks = Chunks()

    assert chunks.skip(b"3;a=ff\r\nabc\r\n0;b\r\nX: y\r\n\r\n", 0) == len(b"3;a=ff\r\nabc\r\n0;b\r\n")


@pytest.mark.parametrize("line", [b"x\r\n", b" 3\r\n", b"\r\n", b"-1\r\n", b"3 \r\n", b"12345678901234567\r\n"])
def test_what_cannot_be_a_size_is_left_to_the_parser(line: bytes) -> None:
    chunks = Chunks()

    assert chunks.skip(line + b"rest", 0) == len(line) + 4
    assert not chunks.ended


def test_a_reset_forgets_half_a_chunk() -> None:
    chunks = Chunks()
    chunks.skip(b"ff\r\nab", 0)
    chunks.reset()

    assert chunks.skip(b"0\r\n\r\n", 0) == 3
