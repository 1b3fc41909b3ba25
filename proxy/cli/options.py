"""options -- what several commands take, so that it is spelled and explained once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def environment() -> Mapping[str, str]:
    """The variables that secrets and telemetry are set by."""
    return os.environ


def policies_argument(command: F) -> F:
    """PATH: a policy file, or a folder of them."""
    return click.argument("path", type=click.Path(path_type=Path), metavar="PATH")(command)


def no_secrets(command: F) -> F:
    """`--no-secrets`."""
    return click.option("--no-secrets", is_flag=True, envvar="CHASSIS_NO_SECRETS", help="A missing secret is only a warning.")(command)


def output_format(command: F) -> F:
    """`--format text|json`, as `style`."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", "style", type=choice, default="text", envvar="CHASSIS_FORMAT", help="For people or for tools.")(command)
