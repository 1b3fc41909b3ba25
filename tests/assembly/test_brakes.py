"""The brakes as a platform engineer proves them: policy files with their tests, through the whole proxy on virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli.main import main

FOLDER = Path(__file__).parent.parent / "data" / "brakes"
SUITES = sorted(file.name for file in FOLDER.glob("*.test.yaml"))


@pytest.mark.parametrize("suite", SUITES)
def test_what_a_policy_file_promises_it_does(suite: str) -> None:
    done = CliRunner().invoke(main, ["test", str(FOLDER / suite)])

    assert done.exit_code == 0, done.output


def test_every_policy_of_the_folder_is_shown_at_work() -> None:
    policies = {file.stem for file in FOLDER.glob("*.yaml") if not file.name.endswith(".test.yaml")}

    assert policies == {name.removesuffix(".test.yaml") for name in SUITES} != set()
