"""The commands and clients of the docs do what the docs say: run in a shell, in a folder as the docs assume it, against a real proxy.

The folder has `policies/` (the shipped ones), `request.json`, and what blocks marked `file=…` on the same page hold. The proxy runs over
its built-in upstream; ports of the docs become its own. What needs a cluster or a registry is only parsed by the shell.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docs.examples import CLIENTS, QUERIES, ROOT, Example, completed, examples
from tests.e2e.editor.language_server import NODE
from tests.e2e.processes import COMMAND, Running, serving

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is a chassis?"}]}
NODE_MODULES = ROOT / "tests" / "e2e" / "sdk" / "node" / "node_modules"
LIMIT_S = 60
FOREIGN = {"docker", "helm", "kubectl", "podman", "pip", "pipx", "uv", "git"}  # they need what a test does not have: parsed only


@pytest.fixture(scope="module")
def proxy() -> Iterator[Running]:
    with serving(ROOT / "policies", None, ["--scripted"]) as running:
        for question in ("What is a chassis?", "Prove the theorem step by step."):
            ask(running, {**CHAT, "messages": [{"role": "user", "content": question}]})
        yield running


def ask(running: Running, body: Mapping[str, object]) -> dict[str, str]:
    """The headers of ours in the reply."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=LIMIT_S)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return {name.lower(): value for name, value in reply.getheaders() if name.lower().startswith("x-chassis-")}


def folder_for(example: Example, folder: Path) -> Path:
    """What the commands of a page find."""
    shutil.copytree(ROOT / "policies", folder / "policies")
    (folder / "request.json").write_text(json.dumps(CHAT))
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "chassis").symlink_to(COMMAND)
    for each in examples():
        if each.page == example.page and each.file is not None:
            path = folder / each.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(completed(each))
    return folder


