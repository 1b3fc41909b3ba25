from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from proxy.cli.main import COMMANDS, main
from tests.cli.runs import chassis

HELP_THEN_MODULES = """
import sys
from proxy.cli.main import main
main(["--help"], standalone_mode=False)
heavy = sorted({"aiohttp", "pydantic", "opentelemetry", "bpe_openai", "uvloop", "orjson"} & sys.modules.keys())
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def test_help_names_every_command_with_what_it_does() -> None:
    result = chassis("--help")

    assert result.exit_code == 0
    for name, what in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", result.stdout, re.MULTILINE)


def test_help_imports_nothing_heavy() -> None:
    ended = subprocess.run([sys.executable, "-c", HELP_THEN_MODULES], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_found_and_explains_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)  # type: ignore[attr-defined]
    result = chassis(name, "--help")

    assert isinstance(command, click.Command)
    assert result.exit_code == 0
    assert f" {name} " in result.stdout


def test_the_version_is_the_distributions() -> None:
    result = chassis("--version")

    assert (result.exit_code, result.stdout) == (0, f"chassis, version {version('chassis-proxy')}\n")


@pytest.mark.parametrize(("word", "meant"), [("chek", "check"), ("server", "serve"), ("explian", "explain")])
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(word: str, meant: str) -> None:
    result = chassis(word, "policies")

    assert result.exit_code == 2
    assert f"No such command '{word}'. Did you mean '{meant}'?" in result.stderr


@pytest.mark.parametrize("words", [["surve"], ["check"], ["check", "a", "b"], ["explain", "p"], ["--nope"], ["serve", "--port", "x"]])
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    result = chassis(*words)

    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert result.stdout == ""
