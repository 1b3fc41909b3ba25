"""messages -- pydantic's findings in the words of this project: what, where, what to do.

Stands beside the models; the only place that knows pydantic's error types. A value is shown unless its field is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from proxy.policy.problems import Path, Problem, did_you_mean, listed, problem_at, shortened
from proxy.policy.shape import names_at
from proxy.policy.spec import Model
from proxy.policy.units import Wrong, with_unit
from proxy.policy.yaml12 import Parsed

_SECRETS = {"key", "headers", "query", "proxy", "url"}  # of an upstream
_ABSENT = object()
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'").findall
_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
}
_BOUNDS = {
    "greater_than_equal": ("must be at least", "ge"),
    "greater_than": ("must be more than", "gt"),
    "less_than_equal": ("must be at most", "le"),
    "less_than": ("must be less than", "lt"),
}


@dataclass(slots=True, frozen=True)
class _Finding:
    path: Path
    of_key: bool
    message: str
    hint: str
    branch: bool  # one arm of a union: the others say more about the same value


def problems_of(error: ValidationError, root: type[Model], parsed: Parsed, told: Collection[Path] = ()) -> list[Problem]:
    """What `error` says about the value of `parsed`, which was validated as `root`; not of the paths that are `told` already."""
    errors = [each for each in error.errors(include_url=False) if tuple(each["loc"]) not in told]
    findings = [_finding(each, root, parsed.value, told) for each in errors]
    return [
        problem_at(parsed.place(f.path, f.of_key), f.path[:-1] if f.of_key else f.path, f.message, f.hint)
        for f in _joined(f for f in findings if f is not None)
    ]


def _finding(error: Any, root: type[Model], raw: Any, told: Collection[Path]) -> _Finding | None:
    kind, loc = error["type"], tuple(error["loc"])
    if kind == "missing":
        path, _, _ = in_file(loc[:-1], raw)
        return _Finding(path, False, f"missing field '{loc[-1]}'", "add 'version: 1'" if loc == ("version",) else "", False)
    if kind == "value_error" and isinstance(error["ctx"]["error"], Wrong):
        loc += error["ctx"]["error"].at
    of_key = loc[-1:] == ("[key]",)
    path, value, skipped = in_file(loc[:-1] if of_key else loc, raw)
    if kind == "extra_forbidden":
        known = names_at(root, loc[:-1])
        hint = did_you_mean(str(loc[-1]), known) or (f"known: {listed(known)}" if known else "")
        return _Finding((*path[: len(path) - 1], loc[-1]), True, f"unknown field '{shortened(str(loc[-1]))}'", hint, False)
    if kind == "value_error" and any(each[: len(path)] == path for each in told):
        return None  # a rule on the whole of a mapping of which a part is told already
    if kind == "too_short" and (not isinstance(value, (list, dict)) or len(value) >= error["ctx"]["min_length"]):
        return None  # pydantic counts only the entries that were valid, and those that were not are told already
    message, hint, got = _words(kind, error, path[-1] if of_key else value)
    if kind == "model_type":
        hint = f"its fields: {listed(names_at(root, loc))}"
    secret = not of_key and len(path) > 2 and path[0] == "upstreams" and path[2] in _SECRETS
    if got and not secret:
        message = f"{message}, got {shown(path[-1] if of_key else value)}"
    return _Finding(path, of_key, message, hint, skipped)


def in_file(loc: Path, value: Any) -> tuple[Path, Any, bool]:
    """The part of `loc` that stands in the file, its value, and whether something was left out: a union's arm, a short form's field."""
    path: list[str | int] = []
    skipped = False
    for part in loc:
        inner = _child(value, part)
        if inner is _ABSENT:
            skipped = True
        else:
            path.append(part)
            value = inner
    return tuple(path), value, skipped


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else _ABSENT


def _words(kind: str, error: Any, value: Any) -> tuple[str, str, bool]:
    """Message, hint, and whether to go on with the value that was found."""
    context = error.get("ctx") or {}
    if kind in _KINDS:
        return _KINDS[kind], _type_hint(kind, value), True
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"{words} {with_unit(context[name], value)}", "", True
    if kind in ("literal_error", "enum"):
        expected = _QUOTED(context["expected"]) or [context["expected"]]
        hint = did_you_mean(value, expected) if isinstance(value, str) else ""
        return (f"must be one of {listed(expected)}" if len(expected) > 1 else f"must be {expected[0]}"), hint, True
    if kind == "value_error":
        wrong = context["error"]
        return (str(wrong), wrong.hint, wrong.got) if isinstance(wrong, Wrong) else (str(wrong), "", False)
    if kind in ("string_too_short", "too_short"):
        least, of = context["min_length"], "characters" if kind.startswith("string") else "entries"
        return ("must not be empty", "", False) if least == 1 else (f"needs at least {least} {of}", "", False)
    if kind in ("string_too_long", "too_long"):
        of = "characters" if kind.startswith("string") else "entries"
        return f"may have at most {context['max_length']} {of}", "", False
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}", "", True
    text = str(error["msg"])
    return text[:1].lower() + text[1:], "", False


def _type_hint(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, (int, float)):
        return "put it in quotes"
    if isinstance(value, str):
        if kind in ("int_type", "float_type") and value.replace(".", "", 1).isdigit():
            return "take the quotes away"
        if kind == "bool_type" and value.lower() in {"yes", "on", "y", "true"}:
            return "write true"
        if kind == "bool_type" and value.lower() in {"no", "off", "n", "false"}:
            return "write false"
    return ""


def shown(value: Any) -> str:
    """A value as a message shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    if isinstance(value, (int, float)):
        return shortened(str(value))
    return "a list" if isinstance(value, list) else "a mapping"


def _joined(findings: Iterable[_Finding]) -> list[_Finding]:
    """The arms of a union as one finding."""
    out: list[_Finding] = []
    at: dict[Path, int] = {}
    for f in findings:
        if f.branch and f.path in at:
            first = out[at[f.path]]
            before, _, got = first.message.partition(", got ")
            more = f.message.partition(", got ")[0].removeprefix("must be ")
            if f.message.startswith("must be ") and before.startswith("must be ") and more not in before:
                out[at[f.path]] = replace(first, message=f"{before} or {more}" + (f", got {got}" if got else ""))
            continue
        if f.branch:
            at[f.path] = len(out)
        out.append(f)
    return out
