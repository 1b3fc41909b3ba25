"""serve -- the proxy itself, in the foreground, until TERM."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from proxy.assembly.load import Policies, load, refuse_own_listener, refuse_without_upstream
from proxy.cli.options import environment
from proxy.policy.problems import PolicyError
from proxy.server.app import Server, Settings, serve as run


@click.command()
@click.option("--policies", type=click.Path(path_type=Path), envvar="CHASSIS_POLICIES", help="A policy file, or a folder of them.")
@click.option("--upstream", metavar="URL", envvar="CHASSIS_UPSTREAM", help="Where calls go by default, up to and with /v1.")
@click.option("--host", default="127.0.0.1", show_default=True, envvar="CHASSIS_HOST", help="The data port's address.")
@click.option("--port", default=4141, show_default=True, type=click.IntRange(0, 65535), envvar="CHASSIS_PORT", help="The data port.")
@click.option("--admin-host", default="127.0.0.1", show_default=True, envvar="CHASSIS_ADMIN_HOST", help="The admin port's address.")
@click.option(
    "--admin-port", default=4142, show_default=True, type=click.IntRange(0, 65535), envvar="CHASSIS_ADMIN_PORT", help="Probes and metrics."
)
@click.option("--admin-token", envvar="CHASSIS_ADMIN_TOKEN", help="Asked for by the admin port, but for its probes.", metavar="TEXT")
@click.option("--workers", default=1, show_default=True, type=int, envvar="CHASSIS_WORKERS", help="Processes; one for now.")
@click.option("--drain", default=25.0, show_default=True, type=float, envvar="CHASSIS_DRAIN", help="Seconds that calls have to end after TERM.")
@click.option("--log", type=click.Choice(["json", "text", "off"]), default="json", show_default=True, envvar="CHASSIS_LOG", help="One line a call.")
@click.option("--bypass", is_flag=True, envvar="CHASSIS_BYPASS", help="Carry everything untouched, whatever the policies say.")
@click.option("--no-secrets", is_flag=True, envvar="CHASSIS_NO_SECRETS", help="A missing secret is only a warning.")
@click.option("--scripted", is_flag=True, envvar="CHASSIS_SCRIPTED", help="Where no --upstream is given: a built-in one that makes up answers.")
def serve(**given: Any) -> None:
    """Run the proxy. The app sets OPENAI_BASE_URL to the address that is printed, and nothing else."""
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
        loaded = load(settings.policies, environment(), no_secrets=settings.no_secrets, upstream=upstream, bypass=settings.bypass)
        refuse_without_upstream(loaded)
        refuse_own_listener(loaded, settings.host, settings.port)
        return loaded

    server = Server(settings, policies, environment(), version("chassis-proxy"))
    await run(server, lambda: _say(server))


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
    click.echo(
        f"chassis: {rules} {'policy' if rules == 1 else 'policies'}, calls go to {home.address.origin}{home.address.path}"
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
