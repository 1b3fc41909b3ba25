"""A connection in memory behaves as one of the network's would."""

from __future__ import annotations

import asyncio

from proxy.core.duplex import HIGH_BYTES, End, pair
from proxy.core.virtual import run


class Side(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.data = b""
        self.keeps_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(("lost", None if exc is None else type(exc)))

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def connected() -> tuple[End, Side, End, Side]:
    one, other = pair(asyncio.get_running_loop())
    here, there = Side(), Side()
    one.attach(here)
    other.attach(there)
    return one, here, other, there


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_bytes_arrive_in_the_next_turn_and_in_order() -> None:
    async def main() -> None:
        one, _, _, there = connected()
        one.write(b"a")
        one.write(bytearray(b"b"))
        one.write(b"")
        at_once = there.data
        await settled()

        assert at_once == b""
        assert there.data == b"ab"

    run(main())


def test_what_is_written_before_a_protocol_is_there_waits_for_it() -> None:
    async def main() -> None:
        one, other = pair(asyncio.get_running_loop())
        one.attach(Side())
        one.write(b"early")
        await settled()
        there = Side()
        other.attach(there)
        await settled()

        assert there.data == b"early"

    run(main())


def test_a_close_is_seen_after_the_last_byte_and_ends_both_sides() -> None:
    async def main() -> None:
        one, here, other, there = connected()
        one.write(b"last")
        one.close()
        one.write(b"too late")
        await settled()

        assert there.data == b"last"
        assert there.told == ["made", "eof", ("lost", None)]
        assert here.told == ["made", ("lost", None)]
        assert other.is_closing()

    run(main())


def test_a_reset_is_an_error_for_the_other_side_after_what_came_before() -> None:
    async def main() -> None:
        one, here, _, there = connected()
        one.write(b"half")
        one.abort()
        one.abort()
        await settled()

        assert there.data == b"half"
        assert there.told == ["made", ("lost", ConnectionResetError)]
        assert here.told == ["made", ("lost", None)]

    run(main())


def test_half_a_connection_may_end() -> None:
    async def main() -> None:
        one, here, other, there = connected()
        there.keeps_open = True
        assert one.can_write_eof()
        one.write_eof()
        await settled()
        other.write(b"answer")
        await settled()

        assert there.told == ["made", "eof"]
        assert here.data == b"answer"

    run(main())


def test_a_reader_that_pauses_holds_its_writer_back() -> None:
    async def main() -> None:
        one, here, other, there = connected()
        other.pause_reading()
        one.write(b"x" * (HIGH_BYTES + 1))
        await settled()
        held = (list(here.told), one.get_write_buffer_size(), there.data, other.is_reading())
        other.resume_reading()
        await settled()

        assert held == (["made", "pause"], HIGH_BYTES + 1, b"", False)
        assert here.told == ["made", "pause", "resume"]
        assert len(there.data) == HIGH_BYTES + 1
        assert one.get_write_buffer_size() == 0

    run(main())


def test_a_write_of_many_reads_arrives_whole() -> None:
    async def main() -> None:
        one, _, _, there = connected()
        for _ in range(40):
            one.write(b"y" * 100_000)
        await settled()
        await settled()

        assert len(there.data) == 4_000_000

    run(main())


def test_it_says_that_it_has_no_socket_and_who_writes() -> None:
    async def main() -> None:
        one, here, _, _ = connected()
        written: list[int] = []
        one.on_write = lambda: written.append(1)
        one.write(b"a")

        assert one.get_extra_info("socket").fileno() == -1
        assert one.get_extra_info("ssl_object") is None
        assert one.get_protocol() is here
        assert written == [1]

    run(main())
