"""What any test loads with success, the JSON Schema must take too: the texts of the whole suite are examples of the language."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from proxy.assembly.schema import schema_of
from proxy.policy import document
from proxy.policy.document_spec import DocumentSpec
from proxy.policy.source import Source


@cache
def _validator(model: type[DocumentSpec]) -> Any:
    return jsonschema_rs.Draft7Validator(schema_of(model, "urn:tests", "tests"))


@pytest.fixture(scope="session", autouse=True)
def _the_schema_takes_what_is_loaded() -> Iterator[None]:
    read = document.read_source

    def read_and_compared(data: bytes | str, file: str, model: type[DocumentSpec]) -> Source:
        source = read(data, file, model)
        if not source.problems:
            refused = [f"{error.instance_path}: {error.message}" for error in _validator(model).iter_errors(source.parsed.value)]
            assert refused == [], f"{file} is right, and the JSON Schema refuses it"
        return source

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "read_source", read_and_compared)
        yield
