"""generate -- writes what is made from the models, or checks that it is up to date: `python -m tests.generate [--write]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson

from proxy.assembly.reference import cell, filled
from proxy.assembly.schema import policy_schema, suite_schema
from proxy.cli.main import COMMANDS
from proxy.cli.main import main as main_command
from tests.assembly import fault_matrix

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "policies" / "README.md", ROOT / "docs" / "commands.md")
SCHEMAS = {ROOT / "policies" / "schema.json": policy_schema, ROOT / "policies" / "tests.schema.json": suite_schema}


_VALUES = {"integer": "N", "float": "N", "path": "PATH"}


def commands() -> str:
    """Every command with its options, as `--help` tells them."""
    parts = []
    for name in COMMANDS:
        command = main_command.get_command(click.Context(main_command), name)
        assert command is not None
        takes = " ".join(param.metavar or param.human_readable_name for param in command.params if isinstance(param, click.Argument))
        doc = [" ".join(part.split()) for part in (command.help or "").replace("\b", "").split("\n\n")]
        told = [f"`{part}`" if part.startswith("# ") else part for part in doc]
        parts.append("\n\n".join([f"## chassis {name}{f' {takes}' if takes.strip() else ''}", *told, _options(command)]).rstrip())
    return "\n\n".join(parts)


def _options(command: click.Command) -> str:
    rows = ["| option | variable | default | |", "|---|---|---|---|"]
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            variable = f"`{option.envvar}`" if option.envvar else ""
            is_told = option.show_default or isinstance(option.type, click.Choice)
            default = f"`{option.default}`" if is_told and not _is_switch(option) and option.default is not None else ""
            rows.append(f"| {_named(option)} | {variable} | {default} | {cell(option.help or '')} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _is_switch(option: click.Option) -> bool:
    return option.is_flag or option.count


def _named(option: click.Option) -> str:
    """`--flag VALUE`."""
    if _is_switch(option):
        return " ".join(f"`{name}`" for name in option.opts)
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    value = "\\|".join(map(str, choices)) or option.metavar or _VALUES.get(str(option.type.name).split()[0], str(option.type.name).upper())
    return " ".join(f"`{name} {value}`" for name in option.opts)


def made() -> Iterator[tuple[Path, str]]:
    """Each file that is generated, whole or in part, and what its text should be."""
    for page in PAGES:
        yield page, filled(page.read_text("utf-8"), {"commands": commands})
    yield ROOT / "docs" / "fault-matrix.md", fault_matrix.page()
    for path, schema in SCHEMAS.items():
        yield path, orjson.dumps(schema(), option=orjson.OPT_INDENT_2).decode() + "\n"


def stale() -> dict[Path, str]:
    """Of those that are not what the models say: what they should be."""
    return {path: text for path, text in made() if not path.is_file() or path.read_text("utf-8") != text}


def main() -> int:
    """Exit code 1 when something is out of date and was not written."""
    write = "--write" in sys.argv
    found = stale()
    for path, text in found.items():
        if write:
            path.write_text(text, "utf-8")
        print(f"{path.name}: {'written' if write else 'not up to date; run make generate'}")
    return 1 if found and not write else 0


if __name__ == "__main__":
    sys.exit(main())
