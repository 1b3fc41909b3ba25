"""What is seen from outside of a serving process: spans at a real OTLP receiver, metrics, log lines, admin pages; and no secret in any."""

from __future__ import annotations

import http.client
import json
import secrets
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.collector import CLIENT, SERVER, Outside, Told, outside
from tests.e2e.processes import Running, free_ports, serving

POLICIES = """\
version: 1
upstreams:
  home: {{url: {upstream}}}
  traced: {{url: {upstream}, key: "${{TRACED_KEY}}", trace: true}}
  plain: {{url: {upstream}, key: none}}
  away: {{url: "http://127.0.0.1:{closed}/v1", key: none}}
policies:
  - {{name: small, match: {{endpoint: chat, model: gpt-4o}}, apply: {{rewrite: {{model: gpt-4o-mini}}}}}}
  - {{name: watch, mode: shadow, match: {{endpoint: chat, model: gpt-4o}}, apply: {{rewrite: {{model: gpt-4.1}}}}}}
  - {{name: to-traced, match: {{header: {{x-to: traced}}}}, apply: {{rewrite: {{upstream: traced}}}}}}
  - {{name: to-plain, match: {{header: {{x-to: plain}}}}, apply: {{rewrite: {{upstream: plain}}}}}}
  - {{name: to-away, match: {{header: {{x-to: away}}}}, apply: {{rewrite: {{upstream: away}}}}}}
  - {{name: not-here, match: {{model: banned}}, apply: {{refuse: {{status: 403, code: refused, message: not here}}}}}}
"""
CALLER = "00f067aa0ba902b7"
CANARIES = ("sk-app-canary", "sk-query-canary", "sk-traced-canary", "sk-content-canary", "prompt-canary", "cookie-canary")


