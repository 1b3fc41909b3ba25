"""Files that nobody should write: each is refused with a place and a word on what to do, whole, quickly, and without a trace of it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from proxy.assembly.stack import KINDS
from proxy.policy.document import Loaded, load, load_text, load_texts
from proxy.policy.document_spec import document_model
from proxy.policy.problems import PolicyError, Problem, Severity
from proxy.policy.shape import branches, fields
from proxy.policy.spec import Model
from tests.policy.kinds_for_tests import KINDS as TEST_KINDS

SPECS = {**{name: spec for name, spec in TEST_KINDS.items() if name not in KINDS}, **{name: kind.spec for name, kind in KINDS.items()}}
GOOD = "version: 1\npolicies: [{name: p, apply: {refuse: {}}}]\n"
WRONG: list[Any] = [None, True, -1, 1.5, 2**70, "", "\x1b[31m", "x" * 5000, [], [None], {}, {"zz": {"zz": []}}]


def outcome(text: str | bytes, env: dict[str, str] | None = None) -> Loaded | tuple[Problem, ...]:
    try:
        return load_text(text, "p.yaml", SPECS, env or {})
    except PolicyError as error:
        return error.problems


# Every field of every model, with every wrong type


def paths(annotation: Any, path: tuple[str | int, ...], models: tuple[type, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of each field, conditions inside conditions once."""
    for kind in branches(annotation):
        if isinstance(kind, type) and issubclass(kind, Model):
            if models.count(kind) < 2:
                for name, inner in fields(kind).items():
                    yield (*path, name)
                    yield from paths(inner, (*path, name), (*models, kind))
        elif get_origin(kind) is tuple:
            yield (*path, 0)
            yield from paths(get_args(kind)[0], (*path, 0), models)
        elif get_origin(kind) is dict:
            yield (*path, "x-key")
            yield from paths(get_args(kind)[1], (*path, "x-key"), models)


PATHS = sorted(set(paths(document_model(SPECS), ())), key=str)


def with_value(path: tuple[str | int, ...], value: Any) -> Any:
    """A document in which only `path` stands, and the version."""
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    if path[0] != "version":
        value = {"version": 1, **value}
    if path[0] == "policies" and len(path) > 1 and isinstance(value["policies"][0], dict):
        value["policies"][0] = {"name": "p", "apply": {"refuse": {}}, **value["policies"][0]}
    return value


def line_of(path: tuple[str | int, ...], value: Any) -> tuple[str, int]:
    """The document's text, each value on a line of its own, and the line of the one at `path`."""
    text = json.dumps(with_value(path, "@MARK@"), indent=1)
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "@MARK@" in row)
    return text.replace('"@MARK@"', json.dumps(value).replace("Infinity", ".inf")), line


def test_there_are_fields_of_every_part() -> None:
    assert len(PATHS) > 150
    assert ("policies", 0, "match", "any", 0, "keywords", "any_of") in PATHS
    assert ("upstreams", "x-key", "tls", "ca") in PATHS
    assert ("policies", 0, "apply", "params", "max", "x-key") in PATHS


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
def test_a_value_of_the_wrong_type_is_told_at_its_place_wherever_it_stands(value: Any) -> None:
    refused = 0
    mine = [path for number, path in enumerate(PATHS) if value in (None, {"zz": {"zz": []}}) or (number + WRONG.index(value)) % 2]
    for path in mine:
        text, line = line_of(path, value)
        got = outcome(text)
        if isinstance(got, Loaded):
            continue
        refused += 1
        here = [each for each in got if each.line == line]
        only_more_is_needed = all(": missing field" in str(each) or ": needs " in str(each) for each in got)
        assert here or only_more_is_needed or value == {}, (path, value, [str(each) for each in got])
        assert all(each.column >= 1 and each.message and str(each).isprintable() and len(str(each)) < 900 for each in got), path
    assert refused > len(mine) / 3


def test_a_key_that_is_almost_right_is_told_with_the_right_one() -> None:
    told = total = 0
    for path in PATHS:
        name = path[-1]
        if not isinstance(name, str) or name == "x-key" or len(name) < 4 or "body" in path:
            continue
        slip = name[:-2] + name[-1] + name[-2] if name[-1] != name[-2] else name[:-1]
        total += 1
        got = outcome(json.dumps(with_value((*path[:-1], slip), "x")))
        assert not isinstance(got, Loaded), path
        told += any(f"did you mean '{name}'?" in str(each) for each in got)

    assert total > 60
    assert told / total > 0.95


# Bytes

BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("n"))
)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "1:1: the file is empty; a policy file starts with 'version: 1'"),
        (b"# nothing\n", "1:1: the file is empty"),
        (b"a" * 10_485_760, "1:1: larger than 1 MiB; split it into several files"),
        ("version: 1 # caf\xe9".encode("latin-1"), "1:17: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (GOOD.encode("utf-16"), "1:1: is UTF-16; save it as UTF-8"),
        (GOOD.encode("utf-16-le"), "1:1: is UTF-16, or no text at all; save it as UTF-8"),
        (GOOD.encode("utf-32"), "1:1: is UTF-16; save it as UTF-8"),
        (b"\x00\x01\x02", "1:1: is UTF-16, or no text at all; save it as UTF-8"),
        (GOOD.encode() + b"# \x00", "3:3: character U+0000 is not allowed in YAML; remove it"),
        (GOOD.encode() + b"# \x1b[31m", "3:3: character U+001B is not allowed in YAML; remove it"),
        (GOOD.encode() + b"---\n" + GOOD.encode(), "3:1: a second document starts here; a policy file holds one; split it"),
        (b"version: 1\n\tpolicies: []\n", "2:1: a tab cannot indent YAML; use spaces"),
        (b"version: 1\nversion: 1\n", "2:1: duplicate key 'version' (first at line 1)"),
        (b"version: 1\npolicies: " + b"[" * 900, "nested deeper than 64 levels"),
        (b"version: 1\npolicies: " + b"[" * 90_000, "nest"),
        (BOMB, "aliases expand to more than 100,000 values"),
        (b"version: 1\nx: &x {<<: *x}\n", "'*x' refers to the value that it stands in"),
        (b"version: 1\n<<: [1]\n", "'<<' takes a mapping"),
        (b"version: 1\npolicies: !!python/object/apply:os.system [ls]\n", "is not allowed; write the plain value"),
        (b"version: 1\n? [a]\n: b\n", "a key must be text"),
        (b"%YAML 3.0\n---\nversion: 1\n", "not valid YAML"),
        (b"version: 1\npolicies: [{name: 'p}]\n", "not valid YAML"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_bad_bytes_are_refused_with_their_place(data: bytes, says: str) -> None:
    begun = time.process_time()
    got = outcome(data)

    assert not isinstance(got, Loaded)
    assert any(says in str(each) for each in got), [str(each) for each in got]
    assert all(each.line >= 1 for each in got)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode(), b"---\n" + GOOD.encode() + b"...\n"]
)
def test_what_editors_add_is_read(data: bytes) -> None:
    got = outcome(data)

    assert isinstance(got, Loaded)
    assert [policy.name for policy in got.policies] == ["p"]


def test_anchors_and_merges_are_read_and_their_places_kept() -> None:
    text = (
        "version: 1\npolicies:\n- &one {name: a, apply: &do {refuse: {status: 403}}}\n"
        "- {<<: *one, name: b, match: {model: 7}}\n- {name: c, apply: *do}\n"
    )
    got = outcome(text)

    assert not isinstance(got, Loaded)
    assert [str(each) for each in got] == ["p.yaml:4:38: policies[1].match.model: must be text, got 7; put it in quotes"]
    fixed = outcome(text.replace("model: 7", "model: m"))
    assert isinstance(fixed, Loaded)
    assert [(each.name, list(each.apply)) for each in fixed.policies] == [("a", ["refuse"]), ("b", ["refuse"]), ("c", ["refuse"])]


@pytest.mark.parametrize(
    "version", ["0", "2", "-1", '"1"', "1.0", "true", "[1]", "{}", "99999999999999999999", "1_000", "0x1", "v1", "~", ""]
)
def test_a_version_that_is_not_ours_is_refused_at_its_place(version: str) -> None:
    got = outcome(f"policies: []\nversion: {version}\n")
    if version == "0x1":  # YAML 1.2 has it
        assert isinstance(got, Loaded)
        return

    assert not isinstance(got, Loaded)
    assert [(each.line, each.path) for each in got] == [(2, "version")]
    assert [str(each) for each in outcome("policies: []\n")] == ["p.yaml:1:1: missing field 'version'; add 'version: 1'"]  # type: ignore[union-attr]


# Files and folders


def in_folder(folder: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(folder, SPECS, {})
    return [str(each).replace(f"{folder}/", "") for each in caught.value.problems]


def test_what_is_no_file_is_refused_and_nothing_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.yaml"))
        got = in_folder(tmp_path)

    assert got == [
        "endless.yaml: is not a regular file",
        "gone.yaml: cannot be read: No such file or directory",
        "loop.yaml: cannot be read: Too many levels of symbolic links",
        "pipe.yaml: is not a regular file",
        "socket.yaml: is not a regular file",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD)
    (tmp_path / "p.yaml").chmod(0)

    assert in_folder(tmp_path) == ["p.yaml: cannot be read: Permission denied"]


def test_a_folder_that_is_named_like_a_file_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").mkdir()
    warnings = [str(each).replace(f"{tmp_path}/", "") for each in load(tmp_path, SPECS, {}).warnings]

    assert warnings == ["b.yaml: warning: is a folder: folders inside are not read; move its files up"]


def test_a_file_that_vanishes_while_the_folder_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("p,", "q,"))
    real = os.stat

    def vanishing(path: Any, **more: Any) -> os.stat_result:
        found = real(path, **more)
        if str(path).endswith("b.yaml"):
            Path(path).unlink()
        return found

    monkeypatch.setattr("proxy.policy.document.os.stat", vanishing)

    assert in_folder(tmp_path) == ["b.yaml: cannot be read: No such file or directory"]


