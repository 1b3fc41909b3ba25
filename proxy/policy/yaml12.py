"""yaml12 -- YAML text to plain values and the place of each, with YAML 1.2 scalars: `on`, `no`, `1:30`, `010` mean what they say.

Built on PyYAML's parse events with a stack of its own: no recursion over hostile nesting, no expansion of an alias
before its size is known. Bad input becomes problems, never an exception. 1 MiB of ordinary YAML takes about a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.policy.problems import Path, Place, Problem, did_you_mean, shortened
from proxy.policy.scalars import MAX_DIGITS, TooLong, scalar, spelled

MAX_BYTES = 1024 * 1024  # a Kubernetes ConfigMap holds no more
MAX_DEPTH = 64  # the deepest sensible policy is under 20
MAX_VALUES = 100_000  # after aliases are expanded; a full file without aliases stays below

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]").search
_CORE = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Parsed:
    """A file's value with the place of every key and value by path. `problems` is empty when all of it may be used."""

    file: str
    value: Any = None
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, of_key: bool = False) -> Place:
        """Where `path` stands, or the nearest value around it that does stand somewhere."""
        for end in range(len(path), -1, -1):
            at = (self.keys.get(path[:end]) if of_key else None) or self.values.get(path[:end])
            if at is not None:
                return Place(self.file, *at)
        return Place(self.file, 1, 1)


@dataclass(slots=True)
class _Node:
    line: int
    column: int
    value: Any = None  # of a scalar
    pairs: list[tuple[_Node, _Node]] | None = None
    items: list[_Node] | None = None
    size: int = 1  # values in it, aliases expanded
    height: int = 1
    plain: bool = False
    done: bool = True


def parse(data: bytes | str, file: str) -> Parsed:
    """Reads one YAML document."""
    parsed = Parsed(file)
    text = _decoded(data, parsed)
    if text is None:
        return parsed
    reader = _Reader(parsed, text)
    root = reader.read()
    if root is not None:
        parsed.value = reader.plain(root, ())
    return parsed


def _decoded(data: bytes | str, parsed: Parsed) -> str | None:
    if len(data) > MAX_BYTES:
        parsed.problems.append(Problem(parsed.file, 1, 1, "", "larger than 1 MiB", "split it into several files"))
        return None
    if isinstance(data, bytes):
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            parsed.problems.append(Problem(parsed.file, 1, 1, "", "is UTF-16", "save it as UTF-8"))
            return None
        if b"\0" in data[:4]:
            parsed.problems.append(Problem(parsed.file, 1, 1, "", "is UTF-16, or no text at all", "save it as UTF-8"))
            return None
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as bad:
            before = data[: bad.start]
            line = before.count(b"\n") + 1
            column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
            message = f"byte 0x{data[bad.start]:02x} is not UTF-8"
            parsed.problems.append(Problem(parsed.file, line, column, "", message, "save the file as UTF-8"))
            return None
    else:
        text = data
    text = text.removeprefix("\ufeff")
    bad_character = _UNPRINTABLE(text)
    if bad_character is not None:
        at = bad_character.start()
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        message = f"character U+{ord(text[at]):04X} is not allowed in YAML"
        parsed.problems.append(Problem(parsed.file, line, column, "", message, "remove it"))
        return None
    return text


class _Stop(Exception):
    """The file cannot be read any further; the problem is noted."""


