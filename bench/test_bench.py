"""That the bench measures what it says: `pytest bench`. Quick, real processes, no subject but the upstream itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import payloads, provision
from bench.peers import PEERS
from bench.processes import Failed, Running, cpu_s, free_port, rss_kib
from bench.report import compared, medians, table, verdicts
from bench.run import check, send
from bench.scenarios import SCENARIOS

CORE = min(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program, _ = provision.upstream()
    port = free_port()
    running = Running([str(program), "--port", str(port)], CORE, tmp_path_factory.mktemp("upstream") / "log")
    running.wait_for(port)
    yield port
    running.close()


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("body") / "1k.json"
    path.write_bytes(payloads.chat(1024))
    return path


def loaded(port: int, body: Path, *options: str) -> dict[str, Any]:
    argv = [str(provision.load()), "--port", str(port), "--body", str(body), *options]
    found: dict[str, Any] = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout)
    return found


def answering(answer: bytes) -> int:
    """A server that says `answer` to whatever comes, once a connection, and closes; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.sendall(answer)
            peer.close()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_right_answers_are_counted_and_timed(upstream: int, body: Path) -> None:
    found = loaded(upstream, body, "--count", "50", "--connections", "4", "--expect-bytes", "1024")

    assert (found["calls"], found["error_count"]) == (50, 0)
    assert found["latency_ms"]["n"] == 50
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["max"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "length"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nabcd", "status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", "broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabcd\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcdef", "malformed"),
        (b"HTTP/1.1 200 OK\r\n\r\nabcd", "malformed"),
        (b"nonsense without end\r\n\r\n", "malformed"),
    ],
)
def test_a_wrong_answer_is_an_error_and_no_call(answer: bytes, kind: str, body: Path) -> None:
    found = loaded(answering(answer), body, "--count", "1", "--connections", "1", "--expect-bytes", "4")

    assert found["calls"] == 0
    assert found["errors"].get(kind, 0) >= 1


def test_a_fixed_rate_is_kept(upstream: int, body: Path) -> None:
    found = loaded(upstream, body, "--rate", "200", "--connections", "8", "--seconds", "0.5", "--expect-bytes", "1024")

    assert 90 <= found["calls"] <= 101


def test_events_arrive_with_their_own_sending_times(upstream: int, body: Path) -> None:
    found = loaded(upstream, body, "--count", "2", "--connections", "2", "--bench", "sse 10 5000", "--expect-events", "10")

    assert (found["calls"], found["error_count"]) == (2, 0)
    assert (found["first_ms"]["n"], found["chunk_ms"]["n"]) == (2, 18)
    assert found["latency_ms"]["p50"] > 45
    assert found["chunk_ms"]["p50"] < 5


def test_events_in_step_are_never_merged(upstream: int, body: Path) -> None:
    step = ("--step", str(upstream), "--bench", "sse 64 -1")
    found = loaded(upstream, body, "--count", "40", "--connections", "8", *step, "--expect-events", "64")

    assert (found["calls"], found["error_count"]) == (40, 0)
    assert found["events_per_read"] == 1.0


def test_a_missing_event_is_an_error(upstream: int, body: Path) -> None:
    found = loaded(upstream, body, "--count", "1", "--connections", "1", "--bench", "sse 9", "--expect-events", "10")

    assert found["errors"] == {"length": 1}


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_the_upstream_echoes_what_it_was_sent(upstream: int, size: int) -> None:
    sent = os.urandom(size)

    assert send(upstream, sent, "echo") == (200, sent)


def test_a_chunked_request_is_read_to_its_end(upstream: int) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-Bench: echo\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", upstream)) as client:
        for piece in (head, b"3\r", b"\nabc\r\nA;x=1\r\n0123", b"456789\r\n0\r\nT: 1\r\n\r\n"):
            client.sendall(piece)
            time.sleep(0.01)
        got = b"".join(iter(lambda: client.recv(65536), b""))

    assert got.endswith(b"\r\n\r\nabc0123456789")


def test_a_subject_that_changes_the_body_is_refused(upstream: int) -> None:
    with pytest.raises(Failed, match="something else"):
        check(PEERS["chassis-rewrite"], upstream, "1k", payloads.chat(1024))
    check(PEERS["nginx"], upstream, "1k", payloads.chat(1024))


def test_cpu_and_memory_are_those_of_the_whole_tree(tmp_path: Path) -> None:
    child = "import time\nb = bytearray(40 << 20)\nwhile time.process_time() < 0.35: pass\ntime.sleep(30)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    running = Running([sys.executable, "-c", parent], CORE, tmp_path / "log")
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until and cpu_s(running.pid) < 0.3:
            time.sleep(0.05)
        found = cpu_s(running.pid), rss_kib(running.pid)
    finally:
        for line in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split():
            os.kill(int(line), 15)
        running.close()

    assert found[0] >= 0.3
    assert found[1] > 40 * 1024


@pytest.mark.parametrize(("name", "at"), [("1k", 0), ("32k", 1)])
def test_the_thresholds_of_the_rewrite_policies_are_near_the_prompts(name: str, at: int) -> None:
    bpe_openai = pytest.importorskip("bpe_openai")
    policies = yaml.safe_load((Path(__file__).parent / "policies" / "rewrite.yaml").read_text())["policies"]
    encoding = bpe_openai.get_encoding("o200k_base")
    tokens = sum(len(encoding.encode(message["content"])) for message in json.loads(payloads.BODIES[name]())["messages"])
    threshold = policies[at]["match"]["prompt_tokens"]["below"]

    assert 0.95 * threshold < tokens < threshold


def test_bodies_have_the_sizes_of_their_names() -> None:
    assert len(payloads.chat(1024)) == 1024
    assert len(payloads.chat(32 * 1024, turns=9)) == 32 * 1024
    assert payloads.chat(1024) == payloads.chat(1024)


def test_ratios_are_taken_inside_a_round_and_then_their_median() -> None:
    slow = {"json_1k": {"envoy": {"cpu": 200.0}, "chassis": {"cpu": 160.0}}}
    fast = {"json_1k": {"envoy": {"cpu": 50.0}, "chassis": {"cpu": 40.0}}}
    found = medians([slow, fast, fast])

    assert found["json_1k"]["chassis"]["cpu/envoy"] == 0.8
    assert [verdict["met"] for verdict in verdicts(found)] == [True]


def test_a_target_above_its_limit_is_missed() -> None:
    found = medians([{"json_1k": {"envoy": {"cpu": 50.0}, "chassis": {"cpu": 51.0}}}])

    assert [(verdict["met"], verdict["value"]) for verdict in verdicts(found)] == [(False, 1.02)]


def test_added_times_are_those_over_the_direct_run() -> None:
    rows = compared({"direct": {"p50": 0.1, "p99": 0.3}, "chassis": {"p50": 0.5, "p99": 1.0}})

    assert rows["chassis"]["added p50"] == pytest.approx(0.4)
    assert rows["chassis"]["added p99"] == pytest.approx(0.7)
    assert "added p50" not in rows["direct"]


def test_every_scenario_can_be_printed() -> None:
    found = medians([{name: {subject: {"cpu": 1.0} for subject in scenario.subjects} for name, scenario in SCENARIOS.items()}])

    assert all(name in table(found) for name in SCENARIOS)
    assert {subject for scenario in SCENARIOS.values() for subject in scenario.subjects} == set(PEERS)
