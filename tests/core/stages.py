"""Stages and a producer for the tests of bodies: they write down what they hear."""

from __future__ import annotations

from proxy.core.body import Body
from proxy.core.faults import Failure, Fault
from proxy.core.stage import Stage

CUT = Failure(Fault.TRUNCATED, "upstream", "cut after 3 bytes")


class Producer:
    """A flow that writes down what its body asks of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def body_full(self) -> None:
        self.asked.append("stop")

    def body_drained(self) -> None:
        self.asked.append("go on")

    def let_go(self, body: Body) -> None:
        self.asked.append("let go")


class Ear(Stage):
    """Passes everything on and writes down what it hears, in a list that several ears may share."""

    def __init__(self, name: str = "ear", heard: list[str] | None = None) -> None:
        self.name = name
        self.heard: list[str] = [] if heard is None else heard

    def end(self) -> bytes:
        self.heard.append(f"{self.name} end")
        return b""

    def fail(self, failure: Failure) -> bytes:
        self.heard.append(f"{self.name} fail {failure.fault.value}")
        return b""


class Tap(Ear):
    """An ear that reads along."""

    def feed(self, data: bytes) -> bytes:
        self.heard.append(f"{self.name} {data.decode()}")
        return data


class Upper(Ear):
    """Changes what passes, and marks its last bytes."""

    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def end(self) -> bytes:
        super().end()
        return b"<end>"

    def fail(self, failure: Failure) -> bytes:
        super().fail(failure)
        return b"<cut>"


class Keep(Ear):
    """Holds everything back until the end or the break."""

    def __init__(self, name: str = "keep", heard: list[str] | None = None) -> None:
        super().__init__(name, heard)
        self.kept = b""

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        return b""

    def _given_up(self) -> bytes:
        kept, self.kept = self.kept, b""
        return kept

    def end(self) -> bytes:
        super().end()
        return self._given_up()

    def fail(self, failure: Failure) -> bytes:
        super().fail(failure)
        return self._given_up()

    def rest(self) -> bytes:
        return self._given_up()


class Breaks(Keep):
    """Holds everything back, and raises `error` in `feed` at the text `on`, or in `end`."""

    def __init__(self, error: Exception, on: bytes | None, critical: bool = False, heard: list[str] | None = None) -> None:
        super().__init__("breaks", heard)
        self.error = error
        self.on = on
        self.critical = critical

    def feed(self, data: bytes) -> bytes:
        if self.on is not None and self.on in data:
            raise self.error
        return super().feed(data)

    def end(self) -> bytes:
        if self.on is None:
            self.heard.append("breaks end")
            raise self.error
        return super().end()
