"""The parser of event streams: every way in which a stream may be written and cut."""

from __future__ import annotations

import pytest

from proxy.core.sse import Event, Splitter, events

STREAM = (
    b'\xef\xbb\xbfdata: {"a":1}\n\n: keepalive\n\nevent: ping\ndata:\n\nid: 7\r\nretry: 10\r\ndata:no space\r\n\r\n'
    b"data: two\rdata:  lines\r\rdata: caf\xc3\xa9\n\r\ndata: [DONE]  \n\ndata: more\n\n"
)


def read(chunks: list[bytes]) -> list[Event]:
    splitter = Splitter()
    found = [event for chunk in chunks for event in events(splitter.feed(chunk))]
    return found + list(events(splitter.end()))


WHOLE = [
    Event(data=b'{"a":1}'),
    Event(comments=(b"keepalive",)),
    Event(name=b"ping", data=b""),
    Event(data=b"no space", id=b"7", retry=b"10"),
    Event(data=b"two\n lines"),
    Event(data=b"caf\xc3\xa9"),
    Event(data=b"[DONE]  "),
    Event(data=b"more"),
]


def test_every_field_line_end_and_comment_is_read() -> None:
    assert read([STREAM]) == WHOLE


@pytest.mark.parametrize("at", range(1, len(STREAM)))
def test_a_cut_at_any_byte_changes_no_event(at: int) -> None:
    assert read([STREAM[:at], STREAM[at:]]) == WHOLE


def test_bytes_that_come_one_by_one_give_the_same_events() -> None:
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == WHOLE


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\n\r", b"\r\r\n", b"\r\n\r"])
def test_an_event_leaves_as_soon_as_its_blank_line_is_there(end: bytes) -> None:
    splitter = Splitter()

    assert splitter.feed(b"data: x" + end) == b"data: x" + end
    assert splitter.half == b""


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_half_an_event_waits(end: bytes) -> None:
    splitter = Splitter()

    assert splitter.feed(b"data: x" + end) == b""
    assert splitter.half == b"data: x" + end
    assert splitter.end() == b"data: x" + end


def test_a_line_feed_that_comes_after_its_carriage_return_is_no_half_event() -> None:
    splitter = Splitter()
    splitter.feed(b"data: x\r\n\r")

    assert splitter.feed(b"\n") == b"\n"
    assert splitter.half == b""
    assert splitter.feed(b"data: y\n\n") == b"data: y\n\n"


def test_what_is_whole_leaves_and_the_half_stays() -> None:
    splitter = Splitter()

    assert splitter.feed(b"data: 1\n\ndata: 2\n\ndata: 3") == b"data: 1\n\ndata: 2\n\n"
    assert splitter.half == b"data: 3"


def test_a_last_event_without_a_blank_line_is_read_at_the_end() -> None:
    assert read([b"data: 1\n\ndata: last"]) == [Event(data=b"1"), Event(data=b"last")]


def test_an_event_of_more_than_a_mebibyte_is_read_whole() -> None:
    big = b"x" * (3 * 1024 * 1024)

    assert read([b"data: " + big[:1_000_000], big[1_000_000:], b"\n\n"]) == [Event(data=big)]


def test_an_event_over_the_limit_passes_torn_and_the_next_is_read_again() -> None:
    splitter = Splitter(half_bytes=10)

    assert splitter.feed(b"data: 0123456789") == b"data: 0123456789"
    assert splitter.torn
    assert splitter.feed(b"more") == b"more"
    assert splitter.torn
    assert splitter.feed(b"\n") == b"\n"
    assert splitter.feed(b"\ndata: 2\n\nda") == b"\ndata: 2\n\n"
    assert splitter.torn
    assert splitter.feed(b"ta: 3\n\n") == b"data: 3\n\n"
    assert not splitter.torn


def test_nothing_is_held_in_the_middle_of_a_torn_event() -> None:
    splitter = Splitter(half_bytes=4)
    splitter.feed(b"data: 0123456789")

    assert splitter.half == b""
    assert splitter.end() == b""
    assert splitter.torn


def test_an_empty_chunk_is_no_end() -> None:
    splitter = Splitter()
    splitter.feed(b"data: x")

    assert splitter.feed(b"") == b""
    assert splitter.half == b"data: x"


def test_a_field_without_a_colon_and_an_unknown_one_do_no_harm() -> None:
    assert list(events(b"data\nfoo: bar\nbaz\n\n")) == [Event(data=b"")]


def test_a_block_of_empty_lines_has_no_event() -> None:
    assert list(events(b"\n\n\r\n\r\r")) == []


def test_one_space_after_the_colon_is_left_out_and_no_more() -> None:
    assert [event.data for event in events(b"data:  x\n\ndata:y\n\n")] == [b" x", b"y"]
