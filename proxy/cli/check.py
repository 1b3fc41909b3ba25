"""check -- every mistake in policy files, with its place and what to do. Silent when there is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from proxy.assembly.load import load
from proxy.cli.options import environment, no_secrets, of_variable, output_format, policies_argument
from proxy.policy.problems import PolicyError, Problem, Severity


@click.command()
@policies_argument
@no_secrets
@output_format
@click.option("--strict", is_flag=True, **of_variable("STRICT"), help="A warning is an error.")
def check(path: Path, no_secrets: bool, style: str, strict: bool) -> None:
    """Check the policies in PATH, a YAML file or a folder of them.

    Prints every problem as file:line:column, errors before warnings. Exit code 1 when there is an error; warnings alone are fine,
    unless --strict is given.
    """
    try:
        loaded = load(path, environment(), no_secrets=no_secrets).loaded
        problems: Sequence[Problem] = (*loaded.warnings, *loaded.notes)
    except PolicyError as error:
        problems = error.problems
    if style == "json":
        click.echo(orjson.dumps([problem.to_json() for problem in problems], option=orjson.OPT_INDENT_2))
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
    refused = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    sys.exit(1 if any(problem.severity in refused for problem in problems) else 0)
