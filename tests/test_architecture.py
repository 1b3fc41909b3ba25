"""The house rules hold for the whole tree, and each rule is proven on a small example that breaks it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from proxy.assembly.stack import STACK
from tests import rules
from tests.rules import Rule

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_TWIN = {
    "proxy/core/ports.py": "records and protocols only; filled and checked in tests/kinds/test_telemetry.py",
}
UNREAD = {".png", ".jpg", ".ico", ".gz", ".woff2", ".pdf", ".wav", ".mp3"}  # not text


@cache
def tracked() -> tuple[str, ...]:
    """Every file that git tracks or would: new ones too, so that a mistake is seen before it is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return tuple(sorted(path for path in listed.stdout.splitlines() if (ROOT / path).is_file()))
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)))


@cache
def sources() -> dict[str, str]:
    """Path and text of each source file of the product."""
    return {path: (ROOT / path).read_text("utf-8") for path in tracked() if path.startswith("proxy/") and path.endswith(".py")}


def test_there_is_something_to_check() -> None:
    assert "proxy/core/body.py" in sources()
    assert "pyproject.toml" in tracked()


@pytest.mark.parametrize("rule", rules.OF_A_SOURCE, ids=lambda rule: rule.__name__)
def test_every_source_file_keeps(rule: Rule) -> None:
    found = [finding for path, text in sources().items() for finding in rule(path, text)]

    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", rules.OF_A_TEXT, ids=lambda rule: rule.__name__)
def test_every_text_keeps(rule: Rule) -> None:
    found = []
    for path in tracked():
        if Path(path).suffix not in UNREAD:
            found += rule(path, (ROOT / path).read_text("utf-8", "replace"))

    assert not found, "\n" + "\n".join(found)


def test_folders_are_flat() -> None:
    found = rules.folders_are_flat(sources())

    assert not found, "\n" + "\n".join(found)


def test_most_files_are_short() -> None:
    found = rules.most_files_are_short(
        {path: len(text.splitlines()) for path, text in sources().items() if not path.endswith("__init__.py")}
    )

    assert not found, "\n" + "\n".join(found)


def test_every_source_file_has_its_twin_test_file() -> None:
    found = rules.sources_have_twins(sources(), tracked(), WITHOUT_TWIN)

    assert not found, "\n" + "\n".join(found)


def test_every_kind_has_its_file_its_tests_and_its_heading() -> None:
    reference = ROOT / "policies/README.md"
    text = reference.read_text("utf-8") if reference.is_file() else ""
    found = rules.kinds_are_documented([kind.name for kind in STACK], tracked(), text)

    assert not found, "\n" + "\n".join(found)


# Each rule is proven on what breaks it, and on what looks like it and does not.

