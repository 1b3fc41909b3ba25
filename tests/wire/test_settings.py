"""Every limit has a default and says why."""

from __future__ import annotations

import ast
import dataclasses
import inspect

import pytest

from proxy.wire import settings
from proxy.wire.settings import HttpProxy, PoolSettings, ServerLimits


@pytest.mark.parametrize("kind", [ServerLimits, PoolSettings])
def test_every_field_has_a_default_with_its_reason(kind: type) -> None:
    made = kind()
    tree = next(
        node for node in ast.parse(inspect.getsource(settings)).body if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    fields = [at for at, node in enumerate(tree.body) if isinstance(node, ast.AnnAssign)]
    reasons = [tree.body[at + 1] for at in fields]

    assert len(fields) == len(dataclasses.fields(made))
    for reason in reasons:
        assert isinstance(reason, ast.Expr)
        assert isinstance(reason.value, ast.Constant)
        assert len(str(reason.value.value)) > 15


def test_limits_that_depend_on_each_other_fit() -> None:
    limits, pool = ServerLimits(), PoolSettings()

    assert limits.line_bytes < limits.head_bytes
    assert pool.fresh_s < pool.keep_s < 5.0
    assert pool.race_s < pool.connect_s


def test_a_proxys_password_is_not_printed() -> None:
    assert "s3cret" not in repr(HttpProxy("h", 1, "u", "s3cret"))
