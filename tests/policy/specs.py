"""specs -- models of YAML read in a test as a file would be: short forms unfolded."""

from __future__ import annotations

from typing import TypeVar

import yaml
from pydantic import ValidationError

from proxy.policy.shape import unfold
from proxy.policy.spec import Model

M = TypeVar("M", bound=Model)


def read(kind: type[M], text: str) -> M:
    """The model that `text` says."""
    value, found = unfold(kind, yaml.safe_load(text))
    assert not found, found
    return kind.read(value)


def refused(kind: type[M], text: str) -> str:
    """Why `text` is refused; fails where it is not."""
    try:
        read(kind, text)
    except ValidationError as error:
        return "\n".join(each["msg"] for each in error.errors())
    raise AssertionError(f"not refused: {text}")