BAD: list[tuple[Rule, str, str]] = [
    (rules.imports_point_down, "proxy/core/body.py", "from proxy.wire.head import Head\n"),
    (rules.imports_point_down, "proxy/wire/head.py", "import proxy.openai.scan\n"),
    (rules.imports_point_down, "proxy/openai/scan.py", "def f():\n    from proxy.policy import spec\n"),
    (rules.imports_point_down, "proxy/policy/kind.py", "if TYPE_CHECKING:\n    from proxy.kinds.retry import Retry\n"),
    (rules.imports_point_down, "proxy/kinds/retry.py", "from proxy.kinds.refuse import Refuse\n"),
    (rules.imports_point_down, "proxy/kinds/retry.py", "from proxy.kinds import refuse\n"),
    (rules.imports_point_down, "proxy/kinds/retry.py", "from proxy.adapters.upstream import Upstream\n"),
    (rules.imports_point_down, "proxy/adapters/upstream.py", "from proxy.kinds.retry import Retry\n"),
    (rules.imports_point_down, "proxy/assembly/load.py", "from proxy.server.app import App\n"),
    (rules.imports_point_down, "proxy/server/app.py", "from proxy.cli.main import main\n"),
    (rules.imports_are_absolute, "proxy/core/body.py", "from .faults import Failure\n"),
    (rules.imports_are_absolute, "proxy/core/body.py", "from . import faults\n"),
    (rules.core_is_standard_library, "proxy/core/body.py", "import orjson\n"),
    (rules.libraries_stay_in_their_folders, "proxy/server/app.py", "import httptools\n"),
    (rules.libraries_stay_in_their_folders, "proxy/kinds/retry.py", "from opentelemetry import trace\n"),
    (rules.libraries_stay_in_their_folders, "proxy/core/call.py", "def f():\n    from pydantic import BaseModel\n"),
    (rules.libraries_stay_in_their_folders, "proxy/wire/listener.py", "from aiohttp import web\n"),
    (rules.only_cli_reads_the_environment, "proxy/adapters/otel.py", "import os\ndef f():\n    return os.environ['X']\n"),
    (rules.only_cli_reads_the_environment, "proxy/server/app.py", "from os import getenv\n"),
    (rules.only_cli_reads_the_environment, "proxy/server/app.py", "import sys\ndef f():\n    return sys.argv\n"),
    (rules.tasks_are_spawned, "proxy/kinds/hedge.py", "import asyncio\ndef f(w):\n    asyncio.create_task(w)\n"),
    (rules.tasks_are_spawned, "proxy/kinds/hedge.py", "def f(loop, w):\n    loop.create_task(w)\n"),
    (rules.tasks_are_spawned, "proxy/kinds/hedge.py", "from asyncio import ensure_future\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "print('hello')\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "TABLE = load_table()\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "DATA = open('x').read()\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "def _load():\n    return open('x')\nDATA = _load()\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "STARTED = time.monotonic()\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "for x in ():\n    pass\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "if TYPE_CHECKING:\n    print()\n"),
    (rules.modules_keep_no_state, "proxy/kinds/a.py", "_seen: dict[str, int] = {}\n"),
    (rules.modules_keep_no_state, "proxy/kinds/a.py", "cache = set()\n"),
    (rules.modules_keep_no_state, "proxy/kinds/a.py", "def f():\n    global count\n    count = 1\n"),
    (rules.modules_say_what_they_are, "proxy/kinds/a.py", "import os\n"),
    (rules.modules_say_what_they_are, "proxy/kinds/a.py", '"""b -- another."""\n'),
    (rules.functions_are_short, "proxy/kinds/a.py", "class A:\n    def f(self):\n" + "        x = 1\n" * 60),
    (rules.files_are_short, "proxy/kinds/a.py", "x = 1\n" * 401),
    (rules.names_mean_something, "proxy/kinds/retry_utils.py", ""),
    (rules.text_is_finished, "docs/a.md", "a line\n# TO" + "DO: later\n"),
    (rules.text_is_finished, "proxy/kinds/a.py", "x = 1  # FIX" + "ME\n"),
    (rules.text_names_no_machine, "docs/a.md", "see /wo" + "rk/main/README.md"),
    (rules.text_names_no_machine, "docs/a.md", "see /ho" + "me/alice/chassis"),
    (rules.text_names_no_machine, "docs/a.md", "read ../sha" + "red/DESIGN.md"),
    (rules.text_names_no_machine, "Makefile", "pip install --index-url https://py" + "pi.org/simple"),
    (rules.text_names_no_machine, "package-lock.json", "https://registry.npm" + "js.org/openai"),
]
GOOD: list[tuple[Rule, str, str]] = [
    (rules.imports_point_down, "proxy/cli/main.py", "from proxy.server.app import App\nfrom proxy.core.body import Body\n"),
    (rules.imports_point_down, "proxy/kinds/retry.py", "import asyncio\nfrom proxy.policy.kind import Kind\n"),
    (rules.imports_point_down, "proxy/adapters/spans.py", "from proxy.adapters.semconv import names\n"),
    (rules.core_is_standard_library, "proxy/core/body.py", "import asyncio\nfrom proxy.core.stage import Stage\n"),
    (rules.core_is_standard_library, "proxy/openai/scan.py", "import orjson\n"),
    (rules.libraries_stay_in_their_folders, "proxy/wire/head.py", "import httptools\n"),
    (rules.only_cli_reads_the_environment, "proxy/cli/main.py", "import os\nx = os.environ\n"),
    (rules.only_cli_reads_the_environment, "proxy/server/app.py", "import os\ndef f():\n    return os.getpid()\n"),
    (rules.tasks_are_spawned, "proxy/core/tasks.py", "def spawn(loop, w):\n    return loop.create_task(w)\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", '"""a -- x."""\nimport re\nR = re.compile("x").search\nS = frozenset((1, 2))\n'),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", 'T = TypeVar("T")\nKIND = Kind("a", lambda x: open(x))\n'),
    (
        rules.nothing_happens_at_import,
        "proxy/kinds/a.py",
        "def _one(n):\n    def test(f):\n        return open(f)\n    return test\nA = _one(1)\n",
    ),
    (rules.nothing_happens_at_import, "proxy/cli/__main__.py", "if __name__ == '__main__':\n    main()\n"),
    (rules.nothing_happens_at_import, "proxy/kinds/a.py", "try:\n    import uvloop\nexcept ImportError:\n    uvloop = None\n"),
    (rules.modules_keep_no_state, "proxy/kinds/a.py", "TABLE = {1: 2}\nlog = logging.getLogger('x')\n__all__ = ['a']\n"),
    (rules.modules_say_what_they_are, "proxy/kinds/a.py", '"""a -- the first letter."""\n'),
    (rules.modules_say_what_they_are, "proxy/kinds/__init__.py", '"""One file a kind."""\n'),
    (rules.functions_are_short, "proxy/kinds/a.py", "def f():\n" + "    x = 1\n" * 59),
    (rules.files_are_short, "proxy/kinds/a.py", "x = 1\n" * 400),
    (rules.names_mean_something, "proxy/wire/uncommon.py", ""),
    (rules.text_is_finished, "docs/a.md", "nothing is left to do here\n"),
    (rules.text_names_no_machine, "docs/a.md", "GET /v1/models, ${HOME}/x, .github/work" + "flows/, ./wo" + "rk/x, /run/secrets/key"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD, ids=[f"{rule.__name__}-{i}" for i, (rule, _, _) in enumerate(BAD)])
def test_a_break_is_found_and_named(rule: Rule, path: str, text: str) -> None:
    found = rule(path, text)

    assert found
    assert all(finding.startswith(f"{path}:") for finding in found)


@pytest.mark.parametrize(("rule", "path", "text"), GOOD, ids=[f"{rule.__name__}-{i}" for i, (rule, _, _) in enumerate(GOOD)])
def test_what_keeps_a_rule_is_left_alone(rule: Rule, path: str, text: str) -> None:
    assert rule(path, text) == []


def test_every_rule_has_been_proven() -> None:
    assert {rule for rule, _, _ in BAD} == {*rules.OF_A_SOURCE, *rules.OF_A_TEXT}


def test_a_deep_folder_and_an_unknown_one_are_found() -> None:
    found = rules.folders_are_flat(["proxy/core/body.py", "proxy/__init__.py", "proxy/kinds/retry/waits.py", "proxy/extra/a.py"])

    assert [finding.split(":")[0] for finding in found] == ["proxy/kinds/retry/waits.py", "proxy/extra/a.py"]


def test_too_many_long_files_and_a_high_median_are_found() -> None:
    assert rules.most_files_are_short({f"{i}.py": 100 for i in range(9)} | {"long.py": 390}) == []
    assert "2 of 10 files" in rules.most_files_are_short({f"{i}.py": 100 for i in range(8)} | {"a.py": 390, "b.py": 301})[0]
    assert "median" in rules.most_files_are_short({f"{i}.py": 141 for i in range(10)})[0]


def test_a_missing_twin_and_a_needless_exception_are_found() -> None:
    sources = ["proxy/core/a.py", "proxy/core/b.py", "proxy/core/c.py", "proxy/core/__init__.py"]
    tests = ["tests/core/test_a.py", "tests/core/test_c.py"]
    found = rules.sources_have_twins(sources, tests, {"proxy/core/c.py": "why", "proxy/core/gone.py": "why"})

    assert [finding.split(":")[0] for finding in found] == ["proxy/core/b.py", "proxy/core/c.py", "proxy/core/gone.py"]


def test_a_kind_without_tests_or_heading_is_found() -> None:
    paths = ["proxy/kinds/retry.py", "proxy/kinds/hedge.py", "tests/kinds/test_retry.py"]
    found = rules.kinds_are_documented(["retry", "hedge"], paths, "# Kinds\n\n### `retry`\n\nSee hedge.\n")

    assert found == ["hedge: kind: tests/kinds/test_hedge.py is missing", "hedge: kind: policies/README.md has no heading for it"]
