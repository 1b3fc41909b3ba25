from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.runs import CANARY, SHIPPED, chassis, policy_file
from tests.e2e import calls
from tests.e2e.calls import body, get, post
from tests.e2e.processes import serving
from tests.e2e.sdk.upstream import ScriptedUpstream

NOWHERE = "https://api.example/v1"
REWRITES = "version: 1\npolicies: [{name: p, match: {endpoint: chat}, apply: {rewrite: {model: other}}}]\n"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that someone else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with calls.upstream() as upstream:
        yield upstream


# What ends before it begins: told in one line, without a traceback


def test_every_mistake_in_the_policies_ends_the_start_with_1(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "version: 1\npolicies:\n  - name: p\n    match: {endpoint: chatt}\n    apply: {rewrite: {modle: x}}\n")
    result = chassis("serve", "--policies", path, "--upstream", NOWHERE, "--port", 0, "--admin-port", 0)

    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [f"{path}:4:23", f"{path}:5:23"]


def test_a_folder_that_is_not_there_ends_it(tmp_path: Path) -> None:
    result = chassis("serve", "--policies", tmp_path / "missing", "--upstream", NOWHERE, "--port", 0, "--admin-port", 0)

    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path}/missing: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("words", [["--policies", SHIPPED], []], ids=["policies", "nothing"])
def test_without_an_upstream_it_says_what_to_give(words: list[object]) -> None:
    result = chassis("serve", *words, "--port", 0, "--admin-port", 0)

    assert result.exit_code == 1
    assert "there is no upstream to send calls to; give --upstream URL (or CHASSIS_UPSTREAM), or declare one" in result.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:4999/v1", "http://localhost:4999/v1", "http://[::1]:4999/v1"])
def test_its_own_listener_is_no_upstream(url: str) -> None:
    result = chassis("serve", "--upstream", url, "--port", 4999, "--admin-port", 0)

    assert result.exit_code == 1
    assert "is this proxy itself" in result.stderr
    assert "or another --port" in result.stderr


@pytest.mark.parametrize("url", ["ftp://api.example/v1", "api.example", "http://api.example/v1", "http://169.254.169.254/v1"])
def test_an_upstream_that_may_not_be_is_told(url: str) -> None:
    result = chassis("serve", "--upstream", url, "--port", 0, "--admin-port", 0)

    assert result.exit_code == 1
    assert result.stderr.startswith("--upstream: ")


def test_a_taken_port_is_told_with_its_flag(taken: int) -> None:
    data = chassis("serve", "--upstream", NOWHERE, "--port", taken, "--admin-port", 0)
    admin = chassis("serve", "--upstream", NOWHERE, "--port", 0, "--admin-port", taken)

    assert data.exit_code == admin.exit_code == 1
    assert data.stderr == (f"chassis serve: the data port {taken} on 127.0.0.1 is taken; stop what listens there, or give another --port\n")
    assert admin.stderr == (
        f"chassis serve: the admin port {taken} on 127.0.0.1 is taken; stop what listens there, or give another --admin-port\n"
    )


def test_an_address_of_another_machine_is_told() -> None:
    result = chassis("serve", "--upstream", NOWHERE, "--host", "203.0.113.7", "--port", 0, "--admin-port", 0)

    assert result.exit_code == 1
    assert result.stderr.startswith("chassis serve: cannot listen on 203.0.113.7 for the data port: ")
    assert result.stderr.endswith("; give a --host of this machine\n")


def test_policies_without_their_flag_are_answered_with_it() -> None:
    result = chassis("serve", SHIPPED, "--upstream", NOWHERE)

    assert result.exit_code == 2
    assert f"policies are named by a flag: chassis serve --policies {SHIPPED}" in result.stderr


def test_a_second_worker_is_refused_for_now() -> None:
    by_flag = chassis("serve", "--upstream", NOWHERE, "--workers", 2)
    by_variable = chassis("serve", "--upstream", NOWHERE, env={"CHASSIS_WORKERS": "2"})

    assert by_flag.exit_code == by_variable.exit_code == 2
    assert "this version runs one worker" in by_flag.stderr
    assert "this version runs one worker" in by_variable.stderr


@pytest.mark.parametrize(
    ("variable", "value", "flag"),
    [
        ("CHASSIS_PORT", "ninety", "--port"),
        ("CHASSIS_ADMIN_PORT", "70000", "--admin-port"),
        ("CHASSIS_DRAIN", "-1", "--drain"),
        ("CHASSIS_LOG", "yaml", "--log"),
        ("CHASSIS_BYPASS", "maybe", "--bypass"),
    ],
)
def test_a_wrong_variable_is_wrong_usage_and_named(variable: str, value: str, flag: str) -> None:
    result = chassis("serve", "--upstream", NOWHERE, env={variable: value})

    assert result.exit_code == 2
    assert flag in result.stderr
    assert variable in result.stderr


# What runs


