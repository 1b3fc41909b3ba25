"""Texts out of every form of a prompt."""

from __future__ import annotations

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.openai.message import last_user, opening, role_of, said, token_ids

CHAT, RESPONSES = Endpoint.CHAT, Endpoint.RESPONSES


def texts(endpoint: Endpoint, **body: object) -> list[tuple[str, str]]:
    return list(said(endpoint, body.get))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi"}, [("user", "hi")]),
        ({"role": "developer", "content": "be brief"}, [("system", "be brief")]),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, [("user", "a"), ("user", "b")]),
        ({"role": "user", "content": ["bare"]}, [("user", "bare")]),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}, {"type": "text", "text": "see"}]},
            [("user", "see")],
        ),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "QUJD"}}]}, []),
        ({"role": "user", "content": [{"type": "file", "file": {"file_data": "x"}, "text": "no"}]}, []),
        ({"role": "assistant", "content": None}, []),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, [("assistant", "no")]),
        ({"role": "assistant", "content": None, "refusal": "never"}, [("assistant", "never")]),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]}, [("assistant", '{"a":1}')]),
        ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"input": "x"}}]}, [("assistant", "x")]),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, [("assistant", "{}")]),
        ({"role": "tool", "content": "42"}, [("tool", "42")]),
        ({"role": "function", "name": "f", "content": "42"}, [("tool", "42")]),
        ({"role": "someone", "content": "x"}, [("user", "x")]),
        ({"content": "x"}, [("user", "x")]),
        ({"role": 7, "content": 7}, []),
        ({"role": "user", "content": [{"type": "text", "text": None}, 5, {"type": "text"}]}, []),
        ({"role": "assistant", "tool_calls": "x", "function_call": []}, []),
    ],
)
def test_a_message_says_its_texts(message: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert texts(CHAT, messages=[message]) == expected


@pytest.mark.parametrize("messages", [None, "x", 5, {}, [None, 5, "x", []]])
def test_messages_of_no_known_form_say_nothing(messages: object) -> None:
    assert texts(CHAT, messages=messages) == []
    assert last_user(CHAT, {"messages": messages}.get) is None


def test_a_responses_input_says_its_items() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:x"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"type": "reasoning", "summary": [{"text": "hidden"}], "encrypted_content": "x"},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "output": "c"},
        {"type": "custom_tool_call", "input": "d"},
        {"type": "custom_tool_call_output", "output": [{"type": "input_text", "text": "e"}]},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "data:x"}},
        {"type": "item_reference", "id": "x"},
    ]

    assert texts(RESPONSES, instructions="i", input=items) == [
        ("system", "i"),
        ("user", "a"),
        ("assistant", "b"),
        ("assistant", "{}"),
        ("tool", "c"),
        ("assistant", "d"),
        ("tool", "e"),
    ]


def test_the_variables_of_a_stored_prompt_are_the_users_words() -> None:
    prompt = {"id": "pmpt", "variables": {"city": "Rome", "doc": {"type": "input_text", "text": "long"}, "pic": {"type": "input_image"}}}

    assert texts(RESPONSES, prompt=prompt, input="x") == [("user", "Rome"), ("user", "long"), ("user", "x")]


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (Endpoint.COMPLETIONS, {"prompt": "a"}, ["a"]),
        (Endpoint.COMPLETIONS, {"prompt": ["a", "b"]}, ["a", "b"]),
        (Endpoint.COMPLETIONS, {"prompt": [1, 2]}, []),
        (Endpoint.EMBEDDINGS, {"input": ["a", "b"]}, ["a", "b"]),
        (Endpoint.EMBEDDINGS, {"input": [[1], [2]]}, []),
        (Endpoint.IMAGES, {"prompt": "a cat"}, ["a cat"]),
        (Endpoint.AUDIO, {"input": "read this", "instructions": "softly"}, ["softly", "read this"]),
        (Endpoint.MODELS, {"prompt": "x", "input": "x", "messages": "x"}, []),
    ],
)
def test_every_other_prompt_says_its_texts(endpoint: Endpoint, body: dict[str, object], expected: list[str]) -> None:
    assert [text for _, text in said(endpoint, body.get)] == expected


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (
            CHAT,
            {"messages": [{"role": "user", "content": "1"}, {"role": "user", "content": "2"}, {"role": "assistant", "content": "3"}]},
            "2",
        ),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}, "a\nb"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ""),
        (CHAT, {"messages": [{"role": "system", "content": "x"}]}, None),
        (RESPONSES, {"input": "hi"}, "hi"),
        (RESPONSES, {"input": [{"role": "user", "content": "hi"}, {"type": "function_call_output", "output": "x"}]}, "hi"),
        (RESPONSES, {"instructions": "x"}, None),
        (Endpoint.COMPLETIONS, {"prompt": ["a", "b"]}, "a\nb"),
        (Endpoint.COMPLETIONS, {"prompt": [1]}, None),
        (Endpoint.EMBEDDINGS, {"input": "x"}, "x"),
    ],
)
def test_the_last_user_message_is_found(endpoint: Endpoint, body: dict[str, object], expected: str | None) -> None:
    assert last_user(endpoint, body.get) == expected


@pytest.mark.parametrize(
    ("prompt", "ids"), [([1, 2, 3], 3), ([[1, 2], [3]], 3), ("text", 0), (["a"], 0), ([True], 0), (None, 0), ([[], [1]], 1)]
)
def test_token_ids_are_counted(prompt: object, ids: int) -> None:
    assert token_ids(Endpoint.COMPLETIONS, {"prompt": prompt}.get) == ids
    assert token_ids(Endpoint.EMBEDDINGS, {"input": prompt}.get) == ids
    assert token_ids(CHAT, {"messages": prompt}.get) == 0


def test_every_role_is_one_of_four() -> None:
    assert [role_of({"role": role}) for role in ("system", "developer", "user", "assistant", "tool", "function", "critic", None)] == [
        "system",
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
        "user",
    ]


PICTURE = {"type": "image_url", "image_url": {"url": "https://x/y", "detail": "high"}}


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (
            CHAT,
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
            ["a"],
        ),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE]}]}, ["a", "https://x/y"]),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}]}]},
            ["d"],
        ),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, ["f"]),
        (CHAT, {"messages": [{"role": "system", "content": "s"}]}, ["s"]),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]}, ["data:x"]),
        (RESPONSES, {"instructions": "i", "input": "a"}, ["i", "a"]),
        (Endpoint.COMPLETIONS, {"prompt": [[1, 2], [3]]}, ["[[1, 2], [3]]"]),
        (Endpoint.COMPLETIONS, {"prompt": ["a", "b"]}, ["a", "b"]),
        (CHAT, {"messages": "x"}, []),
        (CHAT, {}, []),
    ],
)
def test_a_conversation_begins_with_its_first_user_turn(endpoint: Endpoint, body: dict[str, object], expected: list[str]) -> None:
    assert opening(endpoint, body.get) == expected


def test_the_beginning_of_a_prompt_of_ids_is_bounded() -> None:
    (text,) = opening(Endpoint.COMPLETIONS, {"prompt": list(range(100_000))}.get)

    assert len(text) <= 16_000
