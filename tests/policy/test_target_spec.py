from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.core.call import Target
from proxy.policy.target_spec import TargetSpec


def test_what_is_left_out_stays_as_the_call_has_it() -> None:
    asked = Target("openai", "gpt-4o")

    assert TargetSpec.read({"model": "mini"}).of(asked) == Target("openai", "mini")
    assert TargetSpec.read({"upstream": "groq"}).of(asked) == Target("groq", "gpt-4o")
    assert TargetSpec.read({"upstream": "groq", "model": "llama"}).of(asked) == Target("groq", "llama")


def test_a_target_says_something() -> None:
    with pytest.raises(ValidationError, match="needs `model` or `upstream`"):
        TargetSpec.read({})
