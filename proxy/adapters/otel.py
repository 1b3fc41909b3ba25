"""otel -- traces by OpenTelemetry, set up as its `OTEL_*` variables say. None of them set: no SDK is imported and nothing is built.

Records become spans (`spans`); a batch processor exports them in its own thread. A collector that is away costs one warning.
Cost: 8 MB with the SDK, 6 more with an exporter; per call see `spans`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.adapters import trace_context
from proxy.adapters.trace_context import SAMPLED, Sampler, TraceContext
from proxy.core.body import Headers

if TYPE_CHECKING:
    from proxy.adapters.exporting import Outlet, Watched
    from proxy.core.ports import CallRecord, ExchangeRecord

log = logging.getLogger("chassis")

QUEUE_SPANS = 2048  # the SDK's own default
FLUSH_S = 2.0  # at shutdown: a pod has thirty seconds for everything, and a dead collector would take them all
EXPORTERS = ("otlp", "console", "none")
PROTOCOLS = ("http/protobuf", "grpc")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(slots=True, frozen=True)
class Wanted:
    """What the environment asks for. `endpoint`: the traces' own url, None for the protocol's default."""

    exporters: tuple[str, ...]
    protocol: str
    endpoint: str | None


def wanted(env: Mapping[str, str]) -> Wanted | None:
    """What to build; None where no variable asks for traces, or one forbids them. Unknown words are warned of and passed over."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    named = env.get("OTEL_TRACES_EXPORTER", "").strip()
    if not named and not any(env.get(name, "").strip() for name in _ENDPOINTS):
        return None
    exporters = []
    for word in (named or "otlp").lower().split(","):
        if word.strip() not in EXPORTERS:
            log.warning("OTEL_TRACES_EXPORTER: unknown exporter %r is left out; known are %s", word.strip(), ", ".join(EXPORTERS))
        elif word.strip() != "none":
            exporters.append(word.strip())
    protocol = (_first(env, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") or PROTOCOLS[0]).lower()
    if protocol not in PROTOCOLS:
        log.warning("OTEL_EXPORTER_OTLP_PROTOCOL: %r is not known, %s is used; known are %s", protocol, PROTOCOLS[0], ", ".join(PROTOCOLS))
        protocol = PROTOCOLS[0]
    endpoint = _first(env, _ENDPOINTS[0])
    if endpoint is None and (base := _first(env, _ENDPOINTS[1])) is not None:
        endpoint = base if protocol == "grpc" else base.rstrip("/") + "/v1/traces"
    return Wanted(tuple(dict.fromkeys(exporters)), protocol, endpoint) if exporters else None


def tracing(env: Mapping[str, str], version: str) -> Tracing | None:
    """Traces as the environment asks for them, running; None where it does not, or where the SDK refuses (warned of).

    Build it after a fork: it starts a thread.
    """
    if (want := wanted(env)) is None:
        return None
    quiet = _Quiet.over("opentelemetry", "urllib3", "requests")
    try:
        outlets = [_outlet(env, _watched(want, name)) for name in want.exporters]
        return Tracing(_spans(version, outlets), _sampler(env), outlets, quiet)
    except Exception as exc:  # a wrong variable must not stop the proxy; the SDK raises what it likes
        quiet.lift()
        log.warning("traces are off: %s: %s; look at the OTEL_* variables", type(exc).__name__, exc)
        return None


class Tracing:
    """A `Recorder` of spans; `begin` gives each call its place in a trace. `shutdown` sends what is left."""

    def __init__(self, spans: Any, sample: Sampler, outlets: list[Outlet], quiet: _Quiet) -> None:
        self.call_ended: Callable[[CallRecord], None] = spans.call_ended
        self.exchange_ended: Callable[[ExchangeRecord], None] = spans.exchange_ended
        self._sample = sample
        self._outlets = outlets
        self._quiet = quiet

    @property
    def lost(self) -> int:
        """Spans that no collector took."""
        return sum(outlet.lost for outlet in self._outlets)

    def begin(self, headers: Headers) -> TraceContext:
        """A call's place, from the app's request headers."""
        return trace_context.begin(headers, self._sample)

    async def shutdown(self, deadline_s: float = FLUSH_S) -> None:
        """Sends what is left, for `deadline_s` at most; then gives up: the thread is left behind and dies with the process."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        flushed = threading.Event()

        def flush() -> None:
            for outlet in self._outlets:
                outlet.shutdown()
            flushed.set()
            with suppress(RuntimeError):  # the loop did not wait for us
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=flush, name="chassis-traces-flush", daemon=True).start()
        alarm = loop.call_later(deadline_s, done.set)
        await done.wait()
        alarm.cancel()
        if flushed.is_set():
            self._quiet.lift()  # else the thread is still at it, and nobody wants to hear of it


class _Quiet(logging.Handler):
    """Keeps other libraries' complaints about export out of the log: ours, said once, tells enough."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._loggers = [logging.getLogger(name) for name in names]
        self._before = [logger.propagate for logger in self._loggers]
        self._said: set[object] = set()

    @classmethod
    def over(cls, *names: str) -> _Quiet:
        """In force over these loggers and all below them."""
        quiet = cls(names)
        for logger in quiet._loggers:
            logger.addHandler(quiet)
            logger.propagate = False
        return quiet

    def emit(self, record: logging.LogRecord) -> None:
        """Passes on the first of each message that is not about one failed export."""
        if record.levelno < logging.WARNING or "export" in record.name or record.msg in self._said or len(self._said) > 32:
            return
        self._said.add(record.msg)
        log.warning("traces: %s", record.getMessage())

    def lift(self) -> None:
        """Leaves the loggers as they were."""
        for logger, before in zip(self._loggers, self._before, strict=True):
            logger.removeHandler(self)
            logger.propagate = before


def _watched(want: Wanted, name: str) -> Watched:
    from proxy.adapters.exporting import Watched

    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return Watched(ConsoleSpanExporter(out=sys.stdout), "the console")
    if want.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Watched(Grpc(endpoint=want.endpoint), want.endpoint or "http://localhost:4317")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Watched(Http(endpoint=want.endpoint), want.endpoint or "http://localhost:4318/v1/traces")


def _outlet(env: Mapping[str, str], exporter: Watched) -> Outlet:
    from proxy.adapters.exporting import Outlet

    text = env.get("OTEL_BSP_MAX_QUEUE_SIZE", "").strip()
    return Outlet(exporter, int(text) if text.isdecimal() else QUEUE_SPANS)


def _spans(version: str, outlets: list[Outlet]) -> Any:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    from proxy.adapters.spans import Spans

    resource = Resource.create({"service.version": version})
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "chassis"}))
    if len(outlets) == 1:
        return Spans(resource, version, outlets[0].emit)

    def to_all(span: Any) -> None:
        for outlet in outlets:
            outlet.emit(span)

    return Spans(resource, version, to_all)


