"""Traces as the environment asks for them, and nothing at all where it does not."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.adapters import otel
from proxy.adapters.otel import Tracing, Wanted, tracing, wanted
from proxy.adapters.trace_context import TraceContext
from tests.adapters.records import a_record

HTTP = "http/protobuf"


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """A flush that was left at its deadline keeps other loggers quiet, as the process is about to end; here it goes on."""
    yield
    for name in ("opentelemetry", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


@pytest.mark.parametrize(
    ("env", "want"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "app", "OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, Wanted(("otlp",), HTTP, "http://c:4318/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, Wanted(("otlp",), HTTP, "http://c:4318/base/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x"}, Wanted(("otlp",), HTTP, "http://c/x")),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
            Wanted(("otlp",), HTTP, "http://t/x"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            Wanted(("otlp",), "grpc", "http://c:4317"),
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "GRPC"}, Wanted(("otlp",), "grpc", None)),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, None),
        ({"OTEL_TRACES_EXPORTER": "console, otlp,otlp"}, Wanted(("console", "otlp"), HTTP, None)),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "false"}, Wanted(("otlp",), HTTP, "http://c/v1/traces")),
    ],
)
def test_the_standard_variables_decide(env: dict[str, str], want: Wanted | None) -> None:
    assert wanted(env) == want


@pytest.mark.parametrize(
    ("env", "want", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, None, "unknown exporter 'jaeger'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/xml"},
            Wanted(("otlp",), HTTP, None),
            "'http/xml' is not known",
        ),
    ],
)
def test_an_unknown_word_is_warned_of_and_passed_over(
    env: dict[str, str], want: Wanted | None, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert wanted(env) == want
    assert says in caplog.text


def test_without_a_variable_no_sdk_is_imported() -> None:
    script = (
        "import sys; from proxy.adapters import otel; from proxy.kinds import telemetry; assert otel.tracing({}, '1') is None;"
        "print([name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'grpc', 'google', 'requests')])"
    )

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("env", "root", "under_sampled", "under_unsampled"),
    [
        ({}, True, True, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, True, True, True),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, False, False, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, False, True, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, False, True, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.0"}, True, True, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "much"}, True, True, True),
        ({"OTEL_TRACES_SAMPLER": "mine"}, True, True, False),
    ],
)
def test_samplers_decide_as_named(env: dict[str, str], root: bool, under_sampled: bool, under_unsampled: bool) -> None:
    sample = otel._sampler(env)
    places = TraceContext(7, 1, None, 0), TraceContext(7, 1, 2, 1, is_remote=True), TraceContext(7, 1, 2, 0, is_remote=True)

    assert [sample(place) for place in places] == [root, under_sampled, under_unsampled]


def test_a_ratio_keeps_its_share_and_always_the_same_traces() -> None:
    sample = otel._sampler({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"})
    step = (1 << 64) // 1_000
    kept = [sample(TraceContext(number * step, 1, None, 0)) for number in range(1_000)]

    assert 249 <= sum(kept) <= 251
    assert kept == [sample(TraceContext(number * step, 1, None, 0)) for number in range(1_000)]


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def with_spans(running: Tracing, count: int = 3) -> float:
    """Ends some calls and shuts down; the seconds that this took."""
    for _ in range(count):
        running.call_ended(a_record(trace=running.begin([])))
    began = time.perf_counter()
    await running.shutdown(deadline_s=0.5)
    return time.perf_counter() - began


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_dead_collector_holds_up_nobody_and_is_said_once(protocol: str) -> None:
    script = (
        "import asyncio, sys, time; from proxy.adapters.otel import tracing; from tests.adapters.records import a_record\n"
        "running = tracing({'OTEL_EXPORTER_OTLP_ENDPOINT': sys.argv[1], 'OTEL_EXPORTER_OTLP_PROTOCOL': sys.argv[2]}, '1')\n"
        "running.call_ended(a_record(trace=running.begin([])))\n"
        "began = time.perf_counter(); asyncio.run(running.shutdown(0.3)); print(time.perf_counter() - began)"
    )
    began = time.perf_counter()
    command = [sys.executable, "-c", script, f"http://127.0.0.1:{closed_port()}", protocol]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    assert float(run.stdout) < 1.0
    assert time.perf_counter() - began < 10  # no exit handler waits for the collector
    assert len(run.stderr.splitlines()) <= 1, run.stderr


def test_a_collector_that_never_answers_is_left_at_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        running = tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}, "1")
        assert running is not None
        took_s = asyncio.run(with_spans(running))

    assert 0.45 < took_s < 1.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_spans_go_by_grpc_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

    class Receiver(service.TraceServiceServicer):
        def __init__(self) -> None:
            self.names: list[str] = []
            self.tenants: list[str] = []

        def Export(self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext) -> object:
            self.tenants += [value for name, value in context.invocation_metadata() if name == "x-tenant"]
            self.names += [span.name for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
            return messages.ExportTraceServiceResponse()

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(1))
    service.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    running = tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "1")
    assert running is not None
    for _ in range(3):
        running.call_ended(a_record(trace=running.begin([])))
    asyncio.run(running.shutdown(deadline_s=10))
    server.stop(None).wait()

    assert receiver.names == ["POST /v1/chat/completions"] * 3
    assert receiver.tenants == ["acme"]
    assert running.lost == 0


def test_the_console_exporter_prints_spans_with_service_and_scope(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    running = tracing({"OTEL_TRACES_EXPORTER": "console"}, "1.2.3")
    assert running is not None
    asyncio.run(with_spans(running, count=1))

    out = capsys.readouterr().out
    assert '"name": "POST /v1/chat/completions"' in out
    assert '"service.name": "chassis"' in out
    assert '"service.version": "1.2.3"' in out
    assert '"deployment.environment.name": "test"' in out


def test_the_service_has_the_name_that_the_environment_gives(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "payments-chassis")
    running = tracing({"OTEL_TRACES_EXPORTER": "console"}, "1")
    assert running is not None
    asyncio.run(with_spans(running, count=1))

    assert '"service.name": "payments-chassis"' in capsys.readouterr().out


def test_a_setting_that_the_sdk_refuses_turns_traces_off_and_says_why(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9999")

    assert tracing({"OTEL_TRACES_EXPORTER": "console"}, "1") is None
    assert "traces are off: ValueError: max_export_batch_size" in caplog.text
    assert logging.getLogger("opentelemetry").propagate


def test_shutdown_leaves_the_loggers_as_they_were() -> None:
    logger = logging.getLogger("opentelemetry")
    before = list(logger.handlers), logger.propagate
    running = tracing({"OTEL_TRACES_EXPORTER": "console"}, "1")
    assert running is not None
    assert not logger.propagate
    asyncio.run(with_spans(running, count=0))

    assert (logger.handlers, logger.propagate) == before
