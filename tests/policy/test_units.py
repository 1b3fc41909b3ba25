from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from proxy.policy.spec import Bytes, Json, Line, OneOrMany, Percent, Seconds, Spec
from proxy.policy.units import Wrong, duration_text, seconds, share, size_bytes, size_text, with_unit


@pytest.mark.parametrize(
    ("text", "value"), [("200ms", 0.2), ("2s", 2.0), ("0s", 0.0), ("1.5m", 90.0), ("1h", 3600.0), ("7d", 604_800.0), ("0.25s", 0.25)]
)
def test_a_duration_has_its_unit(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("bad", ["2", "s", "2 s", "-1s", "2sec", "1:30", "1e3s", "２s", "", 2, 2.5, True, None, ["2s"]])
def test_a_duration_without_its_unit_is_refused(bad: object) -> None:
    with pytest.raises(Wrong, match="must be a duration"):
        seconds(bad)


def test_a_bare_number_gets_a_hint() -> None:
    with pytest.raises(Wrong) as caught:
        seconds(5)

    assert caught.value.hint == "did you mean '5s'?"


@pytest.mark.parametrize(
    ("text", "value"), [("512B", 512), ("64KiB", 65_536), ("4MiB", 4_194_304), ("1GiB", 1 << 30), ("2KB", 2000), ("1MB", 10**6)]
)
def test_a_size_has_its_unit(text: str, value: int) -> None:
    assert size_bytes(text) == value


@pytest.mark.parametrize("bad", ["64", "64K", "64kib", "1.5MiB", "-1B", 64, True])
def test_a_size_without_its_unit_is_refused(bad: object) -> None:
    with pytest.raises(Wrong, match="must be a size"):
        size_bytes(bad)


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), ("0.5%", 0.005), ("100%", 1.0), ("0%", 0.0)])
def test_a_share_is_a_part_of_one(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("bad", ["101%", "-1%", "1", "1 %", 1, 0.01])
def test_a_share_outside_of_the_whole_is_refused(bad: object) -> None:
    with pytest.raises(Wrong, match="must be a share"):
        share(bad)


def test_a_bound_is_told_in_the_unit_in_which_the_value_was_written() -> None:
    assert [with_unit(10.0, "20s"), with_unit(64, "1KiB"), with_unit(0.5, "60%"), with_unit(3, 4)] == ["10s", "64B", "50%", "3"]


class Units(Spec):
    """All of them."""

    wait: Seconds = Field(1.0, description="w")
    size: Bytes = Field(1, description="s")
    part: Percent = Field(0.0, description="p")
    names: OneOrMany[str] | None = Field(None, description="n")
    free: Json = Field(None, description="f")
    line: Line | None = Field(None, description="l")


def test_the_types_work_in_a_model_and_in_its_schema() -> None:
    read = Units.read({"wait": "2m", "size": "1KiB", "part": "5%", "names": ["a"], "free": {"stop": ["x", None]}, "line": "y"})
    schema = Units.model_json_schema()["properties"]

    assert (read.wait, read.size, read.part, read.names, read.free) == (120.0, 1024, 0.05, ("a",), {"stop": ["x", None]})
    assert schema["wait"]["type"] == "string"
    assert {"type": "string"} in schema["names"]["anyOf"]


@pytest.mark.parametrize(
    "bad", [{"free": float("nan")}, {"free": [[float("inf")]]}, {"free": {"a": 2**70}}, {"line": "a\nb"}, {"line": ""}, {"names": []}]
)
def test_what_no_json_and_no_header_can_carry_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Units.read(bad)


@pytest.mark.parametrize("text", ["0s", "200ms", "1s", "90s", "2m", "1h", "7d", "1.5ms"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert duration_text(seconds(text)) == text


@pytest.mark.parametrize("text", ["0B", "1000B", "64KiB", "4MiB", "1GiB"])
def test_a_size_is_written_as_it_is_read(text: str) -> None:
    assert size_text(size_bytes(text)) == text
