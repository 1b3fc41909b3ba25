"""bugs -- a bug planted into a layer at work: any one line of it raises, once, as it would if it were wrong.

    plant = Planting(files)                 # lines of these files
    with plant.at(None): ...                # finds the lines that a call runs through
    for line in plant.lines:
        with plant.at(line): ...            # the same call, and that line breaks
        assert plant.broke

It uses the interpreter's trace function: an exception that is raised there is raised by the traced line. Outside of `at` it costs nothing.
"""

from __future__ import annotations

import inspect
import linecache
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

from proxy.core.stage import Stage

cannot_raise = re.compile(r"try:|\w+ = (True|False|None)|if (not )?\w+:( +#.*)?").fullmatch


class Planted(Exception):
    """The bug."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the code at work."""

    file: str
    number: int
    name: str  # of the function

    @property
    def text(self) -> str:
        """What stands in it."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{self.file.rpartition('/proxy/')[2]}:{self.number} ({self.name})"


class Planting:
    """Breaks the lines of some files."""

    def __init__(self, files: Iterable[str]) -> None:
        self._files = frozenset(files)
        self._at: Line | None = None
        self._seen: dict[Line, None] = {}
        self.broke = False

    @property
    def lines(self) -> list[Line]:
        """Those that were run so far, in the order in which they were met."""
        return list(self._seen)

    @contextmanager
    def at(self, line: Line | None) -> Iterator[None]:
        """The line breaks when it is met, once; None: nothing breaks."""
        self._at, self.broke = line, False
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            code = frame.f_code
            line = Line(code.co_filename, frame.f_lineno, code.co_qualname)
            if self._at is None:
                if not cannot_raise(line.text):
                    self._seen[line] = None
            elif line == self._at and not self.broke:
                self.broke = True
                raise Planted(str(line))
        return self._line


def stages_of(module: ModuleType) -> list[str]:
    """The methods of all stages of a module in which a body meets it: what has to have been broken."""
    met = ("feed", "end", "fail")
    stages = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Stage)]
    own = [stage for stage in stages if stage.__module__ == module.__name__]
    return [f"{stage.__qualname__}.{name}" for stage in own for name in met if name in vars(stage)]
