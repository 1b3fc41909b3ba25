"""A raw client: sends exact bytes with given splits, keeps the exact reply bytes, their times and how the connection ended."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Literal

from tests.e2e.wire.http1 import Reader
from tests.e2e.wire.play import Await, Big, Do, Pause, Replies, Step, filled

PATIENCE_S = 8.0  # longer than any wait of an upstream's script
End = Literal["open", "fin", "rst"]


class Client:
    """One connection. `reader` has what came, read strictly; `ended` how the other side ended it."""

    def __init__(self, port: int, methods: Iterable[bytes] = (), receive_buffer: int | None = None) -> None:
        self.reader = Reader("reply", methods)
        self.raw = bytearray()
        self.ended: End = "open"
        self.ended_at: float | None = None
        self.problems: list[str] = []
        self._changed = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(("127.0.0.1", port))
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        ended: End = "fin"
        while True:
            self._may_read.wait()
            try:
                data = self._socket.recv(262144)
            except TimeoutError:
                continue
            except OSError:
                ended = "rst"
                data = b""
            if not data:
                break
            with self._changed:
                self.raw += data
                self.reader.feed(data, time.monotonic())
                self._changed.notify_all()
        with self._changed:
            self.ended, self.ended_at = ended, time.monotonic()
            if ended == "fin":
                self.reader.end()
            self._changed.notify_all()

    def play(self, steps: Iterable[Step], case_id: str) -> None:
        """Do the steps in order; a peer that has closed is no error here, what it said is judged later."""
        for step in steps:
            match step:
                case bytes():
                    self.send(filled(step, case_id))
                case Big(size_bytes):
                    self.send(bytes(range(256)) * (size_bytes // 256))
                case Pause(seconds):
                    time.sleep(seconds)
                case Await(marker):
                    self.until(lambda marker=marker: marker in self.raw, f"{marker[:60]!r} did not arrive at the client")
                case Replies(count):
                    self.until(lambda count=count: self.reader.whole >= count, f"reply {count} was not complete")
                case Do.FIN:
                    self._socket.shutdown(socket.SHUT_WR)
                case Do.RST:
                    self.reset()
                case _:
                    raise TypeError(f"not a step for a client: {step!r}")

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except TimeoutError:
            self.problems.append(f"nobody took {len(data)} bytes within {PATIENCE_S:g} s")
        except OSError as problem:
            if self.ended == "open":
                self.problems.append(f"sending failed: {problem!r}")

    def push(self, size_bytes: int, patience_s: float) -> int:
        """Send pattern until nobody takes a byte for `patience_s`; how many were taken."""
        sent, pattern = 0, bytes(range(256)) * 257
        while sent < size_bytes and select.select([], [self._socket], [], patience_s)[1]:
            sent += self._socket.send(pattern[sent % 256 :][: min(65536, size_bytes - sent)], socket.MSG_DONTWAIT)
        return sent

    def until(self, ready: Callable[[], bool], otherwise: str, patience_s: float = PATIENCE_S) -> bool:
        """Wait for `ready`, or for the end of the connection; whether it came true. `otherwise` goes to the problems."""
        with self._changed:
            self._changed.wait_for(lambda: ready() or self.ended != "open" or self.reader.broken is not None, patience_s)
            if not ready():
                self.problems.append(f"{otherwise} (connection {self.ended}, {len(self.raw)} bytes here)")
            return ready()

    def wait_end(self, patience_s: float) -> End:
        with self._changed:
            self._changed.wait_for(lambda: self.ended != "open", patience_s)
            return self.ended

    def hold_reading(self) -> None:
        """Read nothing more until `go_on`; what is under way may still come in."""
        self._may_read.clear()

    def go_on(self) -> None:
        self._may_read.set()

    def finish(self, closes: bool = False) -> End:
        """How the connection stood when all was over; then ends our side and takes what still comes."""
        last = self.reader.last
        closing = closes or last is None or not last.complete or b"close" in last.tokens(b"connection") or self.reader.broken
        ended = self.wait_end(3.0 if closing else 0.0)
        if ended == "open":
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            self.wait_end(2.0)
        self.close()
        return ended

    def reset(self) -> None:
        """Leave with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()

    def leave(self) -> None:
        """Close both directions at once, as a process that dies does."""
        self._closed = True
        self._may_read.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes our reader, which would keep the socket alive
        self._socket.close()

    def close(self) -> None:
        self.leave()
        self._thread.join(5)
