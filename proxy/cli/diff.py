"""diff -- two sets of policies compared: as they are written, or by what they do with recorded requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from proxy.assembly import diff as calls
from proxy.assembly import diff_policies as written
from proxy.assembly.diff_text import calls_json, calls_text, policies_json, policies_text, wrong_text
from proxy.assembly.load import Policies, load
from proxy.assembly.recorded import Asked, WrongRequest, requests
from proxy.cli.options import environment, no_secrets, of_variable, output_format
from proxy.policy.problems import PolicyError


@click.command()
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW")
@click.option(
    "--requests",
    "recorded",
    type=click.Path(path_type=Path),
    metavar="PATH",
    **of_variable("REQUESTS"),
    help="Recorded requests: JSON Lines, or a folder of *.json and *.jsonl.",
)
@click.option("--verbose", "-v", count=True, **of_variable("VERBOSE"), help="Examples of each way in which calls differ; -vv: more.")
@no_secrets
@output_format
def diff(old: Path, new: Path, recorded: Path | None, verbose: int, no_secrets: bool, style: str) -> None:
    """Compare the policies in OLD with those in NEW, each a YAML file or a folder of them.

    With --requests: which recorded requests would be treated differently, and how. Without: what differs as it is written.
    Nothing is sent. Exit code 0: no difference; 1: some; 2: a file that cannot be used.
    """
    before, after = _loaded(old, no_secrets), _loaded(new, no_secrets)
    if recorded is None:
        found = written.compare(before, after)
        _print(policies_json(found) if style == "json" else policies_text(found, verbose))
        sys.exit(1 if found else 0)
    try:
        came = asyncio.run(calls.compare(before, after, _given(recorded)))
    except OSError as error:
        _refuse(f"--requests: {error.strerror or error}: {error.filename or recorded}")
    for line in wrong_text(came):
        click.echo(f"chassis diff: {line}", err=True)
    if not came.requests and not came.wrong:
        _refuse(f"--requests: there is no request in {recorded}; *.json is one request, *.jsonl one on each line")
    _print(calls_json(came) if style == "json" else calls_text(came, verbose))
    sys.exit(2 if came.wrong else 1 if came.different else 0)


def _given(path: Path) -> Iterator[Asked | WrongRequest]:
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    yield from requests(path)


def _loaded(path: Path, no_secrets: bool) -> Policies:
    try:
        return load(path, environment(), no_secrets=no_secrets)
    except PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def _print(said: dict[str, Any] | Iterable[str]) -> None:
    if isinstance(said, dict):
        click.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str))
    else:
        for line in said:
            click.echo(line)


def _refuse(why: str) -> NoReturn:
    click.echo(f"chassis diff: {why}", err=True)
    sys.exit(2)