def _sampler(env: Mapping[str, str]) -> Sampler:
    """As `OTEL_TRACES_SAMPLER` says; by default what the caller does, and everything where there is no caller's trace."""
    name = (env.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on").strip().lower()
    parent_based, root = name.startswith("parentbased_"), name.removeprefix("parentbased_")
    if root == "traceidratio":
        decide = _by_ratio(env.get("OTEL_TRACES_SAMPLER_ARG", ""))
    elif root in ("always_on", "always_off"):
        told = root == "always_on"

        def decide(context: TraceContext) -> bool:
            return told
    else:
        log.warning("OTEL_TRACES_SAMPLER: %r is not known, parentbased_always_on is used", name)
        return _sampler({})
    if not parent_based:
        return decide
    return lambda context: bool(context.flags & SAMPLED) if context.is_remote else decide(context)


def _by_ratio(text: str) -> Sampler:
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    try:
        ratio = TraceIdRatioBased(float(text or 1.0))
    except ValueError:
        log.warning("OTEL_TRACES_SAMPLER_ARG: %r is not a number from 0 to 1, 1 is used", text)
        ratio = TraceIdRatioBased(1.0)
    bound, mask = ratio.bound, TraceIdRatioBased.TRACE_ID_LIMIT
    return lambda context: context.trace_id & mask < bound


def _first(env: Mapping[str, str], *names: str) -> str | None:
    return next((value for name in names if (value := env.get(name, "").strip())), None)
