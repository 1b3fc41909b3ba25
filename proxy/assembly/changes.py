"""changes -- what differs between the request that came and the one that leaves, fit to be shown: fields, spans, headers, never content.

New values are a policy's own text and are shown. Old ones are the app's: numbers, yes and no, and texts of fields that hold one of a few
words (a model, an effort) are shown; of any other text only its length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from proxy.adapters.masking import MASK, is_secret, masked
from proxy.core.body import Headers
from proxy.openai.payload import MISSING, Payload
from proxy.openai.unread import Unread
from proxy.policy.secrets import has_reference
from proxy.policy.upstreams import Upstream as Declared

WORDS = frozenset(  # fields whose texts are names out of a list, by the API's reference; what a person says stands in others
    (
        "background", "effort", "encoding_format", "format", "include", "modalities", "mode", "model", "moderation", "output_format",
        "quality", "reasoning_effort", "response_format", "role", "service_tier", "size", "store", "strict", "style", "summary",
        "syntax", "timestamp_granularities", "tool_choice", "truncation", "type", "verbosity", "voice",
    )
)  # fmt: skip
MODEL_CHARS = 256
DEPTH = 4
ITEMS = 8  # of a list or an object
TEXT_CHARS = 2000  # of a policy's text


@dataclass(slots=True, frozen=True)
class Change:
    """One field. MISSING where there was, or will be, none."""

    path: str
    old: object
    new: object


@dataclass(slots=True, frozen=True)
class Span:
    """Bytes `start` to `end` of the body that came, replaced by `put` others."""

    start: int
    end: int
    put: int


@dataclass(slots=True, frozen=True)
class Body:
    """How the body changes. `came` and `leaves` are sizes in bytes, of the body as it came and as it leaves."""

    came: int
    leaves: int
    fields: tuple[Change, ...] = ()
    spans: tuple[Span, ...] = ()


@dataclass(slots=True, frozen=True)
class Header:
    """One line of the head. `mark` is " " for one that stays, "+" for one that is added, "-" for one that is taken away."""

    mark: str
    name: str
    value: str


def body_changes(payload: Payload) -> Body:
    """The changes of a body, old values fit to be shown."""
    came = len(payload.raw)
    try:
        fields = tuple(Change(path, _old(path, old), _new(new)) for path, old, new in payload.edits)
        spans = tuple(Span(*each) for each in payload.spans)
        return Body(came, payload.size_bytes, fields, spans)
    except Unread:
        return Body(came, came)


def _old(path: str, value: object) -> object:
    return MISSING if value is None and path.endswith((" (before)", " (after)")) else shown(value, path)


def _new(value: object) -> object:
    return value if not isinstance(value, str) or len(value) <= TEXT_CHARS else value[: TEXT_CHARS - 1] + "…"


def shown(value: object, key: str = "", depth: int = 0) -> object:
    """A value of the app, without what a person may have written."""
    if value is MISSING or value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return _cut(value, MODEL_CHARS) if key in WORDS else f"({len(value):,} characters)"
    if isinstance(value, list):
        return f"(list of {len(value)})" if depth >= DEPTH or len(value) > ITEMS else [shown(each, key, depth + 1) for each in value]
    if isinstance(value, dict):
        if depth >= DEPTH or len(value) > ITEMS:
            return f"(object of {len(value)})"
        return {_cut(str(name), 64): shown(each, str(name), depth + 1) for name, each in value.items()}
    return f"({type(value).__name__})"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def header_changes(came: Headers, leaves: Headers, hidden: frozenset[bytes]) -> tuple[Header, ...]:
    """The head as it leaves, and what of the app's is not in it. `hidden`: names, lower case, whose values are secrets of the upstream."""
    before = Counter((name.lower(), value) for name, value in came)
    out = []
    for name, value in leaves:
        key = (name.lower(), value)
        stays = before[key] > 0
        before[key] -= stays
        out.append(_header(" " if stays else "+", name, value, hidden))
    for name, value in came:
        key = (name.lower(), value)
        if before[key] > 0:
            before[key] -= 1
            out.append(_header("-", name, value, frozenset()))
    return tuple(out)


def _header(mark: str, name: bytes, value: bytes, hidden: Iterable[bytes]) -> Header:
    ((_, shown_value),) = [(name, MASK)] if name.lower() in hidden else masked([(name, value)])
    return Header(mark, text_of(name), text_of(shown_value))


def text_of(data: bytes) -> str:
    """Bytes of a head for people: UTF-8 where they are, controls replaced."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return "".join(c if c.isprintable() else "?" for c in text)


def hidden_headers(declared: Declared) -> frozenset[bytes]:
    """Names of headers, lower case, that carry a secret of the upstream."""
    names = [name for name, _ in declared.headers if has_reference(declared.spec.headers.set[name])]
    names += [declared.credential.header] if declared.credential is not None else []
    return frozenset(name.lower().encode() for name in names)


def shown_target(target: bytes, declared: Declared | None) -> str:
    """The target, the values of its query masked where they are secrets of the upstream or sound so."""
    path, mark, query = target.partition(b"?")
    if not mark:
        return text_of(target)
    hidden = {name.encode() for name, _ in declared.query if has_reference(declared.spec.query[name])} if declared is not None else set()
    return text_of(path + b"?" + b"&".join(_shown_pair(pair, hidden) for pair in query.split(b"&")))


def _shown_pair(pair: bytes, hidden: set[bytes]) -> bytes:
    name, equals, _ = pair.partition(b"=")
    decoded = unquote_to_bytes(name)
    return name + b"=" + MASK if equals and (decoded in hidden or is_secret(decoded)) else pair
