from __future__ import annotations

import pytest

from proxy.openai.parameters import PARAMETERS, almost


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("temprature", "temperature"), ("temperatur", "temperature"), ("temperrature", "temperature"), ("tempertaure", "temperature"),
        ("Temperature", "temperature"), ("max-tokens", "max_tokens"), ("max_token", "max_tokens"), ("logit_bais", "logit_bias"),
        ("top_logprob", "top_logprobs"), ("max_completion_token", "max_completion_tokens"), ("respons_format", "response_format"),
    ],
)  # fmt: skip
def test_a_slip_is_seen(written: str, meant: str) -> None:
    assert almost(written) == f"did you mean '{meant}'?"


@pytest.mark.parametrize(
    "name",
    [
        "top_k", "min_p", "min_tokens", "repetition_penalty", "guided_json", "models", "provider", "transforms", "top_a", "sede", "usr",
        "x" * 5000, "stop_token_ids", "chat_template_kwargs", "thinking", "safe_prompt", "enable_thinking", "extra_body",
        "length_penalty", "ignore_eos", "dimension",
    ],
)  # fmt: skip
def test_what_others_call_theirs_is_left_alone(name: str) -> None:
    assert almost(name) is None


def test_no_parameter_is_a_slip_of_another() -> None:
    assert [name for name in PARAMETERS if almost(name) is not None] == []
