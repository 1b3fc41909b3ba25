"""generate -- writes the generated parts of the docs, or checks that they are up to date: `python -m tests.generate [--write]`."""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.assembly.reference import filled

PAGES = (Path(__file__).parent.parent / "policies" / "README.md",)


def stale() -> list[Path]:
    """The pages whose generated parts are not what the models say."""
    return [page for page in PAGES if filled(page.read_text()) != page.read_text()]


def main() -> int:
    """Exit code 1 when something was, or would have been, written."""
    pages = stale()
    for page in pages:
        if "--write" in sys.argv:
            page.write_text(filled(page.read_text()))
        print(f"{page.name}: {'written' if '--write' in sys.argv else 'not up to date; run make generate'}")
    return 1 if pages and "--write" not in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
