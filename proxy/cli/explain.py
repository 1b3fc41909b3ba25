"""explain -- what would be done with a request, and why; or what was done with a call of a running proxy.

Each policy with what its conditions saw, the layers in their order, what is held, what would be sent. Nothing is sent.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import click
import orjson

from proxy.assembly.explain import explain as run
from proxy.assembly.explain_json import as_json
from proxy.assembly.explain_text import as_text
from proxy.assembly.load import load
from proxy.assembly.recorded import WrongRequest, asked
from proxy.cli.options import HeaderText, environment, no_secrets, of_variable, output_format
from proxy.core.body import Headers
from proxy.policy.problems import PolicyError

ANSWER_S = 10.0  # an explanation takes milliseconds; a busy loop answers within a second
ANSWER_BYTES = 64 * 1024 * 1024


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="[PATH]", required=False)
@click.option("--request", "file", type=click.File("rb"), metavar="FILE", **of_variable("REQUEST"), help="The request; -: standard input.")
@click.option(
    "--header",
    "given",
    multiple=True,
    type=HeaderText(),
    **of_variable("HEADER"),
    help="A header of the request; may be repeated.",
)
@click.option(
    "--id",
    "call",
    metavar="ID",
    **of_variable("ID"),
    help="A call of a running proxy: `call` of its log line, its trace id, or `last`.",
)
@click.option(
    "--admin",
    default="http://127.0.0.1:4142",
    metavar="URL",
    show_default=True,
    **of_variable("ADMIN"),
    help="The admin port of the proxy that is asked by --id.",
)
@click.option("--admin-token", metavar="TEXT", **of_variable("ADMIN_TOKEN"), help="Its token, where it has one.")
@click.option("--brief", is_flag=True, **of_variable("BRIEF"), help="Only policies that match, or of which it cannot be told.")
@no_secrets
@output_format
def explain(
    path: Path | None,
    file: Any,
    given: Headers,
    call: str | None,
    admin: str,
    admin_token: str | None,
    brief: bool,
    no_secrets: bool,
    style: str,
) -> None:
    """Say what the policies in PATH would do with the request in FILE, and why; or, with --id, what a running proxy did with a call.

    FILE holds a JSON body, as for POST /v1/chat/completions, or {"method", "path", "headers", "body"}. Nothing is sent.
    """
    if call is not None:
        if path is not None:
            raise click.UsageError("--id asks a running proxy, which knows its policies: leave PATH out")
        click.echo(_ask(admin, call, admin_token, style, brief), nl=False)
        return
    if path is None or file is None:
        raise click.UsageError("explain needs PATH and --request FILE, or --id ID for a call of a running proxy")
    try:
        request = asked(file.read(), given)
    except WrongRequest as wrong:
        raise click.UsageError(str(wrong)) from wrong
    try:
        policies = load(path, environment(), no_secrets=no_secrets)
    except PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    explanation = asyncio.run(run(policies, request))
    if style == "json":
        click.echo(orjson.dumps(as_json(explanation), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str))
    else:
        click.echo("\n".join(as_text(explanation, brief)))


def _ask(admin: str, call: str, token: str | None, style: str, brief: bool) -> bytes:
    """What the admin port says of a call."""
    try:
        at = urlsplit(admin if "://" in admin else f"http://{admin}")
        is_url = at.scheme in ("http", "https") and bool(at.hostname) and "@" not in at.netloc and (at.port is None or at.port > 0)
    except ValueError:
        is_url = False
    if not is_url:
        raise click.UsageError(f"--admin: {admin!r} is no url of an admin port; it looks like http://127.0.0.1:4142")
    url = f"{at.scheme}://{at.netloc}/explain?id={quote(call, safe='')}&format={style}{'&brief=1' if brief else ''}"
    request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=ANSWER_S) as reply:
            answer: bytes = reply.read(ANSWER_BYTES)
            return answer
    except HTTPError as error:
        click.echo(f"chassis explain: {_message(error.read(ANSWER_BYTES)) or f'{at.netloc} answered {error.code}'}", err=True)
        if error.code == 401:
            click.echo("chassis explain: give it by --admin-token or CHASSIS_ADMIN_TOKEN", err=True)
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        click.echo(f"chassis explain: {at.netloc} cannot be asked: {why}; is the proxy's admin port there? give --admin URL", err=True)
    sys.exit(1)


def _message(answer: bytes) -> str:
    """The words of an error of the admin port."""
    try:
        return str(orjson.loads(answer)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
