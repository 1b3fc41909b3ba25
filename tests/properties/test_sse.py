"""However a stream is written and cut, its events are the same and no byte is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.sse import Event, Splitter, events

QUICK = settings(max_examples=150, deadline=None, derandomize=True)

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=12).map(str.encode)
WIRE = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data", b":", b" ", b"x", b"\xc3", b"\xef\xbb\xbf"]), max_size=40
).map(b"".join)


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A stream and its events: each line with a line end of its own."""
    stream, expected = [b"\xef\xbb\xbf" if draw(st.booleans()) else b""], []
    for _ in range(draw(st.integers(0, 6))):
        lines: list[bytes] = []
        fields: dict[str, bytes] = {}
        datas, comments = draw(st.lists(TEXT, max_size=3)), draw(st.lists(TEXT, max_size=2))
        space = b" " if draw(st.booleans()) else b""
        for name in ("event", "id", "retry"):
            if draw(st.booleans()):
                fields[name] = draw(TEXT)
                lines.append(name.encode() + b": " + fields[name])
        lines += [b"data: " + data if data[:1] == b" " else b"data:" + space + data for data in datas]
        lines += [b": " + comment for comment in comments]
        if not lines:
            continue
        for line in lines:
            stream += [line, draw(LINE_ENDS)]
        if stream[-1] == b"\r":
            stream.append(draw(st.sampled_from([b"\r", b"\r\n"])))  # a \n would belong to the line before
        else:
            stream.append(draw(LINE_ENDS))
        data = b"\n".join(datas) if datas else None
        expected.append(Event(fields.get("event", b""), data, fields.get("id"), fields.get("retry"), tuple(comments)))
    return b"".join(stream), expected


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def split(chunks: list[bytes]) -> list[bytes]:
    splitter = Splitter()
    return [splitter.feed(chunk) for chunk in chunks] + [splitter.end()]


@QUICK
@given(st.data(), written())
def test_chunk_boundaries_change_no_event(data: st.DataObject, stream: tuple[bytes, list[Event]]) -> None:
    wire, expected = stream
    blocks = split(data.draw(cut(wire)))

    assert b"".join(blocks) == wire
    assert [event for block in blocks for event in events(block)] == expected


@QUICK
@given(st.data(), WIRE)
def test_of_any_bytes_none_is_lost_and_events_do_not_depend_on_the_cuts(data: st.DataObject, wire: bytes) -> None:
    wire = wire.removeprefix(b"\xef\xbb\xbf").replace(b"\xef\xbb\xbf", b"")
    blocks = split(data.draw(cut(wire)))

    assert b"".join(blocks) == wire
    assert [event for block in blocks for event in events(block)] == [event for block in split([wire]) for event in events(block)]


@QUICK
@given(st.data(), WIRE, st.integers(0, 20))
def test_with_any_limit_no_byte_is_lost_and_what_waits_is_bounded(data: st.DataObject, wire: bytes, limit: int) -> None:
    splitter = Splitter(half_bytes=limit)
    given_back = b""
    for chunk in data.draw(cut(wire)):
        given_back += splitter.feed(chunk)
        assert len(splitter.half) <= limit + len(chunk)
        assert wire.startswith(given_back + splitter.half)

    assert given_back + splitter.end() == wire
