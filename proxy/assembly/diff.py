"""diff -- two sets of policies at work on the same recorded requests: which calls would be treated differently, and how often in which way.

Each request goes through both engines, over upstreams that only look; what leaves is compared, and who had a part in it. Of ten thousand
requests only the groups are kept, each with a few examples.
Cost: about 0.3 ms a request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from proxy.adapters.masking import is_secret
from proxy.assembly.changes import hidden_headers, text_of
from proxy.assembly.generation import tokens_for
from proxy.assembly.load import Policies
from proxy.assembly.looking import Exchange, Looking, Seen
from proxy.assembly.recorded import Asked, WrongRequest
from proxy.assembly.rules import Rule, chosen
from proxy.core.body import Headers
from proxy.openai.payload import MISSING, Payload
from proxy.openai.unread import Unread

EXAMPLES = 10  # of a group
AS_ASKED = "as asked"
VISIBLE = frozenset(("refuse", "rewrite", "params", "instruct"))  # kinds that change what leaves, and nothing besides
FRAMING = frozenset((b"content-length", b"transfer-encoding", b"host"))  # they follow from the body and the upstream
_index = re.compile(r"\[\d+\]")


@dataclass(slots=True, frozen=True)
class Change:
    """One way in which a call is treated differently. `kind`: refused, upstream, url, model, body, headers, layers or policies."""

    kind: str
    what: str  # the field, the header, the layer; empty where the kind has but one
    old: str
    new: str


@dataclass(slots=True)
class Group:
    """Calls that change in the same way."""

    changes: tuple[Change, ...]
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class CallsDiff:
    """What came of it. `shadow` counts calls by what a policy in shadow would do, before and after: that changes no call."""

    requests: int = 0
    groups: dict[tuple[Change, ...], Group] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    shadow: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    @property
    def different(self) -> int:
        """How many calls."""
        return sum(group.count for group in self.groups.values())

    @property
    def by_kind(self) -> Counter[str]:
        """How many calls, by kind of change; a call may count for several."""
        out: Counter[str] = Counter()
        for group in self.groups.values():
            for kind in dict.fromkeys(change.kind for change in group.changes):
                out[kind] += group.count
        return out

    def ordered(self) -> list[Group]:
        """The largest group first."""
        return sorted(self.groups.values(), key=lambda group: (-group.count, group.changes[0].kind, group.changes[0].what))


async def compare(old: Policies, new: Policies, requests: Iterable[Asked | WrongRequest]) -> CallsDiff:
    """Both sets over the requests, which are taken one by one."""
    tokens = tokens_for((*old.rules, *new.rules))
    before, after = _Side(Looking(old, tokens=tokens)), _Side(Looking(new, tokens=tokens))
    out = CallsDiff()
    for asked in requests:
        if isinstance(asked, WrongRequest):
            out.wrong.append(str(asked))
            continue
        out.requests += 1
        was, will = await before.treat(asked), await after.treat(asked)
        for place, treated in enumerate((was, will)):
            for key in treated.shadow:
                out.shadow.setdefault(key, [0, 0])[place] += 1
        changes = tuple(changed(was, will))
        if changes:
            group = out.groups.setdefault(changes, Group(changes))
            group.count += 1
            if len(group.examples) < EXAMPLES:
                group.examples.append(asked.name)
    return out


@dataclass(slots=True, frozen=True)
class Treated:
    """What one set of policies does with one call, as far as it can be compared."""

    refused: str  # empty: it is sent
    upstream: str
    url: str
    model: str
    body: bytes | None  # as it leaves; None: as it came
    edits: Mapping[str, str]
    headers: Mapping[str, str]  # besides those that came
    secrets: Mapping[str, bytes]  # values that are compared and not shown
    layers: Mapping[tuple[str, str], str]  # (kind, policy) to its digest and fields, where what leaves does not tell
    policies: tuple[str, ...]
    shadow: frozenset[tuple[str, str]]


class _Side:
    """One of the two."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._rules: dict[str, Rule] = {rule.name: rule for rule in looking.rules}
        self._layers: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}

    async def treat(self, asked: Asked) -> Treated:
        """What is done with it."""
        seen = await self._looking.look(asked)
        matched = tuple(name for name in seen.matched if not self._rules[name].shadow)
        acted = tuple(dict.fromkeys(e.policy for e in seen.journal if e.acted and e.policy is not None))
        shadow = frozenset((e.policy, e.kind) for e in seen.journal if e.would_act and e.policy is not None)
        exchange = seen.exchange
        layers = self._layers_of(matched)
        if exchange is None:
            return Treated(await _refusal(seen), "", "", "", None, {}, {}, {}, layers, acted, shadow)
        declared = self._looking.policies.upstreams.get(exchange.upstream)
        hidden = hidden_headers(declared) if declared is not None else frozenset()
        headers, secrets = _headers(asked.headers, exchange.headers, hidden)
        if declared is not None:  # what its query adds is compared, not shown
            secrets["query"] = exchange.target.partition(b"?")[2]
        body, edits, names_model = _body(exchange)
        return Treated(
            "",
            exchange.upstream,
            f"{declared.address.origin}{declared.address.path}" if declared is not None else "",
            (exchange.model or AS_ASKED) if names_model else AS_ASKED,
            body,
            edits,
            headers,
            secrets,
            layers,
            acted,
            shadow,
        )

    def _layers_of(self, matched: tuple[str, ...]) -> dict[tuple[str, str], str]:
        if matched not in self._layers:
            layers, _ = chosen([self._rules[name] for name in matched], self._looking.shelf.order)
            self._layers[matched] = {
                (each.part.kind.name, each.rule.name): f"{each.part.digest} {','.join(sorted(each.fields))}"
                for each in layers
                if each.part.kind.name not in VISIBLE
            }
        return self._layers[matched]


