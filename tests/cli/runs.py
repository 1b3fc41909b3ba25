"""Running a command inside the test, and the files that it is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli.main import main

SHIPPED = Path(__file__).resolve().parents[2] / "policies"
CANARY = "sk-canary-4711"


def chassis(*words: object, stdin: str | bytes = "", env: Mapping[str, str] | None = None) -> Result:
    """The command's end: exit code, stdout and stderr. Variables that steer Chassis are not inherited."""
    return CliRunner(env={"CHASSIS_UPSTREAM": "", "CHASSIS_POLICIES": "", **(env or {})}).invoke(main, [str(word) for word in words], stdin)


def policy_file(folder: Path, text: str, name: str = "p.yaml") -> Path:
    """A policy file of `text`."""
    path = folder / name
    path.write_text(text)
    return path


def request_file(folder: Path, value: Any) -> Path:
    """A file with a request, as JSON."""
    path = folder / "request.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def chat(prompt: str = "What is a chassis?", **more: Any) -> dict[str, Any]:
    """The body of a chat call."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], **more}