def commands_of(example: Example) -> list[tuple[str, str | None]]:
    """Each command with what it prints, None where that is not shown."""
    if example.kind == "sh":
        joined = example.text.replace("\\\n", " ")
        return [(line, None) for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    parts = re.split(r"^\$ ", example.text.replace("\\\n", " "), flags=re.M)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def matches(shown: str, printed: str) -> bool:
    """Whether what is printed is what is shown; `…` stands for anything, over lines where it stands alone."""
    pattern = re.escape(shown.strip()).replace(re.escape("…"), "…")
    pattern = re.sub(r"(?m)^…$", "(?s:.*)", pattern.replace("\\\n", "\n")).replace("…", ".*")
    return re.fullmatch(pattern, printed.strip()) is not None


def words_of(command: str) -> list[str]:
    return re.sub(r"^(?:\w+=\S+ +)*", "", command.strip()).split()


def last_call(proxy: Running) -> str:
    """The id of a call that the proxy's log has."""
    lines = [json.loads(line) for line in proxy.logged().splitlines() if line.startswith("{")]
    return str([line["call"] for line in lines if "call" in line][-1])


def run(command: str, folder: Path, proxy: Running) -> subprocess.CompletedProcess[str]:
    """A command, its ports and its logs those of the proxy."""
    command = re.sub(r"(localhost|127\.0\.0\.1):4141", f"127.0.0.1:{proxy.port}", command)
    command = re.sub(r"(localhost|127\.0\.0\.1):4142", f"127.0.0.1:{proxy.admin_port}", command)
    command = re.sub(r"\b[0-9a-f]{16}\b", last_call(proxy), command)
    command = re.sub(r"\bkubectl logs [^|]*", f"cat {proxy.log} ", command)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CHASSIS_", "OTEL_", "OPENAI_"))}
    clean["CHASSIS_ADMIN"] = proxy.admin_url
    env = {**clean, "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail\n{command}"], cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def served(command: str, folder: Path) -> None:
    """A `chassis serve` of the docs starts, with free ports, and is ready."""
    words = [word for word in words_of(command.partition("#")[0]) if word != "&"]
    options = words[words.index("serve") + 1 :]
    for flag in ("--port", "--admin-port", "--host"):
        if flag in options:
            del options[options.index(flag) : options.index(flag) + 2]
    at = options.index("--policies") if "--policies" in options else None
    policies = folder / (options[at + 1] if at is not None else "policies")
    if at is not None:
        del options[at : at + 2]
    upstream = None
    if "--upstream" in options:
        upstream = options[options.index("--upstream") + 1]
        del options[options.index("--upstream") : options.index("--upstream") + 2]
    with serving(policies, upstream, options if upstream or "--scripted" in options else [*options, "--scripted"]) as running:
        assert running.process.poll() is None


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("example", examples("sh", "console"), ids=lambda example: example.id)
def test_commands_do_what_is_shown(example: Example, proxy: Running, tmp_path: Path) -> None:
    folder = folder_for(example, tmp_path)
    commands = commands_of(example)

    assert commands
    for command, shown in commands:
        words = words_of(command)
        name = Path(words[0]).name
        if name == "make":
            assert set(words[1:2]) <= targets(), command
        elif name == "chassis" and words[1] == "serve":
            served(command, folder)
        elif name in FOREIGN and "|" not in command:
            assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0, command
        elif name in ("chassis", "curl", "export", "kubectl", "cat", "diff", "mkdir", "cp", "echo", "ls"):
            if missing := [tool for tool in ("curl", "jq") if tool in command and shutil.which(tool) is None]:
                pytest.skip(f"there is no {missing[0]} here")
            ran = run(command, folder, proxy)
            printed = ran.stdout + ran.stderr
            if shown is None:
                assert ran.returncode == 0, f"{command}\n{printed}"
            else:
                assert matches(shown, printed), f"{command}\n--- shown\n{shown}--- printed\n{printed}"
        else:
            pytest.fail(f"no test runs this command: {command}")


@pytest.mark.parametrize("example", examples("headers"), ids=lambda example: example.id)
def test_reply_headers_are_those_that_are_shown(example: Example, tmp_path: Path) -> None:
    """Of a short question, under the last policy file before them on the page."""
    files = [each for each in examples("file") if each.page == example.page and each.line < example.line]
    policies = tmp_path / "p.yaml"
    policies.write_text(files[-1].text)
    with serving(policies, None, ["--scripted"]) as running:
        got = ask(running, CHAT)

    assert [f"{name}: {value}" for name, value in got.items()] == example.text.splitlines()


@pytest.mark.parametrize("example", examples(*sorted(QUERIES)), ids=lambda example: example.id)
def test_a_query_asks_for_metrics_that_there_are(example: Example, proxy: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin_port, timeout=LIMIT_S)
    connection.request("GET", "/metrics")
    known = set(re.findall(r"^# TYPE (\w+)", connection.getresponse().read().decode(), re.M))
    connection.close()
    asked = set(re.findall(r"\bchassis_\w+", example.text))

    assert asked
    assert asked <= known
    assert all(line.count("(") == line.count(")") and line.count("{") == line.count("}") for line in example.text.splitlines())


@pytest.mark.parametrize("example", examples(*sorted(CLIENTS)), ids=lambda example: example.id)
def test_a_client_works(example: Example, proxy: Running, tmp_path: Path) -> None:
    env = {**os.environ, "OPENAI_BASE_URL": proxy.url, "OPENAI_API_KEY": "sk-app", "NO_COLOR": "1"}
    script = tmp_path / ("client.py" if example.kind == "python" else "client.mjs")
    script.write_text(example.text)
    if example.kind == "js":
        if not (NODE_MODULES / "openai").is_dir():
            pytest.skip("openai-node is not installed: make node")
        (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    program = COMMAND.parent / "python" if example.kind == "python" else NODE
    ran = subprocess.run([program, script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a … c\n", "a b c\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a (x*)\n", "a (x*)\n", True),
        ("a … c\n", "a b\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
    ],
)
def test_what_is_shown_is_compared_word_by_word(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
