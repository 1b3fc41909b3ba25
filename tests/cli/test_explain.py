from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.runs import CANARY, SHIPPED, chassis, chat, policy_file, request_file

NESTED = """version: 1
signals:
  legal: {keywords: {any_of: [contract]}}
  busy: {stream: true, has: tools}
  either: {signals: [legal, busy]}
policies:
  - name: always
    apply: {params: {max: {max_tokens: 5}}}
  - name: nested
    match:
      model: "gpt-*"
      not: {any: [{signals: [legal, busy]}, {has: images}]}
      any: [{endpoint: responses}, {endpoint: chat, stream: false}]
    apply: {rewrite: {model: small}}
  - name: simple
    match: {not: {signals: legal}, all: [{endpoint: chat}]}
    apply: {rewrite: {model: other}}
  - name: both
    match: {not: {signals: busy}}
    apply: {rewrite: {model: other}}
"""


def explained(*words: object, stdin: str = "") -> str:
    result = chassis("explain", *words, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def paragraph(text: str, start: str) -> list[str]:
    """The lines of one policy, or of one heading."""
    return next(block for block in text.split("\n\n") if block.startswith(start)).splitlines()


def test_each_policy_shows_its_conditions_and_what_they_saw(tmp_path: Path) -> None:
    text = explained(SHIPPED, "--request", request_file(tmp_path, chat()))

    assert text.startswith("chat call, model gpt-4o: POST /v1/chat/completions\n  goes to: default, model gpt-4o-mini\n")
    assert paragraph(text, "short-prompts-go-small ") == [
        f"short-prompts-go-small ({SHIPPED}/10-route-by-size.yaml:10:11): matches",
        "  apply: rewrite",
        "  yes endpoint: wants one of chat, responses; saw chat",
        "  yes model: wants one of gpt-4o, gpt-4o-20*; saw gpt-4o",
        "  yes prompt_tokens: wants below 400; saw 5 tokens",
        "  yes not any: wants none of them; saw 0 of 2",
        "    no  signals: wants one of them; saw 0 of 2",
        "      no  signal legal: keywords: wants any of contract, lawsuit, liability, indemnity, clause in the last user message;"
        " saw none of them",
        "      no  signal careful: keywords: wants any of prove, theorem, step by step, root cause, architecture in the last user message;"
        " saw none of them",
        "    no  has: wants one of tools, images, audio, files; saw none of them",
    ]
    assert paragraph(text, "plain-text-for-terminals")[0].endswith(": does not match, in shadow")


def test_a_group_of_one_is_no_line_of_its_own(tmp_path: Path) -> None:
    text = explained(policy_file(tmp_path, NESTED), "--request", request_file(tmp_path, chat("A contract?", stream=True)))

    assert paragraph(text, "always")[1:] == ["  apply: params", "  always"]
    assert paragraph(text, "nested")[2:] == [
        "  yes model: wants gpt-*; saw gpt-4o",
        "  no  any: wants one of them; saw 0 of 2",
        "    no  endpoint: wants responses; saw chat",
        "    no  match: wants each of them; saw 1 of 2",
        "      yes endpoint: wants chat; saw chat",
        "      no  stream: wants false; saw true",
        "  no  not any: wants none of them; saw 1 of 2",
        "    yes signals: wants one of them; saw 1 of 2",
        "      yes signal legal: keywords: wants any of contract in the last user message; saw contract",
        "      no  signal busy: wants each of them; saw 1 of 2",
        "        yes stream: wants true; saw true",
        "        no  has: wants tools; saw none of them",
        "    no  has: wants images; saw none of them",
    ]
    assert paragraph(text, "simple")[2:] == [
        "  yes endpoint: wants chat; saw chat",
        "  no  not signal legal: keywords: wants any of contract in the last user message; saw contract",
    ]
    assert paragraph(text, "both")[2:] == [
        "  yes not signal busy: wants not each of them; saw 1 of 2",
        "    yes stream: wants true; saw true",
        "    no  has: wants tools; saw none of them",
    ]


def test_what_was_decided_and_what_would_be_sent_is_told(tmp_path: Path) -> None:
    request = request_file(tmp_path, chat(max_tokens=100_000))
    text = explained(SHIPPED, "--request", request, "--header", "x-client: cli/2")

    assert paragraph(text, "layers") == [
        "layers, outermost first:",
        "  rewrite of short-prompts-go-small, once a call: model",
        "  params of cap-answer-length, once a call: max_completion_tokens, max_tokens",
    ]
    assert paragraph(text, "decided") == [
        "decided:",
        "  rewrite of gpt-4o-is-pinned (shadow): model: gpt-4o-2024-08-06; asked: gpt-4o",
        "  instruct of plain-text-for-terminals (shadow): added: append",
        "  rewrite of short-prompts-go-small: model: gpt-4o-mini; asked: gpt-4o",
        "  params of cap-answer-length: capped: max_tokens",
    ]
    sent = paragraph(text, "sent to default")
    assert "model gpt-4o-mini" in sent[0]
    assert {"  - model: gpt-4o", "  + model: gpt-4o-mini", "  - max_tokens: 100000", "  + max_tokens: 4096"} <= set(sent)
    assert "  x-chassis-policies: short-prompts-go-small, cap-answer-length" in sent


@pytest.mark.parametrize(("words", "shown"), [(1, "1 token"), (3_000, "3,000 tokens")])
def test_the_prompt_is_counted_to_its_end(tmp_path: Path, words: int, shown: str) -> None:
    text = explained(SHIPPED, "--request", request_file(tmp_path, chat(("hello " * words).strip())))

    assert f"prompt_tokens: wants below 400; saw {shown}\n" in text


def test_an_untouched_call_is_said_to_be_untouched(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "version: 1\nupstreams: {home: {url: 'https://a.example/base/v1'}}\n")
    text = explained(path, "--request", request_file(tmp_path, chat()))

    assert "decided:\n  nothing\n" in text
    assert "sent to home: https://a.example/base/v1/chat/completions, model as asked\n" in text
    assert text.endswith("  body: every byte as it came\n")


def test_a_refused_call_shows_the_answer_and_no_exchange(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "version: 1\npolicies: [{name: no, apply: {refuse: {status: 451, code: nope, message: Not here.}}}]\n")
    text = explained(path, "--request", request_file(tmp_path, chat()))
    as_json = json.loads(explained(path, "--request", request_file(tmp_path, chat()), "--format", "json"))

    assert "answered by the proxy itself: 451\n" in text
    assert '"message": "Not here."' in text
    assert "sent to" not in text
    assert as_json["exchange"] is None
    assert as_json["reply"]["status"] == 451


def test_a_lost_field_names_the_policy_that_won(tmp_path: Path) -> None:
    text = explained(policy_file(tmp_path, NESTED), "--request", request_file(tmp_path, chat()))

    assert "  shadowed: rewrite (model) of simple, by nested\n" in text
    assert "  shadowed of simple: of: rewrite; fields: model; by: nested\n" in text


def test_a_body_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    text = explained(SHIPPED, "--request", "-", stdin="{not json")

    assert "short-prompts-go-small (" in text
    assert "cannot be told, so it does not match" in text
    assert "  ?   model: wants one of gpt-4o, gpt-4o-20*; unknown: not JSON" in text
    assert "every byte as it came" in text


def test_a_request_may_come_from_standard_input_and_from_a_variable(tmp_path: Path) -> None:
    request = request_file(tmp_path, chat())
    from_stdin = explained(SHIPPED, "--request", "-", stdin=request.read_text())
    by_variable = chassis("explain", SHIPPED, env={"CHASSIS_REQUEST": str(request), "CHASSIS_HEADER": "x-a: 1\nX-Client: cli 3"})

    assert from_stdin == explained(SHIPPED, "--request", request)
    assert by_variable.exit_code == 0
    assert "header x-client: wants cli*; saw cli 3" in by_variable.stdout


def test_the_long_form_has_method_path_and_headers(tmp_path: Path) -> None:
    body = {"model": "gpt-4.1", "input": "Is this clause fair?", "instructions": "Be brief."}
    long = {"method": "POST", "path": "/v1/responses?x=1", "headers": {"X-Client": "cli/9"}, "body": body}
    text = explained(SHIPPED, "--request", request_file(tmp_path, long))
    listing = explained(SHIPPED, "--request", request_file(tmp_path, {"method": "GET", "path": "/v1/models"}))

    assert text.startswith("responses call, model gpt-4.1: POST /v1/responses?x=1\n")
    assert "indemnity, clause in the last user message; saw clause\n" in text
    assert "header x-client: wants cli*; saw cli/9" in text
    assert "/v1/responses?x=1" in text
    assert listing.startswith("models call, model unknown: GET /v1/models\n")
    assert "  request: there is no body\n" in listing


def test_a_header_option_stands_beside_those_of_the_file(tmp_path: Path) -> None:
    path = policy_file(
        tmp_path,
        "version: 1\npolicies: [{name: p, match: {header: {x-team: pay, x-b: two}}, apply: {rewrite: {model: m}}}]\n",
    )
    request = request_file(tmp_path, {"body": chat(), "headers": {"x-team": "pay"}})

    assert "p (" + str(path) + ":2:19): matches" in explained(path, "--request", request, "--header", "X-B:two")
    assert "p (" + str(path) + ":2:19): does not match" in explained(path, "--request", request, "--header", "X-B:three")


def test_the_json_form_holds_every_condition_and_edit(tmp_path: Path) -> None:
    found = json.loads(explained(SHIPPED, "--request", request_file(tmp_path, chat()), "--format", "json"))
    first = next(policy for policy in found["policies"] if policy["matches"])

    assert (found["endpoint"], found["model"]) == ("chat", "gpt-4o")
    assert (first["name"], first["matches"], first["mode"], first["kinds"]) == ("short-prompts-go-small", True, "enforce", ["rewrite"])
    assert first["conditions"][2] == {"name": "prompt_tokens", "expected": "below 400", "seen": "5 tokens", "holds": True}
    assert found["stack"][0] == {"kind": "rewrite", "policy": "short-prompts-go-small", "floor": "call", "fields": ["model"]}
    assert [entry["kind"] for entry in found["journal"] if entry["acted"]] == ["rewrite"]
    assert found["exchange"]["model"] == "gpt-4o-mini"
    assert found["exchange"]["edits"] == [{"path": "model", "old": "gpt-4o", "new": "gpt-4o-mini"}]
    assert ["x-chassis-model", "gpt-4o-mini"] in found["reply"]["headers"]
    assert found["reply"]["status"] == 200


def test_wrong_policies_are_told_as_check_tells_them(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "version: 1\npolicies: [{name: p, apply: {rewrit: {}}}]\n")
    request = request_file(tmp_path, chat())
    told, checked = chassis("explain", path, "--request", request), chassis("check", path)

    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == checked.stderr != ""


def test_a_secret_is_not_needed_where_it_is_said_and_never_shown(tmp_path: Path) -> None:
    path = policy_file(
        tmp_path,
        "version: 1\nupstreams:\n  a: {url: 'https://a.example/v1', key: '${CHASSIS_TEST_KEY}'}\n"
        "policies: [{name: p, match: {header: {authorization: 'Bearer *'}}, apply: {rewrite: {model: m}}}]\n",
    )
    request = request_file(tmp_path, {"body": chat(), "headers": {"Authorization": f"Bearer {CANARY}"}})
    refused, told = chassis("explain", path, "--request", request), chassis("explain", path, "--request", request, "--no-secrets")
    keyed = chassis("explain", path, "--request", request, "--format", "json", env={"CHASSIS_TEST_KEY": CANARY})

    assert refused.exit_code == 1
    assert "CHASSIS_TEST_KEY" in refused.stderr
    assert told.exit_code == keyed.exit_code == 0
    assert "header authorization: wants Bearer *; saw there, not shown" in told.stdout
    assert CANARY not in told.output + keyed.output


@pytest.mark.parametrize(
    ("request_value", "says"),
    [
        ({"method": "GET", "pth": "/v1/models"}, "unknown field 'pth'"),
        ({"method": 3}, "method and path are text"),
        ({"path": "/v1/x", "headers": ["a: b"]}, "headers is a mapping"),
    ],
)
def test_a_wrong_request_file_is_wrong_usage(tmp_path: Path, request_value: object, says: str) -> None:
    result = chassis("explain", SHIPPED, "--request", request_file(tmp_path, request_value))

    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_a_request_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    result = chassis("explain", SHIPPED, "--request", tmp_path / "missing.json")

    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["p", "--id", "c1"], "leave PATH out"),
        ([], "explain needs PATH and --request FILE, or --id ID"),
        (["p"], "explain needs PATH and --request FILE, or --id ID"),
        (["--id", "c1", "--admin", "ftp://x"], "is no url"),
        (["--id", "c1", "--admin", ""], "is no url"),
        (["--id", "c1", "--admin", "http://[::1"], "is no url"),
        (["--id", "c1", "--admin", "127.0.0.1:port"], "is no url"),
        (["--id", "c1", "--admin", "http://user:pw@127.0.0.1"], "is no url"),
    ],
)
def test_a_call_of_a_running_proxy_and_a_file_are_two_things(words: list[str], says: str) -> None:
    result = chassis("explain", *words)

    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_an_admin_port_that_is_not_there_is_said() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        result = chassis("explain", "--id", "c1", "--admin", f"127.0.0.1:{held.getsockname()[1]}")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be asked: [Errno 111] Connection refused; is the proxy's admin port there? give --admin URL" in result.stderr


