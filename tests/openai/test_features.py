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
    ("code", CHAT, {"messages": said({"type": "text", "text": "Why?\n```\nx\n```"})}),
    ("code", CHAT, {"messages": [*said("def f(x):"), *said("ok", role="assistant"), *said("And faster?")]}),
    ("code", RESPONSES, {"input": "What does `f(x)` do?"}),
    ("code", Endpoint.COMPLETIONS, {"prompt": "def fib(n):\n"}),
    ("empty_tool_result", CHAT, {"messages": [{"role": "tool", "content": ""}]}),
    ("empty_tool_result", CHAT, {"messages": [{"role": "function", "content": None}]}),
    ("empty_tool_result", RESPONSES, {"input": [{"type": "function_call_output", "output": "[]"}]}),
    ("empty_tool_result", RESPONSES, {"input": [{"type": "custom_tool_call_output", "output": []}]}),
    ("empty_tool_result", RESPONSES, {"input": [{"type": "shell_call_output", "output": [{"stdout": "", "stderr": "", "outcome": {}}]}]}),
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


EMPTY = [
    "",
    " \n\t",
    None,
    "null",
    "None",
    "nil",
    "undefined",
    "[]",
    "{}",
    "[ ]",
    "{\n}",
    "()",
    '""',
    "''",
    [],
    [{"type": "text", "text": ""}],
]
FULL = [
    "0",
    "false",
    "no",
    "ok",
    "[0]",
    '{"a": 1}',
    "[null]",
    '""a',
    [{"type": "image_url"}],
    [{"type": "text", "text": "x"}],
    [5],
    {"a": 1},
]


def tool(content: object) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": "1", "content": content}


def output(content: object) -> dict[str, object]:
    return {"type": "function_call_output", "call_id": "1", "output": content}


@pytest.mark.parametrize("content", [*EMPTY, " " * 255])
def test_a_result_that_says_nothing_is_empty(content: object) -> None:
    assert has("empty_tool_result", CHAT, {"messages": [tool(content)]}.get)
    assert has("empty_tool_result", RESPONSES, {"input": [output(content)]}.get)


@pytest.mark.parametrize("content", [*FULL, "x" * 1_000_000])
def test_a_result_that_says_something_is_not_empty(content: object) -> None:
    assert not has("empty_tool_result", CHAT, {"messages": [tool(content)]}.get)
    assert not has("empty_tool_result", RESPONSES, {"input": [output(content)]}.get)


CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]}


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([CALLED, tool("x"), tool("")], True),
        ([CALLED, tool(""), tool("x")], True),
        ([CALLED, tool(""), *said("Well?")], True),  # the model has not answered it yet
        ([CALLED, tool(""), *said("Nothing found.", role="assistant"), *said("Look again")], False),
        ([CALLED, tool(""), CALLED, tool("x")], False),
        ([{"role": "tool"}], True),
        ([*said("", role="assistant")], False),
        ([*said("")], False),
    ],
)
def test_only_the_results_of_the_latest_turn_count(turns: list[object], expected: bool) -> None:
    assert has("empty_tool_result", CHAT, {"messages": turns}.get) is expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"type": "function_call"}, {"type": "function_call"}, output(""), output("x")], True),
        ([{"type": "function_call"}, output(""), {"type": "reasoning"}, {"type": "function_call"}, output("x")], False),
        ([{"type": "function_call"}, output(""), {"type": "message", "role": "assistant", "content": "x"}], False),
        ([{"type": "function_call"}, output(""), {"role": "user", "content": "x"}], True),
        ([{"type": "computer_call_output", "output": None}], False),
        ([{"type": "apply_patch_call_output"}], False),
        ([{"type": "shell_call_output", "output": [{"stdout": "x", "stderr": ""}]}], False),
    ],
)
def test_items_of_responses_are_results_where_a_tool_of_the_app_answers(items: list[object], expected: bool) -> None:
    assert has("empty_tool_result", RESPONSES, {"input": items}.get) is expected


@pytest.mark.parametrize(
    "messages",
    [
        said("def f(x):", role="assistant"),
        said("def f(x):", role="system"),
        [tool("def f(x):")],
        said("Write a function."),
    ],
)
def test_code_is_what_the_user_brings(messages: list[object]) -> None:
    assert not has("code", CHAT, {"messages": messages}.get)


def test_of_many_messages_the_last_ones_are_looked_at_for_code() -> None:
    plain = said("word " * 4000)

    assert has("code", CHAT, {"messages": [*said("def f(x):"), *plain]}.get)
    assert not has("code", CHAT, {"messages": [*said("def f(x):"), *plain * 4]}.get)