async def _refusal(seen: Seen) -> str:
    data = await seen.reply.body.read_all()
    try:
        error = orjson.loads(data)["error"]
        said = f" {error['code']}: {error['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = ""
    return f"{seen.reply.status}{said}"


def _body(exchange: Exchange) -> tuple[bytes | None, dict[str, str], bool]:
    """The body as it leaves, the new values of its fields but the model, and whether the model is another than the app's."""
    payload: Payload | None = exchange.payload
    if payload is None or not payload.edited:
        return None, {}, False
    try:
        edits: dict[str, str] = {}
        for path, _, new in payload.edits:
            if path != "model":
                name = _index.sub("[]", path)  # where in a conversation a text goes is each call's own
                edits[name] = "\n\n".join(filter(None, (edits.get(name), "removed" if new is MISSING else _written(new))))
        return b"".join(payload.pieces()), edits, any(path == "model" for path, _, _ in payload.edits)
    except Unread:
        return None, {}, False


def _written(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _headers(came: Headers, leaves: Headers, hidden: frozenset[bytes]) -> tuple[dict[str, str], dict[str, bytes]]:
    """What is added to the head, and what is taken from it; values that may not be shown apart."""
    shown: dict[str, str] = {}
    secrets: dict[str, bytes] = {}
    before, after = _named(came), _named(leaves)
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old == new or name in FRAMING:
            continue
        key = text_of(name)
        if name in hidden or is_secret(name):
            secrets[key] = b"removed" if new is None else b"\0".join(new)
        else:
            shown[key] = "removed" if new is None else text_of(b", ".join(new))
    return shown, secrets


def _named(headers: Headers) -> dict[bytes, list[bytes]]:
    out: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        out.setdefault(name.lower(), []).append(value)
    return out


def changed(was: Treated, will: Treated) -> Iterator[Change]:
    """How the second differs from the first."""
    if was.refused != will.refused:
        yield Change("refused", "", was.refused or "sent", will.refused or "sent")
    if not was.refused and not will.refused:
        yield from _sent_changes(was, will)
    yield from _layer_changes(was, will)
    if was.policies != will.policies:
        left = [name for name in was.policies if name not in will.policies]
        come = [name for name in will.policies if name not in was.policies]
        if not left and not come:  # the same ones in another order
            left, come = list(was.policies), list(will.policies)
        yield Change("policies", "", ", ".join(left) or "none", ", ".join(come) or "none")


def _sent_changes(was: Treated, will: Treated) -> Iterator[Change]:
    if was.upstream != will.upstream:
        yield Change("upstream", "", was.upstream, will.upstream)
    elif was.url != will.url:
        yield Change("url", "", was.url, will.url)
    if was.model != will.model:
        yield Change("model", "", was.model, will.model)
    fields = [Change("body", path, *_pair(was.edits, will.edits, path)) for path in sorted(was.edits.keys() | will.edits.keys())]
    fields = [change for change in fields if change.old != change.new]
    if not fields and was.model == will.model and was.body != will.body:
        fields = [Change("body", "its bytes", "so", "otherwise")]
    yield from fields
    if was.upstream == will.upstream:  # each upstream has its own headers and key
        for name in sorted(was.headers.keys() | will.headers.keys()):
            old, new = _pair(was.headers, will.headers, name)
            if old != new:
                yield Change("headers", name, old, new)
        for name in sorted(was.secrets.keys() | will.secrets.keys()):
            if was.secrets.get(name) != will.secrets.get(name):
                yield Change("headers", name, "a value that is not shown", "another")


def _layer_changes(was: Treated, will: Treated) -> Iterator[Change]:
    for key in sorted(was.layers.keys() | will.layers.keys()):
        kind, policy = key
        if key not in will.layers:
            yield Change("layers", f"{kind} of {policy}", "there", "gone")
        elif key not in was.layers:
            yield Change("layers", f"{kind} of {policy}", "not there", "added")
        elif was.layers[key] != will.layers[key]:
            yield Change("layers", f"{kind} of {policy}", "so", "otherwise")


def _pair(old: Mapping[str, str], new: Mapping[str, str], name: str) -> tuple[str, str]:
    return old.get(name, AS_ASKED), new.get(name, AS_ASKED)
