from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, JsonValue

from proxy.policy.shape import names_at, unfold
from proxy.policy.spec import Json, OneOrMany, Spec
from tests.policy.kinds_for_tests import FallbackSpec, RetrySpec


class Whole(Spec):
    """All shapes."""

    fallback: FallbackSpec = Field(description="f")
    retry: RetrySpec | None = Field(None, description="r")
    by_name: Mapping[str, OneOrMany[str]] = Field(default_factory=dict, description="m")
    free: Json = Field(None, description="j")
    also_free: dict[str, JsonValue] = Field(default_factory=dict, description="v")
    other: int | None = Field(None, alias="in", description="o")


def test_short_forms_are_written_out_at_every_depth() -> None:
    value, found = unfold(Whole, {"fallback": {"model": "a"}, "by_name": {"x": "one", "y": ["two"]}})

    assert found == []
    assert value["fallback"] == {"targets": [{"model": "a"}]}
    assert value["by_name"] == {"x": ["one"], "y": ["two"]}


def test_a_list_stands_for_the_field_of_the_shorthand() -> None:
    value, _ = unfold(Whole, {"fallback": [{"model": "a"}, {"model": "b"}]})

    assert value["fallback"] == {"targets": [{"model": "a"}, {"model": "b"}]}


def test_a_key_without_a_value_is_told_and_taken_out() -> None:
    value, found = unfold(Whole, {"fallback": [{"model": None}], "retry": None, "in": None})

    assert value == {"fallback": {"targets": [{}]}}
    assert [path for path, _, _ in found] == [("fallback", "targets", 0, "model"), ("retry",), ("in",)]


def test_null_is_a_value_where_any_json_may_stand() -> None:
    given = {"free": None, "also_free": {"stop": None}}

    assert unfold(Whole, given) == (given, [])


def test_unknown_fields_and_wrong_shapes_are_left_to_the_model() -> None:
    given = {"nope": None, "retry": 5, "by_name": [1]}

    assert unfold(Whole, given) == (given, [])


def test_names_for_a_suggestion_follow_the_path() -> None:
    assert names_at(Whole, ("fallback", "targets", 0)) == ["model", "upstream"]
    assert names_at(Whole, ("retry",)) == ["max_attempts", "wait", "when"]
    assert "in" in names_at(Whole, ())
    assert names_at(Whole, ("by_name", "x")) == []
    assert names_at(Whole, ("nope", 3)) == []


def test_a_mapping_is_a_short_form_only_where_its_keys_say_so() -> None:
    for whole in ({}, {"targets": [{"model": "a"}]}, {"target": []}, {"targets": [{}], "model": "a"}):
        assert unfold(Whole, {"fallback": whole})[0] == {"fallback": whole}
