from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.openai.conversion import ACCOUNT, SAMPLING, Convert, Converted, converted
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload, Unread


def payload(endpoint: Endpoint = Endpoint.CHAT, /, **body: Any) -> Payload:
    return Payload(json.dumps({"model": "m", **body}).encode(), endpoint)


def said(out: Converted) -> Any:
    return {key: value for key, value in json.loads(b"".join(out.payload.pieces())).items() if key != "model"}


@pytest.mark.parametrize("model", ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5-mini", "GPT-5-nano", "openai/gpt-5"])
def test_a_model_that_thinks_is_not_asked_with_sampling_parameters(model: str) -> None:
    out = converted(payload(temperature=0.2, top_p=0.5, logprobs=True, seed=7, user="u"), model, Convert.AUTO, moves=False)

    assert said(out) == {"seed": 7, "user": "u"}
    assert out.removed == ["logprobs", "temperature", "top_p"]


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-chat-latest", "o", "o12x", "omni", "llama-3.3-70b-versatile", "phi-o3", "", None])
def test_others_keep_them(model: str | None) -> None:
    asked = payload(temperature=0.2)

    assert converted(asked, model, Convert.AUTO, moves=False).payload is asked


@pytest.mark.parametrize(("effort", "kept"), [(None, True), ("none", True), ("low", False)])
def test_models_that_may_answer_at_once_keep_them_where_they_do(effort: str | None, kept: bool) -> None:
    chat = converted(payload(temperature=0.2, reasoning_effort=effort), "gpt-5.2", Convert.AUTO, moves=False)
    responses = converted(payload(Endpoint.RESPONSES, temperature=0.2, reasoning={"effort": effort}), "gpt-5.1", Convert.AUTO, moves=False)

    assert ("temperature" in said(chat)) is kept
    assert ("temperature" in said(responses)) is kept


def test_the_limit_of_tokens_has_another_name_for_a_model_that_thinks() -> None:
    chat = converted(payload(max_tokens=100), "gpt-5", Convert.AUTO, moves=False)
    both = converted(payload(max_tokens=100, max_completion_tokens=50), "gpt-5", Convert.AUTO, moves=False)
    completions = converted(payload(Endpoint.COMPLETIONS, max_tokens=100), "gpt-5", Convert.AUTO, moves=False)

    assert said(chat) == {"max_completion_tokens": 100}
    assert chat.renamed == ["max_tokens to max_completion_tokens"]
    assert said(both) == {"max_completion_tokens": 50}
    assert said(completions) == {"max_tokens": 100}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo", "chatgpt-4o-latest"])
def test_a_model_that_does_not_think_is_not_asked_how_hard(model: str) -> None:
    out = converted(payload(reasoning_effort="low", verbosity="low", max_completion_tokens=9), model, Convert.AUTO, moves=False)

    assert said(out) == {"max_completion_tokens": 9}
    assert out.removed == ["reasoning_effort", "verbosity"]


def test_what_stands_deeper_in_a_responses_request_goes_too_and_its_neighbours_stay() -> None:
    asked = {"reasoning": {"effort": "low"}, "text": {"verbosity": "low", "format": {"type": "text"}}}
    include = ["reasoning.encrypted_content", "file_search_call.results"]
    out = converted(payload(Endpoint.RESPONSES, include=include, **asked), "gpt-4o", Convert.AUTO, moves=False)
    few = payload(Endpoint.RESPONSES, include=include[:1], text={"verbosity": "low"})
    bare = converted(few, "gpt-4o", Convert.AUTO, moves=False)

    assert said(out) == {"include": ["file_search_call.results"], "text": {"format": {"type": "text"}}}
    assert out.removed == ["reasoning", "include reasoning.encrypted_content", "text.verbosity"]
    assert said(bare) == {}


def test_the_settings_of_an_account_stay_at_its_upstream() -> None:
    asked = payload(**{name: "x" for name in ACCOUNT}, user="u")

    assert said(converted(asked, "llama", Convert.AUTO, moves=True)) == {"user": "u"}
    assert converted(asked, "llama", Convert.AUTO, moves=True).removed == list(ACCOUNT)
    assert converted(asked, "llama", Convert.AUTO, moves=False).payload is asked


def test_a_policy_may_say_what_a_model_is() -> None:
    asked = payload(temperature=1, reasoning_effort="low", max_completion_tokens=5)

    assert said(converted(asked, "deployment-7", Convert.REASONING, moves=False)) == {"reasoning_effort": "low", "max_completion_tokens": 5}
    assert said(converted(asked, "deployment-7", Convert.CLASSIC, moves=False)) == {"temperature": 1, "max_tokens": 5}


def test_or_that_nothing_is_to_be_taken_out() -> None:
    asked = payload(**dict.fromkeys((*SAMPLING, *ACCOUNT), 1))

    assert converted(asked, "gpt-5", Convert.NONE, moves=True).payload is asked


def test_a_body_that_cannot_be_read_says_so() -> None:
    with pytest.raises(Unread):
        converted(Payload(b"{not json", Endpoint.CHAT), "gpt-5", Convert.AUTO, moves=False)