class _Reader:
    """One pass over the parse events of one file."""

    def __init__(self, parsed: Parsed, text: str) -> None:
        self._parsed = parsed
        self._text = text
        self._anchors: dict[str, _Node] = {}
        self._root: _Node | None = None
        self._stack: list[tuple[_Node, list[_Node]]] = []
        self._values = 0

    def read(self) -> _Node | None:
        try:
            for event in self._events():
                self._take(event)
        except _Stop:
            return None
        if self._root is None or (self._root.plain and self._root.value is None):
            if not self._parsed.problems:
                self._problem(1, 1, "the file is empty", "a policy file starts with 'version: 1'")
            return None
        return self._root

    def _problem(self, line: int, column: int, message: str, hint: str = "") -> None:
        self._parsed.problems.append(Problem(self._parsed.file, line, column, "", message, hint))

    def _stop(self, line: int, column: int, message: str, hint: str = "") -> _Stop:
        self._problem(line, column, message, hint)
        return _Stop()

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self._text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            unclosed = "end of stream" in str(error.problem)
            mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            raise self._stop(line, column, *self._syntax(error, line, column)) from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self._stop(1, 1, f"not valid YAML: {shortened(str(error))}") from None

    def _syntax(self, error: Any, line: int, column: int) -> tuple[str, str]:
        lines = self._text.split("\n")
        row = lines[line - 1] if line <= len(lines) else ""
        if row[column - 1 : column] == "\t" or (row[: column - 1].isspace() and "\t" in row[: column - 1]):
            return "a tab cannot indent YAML", "use spaces"
        problem = str(error.problem or error.context or error).strip()
        context = f" ({error.context})" if error.context and error.problem else ""
        hint = ""
        if "mapping values are not allowed" in problem:
            hint = "quote text that holds ': ', and align keys of one level"
        elif "found character" in problem and row[column - 1 : column] in {"@", "`", "%"}:
            hint = "put the text in quotes"
        elif "flow mapping" in str(error.context) and "${" in row[: column + 1]:
            hint = "inside braces, put ${…} in quotes"
        return f"not valid YAML: {problem}{context}", hint

    def _take(self, event: Any) -> None:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent):
            if self._root is not None:
                raise self._stop(line, column, "a second document starts here", "a policy file holds one; split it")
        elif isinstance(event, yaml.ScalarEvent):
            plain = event.style in (None, "")
            node = _Node(line, column, self._scalar(event, line, column), plain=plain)
            self._register(event, node)
            self._place(node)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line, column)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            mapping = isinstance(event, yaml.MappingStartEvent)
            if event.tag not in (None, "!", f"{_CORE}map" if mapping else f"{_CORE}seq"):
                self._refuse_tag(event.tag, line, column)
            node = _Node(line, column, pairs=[] if mapping else None, items=None if mapping else [], done=False)
            self._register(event, node)
            if len(self._stack) >= MAX_DEPTH:
                raise self._stop(line, column, f"nested deeper than {MAX_DEPTH} levels")
            self._stack.append((node, []))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            node, children = self._stack.pop()
            if node.pairs is not None:
                node.pairs.extend(zip(children[::2], children[1::2], strict=True))
            else:
                node.items = children
            node.done = True
            self._place(node)

    def _register(self, event: Any, node: _Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _alias(self, name: str, line: int, column: int) -> None:
        node = self._anchors.get(name)
        if node is None:
            raise self._stop(line, column, f"no anchor '&{shortened(name)}' stands before this", did_you_mean(name, self._anchors))
        if not node.done:
            raise self._stop(line, column, f"'*{shortened(name)}' refers to the value that it stands in")
        if len(self._stack) + node.height > MAX_DEPTH:
            raise self._stop(line, column, f"nested deeper than {MAX_DEPTH} levels")
        self._place(node, line, column)

    def _place(self, node: _Node, line: int = 0, column: int = 0) -> None:
        if not self._stack:
            self._root = node
            return
        parent, children = self._stack[-1]
        children.append(node)
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        self._values += node.size if line else 1
        if self._values > MAX_VALUES or parent.size > MAX_VALUES:
            what = "aliases expand to" if line else "the file holds"
            raise self._stop(line or node.line, column or node.column, f"{what} more than {MAX_VALUES:,} values")

    def _refuse_tag(self, tag: str, line: int, column: int) -> None:
        shown = tag.replace(_CORE, "!!", 1)
        self._problem(line, column, f"tag '{shortened(shown)}' is not allowed", "write the plain value")

    def _scalar(self, event: Any, line: int, column: int) -> Any:
        text: str = event.value
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            self._problem(line, column, "text holds half of a surrogate pair")
            return ""
        tag: str | None = event.tag
        if tag in (f"{_CORE}str", "!"):
            return text
        if tag is None:
            return text if event.style not in (None, "") else self._resolved(text, line, column)
        value = self._resolved(text, line, column)
        name = {type(None): "null", bool: "bool", int: "int", float: "float"}.get(type(value))
        if tag == f"{_CORE}float" and type(value) is int:
            return float(value)
        if tag != f"{_CORE}{name}":
            self._refuse_tag(tag, line, column)
        return value

    def _resolved(self, text: str, line: int, column: int) -> Any:
        try:
            return scalar(text)
        except TooLong:
            raise self._stop(line, column, f"a number of more than {MAX_DIGITS} digits") from None

    # Values and places, from nodes whose size and height are known to be small

    def plain(self, node: _Node, path: Path) -> Any:
        """The value of `node`, its places noted under `path`."""
        self._parsed.values.setdefault(path, (node.line, node.column))
        if node.items is not None:
            return [self.plain(item, (*path, i)) for i, item in enumerate(node.items)]
        if node.pairs is None:
            return node.value
        out: dict[str, Any] = {}
        merged: list[_Node] = []
        for key, value in node.pairs:
            if key.plain and key.value == "<<":
                merged.append(value)
                continue
            if not isinstance(key.value, str):
                self._refuse_key(key)
                continue
            name, at = key.value, (*path, key.value)
            if name in out:
                first = self._parsed.keys[at]
                where = f"line {first[0]}" if first[0] != key.line else f"column {first[1]}"
                self._problem(key.line, key.column, f"duplicate key '{shortened(name)}' (first at {where})")
                continue
            self._parsed.keys[at] = (key.line, key.column)
            out[name] = self.plain(value, at)
        for source in merged:
            self._merge(source, out, path)
        return out

    def _refuse_key(self, key: _Node) -> None:
        if key.pairs is not None or key.items is not None:
            self._problem(key.line, key.column, "a key must be text", "braces and brackets cannot be a key: quote the text")
        else:
            self._problem(key.line, key.column, f"a key must be text, got {spelled(key.value)}", "put it in quotes")

    def _merge(self, source: _Node, out: dict[str, Any], path: Path) -> None:
        """`<<`: what stands in the mapping itself wins, then the sources in their order."""
        for each in source.items if source.items is not None else [source]:
            if each.pairs is None:
                self._problem(each.line, each.column, "'<<' takes a mapping, or a list of mappings")
                continue
            taken: dict[str, Any] = {}
            nested: list[_Node] = []
            for key, value in each.pairs:
                if key.plain and key.value == "<<":
                    nested.append(value)
                elif not isinstance(key.value, str):
                    self._refuse_key(key)
                elif key.value not in out and key.value not in taken:
                    at = (*path, key.value)
                    self._parsed.keys[at] = (key.line, key.column)
                    taken[key.value] = self.plain(value, at)
            out.update(taken)
            for more in nested:
                self._merge(more, out, path)
