"""sent -- what upstreams received beside what a case expects of it: all exchanges, or the last one.

Stands beside `verdict`, which asks it. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy.adapters.played import Exchange
from proxy.assembly.compared import Miss, Path, body_differences, header_differences, json_of, like, shown
from proxy.assembly.heard import Heard
from proxy.policy.expect_spec import ExpectSpec, SentSpec

ONE_HOP = frozenset((b"host", b"connection", b"keep-alive", b"te", b"upgrade", b"proxy-connection", b"transfer-encoding"))


def sent_as(exchange: Exchange) -> str:
    """An exchange as `upstream model`."""
    model = model_of(exchange)
    return f"{exchange.upstream} {model}" if model else exchange.upstream


def model_of(exchange: Exchange) -> str | None:
    """The model that an upstream was asked for."""
    body = json_of(exchange.body)
    model = body.get("model") if isinstance(body, dict) else None
    return model if isinstance(model, str) else None


def exchange_differences(expect: ExpectSpec, seen: Sequence[Exchange], heard: Heard | None) -> Iterator[Miss]:
    wanted = expect.exchanges
    listed = ", ".join(map(sent_as, seen)) or "none"
    if isinstance(wanted, int):
        if wanted != len(seen):
            yield Miss(("exchanges",), str(wanted), f"{len(seen)}: {listed}" if seen else "0")
    elif wanted is not None:
        if len(wanted) != len(seen):
            yield Miss(("exchanges",), ", ".join(each.to or each.name or each.model or "…" for each in wanted) or "none", listed)
        for place, (each, exchange) in enumerate(zip(wanted, seen, strict=False)):
            yield from _sent(each, exchange, heard, ("exchanges", place))
    if expect.upstream is not None:
        if not seen:
            yield Miss(("upstream",), "an exchange", "none: nothing was sent")
        else:
            yield from _sent(expect.upstream, seen[-1], heard, ("upstream",))


def _sent(wanted: SentSpec, exchange: Exchange, heard: Heard | None, path: Path) -> Iterator[Miss]:
    if wanted.to is not None:
        upstream, space, model = wanted.to.partition(" ")
        if not like(upstream, exchange.upstream) or (space and not like(model.strip(), model_of(exchange) or "")):
            yield Miss(path, wanted.to, sent_as(exchange))
    for name, seen in (
        ("name", exchange.upstream),
        ("model", model_of(exchange)),
        ("method", exchange.method.decode("latin-1")),
        ("path", exchange.target.decode("utf-8", "replace")),
    ):
        expected = getattr(wanted, name)
        if expected is not None and (seen is None or not like(expected, seen)):
            yield Miss((*path, name), expected, seen if seen is not None else "none")
    unsent = not exchange.received and (wanted.headers is not None or wanted.untouched is not None)
    if unsent:
        yield Miss(path, "a request", f"no connection: {exchange.failure or 'none was made'}")
        return
    yield from header_differences(wanted.headers, lambda name: _header(exchange, name), path)
    yield from body_differences(wanted, exchange.body, path)
    if wanted.untouched is not None and heard is not None:
        changes = list(_changes(heard, exchange))
        if wanted.untouched and changes:
            yield Miss((*path, "untouched"), "as the app sent it", "; ".join(changes))
        elif not wanted.untouched and not changes:
            yield Miss((*path, "untouched"), "something changed", "every byte as the app sent it")


def _changes(heard: Heard, exchange: Exchange) -> Iterator[str]:
    asked = heard.asked
    if exchange.method != asked.method:
        yield f"method {exchange.method.decode('latin-1')}"
    before = [pair for pair in asked.headers if pair[0].lower() not in ONE_HOP]
    after = [pair for pair in exchange.headers if pair[0].lower() not in ONE_HOP]
    if before != after:
        names = {name.lower() for name, _ in after}
        gone = [name.decode("latin-1") for name, _ in before if name.lower() not in names]
        new = [name.decode("latin-1") for name, value in after if (name, value) not in before]
        told = [f"without {', '.join(gone)}"] if gone else []
        told += [f"with another {', '.join(new)}"] if new else []
        yield f"headers {' and '.join(told) or 'in another order'}"
    if exchange.body != asked.body:
        at = next(
            (i for i, (a, b) in enumerate(zip(asked.body, exchange.body, strict=False)) if a != b), min(len(asked.body), len(exchange.body))
        )
        yield f"body from byte {at} on: {shown(asked.body[at : at + 60])} became {shown(exchange.body[at : at + 60])}"


def _header(exchange: Exchange, name: str) -> str | None:
    values = [value for key, value in exchange.headers if key.lower() == name.lower().encode()]
    return ", ".join(value.decode("utf-8", "replace") for value in values) if values else None
