"""Every wrong file of `wrong/` gives exactly the lines that its end announces, each after `#! `."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.policy.document import load_text
from proxy.policy.problems import PolicyError
from tests.policy.kinds_for_tests import KINDS

WRONG = sorted((Path(__file__).parent / "wrong").glob("*.yaml"))


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_text(text, "wrong.yaml", KINDS, {})
    return [str(problem) for problem in caught.value.problems]


def test_there_are_wrong_files_enough() -> None:
    assert len(WRONG) >= 140


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_a_wrong_file_gives_exactly_its_problems(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    announced = [line.decode().rstrip("\n").removeprefix("#! ") for line in lines if line.startswith(b"#! ")]
    data = b"".join(line for line in lines if not line.startswith(b"#! "))

    assert problems_of(data) == [f"wrong.yaml:{line}" for line in announced]


def test_a_wrong_value_of_a_secret_field_is_not_shown() -> None:
    text = "version: 1\nupstreams:\n  a:\n    url: https://a/v1\n    key: [sk-secret]\n    query: {k: {v: sk-secret}}\n    proxy: 'x://u:sk-secret@p'\n"

    assert "sk-secret" not in "\n".join(problems_of(text))


def test_a_long_value_is_cut_and_its_control_characters_are_spelled() -> None:
    (problem,) = problems_of(f'version: 1\npolicies:\n  - name: "a\\tb{"c" * 500}"\n    apply: {{rewrite: {{model: m}}}}\n')

    assert "'a\\tb" in problem
    assert len(problem) < 220


def test_the_arms_of_a_union_are_one_problem() -> None:
    from pydantic import Field, ValidationError

    from proxy.policy.messages import problems_of as problems
    from proxy.policy.spec import Spec
    from proxy.policy.yaml12 import Parsed, parse

    class Cap(Spec):
        """A cap."""

        max: dict[str, int | float] = Field(description="Caps.")

    parsed: Parsed = parse("max: {top_p: high}", "p.yaml")
    with pytest.raises(ValidationError) as caught:
        Cap.read(parsed.value)

    assert [str(p) for p in problems(caught.value, Cap, parsed)] == [
        "p.yaml:1:14: max.top_p: must be a whole number or a number, got 'high'"
    ]
