from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from proxy.core.faults import Fault
from proxy.policy.spec import OneOrMany, Spec


class Leaf(Spec):
    """A leaf."""

    shorthand: ClassVar[str | None] = "names"
    names: OneOrMany[str] = Field(description="Names.")


class Strict(Spec):
    """Everything."""

    whole: int = Field(1, description="w")
    real: float = Field(1.0, description="r")
    flag: bool = Field(False, description="f")
    text: str = Field("", description="t")
    faults: tuple[Fault, ...] = Field((), description="x")
    leaf: Leaf | None = Field(None, description="l")


@pytest.mark.parametrize(
    "bad",
    [
        {"whole": "3"},
        {"whole": True},
        {"whole": 3.0},
        {"real": "3"},
        {"real": True},
        {"real": float("inf")},
        {"flag": 1},
        {"flag": "true"},
        {"text": 5},
        {"text": None},
        {"faults": "connect"},
        {"faults": ["nope"]},
        {"other": 1},
        [],
        None,
    ],
)
def test_nothing_is_coerced_and_nothing_unknown_taken(bad: object) -> None:
    with pytest.raises(ValidationError):
        Strict.read(bad)


def test_what_is_right_is_taken_as_it_is() -> None:
    read = Strict.read({"whole": 3, "real": 2, "flag": True, "text": "a", "faults": ["connect", "timeout"], "leaf": {"names": ["n"]}})

    assert (read.whole, read.real, read.flag, read.faults, read.leaf) == (3, 2.0, True, (Fault.CONNECT, Fault.TIMEOUT), Leaf(names=("n",)))


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Strict.read({}).whole = 2  # type: ignore[misc]


def test_the_schema_allows_the_short_form() -> None:
    leaf = Strict.model_json_schema()["$defs"]["Leaf"]

    assert leaf["anyOf"][0]["anyOf"][0] == {"type": "string"}
    assert leaf["anyOf"][1]["properties"]["names"]["description"] == "Names."
    assert leaf["anyOf"][1]["additionalProperties"] is False


def test_a_spec_sends_nowhere_unless_it_says_so() -> None:
    assert list(Leaf(names=("a",)).upstreams()) == []


def test_the_schema_offers_no_null_and_defaults_with_their_units() -> None:
    from tests.policy.kinds_for_tests import EntrySpec, HoldSpec, RetrySpec

    wait = RetrySpec.model_json_schema()["properties"]["wait"]
    hold = HoldSpec.model_json_schema()["properties"]

    assert EntrySpec.model_json_schema()["properties"]["model"] == {"type": "string", "description": "Its model.", "title": "Model"}
    assert (wait["type"], wait["default"], hold["size"]["default"], hold["share"]["default"]) == ("string", "1s", "1KiB", "1%")
