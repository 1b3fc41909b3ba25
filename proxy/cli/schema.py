"""schema -- the JSON Schema of policy files, for an editor. Beside `policies/` it is kept up to date by `make generate`."""

from __future__ import annotations

import click
import orjson

from proxy.assembly.schema import policy_schema, suite_schema
from proxy.cli.options import of_variable


@click.command()
@click.option("--tests", is_flag=True, **of_variable("TESTS"), help="That of test files (*.test.yaml) instead.")
def schema(tests: bool) -> None:
    """Print the JSON Schema of policy files, from which editors complete and check.

    Keep it in a file beside the policies, and begin each of them with this line:

        # yaml-language-server: $schema=./schema.json
    """
    click.echo(orjson.dumps(suite_schema() if tests else policy_schema(), option=orjson.OPT_INDENT_2))
