"""What a request carries besides its texts."""

from __future__ import annotations

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.openai.features import HAS, has

CHAT, RESPONSES = Endpoint.CHAT, Endpoint.RESPONSES


def said(*content: object, role: str = "user") -> list[object]:
    return [{"role": role, "content": list(content)}]


CASES: list[tuple[str, Endpoint, dict[str, object]]] = [
    ("tools", CHAT, {"tools": [{"type": "function"}]}),
    ("tools", CHAT, {"functions": [{"name": "f"}]}),
    ("tools", RESPONSES, {"tools": [{"type": "web_search"}]}),
    ("required_tool", CHAT, {"tool_choice": "required"}),
    ("required_tool", CHAT, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
    ("required_tool", RESPONSES, {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}),
    ("required_tool", CHAT, {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}),
    ("required_tool", CHAT, {"function_call": {"name": "f"}}),
    ("tool_calls", CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}),
    ("tool_calls", CHAT, {"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}),
    ("tool_calls", RESPONSES, {"input": [{"type": "function_call"}]}),
    ("tool_results", CHAT, {"messages": [{"role": "tool", "content": "x"}]}),
    ("tool_results", RESPONSES, {"input": [{"type": "function_call_output", "output": "x"}]}),
    ("images", CHAT, {"messages": said({"type": "image_url"})}),
    ("images", RESPONSES, {"input": said({"type": "input_image"})}),
    ("images", RESPONSES, {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot"}}]}),
    ("audio", CHAT, {"messages": said({"type": "text", "text": "x"}, {"type": "input_audio"})}),
    ("audio", CHAT, {"modalities": ["text", "audio"]}),
    ("files", CHAT, {"messages": said({"type": "file"})}),
    ("files", RESPONSES, {"input": said({"type": "input_file"})}),
    ("json_schema", CHAT, {"response_format": {"type": "json_schema", "json_schema": {}}}),
    ("json_schema", RESPONSES, {"text": {"format": {"type": "json_schema"}}}),
    ("json_object", CHAT, {"response_format": {"type": "json_object"}}),
    ("logprobs", CHAT, {"logprobs": True}),
    ("logprobs", Endpoint.COMPLETIONS, {"logprobs": 0}),
    ("logprobs", RESPONSES, {"top_logprobs": 2}),
    ("logprobs", RESPONSES, {"include": ["message.output_text.logprobs"]}),
    ("system", CHAT, {"messages": said("x", role="developer")}),
    ("system", RESPONSES, {"instructions": "x"}),
    ("many_choices", CHAT, {"n": 2}),
    ("many_choices", Endpoint.COMPLETIONS, {"best_of": 3}),
    ("reasoning", CHAT, {"reasoning_effort": "high"}),
    ("reasoning", RESPONSES, {"reasoning": {"effort": "low"}}),
    ("prediction", CHAT, {"prediction": {"type": "content"}}),
    ("stop", CHAT, {"stop": "\n"}),
    ("seed", CHAT, {"seed": 0}),
]


@pytest.mark.parametrize(("what", "endpoint", "body"), CASES)
def test_a_feature_is_seen_in_each_of_its_forms(what: str, endpoint: Endpoint, body: dict[str, object]) -> None:
    assert has(what, endpoint, body.get)


def test_every_word_of_the_list_has_a_case_and_a_meaning() -> None:
    assert {what for what, _, _ in CASES} == set(HAS)
    assert all(HAS.values())


@pytest.mark.parametrize("what", sorted(HAS))
@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": said({"type": "text", "text": "image_url tools json_schema"}), "input": "x"},
        {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "logprobs": False, "n": 1, "seed": None, "stop": None},
        {"tools": "x", "tool_choice": 5, "response_format": [], "messages": 5, "input": {}, "text": "x", "n": "2", "modalities": "audio"},
        {"messages": [None, 5, {"content": [None, 5, []]}, {"tool_calls": [], "content": 5}], "input": [None], "logprobs": None},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto"}, "include": ["x"], "reasoning": None, "instructions": None},
    ],
)
def test_a_feature_is_not_seen_where_it_is_not(what: str, body: dict[str, object]) -> None:
    assert not has(what, CHAT, body.get)
    assert not has(what, RESPONSES, body.get)
