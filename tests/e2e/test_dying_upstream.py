"""An upstream that is killed and comes back, under two hundred calls at once of the SDK: what an app loses, and what it is told."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient

from tests.e2e.processes import serving
from tests.soak.mortal import Mortal

AT_ONCE = 200
EACH = 20  # callers of one client: the SDK's pool becomes slow with the square of its connections
RAMP_S = 1.0  # the callers begin one after another, as one SDK client is slow to open two hundred connections
MIDWAY = 10  # streams that the app has the beginning of, and as many that it waits for
DOWN_S = 0.8
FIRST_S = 0.8  # until the upstream begins to answer
AGAIN_S = 1.0  # after its return all must be well; a breaker has to see an answer first
PAUSE_S = 0.1  # between the calls of a caller, up to six of these: else a death would make all of them march in step
ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Who are you?"}]}
UPSTREAMS = """version: 1
upstreams:
  primary: {{url: {primary}}}
  second: {{url: {second}, key: none}}
"""
WITH_FALLBACK = """policies:
  - name: resilient
    match: {endpoint: chat}
    apply:
      timeouts: {connect: 1s, first_token: 10s, stream_idle: 5s, total: 30s}
      fallback: [{upstream: second, model: gpt-4o}]
"""
WITHOUT = {
    "no policy": "policies: []\n",
    "retry and breaker": """policies:
  - name: lone
    match: {endpoint: chat}
    apply:
      timeouts: {connect: 1s}
      retry: {max_attempts: 2, backoff: {initial: 20ms, max: 100ms}}
      circuit_breaker: {alone: 200ms}
