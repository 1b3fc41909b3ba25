from __future__ import annotations

from typing import Any

import pytest

from proxy.openai.oddities import WHAT, Oddities


def calls(*found: Any, choice: Any = 0) -> dict[str, Any]:
    return {"choices": [{"index": choice, "delta": {"tool_calls": list(found)}}]}


def of(*events: dict[str, Any]) -> Oddities:
    seen = Oddities()
    for event in events:
        seen.content(event)
    return seen


def test_parallel_calls_with_an_index_each_are_not_odd() -> None:
    seen = of(
        calls({"index": 0, "id": "a"}, {"index": 1, "id": "b"}),
        calls({"index": 0, "function": {"arguments": "{"}}),
        calls({"index": 0, "id": "a"}),
        calls({"index": 0, "id": "c"}, choice=1),
        calls({"index": 1, "id": ""}),
    )

    assert list(seen.found(True, True, False)) == []


@pytest.mark.parametrize("index", [0, 3, None])
def test_a_second_call_at_one_index_is(index: int | None) -> None:
    seen = of(calls({"index": index, "id": "a"}), calls({"index": index, "id": "b"}))

    assert list(seen.found(True, True, False)) == ["repeated_tool_index"]


def test_nonsense_is_passed_over() -> None:
    seen = of(
        {},
        {"choices": None},
        {"choices": [None, {"delta": None}, {"delta": {"tool_calls": {}}}]},
        calls(None, "x", {"index": [], "id": "a"}, {"index": 0, "id": 7}),
        calls({"index": 0, "id": "b"}, choice={}),
    )

    assert list(seen.found(True, True, False)) == []


def test_an_end_is_odd_in_what_it_lacks() -> None:
    bare = Oddities()

    assert list(bare.found(False, False, True)) == ["no_done", "no_finish_reason", "no_usage"]
    assert list(bare.found(True, False, False)) == ["no_finish_reason"]


def test_every_word_is_explained() -> None:
    seen = of(calls({"index": 0, "id": "a"}), calls({"index": 0, "id": "b"}))

    assert {*seen.found(False, False, True), "json_for_stream", "stream_for_json"} == set(WHAT)
