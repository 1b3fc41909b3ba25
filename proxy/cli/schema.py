"""schema -- the JSON Schema of policy files, for an editor. Beside `policies/` it is kept up to date by `make generate`."""

from __future__ import annotations

import click
import orjson

from proxy.assembly.schema import policy_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of policy files, from which editors complete and check.

    Begin a policy file with: # yaml-language-server: $schema=./schema.json
    """
    click.echo(orjson.dumps(policy_schema(), option=orjson.OPT_INDENT_2))