""",
}


@dataclass(slots=True)
class Made:
    """One call, as its app saw it."""

    streamed: bool
    begun_at: float
    is_over: bool = False
    said: list[str] = field(default_factory=list)
    finished: bool = False
    problem: Exception | None = None
    by: str = ""

    @property
    def fate(self) -> str:
        """In a word."""
        if self.problem is None:
            return "whole" if self.finished else "ended silently"
        return "refused" if isinstance(self.problem, APIStatusError) else "cut" if self.said else "broken"


async def one(client: AsyncOpenAI, made: Made) -> None:
    """A call, whatever becomes of it."""
    try:
        if made.streamed:
            async for event in await client.chat.completions.create(**ASKED, stream=True):
                made.by = event.model
                made.finished |= event.choices[0].finish_reason is not None
                if text := event.choices[0].delta.content:
                    made.said.append(text)
        else:
            answer = await client.chat.completions.create(**ASKED)
            made.by, made.finished = answer.model, answer.choices[0].finish_reason == "stop"
            made.said.append(answer.choices[0].message.content or "")
    except Exception as problem:  # what is no OpenAIError is judged by the test
        made.problem = problem
    made.is_over = True


async def under_load(url: str, during: Callable[[list[Made]], Awaitable[None]]) -> list[Made]:
    """All calls of AT_ONCE callers, half of them for streams, until `during` is over. The SDK tries nothing again by itself."""
    calls: list[Made] = []
    over = asyncio.Event()

    async def caller(client: AsyncOpenAI, number: int) -> None:
        await asyncio.sleep(RAMP_S * number / AT_ONCE)
        while not over.is_set():
            made = Made(number % 2 == 1, time.monotonic())
            calls.append(made)
            await one(client, made)
            await asyncio.sleep(PAUSE_S * (number % 7))

    tls = ssl.create_default_context()  # shared: building one takes longer than a call
    async with AsyncExitStack() as apps, asyncio.TaskGroup() as callers:
        for at in range(0, AT_ONCE, EACH):
            http_client = DefaultAsyncHttpxClient(verify=tls)
            client = AsyncOpenAI(base_url=url, api_key="sk-app", max_retries=0, timeout=20, http_client=http_client)
            await apps.enter_async_context(client)
            for number in range(at, at + EACH):
                callers.create_task(caller(client, number))
        await asyncio.sleep(RAMP_S)
        await during(calls)
        over.set()
    return calls


async def a_death(primary: Mortal, calls: list[Made]) -> None:
    """Killed amid at least MIDWAY of its streams, as many that have not begun, and plain calls; then down for a while, and alive again."""
    for _ in range(1000):
        running = [made for made in calls if not made.is_over]
        midway = [made for made in running if made.said and made.by == "primary"]
        if len(midway) >= MIDWAY and sum(made.streamed and not made.said for made in running) >= MIDWAY:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError(f"never {MIDWAY} streams amid their content: {figures(calls)}")
    primary.kill()
    await asyncio.sleep(DOWN_S)
    await asyncio.to_thread(primary.start)


@pytest.fixture
def primary() -> Iterator[Mortal]:
    with Mortal("primary", first=FIRST_S, gap=0.3, events=6) as upstream:
        yield upstream


@pytest.fixture
def second() -> Iterator[Mortal]:
    with Mortal("second", first=FIRST_S, gap=0.3, events=6) as upstream:
        yield upstream


def policies(folder: Path, primary: Mortal, second: Mortal, text: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(UPSTREAMS.format(primary=primary.url, second=second.url) + text)
    return path


def figures(calls: list[Made]) -> str:
    """How many of each fate."""
    counted = Counter((("stream" if made.streamed else "plain"), made.by or "nobody", made.fate) for made in calls)
    return "; ".join(f"{count} {kind} calls by {by}: {fate}" for (kind, by, fate), count in sorted(counted.items()))


def test_with_a_fallback_a_killed_upstream_loses_no_call_and_no_stream_that_had_not_begun(
    primary: Mortal, second: Mortal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def deaths(calls: list[Made]) -> None:
        for _ in range(2):
            await a_death(primary, calls)
            await asyncio.sleep(AGAIN_S + FIRST_S)

    with serving(policies(tmp_path, primary, second, WITH_FALLBACK), None) as running:
        calls = asyncio.run(under_load(running.url, deaths))
        logged = running.logged()
    told = figures(calls)
    with capsys.disabled():
        print(f"\n  {len(calls)} calls, two deaths of the primary: {told}")
    plain = [made for made in calls if not made.streamed]
    streams = [made for made in calls if made.streamed]
    cut = [made for made in streams if made.fate == "cut"]

    assert {made.fate for made in plain} == {"whole"}, told
    assert {made.fate for made in streams} == {"whole", "cut"}, told
    assert all(isinstance(made.problem, APIError) for made in cut), {repr(made.problem) for made in cut}
    assert {made.by for made in cut} == {"primary"}, told
    assert not any(made.finished for made in cut)
    assert {"".join(made.said) for made in streams if made.fate == "whole"} <= {f"I am {name}. " * 2 for name in ("primary", "second")}
    for kind in (plain, streams):  # the deaths met calls at work, and the chain was used and left again
        assert {made.by for made in kind} == {"primary", "second"}, told
    assert len(cut) >= MIDWAY, told
    assert len(calls) >= 2 * AT_ONCE, told
    last = sorted(calls, key=lambda made: made.begun_at)[-MIDWAY:]
    assert {made.by for made in last} == {"primary"}, "it is asked again once it is back"
    assert "Traceback" not in logged, logged[-5000:]


@pytest.mark.parametrize("text", WITHOUT.values(), ids=WITHOUT)
def test_without_a_fallback_the_outage_is_told_honestly_and_is_over_within_a_second_of_the_return(
    text: str, primary: Mortal, second: Mortal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    back_at = 0.0

    async def death(calls: list[Made]) -> None:
        nonlocal back_at
        await a_death(primary, calls)
        back_at = time.monotonic()
        await asyncio.sleep(AGAIN_S + FIRST_S + 0.2)

    with serving(policies(tmp_path, primary, second, text), None) as running:
        calls = asyncio.run(under_load(running.url, death))
        logged = running.logged()
    told = figures(calls)
    refused = [made.problem for made in calls if isinstance(made.problem, APIStatusError)]
    statuses = Counter(problem.status_code for problem in refused)
    with capsys.disabled():
        print(f"\n  {len(calls)} calls, one death: {told}; refused with {dict(statuses)}")
    well_at = back_at + AGAIN_S + (FIRST_S if "circuit_breaker" in text else 0.0)
    late = [made for made in calls if made.problem is not None and made.begun_at > well_at]
    good = [made.begun_at - back_at for made in calls if made.fate == "whole" and made.begun_at > back_at]
    begun = [made.problem for made in calls if made.fate in ("cut", "broken")]

    assert statuses[502] >= 20, told
    assert set(statuses) == {502}, statuses
    assert all(is_ours(problem) for problem in refused), {repr(problem) for problem in refused}
    assert "ended silently" not in {made.fate for made in calls}, told
    assert {made.fate for made in calls if not made.streamed} == {"whole", "refused"}, told
    assert not late, f"{len(late)} calls failed long after the return: {late[0].problem!r}"
    assert good, "no call went well after the return"
    assert min(good) < AGAIN_S
    assert {made.by for made in calls} == {"primary", ""}, told
    assert len(begun) >= MIDWAY // 2, told
    if text != WITHOUT["no policy"]:  # with none a cut stream is passed on as it came: the SDK's transport says so
        assert {made.fate for made in calls if made.streamed} == {"whole", "cut", "refused"}, told
        assert all(isinstance(problem, APIError) for problem in begun), {repr(problem) for problem in begun}
    assert "Traceback" not in logged, logged[-5000:]


def is_ours(problem: APIStatusError) -> bool:
    """Whether it is an error of Chassis in the API's form, which says so."""
    return problem.type == "chassis_error" and problem.response.headers["x-chassis-origin"] == "static"