class Admin(BaseHTTPRequestHandler):
    """An admin port that knows one call and one token."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer s3cret"
        found = self.path.startswith("/explain?id=c%2F1&")
        status = 401 if not known else 200 if found else 404
        body = f"asked for {self.path}\n".encode() if status == 200 else b'{"error": {"message": "no such call"}}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_running_proxy_is_asked_by_id() -> None:
    with HTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        at = ["--admin", f"http://127.0.0.1:{server.server_port}/"]
        found = chassis("explain", "--id", "c/1", *at, "--admin-token", "s3cret", "--brief")
        as_json = chassis("explain", "--id", "c/1", *at, "--format", "json", env={"CHASSIS_ADMIN_TOKEN": "s3cret"})
        unknown = chassis("explain", "--id", "x&y=z", *at, "--admin-token", "s3cret")
        closed = chassis("explain", "--id", "c/1", *at)
        server.shutdown()
        thread.join()

    assert (found.exit_code, found.stdout) == (0, "asked for /explain?id=c%2F1&format=text&brief=1\n")
    assert as_json.stdout == "asked for /explain?id=c%2F1&format=json\n"
    assert (unknown.exit_code, unknown.stdout, unknown.stderr) == (1, "", "chassis explain: no such call\n")
    assert closed.exit_code == 1
    assert "--admin-token or CHASSIS_ADMIN_TOKEN" in closed.stderr
