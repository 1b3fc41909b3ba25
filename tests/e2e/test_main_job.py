"""The main job: an app with the openai SDK sets OPENAI_BASE_URL, and the shipped policies choose the model. Nothing else differs."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultHttpxClient, OpenAI

from tests.e2e import calls
from tests.e2e.calls import metric
from tests.e2e.processes import Running, serving
from tests.e2e.sdk.upstream import Arrival, ScriptedUpstream
from tests.e2e.sdk.wording import KEY

SHIPPED = Path(__file__).resolve().parents[2] / "policies"
LARGE, SMALL = "gpt-4o", "gpt-4o-mini"
THEIRS = {"connection", "host", "content-length", "transfer-encoding"}  # of the connection, or they follow from the body
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def tokens(count: int) -> str:
    """A prompt of exactly so many tokens."""
    return "hello" + " hello" * (count - 1)


def user(content: Any, *before: dict[str, Any]) -> list[dict[str, Any]]:
    return [*before, {"role": "user", "content": content}]


@dataclass(frozen=True)
class Case:
    """A call; `goes_to` is the model that the upstream should see (None: the one that was asked for)."""

    name: str
    ask: dict[str, Any]
    goes_to: str | None = None
    api: str = "chat"
    more: dict[str, Any] = field(default_factory=dict)

    def asked(self, stream: bool, **other: Any) -> dict[str, Any]:
        return {"model": LARGE, **self.ask, **({"stream": True} if stream else {}), **other}


SYSTEM = {"role": "system", "content": "You check every contract for its clauses."}
EARLIER = ({"role": "user", "content": "Is this contract fair?"}, {"role": "assistant", "content": "Yes."})
CASES = [
    Case("a short question", {"messages": user("What is a chassis?")}, SMALL),
    Case("a short question in another script", {"messages": user('Что такое шасси? 底盤とは 👍 "\\\n')}, SMALL),
    Case("a dated model", {"model": "gpt-4o-2024-08-06", "messages": user("Hi")}, SMALL),
    Case("another family", {"model": "gpt-4.1", "messages": user("Hi")}, "gpt-4.1-mini"),
    Case("399 tokens", {"messages": user(tokens(399))}, SMALL),
    Case("400 tokens", {"messages": user(tokens(400))}),
    Case("a long prompt", {"messages": user(tokens(1_200))}),
    Case("a long conversation", {"messages": user("And now?", {"role": "system", "content": tokens(600)})}),
    Case("a keyword", {"messages": user("Is this CONTRACT, in your view, fair?")}),
    Case("a phrase", {"messages": user("Tell me, step by\nstep, what to do")}),
    Case("a word that holds a keyword", {"messages": user("Who is the best contractor?")}, SMALL),
    Case("a keyword in the system message", {"messages": user("Hi", SYSTEM)}, SMALL),
    Case("a keyword in an earlier turn", {"messages": user("Thanks!", *EARLIER)}, SMALL),
    Case("a keyword in a part", {"messages": user([{"type": "text", "text": "Prove it."}])}),
    Case("tools", {"messages": user("Is it warm?"), "tools": [WEATHER]}),
    Case("an image", {"messages": user([{"type": "text", "text": "What is it?"}, PIXEL])}),
    Case("a model of no policy", {"model": "gpt-3.5-turbo", "messages": user("Hi")}),
    Case("the small model itself", {"model": SMALL, "messages": user("Hi")}),
    Case("a response", {"input": "What is a chassis?"}, SMALL, "responses"),
    Case("a response to messages", {"input": user("Hi"), "instructions": "Be brief."}, SMALL, "responses"),
    Case("a long response", {"input": tokens(400)}, None, "responses"),
    Case("long instructions", {"input": "Hi", "instructions": tokens(400)}, None, "responses"),
    Case("a response with a keyword", {"input": user("Name the root cause.")}, None, "responses"),
]


@dataclass(frozen=True)
class Place:
    """Where an app is pointed: the upstream itself, or Chassis before it."""

    upstream: ScriptedUpstream
    running: Running


@dataclass(frozen=True)
class Made:
    """One call as both ends saw it."""

    arrival: Arrival
    headers: list[tuple[str, str]]
    ours: dict[str, str]
    answer: Any


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with calls.upstream() as upstream, serving(SHIPPED, upstream.url) as running:
        yield Place(upstream, running)


class App:
    """An app: it reads OPENAI_BASE_URL and OPENAI_API_KEY, as the SDK does by itself, and calls."""

    def __init__(self, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> None:
        self._upstream, self._monkeypatch, self._tls = upstream, monkeypatch, tls

    def call(self, base_url: str, asked: dict[str, Any], api: str = "chat", **headers: str) -> Made:
        self._monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        self._monkeypatch.setenv("OPENAI_API_KEY", KEY)
        self._upstream.forget()
        with OpenAI(max_retries=0, timeout=10, default_headers=headers, http_client=DefaultHttpxClient(verify=self._tls)) as client:
            made = client.chat.completions if api == "chat" else client.responses
            raw = made.with_raw_response.create(**asked)
            parsed = raw.parse()
            answer = [event.to_dict() for event in parsed] if asked.get("stream") else parsed.to_dict()
        (arrival,) = self._upstream.take()
        told = [(name.lower(), value) for name, value in raw.headers.multi_items()]
        ours = {name: value for name, value in told if name.startswith("x-chassis-")}
        return Made(arrival, [pair for pair in told if pair[0] not in ours and pair[0] not in THEIRS], ours, answer)


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """Shared by all clients: building one takes longer than a call."""
    return ssl.create_default_context()


@pytest.fixture
def app(place: Place, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> App:
    for name in [name for name in os.environ if name.startswith("OPENAI_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return App(place.upstream, monkeypatch, tls)


def head(arrival: Arrival) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    return arrival.method, arrival.target, [pair for pair in arrival.headers if pair[0].decode().lower() not in THEIRS]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_upstream_sees_the_right_model_and_otherwise_the_same_bytes(case: Case, stream: bool, place: Place, app: App) -> None:
    asked = case.asked(stream)
    direct = app.call(place.upstream.url, asked, case.api)
    through = app.call(place.running.url, asked, case.api)
    model = case.goes_to or asked["model"]
    there = app.call(place.upstream.url, asked | {"model": model}, case.api)  # what the app would have got, had it asked so itself
    expected = direct.arrival.body.replace(f'"{asked["model"]}"'.encode(), f'"{model}"'.encode(), 1)

    assert through.arrival.body == expected
    assert through.arrival.header("content-length") == str(len(expected))
    assert head(through.arrival) == head(direct.arrival)
    assert through.answer == there.answer
    assert through.headers == there.headers
    if case.goes_to is None:
        assert through.ours == {}
    else:
        policy = "short-prompts-go-small-41" if model.startswith("gpt-4.1") else "short-prompts-go-small"
        assert through.ours == {
            "x-chassis-policies": policy,
            "x-chassis-upstream": "default",
            "x-chassis-model": model,
            "x-chassis-exchanges": "1",
            "x-chassis-origin": "upstream",
        }


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [("max_tokens", 100_000, 4096), ("max_tokens", 4096, 4096), ("max_completion_tokens", 16_385, 16_384), ("max_tokens", 1, 1)],
)
def test_an_answer_may_not_be_longer_than_the_cap(name: str, given: int, sent: int, place: Place, app: App) -> None:
    asked = {"model": SMALL, "messages": user("Hi"), name: given}
    direct = app.call(place.upstream.url, asked)
    through = app.call(place.running.url, asked)

    assert through.arrival.body == direct.arrival.body.replace(f"{given}".encode(), f"{sent}".encode())
    assert through.ours.get("x-chassis-policies") == ("cap-answer-length" if sent != given else None)
    assert through.answer == direct.answer


@pytest.mark.parametrize("model", ["o3", "o1-mini", "o4-mini", "gpt-5", "gpt-5-mini"])
def test_reasoning_models_get_no_parameter_that_they_refuse(model: str, place: Place, app: App) -> None:
    asked = {"model": model, "messages": user("Hi"), "seed": 3}
    refused = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 1, "logprobs": True, "top_logprobs": 2}
    direct = app.call(place.upstream.url, asked)
    through = app.call(place.running.url, asked | refused | {"logit_bias": {"7": 1}})
    without = app.call(place.running.url, asked)

    assert through.arrival.body == direct.arrival.body == without.arrival.body
    assert through.ours["x-chassis-policies"] == "reasoning-models-take-no-temperature"
    assert without.ours == {}


def test_extraction_is_made_repeatable_where_the_app_left_it_open(place: Place, app: App) -> None:
    asked = {"model": SMALL, "messages": user("Hi"), "response_format": FORM}
    direct = app.call(place.upstream.url, asked)
    through = app.call(place.running.url, asked)
    said = app.call(place.running.url, asked | {"temperature": 1, "seed": 9})

    assert json.loads(through.arrival.body) == json.loads(direct.arrival.body) | {"temperature": 0, "seed": 7}
    assert through.arrival.body.startswith(direct.arrival.body.rstrip(b"}"))
    assert through.ours["x-chassis-policies"] == "extraction-is-repeatable"
    assert (json.loads(said.arrival.body)["temperature"], json.loads(said.arrival.body)["seed"]) == (1, 9)
    assert said.ours == {}


def test_two_policies_act_on_one_call_and_both_are_told(place: Place, app: App) -> None:
    through = app.call(place.running.url, {"model": LARGE, "messages": user("Hi"), "max_tokens": 9_999})

    assert json.loads(through.arrival.body) == {"messages": user("Hi"), "model": SMALL, "max_tokens": 4096}
    assert through.ours["x-chassis-policies"] == "short-prompts-go-small, cap-answer-length"


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_policy_in_shadow_adds_nothing_and_is_counted(api: str, place: Place, app: App) -> None:
    line = 'chassis_policy_decisions_total{kind="instruct",mode="shadow",policy="plain-text-for-terminals"}'
    asked = {"model": "gpt-3.5-turbo", **({"messages": user("Hi")} if api == "chat" else {"input": "Hi"})}
    direct = app.call(place.upstream.url, asked, api, **{"x-client": "cli/1"})
    before = metric(place.running, line)
    through = app.call(place.running.url, asked, api, **{"x-client": "cli/1"})

    assert through.arrival.body == direct.arrival.body
    assert head(through.arrival) == head(direct.arrival)
    assert through.ours == {}
    assert through.answer == direct.answer
    assert metric(place.running, line) == before + 1


SCRIPT = """
from openai import OpenAI
client = OpenAI()
asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is a chassis?"}]}
answer = client.chat.completions.create(**asked)
words = [c.choices[0].delta.content or "" for c in client.chat.completions.create(**asked, stream=True) if c.choices]
print(answer.model, answer.choices[0].message.content == "".join(words))
"""


def test_an_app_that_sets_one_variable_notices_nothing_else(place: Place) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CHASSIS_"))}
    env |= {"OPENAI_BASE_URL": place.running.url, "OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
    place.upstream.forget()
    ended = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=30, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{SMALL}-2024-08-06 True\n", "")
    assert [json.loads(arrival.body)["model"] for arrival in place.upstream.take()] == [SMALL, SMALL]


def test_calls_at_once_do_not_mix(place: Place) -> None:
    prompts = [tokens(500) + f" {n}" if n % 3 == 0 else f"Is this contract {n} fair?" if n % 3 == 1 else f"Question {n}" for n in range(30)]

    async def one(client: AsyncOpenAI, number: int, prompt: str) -> tuple[str, str]:
        asked: Any = {"model": LARGE, "messages": user(prompt)}
        if number % 2:
            stream = await client.chat.completions.create(**asked, stream=True)
            events = [event async for event in stream]
            return events[0].model, "".join(event.choices[0].delta.content or "" for event in events if event.choices)
        answer = await client.chat.completions.create(**asked)
        return answer.model, answer.choices[0].message.content or ""

    async def run() -> list[tuple[str, str]]:
        async with AsyncOpenAI(base_url=place.running.url, api_key=KEY, max_retries=0, timeout=20) as client:
            return await asyncio.gather(*(one(client, number, prompt) for number, prompt in enumerate(prompts)))

    answers = asyncio.run(run())

    for number, ((model, text), prompt) in enumerate(zip(answers, prompts, strict=True)):
        assert model == f"{SMALL if number % 3 == 2 else LARGE}-2024-08-06"
        assert prompt in text
