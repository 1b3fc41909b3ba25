"""demo -- policies at work in half a minute, without a key or a network: the real proxy over the built-in scripted upstream."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import click
import orjson

from proxy.assembly.load import Policies, load
from proxy.cli.options import of_variable
from proxy.core.journal import Entry
from proxy.core.ports import CallRecord, ExchangeRecord
from proxy.policy.problems import PolicyError
from proxy.server.app import Server, Settings

POLICIES = Path(__file__).with_name("demo.yaml")
LONG = "Summarise this for me. " + "The quick brown fox jumps over the lazy dog, again and again, until the evening comes. " * 5


@dataclass(slots=True, frozen=True)
class Scene:
    """One call of the demo: what the app does, and what to look at."""

    title: str
    prompt: str
    more: dict[str, Any] = field(default_factory=dict)


SCENES = (
    Scene("A short question for gpt-4o: the small model will do.", "What is a chassis?"),
    Scene("A long prompt: it stays with gpt-4o, byte for byte.", LONG),
    Scene("Short, but about a contract: it stays, too. A policy in shadow notes what it would have done.", "Is this contract fair?"),
    Scene("The app streams, and asks for 100,000 tokens: the cap is lowered.", "Why is it quiet?", {"max_tokens": 100_000, "stream": True}),
    Scene("What must not leave is refused before it costs anything.", "Translate this: INTERNAL USE ONLY. The new plan is simple."),
)


class _Noted:
    """A recorder: what was decided on each call."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[list[Entry]] = asyncio.Queue()

    async def next(self) -> list[Entry]:
        """The decisions on the next call that has ended."""
        return await self._calls.get()

    def call_ended(self, record: CallRecord) -> None:
        """Keeps its decisions."""
        self._calls.put_nowait(record.call.journal.entries)

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """Nothing."""


@click.command()
@click.option("--policies", type=click.Path(path_type=Path), default=POLICIES, help="Other policies to show.", **of_variable("POLICIES"))
def demo(policies: Path) -> None:
    """Start the proxy over an upstream that makes up its answers, and show policies at work."""
    try:
        asyncio.run(_show(policies))
    except PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"chassis demo: {error}", err=True)
        sys.exit(1)


async def _show(path: Path) -> None:
    def policies(upstream: str | None) -> Policies:
        return load(path, {}, no_secrets=True, upstream=upstream)

    settings = Settings(path, None, port=0, admin_port=0, log="off", scripted=True)
    noted = _Noted()
    server = Server(settings, policies, {}, version("chassis-proxy"), [noted])
    try:
        await server.start()
        host, port = server.address
        base = f"http://{host}:{port}/v1"
        click.echo(f"The proxy listens at {base}, with the policies of {path}.")
        async with aiohttp.ClientSession() as app:
            for number, scene in enumerate(SCENES, 1):
                click.echo(f"\n{click.style(f'{number}. {scene.title}', bold=True)}")
                await _play(app, base, scene)
                for entry in await noted.next():
                    if entry.would_act:
                        click.echo(f"   the log    {entry.policy}, in shadow: would {_would(entry)}")
        click.echo(f"\nNow yours: chassis serve --policies {path} --upstream https://api.openai.com/v1")
    finally:
        await server.stop(0)


async def _play(app: aiohttp.ClientSession, base: str, scene: Scene) -> None:
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": scene.prompt}], **scene.more}
    limit = f", max_tokens {asked['max_tokens']}" if "max_tokens" in asked else ""
    click.echo(f"   app asks   gpt-4o{limit}: {_cut(scene.prompt)}")
    async with app.post(f"{base}/chat/completions", json=asked) as reply:
        data = await reply.read()
        model, text = _answer(data, stream=bool(asked.get("stream")))
        click.echo(f"   app gets   {reply.status}{f', answered by {model}' if model else ''}: {_cut(text)}")
        told = [f"{name}: {value}" for name, value in reply.headers.items() if name.lower().startswith("x-chassis-")]
        for line in told or ["no header of ours: nothing was changed"]:
            click.echo(f"              {line}")


def _would(entry: Entry) -> str:
    return f"{entry.kind} ({'; '.join(f'{name}: {_plain(value)}' for name, value in entry.what.items())})"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _answer(data: bytes, stream: bool) -> tuple[str | None, str]:
    """The model and the text of a reply, or an error's message."""
    if stream and data.startswith(b"data:"):
        events = [orjson.loads(line[6:]) for line in data.split(b"\n\n") if line.startswith(b"data: {")]
        return events[0]["model"], "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    value = orjson.loads(data)
    if "error" in value:
        return None, f"{value['error']['code']}: {value['error']['message']}"
    return value["model"], value["choices"][0]["message"]["content"]


def _cut(text: str) -> str:
    return text if len(text) <= 88 else f"{text[:87]}…"
