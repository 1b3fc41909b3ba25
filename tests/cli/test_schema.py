"""`chassis schema` prints what an editor takes."""

from __future__ import annotations

import json

from proxy.assembly.schema import policy_schema, suite_schema
from tests.cli.runs import chassis


def test_schema_prints_the_schema_of_policy_files_as_json() -> None:
    ran = chassis("schema")

    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == policy_schema()


def test_schema_prints_the_schema_of_test_files_as_json() -> None:
    ran = chassis("schema", "--tests")

    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == suite_schema()


def test_schema_takes_no_path() -> None:
    ran = chassis("schema", "policies")

    assert ran.exit_code == 2
    assert "unexpected extra argument" in ran.stderr
