"""app -- the running process: the data port, the admin port, reload, telemetry, and an orderly end.

One event loop, one worker. TERM drains: readiness says no, new connections are not taken, calls end, streams end by `drain_s`.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from proxy.adapters.calllog import CallLog, LogHandler
from proxy.adapters.hits import Hits
from proxy.adapters.metrics import LoopLag, Metrics
from proxy.adapters.otel import Tracing, tracing
from proxy.adapters.recent import CALLS, Recent
from proxy.adapters.scripted import Scripted
from proxy.assembly.explain_calls import CallsExplained
from proxy.assembly.generation import Generation, Outside, build
from proxy.assembly.load import Policies
from proxy.assembly.reload import Reload
from proxy.core.clock import LoopClock
from proxy.core.ports import Recorder
from proxy.core.tasks import spawn
from proxy.kinds.telemetry import CallTelemetry, ExchangeTelemetry
from proxy.openai.static import static_reply
from proxy.server.admin import admin_app, is_loopback
from proxy.server.explaining import Explaining
from proxy.server.feed import Feed
from proxy.server.handler import Handler, Pipeline
from proxy.server.pulse import PulseOf
from proxy.server.recording import MetricsRecorder
from proxy.server.status import Status
from proxy.wire.listener import Listener
from proxy.wire.settings import ServerLimits

log = logging.getLogger("chassis")
ANCHOR_S = 60.0
SWITCH_S = 0.0005  # a thread that encodes spans gives the loop its turn after this; Python's own 5 ms could be seen in a stream
GRACE_S = 0.5  # between saying no to readiness and closing the port: endpoints elsewhere take a moment to hear
ADMIN_END_S = 2.0  # that a scrape under way has to end
LogMode = str  # json, text or off


@dataclass(slots=True, frozen=True)
class Settings:
    """What `chassis serve` was told."""

    policies: Path | None
    upstream: str | None
    host: str = "127.0.0.1"
    port: int = 4141
    admin_host: str = "127.0.0.1"
    admin_port: int = 4142
    admin_token: str | None = None
    drain_s: float = 25.0
    log: LogMode = "json"
    bypass: bool = False
    no_secrets: bool = False
    scripted: bool = False
    recent: int = CALLS


class Server:
    """The process, from `start` to `stop`. `load` reads the policies; it raises PolicyError."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[str | None], Policies],
        env: Mapping[str, str],
        version: str,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        """`recorders` are told of every call, beside the log and the traces."""
        self.settings = settings
        self.metrics = Metrics()
        self.hits = Hits()
        self.is_ready = False
        self.generation: Generation | None = None
        self.reload: Reload | None = None
        self.loaded_at_ns = 0
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._clock = LoopClock(self._loop)
        self._lag = LoopLag(self._loop)
        self._tracing: Tracing | None = tracing(env, version)
        self._calllog = CallLog(1, text=settings.log == "text") if settings.log != "off" else None
        self.recent = Recent(settings.recent, self._loop.call_later) if settings.recent else None
        self._explained = CallsExplained(self.recent) if self.recent is not None else None
        self._log_handler: LogHandler | None = None
        self._outside = self._make_outside(recorders)
        self._handler: Handler | None = None
        self._listener: Listener | None = None
        self._ports: asyncio.Server | None = None
        self._runners: list[web.AppRunner] = []
        self._housekeeping: list[asyncio.Task[None]] = []
        self._upstream = settings.upstream

    def _make_outside(self, recorders: Sequence[Recorder]) -> Outside:
        told = [recorder for recorder in (self._calllog, self._tracing, self.recent, *recorders) if recorder is not None]
        counted: list[Recorder] = [MetricsRecorder(self.metrics), self.hits]
        begin = self._tracing.begin if self._tracing is not None else None
        count = self.metrics.exchanges.add
        return Outside(
            self._clock,
            self._report,
            around_call=(CallTelemetry([*counted, *told], self._clock, begin, reads_model=begin is not None),),
            around_exchange=(ExchangeTelemetry([self._tracing], self._clock, True),) if self._tracing is not None else (),
            notes_model=bool(told),
            count_exchange=count,
            keep=self.recent.keep if self.recent is not None else None,
        )

    def _report(self, layer: str, bug: Exception) -> None:
        self.metrics.layer_faults.add(layer)
        log.error("layer %s broke and was passed over", layer, exc_info=bug)

    async def start(self) -> None:
        """Takes calls when it returns. Raises PolicyError for the policies, OSError for a port; `stop` then ends what had begun."""
        if self._calllog is not None:
            self._calllog.start()
            self._log_handler = LogHandler(self._calllog)
            log.addHandler(self._log_handler)
            log.setLevel(logging.INFO)
            log.propagate = False
        if self.settings.scripted:
            self._upstream = await self._start_scripted()
        self._swap(self._load(self._upstream))
        generation, settings = self.generation, self.settings
        assert generation is not None
        if settings.policies is not None and not settings.bypass:  # now, so that an edit while the ports open is seen
            self.reload = reload = Reload(settings.policies, self._other_files, self._apply)
            self.metrics.reload_failures.read = lambda: reload.failures
        self._handler = Handler(self._pipeline(generation), self._clock.now)
        self._listener = Listener(self._handler, ServerLimits(), static_reply)
        self._read_gauges(self._listener)
        try:
            self._ports = await self._loop.create_server(
                self._listener.protocol, settings.host, settings.port, backlog=1024, reuse_address=True
            )
        except OSError as error:
            raise _cannot_listen("data", settings.host, settings.port, "--", error) from error
        try:
            await self._start_admin()
        except OSError as error:
            raise _cannot_listen("admin", settings.admin_host, settings.admin_port, "--admin-", error) from error
        if self.reload is not None:
            self._housekeeping.append(spawn(self.reload.run(), "policy watch"))
        self._lag.start()
        self._housekeeping.append(spawn(self._keep_wall_time(), "wall time"))
        if self._tracing is not None:
            sys.setswitchinterval(SWITCH_S)
        self.is_ready = True
        gc.collect()
        gc.freeze()  # what was loaded at start is never garbage: no full collection looks at it again
        gc.set_threshold(20_000, 20, 100)

    async def _keep_wall_time(self) -> None:
        """The wall clock may be set while we run; spans and lines follow it within a minute."""
        while True:
            await asyncio.sleep(ANCHOR_S)
            self._clock.anchor()

    def _read_gauges(self, listener: Listener) -> None:
        self.metrics.connections.read = lambda: listener.open
        self.metrics.in_flight.read = lambda: listener.busy
        self.metrics.tasks.read = lambda: len(asyncio.all_tasks(self._loop))
        self.metrics.states = lambda: self.generation.shelf.shown() if self.generation is not None else ()
        self.metrics.loop_lag.read = self._lag.worst_s
        if self._calllog is not None:
            calllog = self._calllog
            self.metrics.log_dropped.read = lambda: calllog.dropped
        if self._tracing is not None:
            tracing = self._tracing
            self.metrics.spans_lost.read = lambda: tracing.lost

    async def _start_scripted(self) -> str:
        runner = web.AppRunner(Scripted().app(), access_log=None, handler_cancellation=True)
        await runner.setup()
        self._runners.append(runner)
        sock = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, sock).start()
        return f"http://127.0.0.1:{sock.getsockname()[1]}/v1"

    async def _start_admin(self) -> None:
        host = self.settings.admin_host
        status = Status(self.metrics, lambda: self.generation, lambda: self.reload, self._state, lambda: self.loaded_at_ns)
        pulse = PulseOf(self.metrics, self.hits, lambda: self.generation, lambda: self.reload, self._state, self._clock.wall_ns)
        feed = Feed(self.recent, pulse, self._clock, base_url(*self.address))
        explaining, token = Explaining(self._explained), self.settings.admin_token
        app = admin_app(status, explaining=explaining, feed=feed, token=token, loopback=is_loopback(host))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ADMIN_END_S)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, self.settings.admin_port).start()

    def _state(self) -> str | None:
        return None if self.is_ready else "draining" if self._listener is not None and self._listener.is_draining else "starting"

    def _pipeline(self, generation: Generation) -> Pipeline:
        return Pipeline(generation.service, generation.home, generation.policies.exchanges)

    def _swap(self, policies: Policies) -> None:
        before = self.generation
        self.generation = build(policies, self._outside, before)
        self.metrics.loaded(policies.loaded.revision, [(each.name, each.mode, each.labels) for each in policies.loaded.policies])
        self.loaded_at_ns = self._clock.wall_ns()
        if self._explained is not None:
            self._explained.loaded(self.generation)
        if self._handler is not None:
            self._handler.pipeline = self._pipeline(self.generation)
        if before is not None:
            before.retire(self.generation)

    async def _apply(self) -> None:
        """A reload: loads beside the loop, swaps on it."""
        policies = await asyncio.to_thread(self._load, self._upstream)
        self._swap(policies)
        log.info("policies: revision %s is in force (%d policies)", policies.loaded.revision, len(policies.rules))
        for warning in policies.warnings:
            log.warning("policies: %s", warning)

    def _other_files(self) -> list[Path]:
        return list(self.generation.policies.other_files) if self.generation is not None else []

    @property
    def address(self) -> tuple[str, int]:
        """The data port as bound: port 0 has become a real one."""
        host, port = self._ports.sockets[0].getsockname()[:2] if self._ports is not None else (self.settings.host, self.settings.port)
        return host, port

    async def stop(self, wait_s: float) -> None:
        """Drains for `wait_s` at most, then ends what is left, and flushes."""
        self.is_ready = False
        for task in self._housekeeping:
            task.cancel()
        if self._listener is not None:
            self._listener.draining()
            if wait_s:
                await asyncio.sleep(min(GRACE_S, wait_s))
            if self._ports is not None:
                self._ports.close()
            await self._listener.finish(wait_s)
        self._lag.stop()
        if self._tracing is not None:
            await self._tracing.shutdown()
        for runner in reversed(self._runners):
            await runner.cleanup()
        if self.generation is not None:
            for upstream in self.generation.upstreams.values():
                upstream.close()
        await self.stop_log()

    async def stop_log(self) -> None:
        """Writes what is left of the log, for a second at most. Idempotent."""
        if self._log_handler is not None:
            log.removeHandler(self._log_handler)
            log.propagate = True
        if self._calllog is not None:
            await asyncio.to_thread(self._calllog.stop)


