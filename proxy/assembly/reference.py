"""reference -- the tables of policies/README.md, made from the same models that check the files, so that the two cannot differ.

For `make generate` and its check; nothing at run time asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.assembly.stack import STACK
from proxy.openai.errors import CODES
from proxy.openai.payload import HAS
from proxy.policy.document_spec import LimitsSpec, PolicySpec
from proxy.policy.match_spec import HeaderSpec, KeywordsSpec, MatchSpec, RangeSpec
from proxy.policy.upstreams import AuthSpec, HeadersSpec, TlsSpec, UpstreamSpec

_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.S)


def filled(text: str) -> str:
    """A page with every generated block of it made anew. Raises KeyError for a block that nothing makes."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{BLOCKS[block[2]]()}\n\n{block[3]}", text)


def fields(model: type[BaseModel], leave_out: Iterable[str] = ()) -> str:
    """A table of a model's fields."""
    rows = ["| key | default | |", "|---|---|---|"]
    for name, info in model.model_fields.items():
        key = info.alias or name
        if key not in leave_out:
            rows.append(f"| `{key}` | {_default(info)} | {_described(info)} |")
    return "\n".join(rows)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is None or default == () or default == {} or isinstance(default, BaseModel):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _described(info: FieldInfo) -> str:
    text = (info.description or "").replace("|", "\\|")
    choices = _choices(info.annotation)
    if choices and not any(f"`{choice}`" in text for choice in choices):
        text += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    return text


def _choices(annotation: Any) -> tuple[str, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _kinds() -> str:
    parts = []
    for kind in STACK:
        doc = " ".join((kind.spec.__doc__ or "").split())
        shadow = "may run in shadow" if kind.shadow is not None else "cannot run in shadow"
        parts.append(f"### {kind.name}\n\n{doc}\n\nIt {shadow}.\n\n{fields(kind.spec)}")
    return "\n\n".join(parts)


def _table(head: str, rows: Mapping[str, str]) -> str:
    return "\n".join([f"| {head} | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in rows.items())])


def _codes() -> str:
    rows = ["| `error.code` | status | |", "|---|---|---|"]
    rows += [f"| `{name}` | {code.status} | {code.meaning} |" for name, code in CODES.items()]
    return "\n".join(rows)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "policy": lambda: fields(PolicySpec),
    "limits": lambda: fields(LimitsSpec),
    "match": lambda: fields(MatchSpec),
    "range": lambda: fields(RangeSpec),
    "header": lambda: fields(HeaderSpec),
    "keywords": lambda: fields(KeywordsSpec),
    "has": lambda: _table("feature", HAS),
    "upstream": lambda: fields(UpstreamSpec),
    "auth": lambda: fields(AuthSpec),
    "headers": lambda: fields(HeadersSpec),
    "tls": lambda: fields(TlsSpec),
    "kinds": _kinds,
    "codes": _codes,
}
