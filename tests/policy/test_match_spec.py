from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.openai.endpoints import Endpoint
from proxy.policy.match_spec import HeaderSpec, KeywordsSpec, MatchSpec, RangeSpec
from proxy.policy.shape import unfold
from proxy.policy.spec import Spec


def read(value: dict[str, Any]) -> MatchSpec:
    return MatchSpec.read(unfold(MatchSpec, value)[0])


def test_one_value_stands_for_a_list_of_one_at_every_depth() -> None:
    spec = read({"endpoint": "chat", "model": "m", "any": {"signals": "s", "not": {"has": "tools"}}, "header": {"x-a": "b"}})

    assert spec.endpoint == (Endpoint.CHAT,)
    assert spec.model == ("m",)
    assert spec.any is not None
    assert spec.any[0].signals == ("s",)
    assert spec.any[0].not_ is not None
    assert spec.any[0].not_.has == ("tools",)
    assert spec.header is not None
    assert spec.header["x-a"].equals == ("b",)


def test_an_empty_match_is_always() -> None:
    assert read({}) == MatchSpec.read({})


@pytest.mark.parametrize(
    "bad",
    [
        {"keywords": {"any_of": ["x"] * 10_001}},
        {"keywords": {"any_of": ["x" * 257]}},
        {"keywords": {"any_of": []}},
        {"model": ["x" * 257]},
        {"prompt_tokens": {"below": 0}},
        {"prompt_tokens": {"below": 10**12}},
        {"header": {"content-length": "5"}},
        {"has": []},
        {"in": "user"},
        {"not_": {}},
    ],
)
def test_what_is_out_of_bounds_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(bad)


@pytest.mark.parametrize("spec", [MatchSpec, RangeSpec, HeaderSpec, KeywordsSpec])
def test_every_field_is_described(spec: type[Spec]) -> None:
    assert spec.__doc__
    assert [name for name, field in spec.model_fields.items() if not field.description] == []