def test_one_bad_file_refuses_all_and_every_bad_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("version: 3\n")
    (tmp_path / "c.yaml").write_bytes(b"\xff")
    (tmp_path / "d.yaml").write_text(GOOD)

    assert [each.partition(": ")[0] for each in in_folder(tmp_path)] == ["b.yaml:1:10", "c.yaml:1:1", "d.yaml:2:19"]


def test_a_name_of_a_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n\u202e.yaml").write_text("")

    assert in_folder(tmp_path) == ["a\\x1b[31m\\n\\u202e.yaml:1:1: the file is empty; a policy file starts with 'version: 1'"]


# Names, secrets, sizes


@pytest.mark.parametrize("text", ["\x1b[2J\x07", "\r\nerror: fake", "\u202egnp", "\x9b31m", "\u2028x", "a" * 800])
def test_no_text_of_a_file_steers_a_terminal(text: str) -> None:
    quoted = json.dumps(text)
    got = outcome(
        f"version: 1\n{quoted}: 1\nupstreams: {{{quoted}: {{url: {quoted}}}}}\nsignals: {{{quoted}: {{model: 7, {quoted}: 1}}}}\n"
        f"policies: [{{name: {quoted}, {quoted}: 1, labels: {{{quoted}: {quoted}}}, match: {{signals: {quoted}, header: {{{quoted}: x}}, "
        f"endpoint: {quoted}}}, apply: {{{quoted}: {{}}, rewrite: {{upstream: {quoted}}}}}}}]\n"
    )

    assert not isinstance(got, Loaded)
    assert len(got) >= 8
    assert all(str(each).isprintable() and len(str(each)) < 900 for each in got)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a\nb", "the value holds a line break or another control character"),
        (b"\xff", "is not UTF-8"),
        (b"k" * 70_000, "is larger than 64 KiB"),
        ("folder", "cannot be read: it is not a regular file"),
        ("pipe", "cannot be read: it is not a regular file"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_told(tmp_path: Path, content: Any, says: str) -> None:
    file = tmp_path / "key"
    if content == "folder":
        file.mkdir()
    elif content == "pipe":
        os.mkfifo(file)
    elif content is not None:
        file.write_bytes(content)
    got = outcome(f"version: 1\nupstreams: {{a: {{url: 'https://a/v1', key: '${{file:{file}}}'}}}}\n")

    assert not isinstance(got, Loaded)
    assert [says in str(each) and each.path == "upstreams.a.key" for each in got] == [True]


def test_a_secret_with_a_newline_at_its_end_is_read_without_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    got = outcome(f"version: 1\nupstreams: {{a: {{url: 'https://a/v1', key: '${{file:{tmp_path / 'key'}}}'}}}}\n")

    assert isinstance(got, Loaded)
    assert got.upstreams["a"].credential is not None
    assert got.upstreams["a"].credential.secret.value == "sk-1"


@pytest.mark.parametrize(("value", "says"), [(None, "the environment has no K"), ("", "K is empty"), ("a\nb", "a line break or another")])
def test_a_secret_variable_that_cannot_be_used_is_told(value: str | None, says: str) -> None:
    got = outcome("version: 1\nupstreams: {a: {url: 'https://a/v1', key: '${K}'}}\n", {"K": value} if value is not None else {})

    assert not isinstance(got, Loaded)
    assert [says in str(each) for each in got] == [True]


def test_names_that_are_taken_twice_over_files_are_told_with_both_places() -> None:
    files = [(f"{name}.yaml", GOOD) for name in "abc"]
    with pytest.raises(PolicyError) as caught:
        load_texts(files, SPECS, {})

    assert [str(each) for each in caught.value.problems] == [
        f"{name}.yaml:2:19: policies[0].name: the name 'p' is taken by the policy at a.yaml:2:19" for name in "bc"
    ]


def test_thousands_of_policies_are_read_in_seconds_and_each_mistake_told() -> None:
    rows = [
        f"- {{name: p{i}, match: {{model: 'm{i}-*'}}, apply: {{rewrite: {{model: m{i}{', modle: x' if i % 10 == 0 else ''}}}}}}}\n"
        for i in range(2_000)
    ]
    begun = time.process_time()
    got = outcome("version: 1\npolicies:\n" + "".join(rows))

    assert not isinstance(got, Loaded)
    assert len(got) == 200
    assert {each.severity for each in got} == {Severity.ERROR}
    assert time.process_time() - begun < 20
