"""named -- the names and secrets in parts of a file that are wrong elsewhere: they too are told at the first look.

Stands beside `references`, which asks the models of sound parts; here the values are walked as they stand, short forms written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from proxy.policy.problems import Path
from proxy.policy.shape import branches, fields
from proxy.policy.spec import Model


def signals_in(match: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The signals that a match names, each with its path."""
    if not isinstance(match, dict):
        return
    for key in ("signals", "all", "any", "not"):
        value = match.get(key)
        for i, each in enumerate(value if isinstance(value, list) else [value]):
            at = (*path, key, i) if isinstance(value, list) else (*path, key)
            if key != "signals":
                yield from signals_in(each, at)
            elif isinstance(each, str):
                yield at, each


def upstreams_in(annotation: Any, value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The upstreams that a spec of this annotation names, by a field called `upstream`, each with its path."""
    for kind in branches(annotation):
        if isinstance(kind, type) and issubclass(kind, Model) and isinstance(value, dict):
            for key, inner in fields(kind).items():
                if key == "upstream" and isinstance(value.get(key), str):
                    yield (*path, key), value[key]
                elif key in value:
                    yield from upstreams_in(inner, value[key], (*path, key))
        elif get_origin(kind) is tuple and isinstance(value, list):
            for i, item in enumerate(value):
                yield from upstreams_in(get_args(kind)[0], item, (*path, i))
        elif get_origin(kind) in (dict, Mapping) and isinstance(value, dict):
            for key, item in value.items():
                yield from upstreams_in(get_args(kind)[1], item, (*path, key))


def secrets_in(upstream: Any) -> Iterator[tuple[Path, str]]:
    """The texts of an upstream in which `${…}` is resolved, each with its path."""
    if not isinstance(upstream, dict):
        return
    headers = upstream.get("headers")
    groups: tuple[tuple[Path, Any], ...] = (
        ((), {key: upstream.get(key) for key in ("key", "proxy")}),
        (("headers", "set"), headers.get("set") if isinstance(headers, dict) else None),
        (("query",), upstream.get("query")),
    )
    for path, group in groups:
        for key, text in group.items() if isinstance(group, dict) else ():
            if isinstance(text, str):
                yield (*path, key), text