def base_url(host: str, port: int) -> str:
    """What an app on this machine sets as OPENAI_BASE_URL."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _cannot_listen(which: str, host: str, port: int, flag: str, error: OSError) -> OSError:
    """The error for a port that could not be bound, in words that say what to do."""
    if error.errno == errno.EADDRINUSE:
        return OSError(f"the {which} port {port} on {host} is taken; stop what listens there, or give another {flag}port")
    if error.errno == errno.EACCES:
        return OSError(f"the {which} port {port} on {host} needs rights that this process lacks; give a {flag}port above 1023")
    return OSError(f"cannot listen on {host} for the {which} port: {error.strerror or error}; give a {flag}host of this machine")


async def serve(server: Server, started: Callable[[], None]) -> None:
    """Runs until TERM or INT, drains, and returns; a second signal ends it at once. HUP looks at the policies again."""
    loop = asyncio.get_running_loop()
    ending, hurry = asyncio.Event(), asyncio.Event()

    def asked_to_end() -> None:
        (hurry if ending.is_set() else ending).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end)
    try:
        await server.start()
    except BaseException:
        await server.stop(0)
        raise
    if (reload := server.reload) is not None:
        loop.add_signal_handler(signal.SIGHUP, lambda: spawn(reload.look(force=True), "reload on HUP"))
    else:
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
    started()
    if (generation := server.generation) is not None:
        policies = generation.policies
        log.info("serving on %s:%d: revision %s, %d policies", *server.address, policies.loaded.revision, len(policies.rules))
    await ending.wait()
    log.info("draining: calls have %g s to end", server.settings.drain_s)
    draining = spawn(server.stop(server.settings.drain_s), "drain")
    hurrying = spawn(hurry.wait(), "second signal")
    await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.info("a second signal: leaving at once")
        draining.cancel()
        await server.stop_log()
    hurrying.cancel()
