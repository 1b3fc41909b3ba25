"""upstream -- the innermost service: one exchange with the upstream that the call's target names.

The only place that spends the allowance, adds a credential, and puts the chosen model's name into the body.
Cost: for home without settings, a lookup; one splice where the model changes.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from proxy.adapters.outbound import DIGESTS, DIGESTS_AND_ENCODING, Outbound, without
from proxy.core.body import Body, Headers
from proxy.core.call import Call
from proxy.core.faults import Failure
from proxy.core.ports import CallRecord, ExchangeRecord
from proxy.core.reply import Reply
from proxy.core.request import CHUNKED, LENGTH, Request
from proxy.core.service import FaultReport
from proxy.core.stage import BugReport, Stage
from proxy.openai.payload import Payload, Unread
from proxy.policy.upstreams import Upstream as Declared
from proxy.wire.tls import client_context

OUTCOMES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class Sender(Protocol):
    """A connection pool to one upstream."""

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        """One exchange. Raises Failure."""

    def close(self) -> None:
        """Closes what is idle; exchanges under way end by themselves."""


class Upstream:
    """One upstream with its pool."""

    __slots__ = ("_address", "_count", "_declared", "_home", "_models", "_on_bug", "_out", "_pool", "_tls", "name")

    def __init__(
        self,
        declared: Declared,
        home: bool,
        pool: Sender,
        count: Callable[[str, str], None] | None = None,
        report: FaultReport | None = None,
    ) -> None:
        """`report` is told of bugs in what stands in a reply's body: they are passed over, and must not be silent."""
        self.name = declared.name
        self._declared = declared
        self._home = home
        self._tls = _contents(declared)
        self._count = count or _uncounted
        self._on_bug = _told(report) if report is not None else None
        self._address = f"{declared.address.host}:{declared.address.port}"
        self._models = declared.spec.models
        self._out = outbound(declared, home)
        self._pool = pool

    @property
    def renames_models(self) -> bool:
        """Whether a call's body must be held for the name map."""
        return bool(self._models)

    def is_same(self, declared: Declared, home: bool) -> bool:
        """Whether this is what `declared` says: its secrets and its certificates as they are now."""
        return self._home is home and self._declared == declared and self._tls == _contents(declared)

    async def exchange(self, call: Call) -> Reply:
        """Sends the call. Raises Failure, with the upstream's name in `where`."""
        record: CallRecord | ExchangeRecord | None = call.trace
        traceparent = None
        if record is not None:
            record.address, record.target = self._address, call.target
            traceparent = record.trace.traceparent if record.trace is not None else None
        request = self._request(call, traceparent)
        call.allowance.spend()
        try:
            reply = await self._pool.send(request, call.connect_s)
        except Failure as failure:
            broke = request.body.error
            if broke is None or (broke.where, broke.detail) != (failure.where, failure.detail):  # else the app's body did, not this one
                failure.where = self.name
                self._count(self.name, failure.fault.value)
            raise
        self._count(self.name, OUTCOMES[min(reply.status // 100, 5)])
        reply.target = call.target
        reply.body.on_bug = self._on_bug
        return reply

    def _request(self, call: Call, traceparent: bytes | None) -> Request:
        request, out = call.request, self._out
        target = out.target(request.target)
        headers = out.headers(request.headers, traceparent)
        payload: Payload | None = call.payload
        if payload is None:
            if target is request.target and headers is request.headers:
                return request
            if request.framing is CHUNKED and not out.is_plain:
                request.body.attach(_Trailers(out))
            return self._derived(request, target, headers, request.length, request.body)
        named = self._named(call, payload)
        if not named.edited and target is request.target and headers is request.headers and request.body.size == named.size_bytes:
            return request  # nothing changes, and its body has not been sent yet
        trailers = out.trailers(request.body.trailers)
        if named.edited:
            headers = without(headers, DIGESTS_AND_ENCODING if named.decoded else DIGESTS)
            trailers = without(trailers, DIGESTS) if trailers else trailers
        body = Body.of(named.pieces(), trailers)
        return self._derived(request, target, headers, body.size if request.framing is LENGTH else request.length, body)

    def _derived(self, request: Request, target: bytes, headers: Headers, length: int, body: Body) -> Request:
        new = request.derive(target, headers, request.framing, length, body)
        if new.named is not None and self._out.own:
            new.named -= self._out.own  # the app's Connection header cannot take away what is ours
        return new

    def _named(self, call: Call, payload: Payload) -> Payload:
        """The payload with the name that this upstream has for the model."""
        model = call.target.model
        try:
            if model is None:
                model = payload.model if self._models else None
            if model is not None and (name := self._models.get(model, model)) != payload.model:
                return payload.set("model", name)
        except Unread as unread:
            call.journal.note("upstream", skipped="unreadable", why=unread.why)
        return payload

    def close(self) -> None:
        """Closes what is idle; exchanges under way end by themselves."""
        self._pool.close()


class _Trailers(Stage):
    """Lets only those trailers through that may follow to one upstream."""

    __slots__ = ("_out",)
    critical = True

    def __init__(self, out: Outbound) -> None:
        self._out = out

    def end(self) -> bytes:
        self.body.trailers = self._out.trailers(self.body.trailers)
        return b""


class Upstreams:
    """All upstreams of one set of policies, as the innermost service."""

    __slots__ = ("_by_name",)

    def __init__(self, by_name: Mapping[str, Upstream]) -> None:
        self._by_name = by_name

    def __call__(self, call: Call) -> Awaitable[Reply]:
        return self._by_name[call.target.upstream].exchange(call)


def outbound(declared: Declared, home: bool) -> Outbound:
    """The settings of a declared upstream, as bytes."""
    spec, credential = declared.spec, declared.credential
    if credential is not None and not credential.secret.value:
        credential = None  # a missing secret that was allowed: none is sent, rather than an empty one
    path = declared.address.path
    return Outbound(
        home=home,
        base=path.encode("ascii") if path not in ("", "/v1") else None,  # what stands for itself changes no target
        credential=(credential.header.encode("ascii"), _octets(credential.line)) if credential is not None else None,
        drops_credential=home and not declared.callers_credential and credential is None,
        set_headers=tuple((name.encode("ascii"), _octets(secret.value)) for name, secret in declared.headers),
        keep=frozenset(name.lower().encode("ascii") for name in spec.headers.keep),
        query=tuple((quote(name, safe="").encode(), quote(secret.value, safe="").encode()) for name, secret in declared.query),
        trace=spec.trace,
    )


def _octets(text: str) -> bytes:
    return text.encode("utf-8")


def client_tls(declared: Declared) -> ssl.SSLContext | None:
    """The TLS settings of an upstream, None for http. Raises OSError (ssl.SSLError is one) where a file cannot be used."""
    if declared.address.scheme != "https":
        return None
    return client_context(*(str(path) if path is not None else None for path in (declared.ca, declared.cert, declared.cert_key)))


def tls_files(declared: Declared) -> list[Path]:
    """The files of an upstream's TLS settings."""
    return [path for path in (declared.ca, declared.cert, declared.cert_key) if path is not None]


def _contents(declared: Declared) -> list[bytes]:
    """What stands in them, hashed: a rotated certificate needs new connections."""
    return [hashlib.sha256(path.read_bytes()).digest() for path in tls_files(declared)]


def _told(report: FaultReport) -> BugReport:
    def tell(stage: object, bug: Exception) -> None:
        report(getattr(stage, "__qualname__", type(stage).__qualname__), bug)

    return tell


def _uncounted(upstream: str, outcome: str) -> None:
    pass
