"""`chassis diff`: what differs, and an exit code that a pipeline can use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.runs import CANARY, SHIPPED, chassis, chat, policy_file

OLD = "version: 1\npolicies: [{name: p, match: {model: gpt-4o}, apply: {rewrite: {model: small}}}]\n"
NEW = OLD.replace("small", "tiny")


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    return policy_file(tmp_path, OLD, "old.yaml"), policy_file(tmp_path, NEW, "new.yaml")


def requests_file(folder: Path, *bodies: object) -> Path:
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return path


def test_policies_as_written_are_compared_without_requests(both: tuple[Path, Path]) -> None:
    result = chassis("diff", *both)

    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        f"~ policy p changed ({both[1]}:2:19)",
        "    - apply.rewrite.model: small",
        "    + apply.rewrite.model: tiny",
    ]


def test_no_difference_is_silent_and_fine(both: tuple[Path, Path]) -> None:
    result = chassis("diff", both[0], both[0])

    assert (result.exit_code, result.output) == (0, "")
    assert chassis("diff", SHIPPED, SHIPPED).exit_code == 0


def test_calls_that_change_are_counted_and_the_exit_code_says_so(tmp_path: Path, both: tuple[Path, Path]) -> None:
    file = requests_file(tmp_path, chat(), chat(model="o3"), chat("Again?"))
    result = chassis("diff", *both, "--requests", file, "-v")
    same = chassis("diff", both[0], both[0], "--requests", file)

    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "3 calls: 1 treated the same, 2 differently",
        "  model 2",
        "",
        "2 calls",
        "  model: small -> tiny",
        "  as requests.jsonl:1, requests.jsonl:3",
    ]
    assert (same.exit_code, same.stdout) == (0, "3 calls: 3 treated the same, 0 differently\n")


def test_both_forms_exist_for_tools(tmp_path: Path, both: tuple[Path, Path]) -> None:
    written = json.loads(chassis("diff", *both, "--format", "json").stdout)
    asked = json.loads(chassis("diff", *both, "--format", "json", "--requests", requests_file(tmp_path, chat())).stdout)

    assert written["changes"][0]["edits"] == [{"path": "apply.rewrite.model", "old": "small", "new": "tiny"}]
    assert (asked["requests"], asked["different"]) == (1, 1)
    assert asked["groups"][0]["examples"] == ["requests.jsonl:1"]


def test_a_folder_of_requests_with_other_files_in_it(tmp_path: Path, both: tuple[Path, Path]) -> None:
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"path": "/v1/responses", "body": {"model": "gpt-4o", "input": "Hi"}}))
    (folder / "b.json").write_text("not json at all")
    (folder / "big.json").write_text(json.dumps(chat("word " * 1_000_000)))
    (folder / "README.md").write_text("# recorded on Monday")
    (folder / "image.png").write_bytes(b"\x89PNG\r\n")
    result = chassis("diff", *both, "--requests", folder, "-v")

    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith("3 calls: 1 treated the same, 2 differently\n")
    assert "  as a.json, big.json\n" in result.stdout


def test_a_line_that_is_no_request_is_told_and_ends_with_2(tmp_path: Path, both: tuple[Path, Path]) -> None:
    file = requests_file(tmp_path, chat(), [1], {"pth": "/x", "body": {}})
    result = chassis("diff", *both, "--requests", file)

    assert result.exit_code == 2
    assert result.stdout.startswith("1 call: 0 treated the same, 1 differently\n")
    assert "requests.jsonl:2: is no JSON object" in result.stderr
    assert "requests.jsonl:3: the request file has the unknown field 'pth'" in result.stderr


def test_wrong_policies_and_missing_files_end_with_2(tmp_path: Path, both: tuple[Path, Path]) -> None:
    wrong = policy_file(tmp_path, OLD.replace("rewrite", "rewrit"), "wrong.yaml")
    empty = tmp_path / "empty"
    empty.mkdir()
    for words, says in (
        ((both[0], wrong), "unknown field 'rewrit'"),
        ((tmp_path / "nowhere", both[0]), "nowhere"),
        ((*both, "--requests", tmp_path / "nowhere"), "--requests: No such file or directory"),
        ((*both, "--requests", empty), "there is no request in"),
        ((both[0],), "Missing argument 'NEW'"),
    ):
        result = chassis("diff", *words)

        assert (result.exit_code, result.stdout) == (2, ""), words
        assert says in result.stderr


def test_secrets_may_be_missing_and_are_never_shown(tmp_path: Path) -> None:
    text = "version: 1\nupstreams: {a: {url: 'https://a.example/v1', key: '${CHASSIS_TEST_KEY}'}}\n"
    one, two = policy_file(tmp_path, text, "one.yaml"), policy_file(tmp_path, text.replace("'${CHASSIS_TEST_KEY}'", CANARY), "two.yaml")
    refused, told = chassis("diff", one, two), chassis("diff", one, two, "--no-secrets")
    file = requests_file(tmp_path, {"headers": {"authorization": f"Bearer {CANARY}"}, "body": chat(CANARY)})
    asked = chassis("diff", one, two, "--requests", file, "-vv", env={"CHASSIS_TEST_KEY": "other"})

    assert refused.exit_code == 2
    assert told.exit_code == asked.exit_code == 1
    assert "    + key: (not shown)\n" in told.stdout
    assert "  headers authorization: a value that is not shown -> another\n" in asked.stdout
    assert CANARY not in told.output + asked.output
