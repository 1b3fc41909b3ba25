"""Plain HTTP calls to a serving process, and the upstream behind it: what tests of operations need beside the SDK."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.processes import Running
from tests.e2e.sdk.plays import Stage
from tests.e2e.sdk.realtime import converse
from tests.e2e.sdk.upstream import Answer, Arrival, ScriptedUpstream
from tests.e2e.sdk.wording import KEY, as_error

CHAT = "/v1/chat/completions"
WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Got:
    """A whole reply; names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ours(self) -> dict[str, str]:
        """What Chassis told of the call."""
        return {name: value for name, value in self.headers.items() if name.startswith("x-chassis-")}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Patient(Stage):
    """The scripted API, for paths and bodies that no SDK sends too, and with one more play."""

    async def __call__(self, arrival: Arrival) -> Answer:
        if not arrival.path.startswith("/v1/"):
            return as_error(arrival, 404, f"Invalid URL ({arrival.path})", "invalid_request_error", None)
        try:
            return await super().__call__(arrival)
        except json.JSONDecodeError:
            return as_error(arrival, 400, "We could not parse the JSON body of your request.", "invalid_request_error", None)

    async def held(self, arrival: Arrival, argument: str) -> Answer:
        """The answer, but only when `release` has been called."""
        self._released.clear()
        await self._released.wait()
        return self.api(arrival)


@contextmanager
def upstream(port: int = 0) -> Iterator[ScriptedUpstream]:
    """The scripted API on a socket, with its plays."""
    scripted = ScriptedUpstream(Patient(), converse, port)
    scripted.start()
    try:
        yield scripted
    finally:
        if scripted.is_running:  # a test may have ended it before
            scripted.stop()


def release(scripted: ScriptedUpstream) -> None:
    """Lets go of what the plays `held` and `lockstep` hold back."""
    get(scripted.port, "/v1/models/gpt-4o-mini")


def body(prompt: str = "Say hello.", model: str = "gpt-4o", **more: Any) -> bytes:
    """A chat call's body."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], **more}).encode()


def post(port: int, data: bytes | None = None, path: str = CHAT, **headers: str) -> Got:
    """One call on a connection of its own, with a key that the scripted API takes."""
    connection = open_call(port, data, path, **headers)
    try:
        reply = connection.getresponse()
        return Got(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def open_call(port: int, data: bytes | None = None, path: str = CHAT, **headers: str) -> http.client.HTTPConnection:
    """The same, sent but not answered yet. Underscores in names of headers stand for hyphens. Whoever calls closes it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(
        "POST", path, data if data is not None else body(), {"content-type": "application/json", "authorization": f"Bearer {KEY}"} | named
    )
    return connection


def get(port: int, path: str, **headers: str) -> Got:
    """A GET, as of the admin port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return Got(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def metric(running: Running, line: str) -> float:
    """The value of one metric: `line` is its name and labels. 0 where there is none yet."""
    text = get(running.admin_port, "/metrics").body.decode()
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found is not None else 0.0


def lines(running: Running) -> list[dict[str, Any]]:
    """The log's JSON lines; what goes to a person on stderr is left out."""
    return [json.loads(line) for line in running.logged().splitlines() if line.startswith("{")]


def calls(running: Running) -> list[dict[str, Any]]:
    """Those that tell of a call."""
    return [line for line in lines(running) if "call" in line]


def settled(running: Running) -> int:
    """How many calls have ended; their lines are there when this returns."""
    text = get(running.admin_port, "/metrics").body.decode()
    ended = int(sum(float(value) for value in re.findall(r"^chassis_calls_total\{.*\} (\S+)$", text, re.MULTILINE)))
    until(lambda: len(calls(running)) >= ended, "a line for each call")
    return ended


def until(claim: Callable[[], object], what: str, wait_s: float = WAIT_S) -> None:
    """Waits until `claim` holds; fails with `what` when it does not in `wait_s`."""
    deadline = time.monotonic() + wait_s
    while not claim():
        assert time.monotonic() < deadline, f"not within {wait_s:g} s: {what}"
        time.sleep(0.01)
