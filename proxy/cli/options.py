"""options -- what several commands take, so that it is spelled and explained once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click


class HeaderText(click.ParamType):  # type: ignore[type-arg]
    """`K:V`, as bytes. Several in one variable stand on lines of their own."""

    name = "K:V"
    envvar_list_splitter = "\n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bytes, bytes]:
        """Name and value, white space around them gone."""
        if isinstance(value, tuple):
            return value
        name, colon, text = value.partition(":")
        if not colon or not name.strip():
            self.fail(f"{value!r} is not of the form K:V, as in x-team: payments", param, ctx)
        return name.strip().encode("utf-8", "surrogateescape"), text.strip().encode("utf-8", "surrogateescape")


F = TypeVar("F", bound=Callable[..., Any])


def environment() -> Mapping[str, str]:
    """The variables that secrets and telemetry are set by."""
    return os.environ


def of_variable(name: str) -> dict[str, Any]:
    """What an option needs to be settable by `CHASSIS_…`, and to say so in its help."""
    return {"envvar": f"CHASSIS_{name}", "show_envvar": True}


def policies_argument(command: F) -> F:
    """PATH: a policy file, or a folder of them."""
    return click.argument("path", type=click.Path(path_type=Path), metavar="PATH")(command)


def no_secrets(command: F) -> F:
    """`--no-secrets`."""
    return click.option("--no-secrets", is_flag=True, **of_variable("NO_SECRETS"), help="A missing secret is only a warning.")(command)


def output_format(command: F) -> F:
    """`--format text|json`, as `style`."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", "style", type=choice, default="text", **of_variable("FORMAT"), help="For people or for tools.")(command)
