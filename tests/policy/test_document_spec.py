from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.policy.document_spec import DocumentSpec, document_model
from proxy.policy.shape import unfold
from proxy.policy.spec import Model
from proxy.policy.upstreams import AuthSpec, HeadersSpec, TlsSpec, UpstreamSpec
from tests.policy.kinds_for_tests import KINDS


def read(value: dict[str, Any]) -> DocumentSpec:
    model = document_model(KINDS)
    return model.read(unfold(model, value)[0])


def test_what_is_left_out_has_its_default() -> None:
    document = read({"version": 1, "policies": [{"name": "p", "apply": {"retry": {}}}]})
    policy = document.policies[0]

    assert (policy.mode, policy.labels, document.limits, document.upstreams) == ("enforce", {}, None, {})
    assert policy.apply.kinds() == {"retry": KINDS["retry"].read({})}


def test_kinds_come_in_their_own_order_whatever_the_file_says() -> None:
    document = read(
        {"version": 1, "policies": [{"name": "p", "apply": {"retry": {}, "fallback": {"model": "m"}, "rewrite": {"model": "m"}}}]}
    )

    assert list(document.policies[0].apply.kinds()) == ["rewrite", "retry", "fallback"]


def test_one_set_of_kinds_makes_one_model() -> None:
    assert document_model(KINDS) is document_model(dict(KINDS))
    assert document_model({}) is not document_model(KINDS)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema and "type" in schema:  # a rule such as `if` has properties, and is no object of its own
            yield schema
        for each in schema.values():
            yield from objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from objects(each)


def test_the_schema_describes_every_field_and_closes_every_object() -> None:
    schema = document_model(KINDS).model_json_schema()

    found = list(objects(schema))
    assert len(found) > 10
    for each in found:
        assert each["additionalProperties"] is False, each["title"]
        for name, field in each["properties"].items():
            target = schema["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
            assert field.get("description") or target["description"], (each["title"], name)


def test_the_schema_speaks_yaml_names_and_units() -> None:
    schema = document_model(KINDS).model_json_schema()
    match = schema["$defs"]["MatchSpec"]["properties"]

    assert {"not", "any", "all"} <= set(match)
    assert "in" in schema["$defs"]["KeywordsSpec"]["properties"]
    assert schema["properties"]["version"]["const"] == 1
    assert schema["$defs"]["RetrySpec"]["properties"]["wait"]["type"] == "string"
    assert "retry" in json.dumps(schema["$defs"]["ApplySpec"]["properties"])


@pytest.mark.parametrize("spec", [AuthSpec, HeadersSpec, TlsSpec, UpstreamSpec, DocumentSpec])
def test_every_model_says_what_it_is(spec: type[Model]) -> None:
    assert spec.__doc__
    assert all(field.description for field in spec.model_fields.values())