@dataclass
class Reply:
    """What the app had."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class World:
    """A proxy and what is around it."""

    proxy: Running
    around: Outside

    def call(self, model: str = "gpt-4o", path: str = "/v1/chat/completions", trace: str = "", **headers: str) -> Reply:
        """One call of an app, with every canary that an app can hold."""
        body = {"model": model, "messages": [{"role": "user", "content": "prompt-canary"}], "stream": "x_stream" in headers}
        sent = {
            "Content-Type": "application/json",
            "Authorization": "Bearer sk-app-canary",
            "Cookie": "session=cookie-canary",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if trace:
            sent["traceparent"] = f"00-{trace}-{CALLER}-01"
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=20)
        try:
            connection.request("POST", path + "?api-key=sk-query-canary", json.dumps(body), sent)
            response = connection.getresponse()
            try:
                data = response.read()
            except http.client.HTTPException as cut:
                data = getattr(cut, "partial", b"")
            return Reply(response.status, dict(response.headers), data)
        finally:
            connection.close()

    def page(self, path: str) -> str:
        with urllib.request.urlopen(self.proxy.admin_url + path, timeout=10) as response:
            return str(response.read().decode())

    def lines(self, trace: str) -> list[dict[str, Any]]:
        """The log lines of one trace; waits for the first."""
        for _ in range(200):
            found = [json.loads(line) for line in self.proxy.logged().splitlines() if trace in line]
            if found:
                return found
            time.sleep(0.02)
        return []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with outside() as around:
        file = tmp_path_factory.mktemp("policies") / "p.yaml"
        (closed,) = free_ports(1)
        file.write_text(POLICIES.format(upstream=around.upstream, closed=closed))
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": around.collector,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=acme",
            "OTEL_SERVICE_NAME": "payments",
            "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=pod-1",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TRACED_KEY": "sk-traced-canary",
        }
        with serving(file, None, environment=environment) as proxy:
            yield World(proxy, around)


@pytest.fixture
def trace() -> str:
    return secrets.token_hex(16)


def kinds(spans: list[Told]) -> list[int]:
    return [told.span.kind for told in spans]


def test_a_call_is_one_server_span_and_its_exchange_one_client_span_under_it(world: World, trace: str) -> None:
    assert world.call(trace=trace).status == 200
    server, client = world.around.of_trace(trace, 2)

    assert kinds([server, client]) == [SERVER, CLIENT]
    assert (server.parent, client.parent) == (CALLER, server.id)
    assert (server.span.name, client.span.name) == ("POST /v1/chat/completions", "chat gpt-4o-mini")
    assert server.span.start_time_unix_nano <= client.span.start_time_unix_nano
    assert client.span.end_time_unix_nano <= server.span.end_time_unix_nano
    assert abs(server.span.end_time_unix_nano - time.time_ns()) < 30e9
    assert (server.resource["service.name"], server.resource["k8s.pod.name"]) == ("payments", "pod-1")
    assert world.around.headers[-1]["x-tenant"] == "acme"


def test_spans_say_what_was_asked_decided_and_answered(world: World, trace: str) -> None:
    world.call(trace=trace)
    server, client = world.around.of_trace(trace, 2)

    expected = {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "chassis.endpoint": "chat",
        "chassis.policies": ["small"],
        "chassis.exchanges": 1,
        "chassis.origin": "upstream",
        "chassis.outcome": "ok",
        "chassis.upstream": "home",
        "chassis.model.asked": "gpt-4o",
        "chassis.model.sent": "gpt-4o-mini",
    }
    assert {name: server.attributes.get(name) for name in expected} == expected
    exchange = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "server.address": "127.0.0.1",
        "server.port": world.around.port,
        "http.response.status_code": 200,
    }
    assert {name: client.attributes.get(name) for name in exchange} == exchange
    assert not any(name.startswith("gen_ai.usage") for name in server.attributes)


def test_decisions_are_events_of_the_server_span(world: World, trace: str) -> None:
    world.call(trace=trace)
    server, client = world.around.of_trace(trace, 2)

    found = {attributes.get("chassis.policy"): (name, attributes) for name, attributes in server.events}
    name, enforced = found["small"]
    assert (name, enforced["chassis.mode"], enforced["chassis.acted"]) == ("rewrite", "enforce", True)
    assert enforced["chassis.rewrite.model"] == "gpt-4o-mini"
    name, watched = found["watch"]
    assert (name, watched["chassis.mode"], watched["chassis.acted"]) == ("rewrite", "shadow", False)
    assert client.events == []


def test_a_stream_is_read_for_its_usage_and_first_chunk(world: World, trace: str) -> None:
    reply = world.call(trace=trace, x_stream="yes")
    _, client = world.around.of_trace(trace, 2)

    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert client.attributes["gen_ai.request.stream"] is True
    assert client.attributes["gen_ai.response.finish_reasons"] == ["length"]
    assert client.attributes["gen_ai.usage.output_tokens"] == 3
    assert 0 < client.attributes["gen_ai.response.time_to_first_chunk"] < 10


def test_home_hears_the_callers_trace_and_others_none_or_our_own(world: World, trace: str) -> None:
    heard = []
    for to in ("", "plain", "traced"):
        world.call(trace=trace, x_to=to, tracestate="vendor=1", baggage="k=v")
        heard.append(world.around.asked[-1].headers)
    spans = world.around.of_trace(trace, 6)
    own = next(told for told in spans if told.span.kind == CLIENT and told.attributes["chassis.upstream"] == "traced")

    assert (heard[0]["traceparent"], heard[0]["tracestate"], heard[0]["baggage"]) == (f"00-{trace}-{CALLER}-01", "vendor=1", "k=v")
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in heard[1]}
    assert heard[2]["traceparent"] == f"00-{trace}-{own.id}-01"
    assert heard[2]["authorization"] == "Bearer sk-traced-canary"
    assert own.span.trace_state == "vendor=1"


def test_without_a_caller_a_trace_begins(world: World) -> None:
    before = len(world.around.told)
    world.call(traceparent="00-nonsense-01")
    deadline = time.monotonic() + 10
    while len(world.around.told) < before + 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    spans = {told.span.kind: told for told in world.around.told[before:]}

    assert spans[SERVER].parent == ""
    assert spans[CLIENT].parent == spans[SERVER].id
    assert spans[CLIENT].trace == spans[SERVER].trace


def test_an_unsampled_caller_is_not_traced(world: World, trace: str) -> None:
    world.call(traceparent=f"00-{trace}-{CALLER}-00")
    other = secrets.token_hex(16)
    world.call(trace=other)
    world.around.of_trace(other, 2)

    assert world.around.of_trace(trace, 0) == []


def test_a_refusal_has_no_exchange(world: World, trace: str) -> None:
    assert world.call("banned", trace=trace).status == 403
    (server,) = world.around.of_trace(trace, 1)

    assert server.span.kind == SERVER
    assert server.attributes["chassis.origin"] == "static"
    assert server.attributes["chassis.outcome"] == "refused"
    assert server.attributes["chassis.exchanges"] == 0
    assert server.span.status.code == 0


def test_an_upstream_that_is_away_is_an_error_of_both_spans(world: World, trace: str) -> None:
    assert world.call(trace=trace, x_to="away").status == 502
    server, client = world.around.of_trace(trace, 2)

    for told in (server, client):
        assert told.attributes["error.type"] == told.attributes["chassis.fault"] == "connect"
        assert told.span.status.code == 2
    assert server.attributes["http.response.status_code"] == 502
    assert "http.response.status_code" not in client.attributes
    assert server.attributes["chassis.upstream"] == "away"


def test_an_upstreams_error_has_its_fault(world: World, trace: str) -> None:
    assert world.call(trace=trace, x_play="fail").status == 503
    server, client = world.around.of_trace(trace, 2)

    assert (server.attributes["error.type"], client.attributes["error.type"]) == ("overloaded", "overloaded")
    assert server.attributes["chassis.outcome"] == "ok"


def test_a_stream_that_is_cut_is_a_failed_call(world: World, trace: str) -> None:
    world.call(trace=trace, x_stream="yes", x_play="cut")
    server, client = world.around.of_trace(trace, 2)

    for told in (server, client):
        assert (told.attributes["chassis.outcome"], told.attributes["error.type"]) == ("failed", "truncated")
        assert told.attributes["http.response.status_code"] == 200
        assert told.span.status.code == 2


def test_an_app_that_leaves_is_told_apart_from_a_failure(world: World, trace: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.proxy.port, timeout=20)
    body = json.dumps({"model": "gpt-4o", "stream": True, "messages": []})
    headers = {"Content-Type": "application/json", "x-play": "endless", "traceparent": f"00-{trace}-{CALLER}-01"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    response.read(10)
    response.close()
    connection.close()
    server, client = world.around.of_trace(trace, 2)

    for told in (server, client):
        assert told.attributes["chassis.outcome"] == "left"
        assert "error.type" not in told.attributes
    (line,) = world.lines(trace)
    assert line["client_left"] is True


def test_ids_of_a_path_are_in_no_span(world: World, trace: str) -> None:
    world.call(path="/v1/threads/thread_id-canary/messages", trace=trace)
    server, _ = world.around.of_trace(trace, 2)

    assert server.span.name == "POST /v1/threads/{id}/messages"
    assert b"id-canary" not in b"".join(world.around.raw)


def test_one_log_line_a_call_with_its_trace(world: World, trace: str) -> None:
    world.call(trace=trace)
    (line,) = world.lines(trace)

    expected = {
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "model": "gpt-4o",
        "model_sent": "gpt-4o-mini",
        "upstream": "home",
        "status": 200,
        "exchanges": 1,
        "policies": ["small"],
        "trace_id": trace,
    }
    assert {name: line.get(name) for name in expected} == expected
    assert 0 < line["first_byte_ms"] <= line["ms"] < 20_000


def test_counts_and_what_is_loaded_are_on_the_admin_port(world: World, trace: str) -> None:
    world.call(trace=trace)
    world.around.of_trace(trace, 2)
    metrics, loaded = world.page("/metrics"), json.loads(world.page("/policies"))

    counted = [line for line in metrics.splitlines() if line.startswith("chassis_calls_total{") and 'endpoint="chat"' in line]
    assert any('status_class="2xx"' in line and 'origin="upstream"' in line for line in counted)
    assert 'chassis_policy_decisions_total{kind="rewrite",mode="enforce",policy="small"}' in metrics
    assert 'chassis_policy_decisions_total{kind="rewrite",mode="shadow",policy="watch"}' in metrics
    assert f'chassis_policies_info{{revision="{loaded["revision"]}"}} 1.0' in metrics
    assert [policy["name"] for policy in loaded["policies"]][:2] == ["small", "watch"]
    assert {upstream["name"]: upstream["home"] for upstream in loaded["upstreams"]} == {
        "home": True,
        "traced": False,
        "plain": False,
        "away": False,
    }


def test_no_secret_and_no_content_is_seen_anywhere(world: World, trace: str) -> None:
    for headers in ({}, {"x_to": "traced"}, {"x_to": "away"}, {"x_stream": "yes"}, {"x_play": "fail"}):
        world.call(trace=trace, **headers)
    world.call("banned", trace=trace)
    world.around.of_trace(trace, 11)
    world.lines(trace)
    seen = {
        "spans": b"".join(world.around.raw).decode("latin-1"),
        "metrics": world.page("/metrics"),
        "policies": world.page("/policies"),
        "log": world.proxy.logged(),
    }

    assert all(len(text) > 500 for text in seen.values())
    assert [(name, canary) for name, text in seen.items() for canary in CANARIES if canary in text] == []


def test_what_is_not_sent_yet_is_sent_at_term(tmp_path: Path, trace: str) -> None:
    with outside() as around:
        file = tmp_path / "p.yaml"
        file.write_text("version: 1\npolicies: []\n")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": around.collector, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with serving(file, around.upstream, environment=environment) as proxy:
            World(proxy, around).call(trace=trace)
            assert around.told == []
            proxy.stop()

        assert sorted((told.span.kind, told.span.name) for told in around.told) == [
            (SERVER, "POST /v1/chat/completions"),
            (CLIENT, "chat gpt-4o"),
        ]


def test_a_dead_collector_neither_delays_calls_nor_the_end_nor_fills_the_log(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    with outside() as around:
        file = tmp_path / "p.yaml"
        file.write_text("version: 1\npolicies: []\n")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{closed}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with serving(file, around.upstream, ("--log", "off"), environment) as proxy:
            world = World(proxy, around)
            assert [world.call().status for _ in range(5)] == [200] * 5
            time.sleep(1)
            world.call()
            began = time.monotonic()
            status = proxy.stop()
            took_s = time.monotonic() - began
            logged = proxy.logged()

    assert status == 0
    assert took_s < 6
    assert "Traceback" not in logged
    assert len([line for line in logged.splitlines() if "traces" in line]) <= 1


def test_without_variables_no_span_is_sent_and_the_upstream_hears_no_trace(tmp_path: Path) -> None:
    with outside() as around:
        file = tmp_path / "p.yaml"
        file.write_text("version: 1\npolicies: []\n")
        with serving(file, around.upstream) as proxy:
            World(proxy, around).call()
            heard = {name.lower() for name in around.asked[-1].headers}

        assert around.raw == []
        assert "traceparent" not in heard
