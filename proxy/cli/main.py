"""main -- the command `chassis`. Each command has a file of its own; nothing heavy is imported before it is asked for."""

from __future__ import annotations

import difflib
import importlib

import click

COMMANDS = {
    "serve": "run the proxy",
    "check": "find what is wrong in policy files",
    "test": "run the tests of policy files",
    "explain": "say what would be done with a request, and why",
    "diff": "compare two sets of policies, as written or on recorded requests",
    "schema": "print the JSON Schema of policy files, for editors",
    "demo": "see policies at work, without a key or a network",
}


class _Lazy(click.Group):
    """Imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"proxy.cli.{name}"), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args and args[0] not in COMMANDS else []
        if near and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="chassis-proxy", prog_name="chassis")
def main() -> None:
    """Chassis: a transparent sidecar proxy for OpenAI-compatible APIs.

    An app sets OPENAI_BASE_URL; a platform team writes policies. Exit codes: 0 fine, 1 findings, 2 usage.
    """


if __name__ == "__main__":
    main()
