from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from proxy.policy.secrets import MAX_FILE_BYTES, Missing, Secret, check_references, has_reference
from proxy.policy.units import Wrong


def files(**contents: bytes) -> object:
    def read(path: str) -> bytes:
        try:
            return contents[path.removeprefix("/run/")]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None

    return read


def test_references_are_resolved_from_environment_and_file() -> None:
    secret = Secret("Basic ${USER}:${file:/run/pw}", {"USER": "me"}, files(pw=b"hunter2\n"))  # type: ignore[arg-type]

    assert secret.value == "Basic me:hunter2"
    assert secret.files == ("/run/pw",)


def test_a_secret_never_prints_its_value() -> None:
    secret = Secret("${K}", {"K": "sk-very-secret"})

    for shown in (str(secret), repr(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031 -- each way to print
        assert "sk-very-secret" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("${NOPE}", "the environment has no NOPE"),
        ("${EMPTY}", "EMPTY is empty"),
        ("${file:/run/nope}", "/run/nope cannot be read: No such file"),
        ("${file:/run/empty}", "/run/empty is empty"),
        ("${file:/run/binary}", "/run/binary is not UTF-8"),
        ("${file:/run/large}", "larger than 64 KiB"),
        ("${LINES}", "control character"),
        ("${file:/run/lines}", "control character"),
    ],
)
def test_what_is_missing_or_could_not_be_sent_is_told_without_its_value(template: str, says: str) -> None:
    env = {"EMPTY": "", "LINES": "sk-a\r\nx-evil: 1"}
    read = files(empty=b" \n", binary=b"\xff\xfe", large=b"x" * (MAX_FILE_BYTES + 1), lines=b"sk-a\nsk-b")
    with pytest.raises(Missing, match=says) as caught:
        Secret(template, env, read)  # type: ignore[arg-type]

    assert "sk-a" not in str(caught.value)


def test_rotation_reads_the_file_again_and_keeps_the_value_while_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    secret = Secret(f"${{file:{file}}}", {})
    assert secret.reread() is False

    file.write_text("two\n")
    assert secret.reread() is True
    file.unlink()
    with pytest.raises(Missing):
        secret.reread()

    assert secret.value == "two"


@pytest.mark.parametrize("bad", ["${}", "${MY-KEY}", "${ A }", "${file:}", "${file:relative}", "${A", "x${A}${"])
def test_a_reference_that_cannot_be_meant_is_refused(bad: str) -> None:
    with pytest.raises(Wrong):
        check_references(bad)


def test_a_text_without_references_is_itself() -> None:
    assert check_references("a $b {c}") == "a $b {c}"
    assert not has_reference("a $b {c}")
    assert has_reference("Bearer ${A}")
    assert Secret("plain", {}).value == "plain"
