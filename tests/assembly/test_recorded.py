"""Requests in files: every form is read, and what is none is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.assembly.recorded import Asked, WrongRequest, asked, requests

BODY = {"model": "gpt-4o", "messages": []}


def test_a_body_alone_is_a_chat_call() -> None:
    data = json.dumps(BODY).encode()

    assert asked(data) == Asked(b"POST", b"/v1/chat/completions", [], data)
    assert asked(data, [(b"x-a", b"1")], "r.json") == Asked(headers=[(b"x-a", b"1")], body=data, name="r.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'"x"', b"null", b"\xff\xfe", b"{" * 100_000])
def test_what_is_no_json_object_is_a_body_as_it_is(data: bytes) -> None:
    assert asked(data).body == data


def test_a_whole_request_has_method_path_headers_body_and_a_name() -> None:
    value = {"id": "c1", "method": "GET", "path": "/v1/x?a=é", "headers": {" X-A ": " 1 ", "n": 2, "many": ["a", "b"]}, "body": None}

    assert asked(json.dumps(value).encode()) == Asked(
        b"GET", "/v1/x?a=é".encode(), [(b"X-A", b"1"), (b"n", b"2"), (b"many", b"a"), (b"many", b"b")], b"", "c1"
    )


@pytest.mark.parametrize(("body", "raw"), [("text", b"text"), ({"a": 1}, b'{"a":1}'), ([], b"[]"), (None, b""), (0, b"0")])
def test_a_body_may_be_text_or_a_value(body: object, raw: bytes) -> None:
    assert asked(json.dumps({"body": body}).encode()).body == raw


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"method": "GET", "pth": "/v1/models"}, "unknown field 'pth'"),
        ({"method": 3}, "method and path are text"),
        ({"path": None}, "method and path are text"),
        ({"method": "G T"}, "'G T' is no HTTP method"),
        ({"method": ""}, "is no HTTP method"),
        ({"path": ""}, "is no path"),
        ({"path": "/a b"}, "is no path"),
        ({"path": "v1/models"}, "is no path; it begins with /"),
        ({"path": "http://evil.example/v1"}, "is no path; it begins with /"),
        ({"path": "/a\r\nx: y"}, "'/a??x: y' is no path"),
        ({"path": "/v1/x", "headers": ["a: b"]}, "headers is a mapping"),
        ({"path": "/v1/x", "headers": {"a b": "c"}}, "'a b' is no name of a header"),
        ({"path": "/v1/x", "headers": {"": "c"}}, "is no name of a header"),
        ({"path": "/v1/x", "headers": {"a": "b\r\nc: d"}}, "header 'a' is not one line"),
        ({"path": "/v1/x", "headers": {"a": {"b": "c"}}}, "header 'a' is a text, or a list of them"),
        ({"path": "/v1/x", "headers": {"a": None}}, "header 'a' is a text, or a list of them"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(value: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongRequest, match="request file") as raised:
        asked(json.dumps(value).encode())

    assert says in str(raised.value)


@pytest.mark.parametrize("value", ["\\ud800", "é", "x" * 100])
def test_a_whole_request_is_read_whatever_characters_are_in_it(value: str) -> None:
    found = asked(b'{"path": "/v1/x", "headers": {"a": "%b"}, "body": {"m": "%b", "n": 1}}' % (value.encode(), value.encode()))

    assert found.target == b"/v1/x"
    assert json.loads(found.body) == {"m": json.loads(f'"{value}"'), "n": 1}


def test_numbers_that_json_does_not_know_are_no_reason_to_ask_about_something_else() -> None:
    assert asked(b'{"path": "/v1/x", "body": {"n": NaN}}').target == b"/v1/x"


def test_a_folder_gives_its_requests_in_name_order_and_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(BODY) + "\n\n" + json.dumps({"id": "mine", "path": "/v1/x"}) + "\n")
    (tmp_path / "a.json").write_text(json.dumps(BODY, indent=2))
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "notes.md").write_text("# no request")
    (tmp_path / ".hidden.json").write_text("{}")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")

    assert [each.name for each in requests(tmp_path) if isinstance(each, Asked)] == ["a.json", "b.jsonl:1", "mine"]
    assert not [each for each in requests(tmp_path) if isinstance(each, WrongRequest)]


def test_wrong_lines_come_with_their_number_and_the_others_still_come(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(json.dumps(BODY).encode() + b"\nnot json\n" + b'{"pth": 1, "path": "/v1/x"}\n[]\n' + json.dumps(BODY).encode())
    found = [str(each) if isinstance(each, WrongRequest) else each.name for each in requests(file)]

    assert found == [
        "r.jsonl:1",
        "r.jsonl:2: is no JSON object; each line is one request",
        "r.jsonl:3: the request file has the unknown field 'pth'; it may have method, path, headers, body and id",
        "r.jsonl:4: is no JSON object; each line is one request",
        "r.jsonl:5",
    ]


def test_a_line_that_is_a_broken_object_is_a_body_that_policies_must_cope_with(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"model": "gpt-4o", \n')

    (only,) = requests(file)

    assert only == Asked(body=b'{"model": "gpt-4o",', name="r.jsonl:1")


@pytest.mark.parametrize(
    ("text", "count"),
    [('{"model": "a"}\n{"model": "b"}\n', 2), ('{\n"model": "a"\n}\n', 1), ('{"model": "a"}\n', 1), ("", 0)],
)
def test_a_file_of_another_name_is_lines_when_its_first_line_is_whole(tmp_path: Path, text: str, count: int) -> None:
    file = tmp_path / "requests.txt"
    file.write_text(text)

    assert len(list(requests(file))) == count


def test_a_file_beyond_any_request_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.assembly.recorded.MAX_BYTES", 1000)
    (tmp_path / "big.json").write_text(json.dumps({"model": "x" * 2000}))

    (only,) = requests(tmp_path)

    assert isinstance(only, WrongRequest)
    assert str(only).startswith("big.json: is over")
