"""source -- one policy file, validated part by part: what is right of it can be used to find what is wrong elsewhere.

Stands between the YAML reader and the merge of several files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from proxy.policy.document_spec import DocumentSpec, LimitsSpec, PolicySpec
from proxy.policy.match_spec import MatchSpec
from proxy.policy.messages import in_file, problems_of, shown
from proxy.policy.problems import Path, Place, Problem, Severity, problem_at
from proxy.policy.shape import unfold
from proxy.policy.upstreams import UpstreamSpec
from proxy.policy.yaml12 import Parsed, parse


@dataclass(slots=True)
class Source:
    """A file's valid parts, with the index of each policy in the file, and its problems."""

    parsed: Parsed
    upstreams: dict[str, UpstreamSpec] = field(default_factory=dict)
    signals: dict[str, MatchSpec] = field(default_factory=dict)
    policies: list[tuple[int, PolicySpec]] = field(default_factory=list)
    limits: LimitsSpec | None = None
    problems: list[Problem] = field(default_factory=list)
    unfolded: dict[str, Any] = field(default_factory=dict)  # the whole as it stands, short forms written out

    @property
    def file(self) -> str:
        """Its name as problems show it."""
        return self.parsed.file

    def names(self, section: str) -> Iterable[str]:
        """The names that a section declares, of parts that are wrong too."""
        value = self.parsed.value.get(section) if isinstance(self.parsed.value, dict) else None
        return value if isinstance(value, dict) else ()

    def policy_names(self) -> Iterable[tuple[int, str]]:
        """Index and name of each policy that has one, of wrong ones too."""
        value = self.parsed.value.get("policies") if isinstance(self.parsed.value, dict) else None
        for index, each in enumerate(value if isinstance(value, list) else ()):
            if isinstance(each, dict) and isinstance(each.get("name"), str):
                yield index, each["name"]

    def wrong_parts(self, section: str) -> Iterator[tuple[Path, Any]]:
        """The parts of a section that are not valid, each with its path; short forms are written out."""
        value = self.unfolded.get(section)
        if section == "policies":
            sound = {index for index, _ in self.policies}
            for index, each in enumerate(value if isinstance(value, list) else ()):
                if index not in sound:
                    yield (section, index), each
        elif isinstance(value, dict):
            for name, each in value.items():
                if name not in getattr(self, section):
                    yield (section, name), each

    def place(self, path: Path, of_key: bool = False) -> Place:
        """Where `path` stands, or what is nearest around it."""
        return self.parsed.place(in_file(path, self.parsed.value)[0], of_key)

    def problem(self, path: Path, message: str, hint: str = "", severity: Severity = Severity.ERROR, of_key: bool = False) -> Problem:
        """A problem at `path`; parts of it that only a short form's long form has are left out."""
        found = in_file(path, self.parsed.value)[0]
        return problem_at(self.parsed.place(found, of_key), found, message, hint, severity)


def read_source(data: bytes | str, file: str, model: type[DocumentSpec]) -> Source:
    """Reads and validates one file."""
    return source_of(parse(data, file), model)


def source_of(parsed: Parsed, model: type[DocumentSpec]) -> Source:
    """Validates what was read."""
    source = Source(parsed, problems=list(parsed.problems))
    value = parsed.value
    if not isinstance(value, dict):
        if not parsed.problems:
            source.problems.append(problem_at(parsed.place(()), (), f"must be a mapping, got {shown(value)}", "start with 'version: 1'"))
        return source
    unfolded, found = unfold(model, value)
    source.unfolded = unfolded
    source.problems.extend(source.problem(path, message, hint) for path, message, hint in found)
    without_value = {path for path, _, _ in found}
    try:
        _take(source, model.read(unfolded), range(len(unfolded.get("policies") or ())))
        return source
    except ValidationError as error:
        source.problems.extend(problems_of(error, model, parsed, without_value))
        sound, kept = _without(unfolded, [tuple(each["loc"]) for each in error.errors(include_url=False)])
    with contextlib.suppress(ValidationError):  # then nothing of it can be trusted; its problems are told
        _take(source, model.read(sound), kept)
    return source


def _take(source: Source, document: DocumentSpec, indexes: Iterable[int]) -> None:
    source.upstreams = document.upstreams
    source.signals = document.signals
    source.limits = document.limits
    source.policies = list(zip(indexes, document.policies, strict=True))


def _without(value: dict[str, Any], locs: Iterable[Path]) -> tuple[dict[str, Any], list[int]]:
    """The document without its wrong parts, and the indexes of the policies that are left."""
    out = {**value, "version": 1}
    wrong: set[int] = set()
    for loc in locs:
        section = loc[0] if loc else ""
        if section == "policies" and len(loc) > 1 and isinstance(loc[1], int):
            wrong.add(loc[1])
        elif section in ("upstreams", "signals") and len(loc) > 1 and isinstance(out.get(section), dict):
            out[section] = {name: each for name, each in out[section].items() if name != loc[1]}
        elif section != "version":
            out.pop(str(section), None)
    if not isinstance(out.get("policies"), list):
        return out, []
    kept = [i for i in range(len(out["policies"])) if i not in wrong]
    out["policies"] = [out["policies"][i] for i in kept]
    return out, kept
