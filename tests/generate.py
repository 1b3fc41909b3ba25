"""generate -- writes what is made from the models, or checks that it is up to date: `python -m tests.generate [--write]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from proxy.assembly.reference import filled
from proxy.assembly.schema import policy_schema, suite_schema

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "policies" / "README.md",)
SCHEMAS = {ROOT / "policies" / "schema.json": policy_schema, ROOT / "policies" / "tests.schema.json": suite_schema}


def made() -> Iterator[tuple[Path, str]]:
    """Each file that is generated, whole or in part, and what its text should be."""
    for page in PAGES:
        yield page, filled(page.read_text("utf-8"))
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
