"""From a log line to the reason: a served call, the id in its line, and what the process says of it, also after a reload and under load."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import calls
from tests.e2e.calls import body, get, metric, post, settled, until
from tests.e2e.processes import COMMAND, Running, serving
from tests.e2e.sdk.upstream import ScriptedUpstream
from tests.e2e.sdk.wording import KEY

POLICIES = """version: 1
policies:
  - name: small
    labels: {team: platform}
    match: {endpoint: chat, keywords: {any_of: [hello]}}
    apply: {rewrite: {model: gpt-4o-mini}, params: {max: {max_tokens: 100}}}
  - name: no-secrets
    match: {keywords: {any_of: [classified]}}
    apply: {refuse: {status: 451, message: Not here.}}
  - name: watched
    mode: shadow
    match: {keywords: {any_of: [hello]}}
    apply: {refuse: {}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with calls.upstream() as scripted:
        yield scripted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "p.yaml").write_text(POLICIES)
    return folder


@pytest.fixture
def running(folder: Path, upstream: ScriptedUpstream) -> Iterator[Running]:
    with serving(folder, upstream.url) as process:
        yield process


def last_id(running: Running) -> str:
    """The id in the last call's log line."""
    settled(running)
    return str(calls.calls(running)[-1]["call"])


def explained(running: Running, id: str) -> Any:
    got = get(running.admin_port, f"/explain?id={id}")
    assert got.status == 200, running.logged()
    return got.json


def test_a_streamed_call_is_explained_by_the_headers_that_it_had(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\npolicies: [{name: team, match: {header: {x-team: pay}, stream: true}, apply: {params: {overrides: {seed: 7}}}}]\n"
    )
    with serving(file, upstream.url) as process:
        post(process.port, body("Say hello.", stream=True), **{"x-team": "pay"})
        (policy,) = explained(process, last_id(process))["policies"]

        assert policy["matches"] is True
        assert "asked again" not in json.dumps(policy)


def test_a_person_gets_from_a_log_line_to_the_reason(running: Running) -> None:
    post(running.port, body("Say hello, zanzibar.", max_tokens=5000))
    id = last_id(running)
    found = explained(running, id)
    told = subprocess.run(
        [COMMAND, "explain", "--id", id, "--admin", running.admin_url], capture_output=True, text=True, timeout=30, check=False
    )

    assert found["call"]["call"] == id
    assert {rule["name"]: rule["matches"] for rule in found["policies"]} == {"small": True, "no-secrets": False, "watched": True}
    assert found["policies"][0]["labels"] == {"team": "platform"}
    assert [layer["kind"] for layer in found["stack"]] == ["rewrite", "params"]
    assert {"path": "max_tokens", "old": 5000, "new": 100} in found["exchange"]["edits"]
    assert ["", "authorization", "Bearer ***"] in found["exchange"]["headers"]
    assert (told.returncode, told.stderr) == (0, "")
    assert "small (" in told.stdout
    assert "would have acted, in shadow: watched (refuse)" in told.stdout
    for text in (json.dumps(found), told.stdout, running.logged()):
        assert "zanzibar" not in text
        assert KEY not in text


def test_the_id_is_in_a_line_for_people_too(folder: Path, upstream: ScriptedUpstream) -> None:
    with serving(folder, upstream.url, ["--log", "text"]) as process:
        post(process.port)
        until(lambda: " call=" in process.logged(), "a line for the call")
        id = process.logged().partition(" call=")[2].split()[0]
        listed = get(process.admin_port, "/explain", accept="text/plain").body.decode()
        found = explained(process, id)

    assert found["call"]["status"] == 200
    assert listed.endswith(f" call={id}\n")


def test_a_streamed_call_a_refused_one_and_one_that_failed_are_explained(running: Running) -> None:
    post(running.port, body("hello", stream=True))
    streamed = explained(running, last_id(running))
    post(running.port, body("classified"))
    refused = explained(running, last_id(running))
    got = post(running.port, body("hello"), path="/v1/chat/completions", x_play="reset")
    failed = explained(running, last_id(running))

    assert streamed["call"]["stream"] is True
    assert streamed["exchange"]["model"] == "gpt-4o-mini"
    assert (refused["exchange"], refused["call"]["outcome"]) == (None, "refused")
    assert json.loads(refused["reply"]["body"])["error"]["message"] == "Not here."
    assert failed["call"]["status"] == got.status


def test_after_a_reload_a_call_is_explained_with_the_policies_of_then(running: Running, folder: Path) -> None:
    post(running.port, body("hello"))
    id = last_id(running)
    (folder / "p.yaml").write_text(POLICIES.replace("name: small", "name: tiny").replace("gpt-4o-mini", "gpt-4.1-nano"))
    until(lambda: get(running.admin_port, "/policies").json["generation"] == 2, "the edit is in force")
    before = explained(running, id)
    post(running.port, body("hello"))
    after = explained(running, last_id(running))

    assert before["policies"][0]["name"] == "small"
    assert before["exchange"]["model"] == "gpt-4o-mini"
    assert before["notes"] == ["the policies have changed since: generation 2 is in force"]
    assert (after["policies"][0]["name"], after["exchange"]["model"], after["notes"]) == ("tiny", "gpt-4.1-nano", [])


def test_an_unknown_call_and_a_proxy_that_keeps_none(running: Running, folder: Path, upstream: ScriptedUpstream) -> None:
    unknown = get(running.admin_port, "/explain?id=%00%1b[2Jnope")
    with serving(folder, upstream.url, environment={"CHASSIS_RECENT": "0"}) as process:
        post(process.port)
        none = get(process.admin_port, "/explain")

    assert unknown.status == 404
    assert "it is not one of the last 0" in unknown.json["error"]["message"]
    assert none.status == 404
    assert "--recent 0" in none.json["error"]["message"]


def test_the_ring_keeps_as_many_as_it_is_told(folder: Path, upstream: ScriptedUpstream) -> None:
    with serving(folder, upstream.url, ["--recent", "3"]) as process:
        for _ in range(5):
            post(process.port)
        settled(process)
        listed = get(process.admin_port, "/explain").json
        ids = [line["call"] for line in calls.calls(process)]

    assert listed["kept"] == 3
    assert [call["call"] for call in listed["calls"]] == ids[:1:-1]


def test_a_thousand_calls_go_on_while_somebody_asks(running: Running) -> None:
    statuses: list[int] = []

    def app() -> None:
        statuses.extend([post(running.port, body("hello")).status for _ in range(100)])

    apps = [threading.Thread(target=app) for _ in range(10)]
    for each in apps:
        each.start()
    asked = []
    while any(each.is_alive() for each in apps):
        listed = get(running.admin_port, "/explain?limit=3").json["calls"]
        asked += [get(running.admin_port, f"/explain?id={call['call']}&format=text").status for call in listed]
    for each in apps:
        each.join()

    assert statuses == [200] * 1000
    assert len(asked) > 10
    assert set(asked) <= {200, 404}  # one may have gone out of the ring meanwhile
    assert asked.count(200) > len(asked) / 2
    assert metric(running, "chassis_event_loop_lag_seconds") < 2
