"""serve -- the proxy itself, in the foreground, until TERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from proxy.adapters.recent import CALLS, MOST_CALLS
from proxy.assembly.load import Policies, load, refuse_own_listener, refuse_without_upstream
from proxy.cli.options import environment, of_variable
from proxy.policy.problems import PolicyError
from proxy.server.app import Server, Settings
from proxy.server.app import serve as run

Command = Callable[..., None]


def _option(name: str, help: str, default: Any = None, **more: Any) -> Callable[[Command], Command]:
    """A flag with its `CHASSIS_*` variable."""
    variable = of_variable(name[2:].replace("-", "_").upper())
    return click.option(name, default=default, help=help, **variable, show_default=default is not None, **more)


PORT = click.IntRange(0, 65535)


@click.command()
@_option("--policies", "A policy file, or a folder of them.", type=click.Path(path_type=Path), metavar="PATH")
@_option("--upstream", "Where calls go by default, up to and with /v1.", metavar="URL")
@_option("--host", "The data port's address.", "127.0.0.1")
@_option("--port", "The data port; 0 takes a free one.", 4141, type=PORT)
@_option("--admin-host", "The admin port's address.", "127.0.0.1")
@_option("--admin-port", "Probes, metrics, what is loaded.", 4142, type=PORT)
@_option("--admin-token", "Asked for by the admin port, but for its probes.", metavar="TEXT")
@_option("--workers", "Processes; one for now.", 1, type=int)
@_option("--drain", "Seconds that calls have to end after TERM.", 25.0, type=click.FloatRange(0, 3600))
@_option("--log", "One line a call, on standard output.", "json", type=click.Choice(["json", "text", "off"]))
@_option("--recent", "Calls kept for /explain on the admin port; 0: none.", CALLS, type=click.IntRange(0, MOST_CALLS))
@_option("--bypass", "Carry everything untouched, whatever the policies say.", is_flag=True)
@_option("--no-secrets", "A missing secret is only a warning.", is_flag=True)
@_option("--scripted", "Where there is no --upstream: a built-in one that makes up answers.", is_flag=True)
@click.argument("stray", nargs=-1, metavar="")
def serve(stray: tuple[str, ...], **given: Any) -> None:
    """Run the proxy. The app sets OPENAI_BASE_URL to the address that is printed, and nothing else."""
    if stray:
        raise click.UsageError(f"policies are named by a flag: chassis serve --policies {stray[0]}")
    if given["workers"] != 1:
        raise click.UsageError("--workers: this version runs one worker; start several sidecars for more")
    del given["workers"]
    given["drain_s"] = given.pop("drain")
    given["scripted"] = given["scripted"] and given["upstream"] is None
    settings = Settings(**given)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_main(settings))
    except PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"chassis serve: {error}", err=True)
        sys.exit(1)


async def _main(settings: Settings) -> None:
    def policies(upstream: str | None) -> Policies:
        loaded = _loaded(settings, upstream)
        refuse_without_upstream(loaded)
        refuse_own_listener(loaded, settings.host, settings.port)
        return loaded

    server = Server(settings, policies, environment(), version("chassis-proxy"))
    await run(server, lambda: _say(server))


def _loaded(settings: Settings, upstream: str | None) -> Policies:
    try:
        return load(settings.policies, environment(), no_secrets=settings.no_secrets, upstream=upstream, bypass=settings.bypass)
    except PolicyError as error:
        if not settings.bypass or upstream is None:
            raise
        click.echo(f"{error}\nchassis serve: --bypass goes on without these files, with --upstream alone", err=True)
        return load(None, environment(), upstream=upstream)


def _say(server: Server) -> None:
    """The lines to paste into another terminal, on stderr: stdout is the log's."""
    generation = server.generation
    if generation is None:
        return
    for warning in generation.policies.warnings:
        click.echo(str(warning), err=True)
    host, port = server.address
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    home = generation.policies.upstreams[generation.policies.home]
    rules = len(generation.policies.rules)
    what = "bypass, no policy acts" if server.settings.bypass else f"{rules} {'policy' if rules == 1 else 'policies'}"
    click.echo(
        f"chassis: {what}, calls go to {home.address.origin}{home.address.path}"
        f"{' (scripted: answers are made up)' if server.settings.scripted else ''}; paste this where the app runs:",
        err=True,
    )
    click.echo(f"\n  export OPENAI_BASE_URL=http://{shown}:{port}/v1\n", err=True)
    if server.settings.scripted:
        click.echo(
            f"or try it:\n\n  curl -si http://{shown}:{port}/v1/chat/completions -H 'content-type: application/json' "
            """-d '{"model": "gpt-4o", "messages": [{"role": "user", "content": "What is a chassis?"}]}'\n""",
            err=True,
        )


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