def test_variables_alone_start_it(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    path = policy_file(tmp_path, REWRITES)
    variables = {"CHASSIS_UPSTREAM": upstream.url, "CHASSIS_LOG": "text", "CHASSIS_ADMIN_TOKEN": CANARY, "CHASSIS_DRAIN": "1"}
    with serving(path, None, environment=variables) as running:
        got = post(running.port)
        closed = get(running.admin_port, "/policies")
        open_ = get(running.admin_port, "/policies", authorization=f"Bearer {CANARY}")
        code = running.stop()
        log = running.logged()

    assert (got.status, got.ours["x-chassis-model"]) == (200, "other")
    assert (closed.status, open_.status) == (401, 200)
    assert code == 0
    assert "draining: calls have 1 s to end" in log
    assert "POST /v1/chat/completions 200" in log
    assert "gpt-4o -> other default policies=p call=" in log
    assert CANARY not in log


def test_it_prints_the_line_to_paste_and_every_warning(tmp_path: Path) -> None:
    policies = "version: 1\npolicies:\n  - {name: a, apply: {rewrite: {model: x}}}\n  - {name: b, apply: {rewrite: {model: y}}}\n"
    path = policy_file(tmp_path, policies)
    with serving(path, "https://api.example/base/v1/", ["--log", "off"]) as running:
        running.stop()
        log = running.logged()

    assert f"{path}:4:" in log
    assert "warning: policies[1].apply.rewrite: `rewrite.model` never acts" in log
    assert "chassis: 2 policies, calls go to https://api.example/base/v1; paste this where the app runs:\n" in log
    assert f"\n  export OPENAI_BASE_URL=http://127.0.0.1:{running.port}/v1\n" in log


def test_bypass_carries_everything_untouched(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    policies = REWRITES.replace("rewrite: {model: other}", "rewrite: {model: other}, params: {overrides: {temperature: 0}}")
    policies += "  # and one that refuses\n"
    path = policy_file(tmp_path, policies)
    policy_file(tmp_path, "version: 1\npolicies: [{name: no, apply: {refuse: {message: Never.}}}]\n", "q.yaml")
    sent = b'{ "model" : "gpt-4o",\t"messages":[{"role":"user","content":"hi \\u00e9"}], "temperature": 1.50 }'
    with serving(tmp_path, upstream.url, ["--bypass"]) as running:
        upstream.forget()
        first = post(running.port, sent)
        path.write_text("version: 1\npolicies: [{name: p, apply: {refuse: {message: no}}}]\n")
        running.process.send_signal(signal.SIGHUP)
        again = post(running.port, sent)
        log = running.logged()

    assert (first.status, again.status) == (200, 200)
    assert first.ours == again.ours == {}
    assert [arrival.body for arrival in upstream.take()] == [sent, sent]
    assert "chassis: bypass, no policy acts, calls go to" in log


def test_bypass_goes_on_where_the_policies_are_broken(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    path = policy_file(tmp_path, "version: 1\npolicies: [{name: p, apply: {rewrit: {}}}]\n")
    without_home = chassis("serve", "--policies", path, "--bypass", "--port", 0, "--admin-port", 0)
    with serving(path, upstream.url, ["--bypass"]) as running:
        got = post(running.port)
        log = running.logged()

    assert without_home.exit_code == 1
    assert (got.status, got.ours) == (200, {})
    assert f"{path}:2:" in log
    assert "--bypass goes on without these files, with --upstream alone" in log


def test_a_missing_secret_is_a_warning_with_no_secrets(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    path = policy_file(
        tmp_path,
        f"version: 1\nupstreams:\n  home: {{url: '{upstream.url}'}}\n"
        f"  far: {{url: '{upstream.url}', key: '${{CHASSIS_TEST_KEY}}'}}\n"
        "policies: [{name: p, match: {model: far}, apply: {rewrite: {upstream: far}}}]\n",
    )
    refused = chassis("serve", "--policies", path, "--port", 0, "--admin-port", 0)
    with serving(path, None, ["--no-secrets"]) as running:
        upstream.forget()
        home = post(running.port)
        far = post(running.port, body(model="far"), authorization=f"Bearer {CANARY}")
        arrived = upstream.take()
        log = running.logged()

    assert refused.exit_code == 1
    assert "CHASSIS_TEST_KEY" in refused.stderr
    assert home.status == 200
    assert ": warning: " in log
    assert len(arrived) == 2
    assert CANARY not in arrived[1].header("authorization")
    assert far.status == 401
    assert CANARY not in log
    assert "Traceback" not in log


def test_it_serves_on_a_built_in_upstream_where_there_is_no_other() -> None:
    with serving(SHIPPED, None, ["--scripted"]) as running:
        got = post(running.port)
        log = running.logged()

    assert (got.status, got.ours["x-chassis-model"]) == (200, "gpt-4o-mini")
    assert got.json["model"] == "gpt-4o-mini"
    assert "(scripted: answers are made up)" in log
    assert f"curl -si http://127.0.0.1:{running.port}/v1/chat/completions" in log


def test_an_upstream_that_is_given_wins_over_the_built_in_one(upstream: ScriptedUpstream) -> None:
    with serving(SHIPPED, upstream.url, ["--scripted"]) as running:
        upstream.forget()
        post(running.port)
        log = running.logged()

    assert upstream.arrived == 1
    assert "made up" not in log
