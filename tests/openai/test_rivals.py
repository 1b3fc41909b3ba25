from __future__ import annotations

from typing import Any

import pytest

from proxy.core.call import Target
from proxy.openai.rivals import name_of, rival_of, why_only_once
from tests.scripted import a_call

HI = [{"role": "user", "content": "Hi"}]
BODY = {"model": "gpt-4o", "messages": HI}
REASONS = "it refers to state on its upstream"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (b"/v1/chat/completions", BODY),
        (b"/v1/completions", {"model": "m", "prompt": "x"}),
        (b"/v1/embeddings", {"model": "m", "input": "x"}),
        (b"/v1/responses", {"model": "m", "input": "x"}),
    ],
)
def test_what_changes_nothing_may_be_asked_twice(path: bytes, body: dict[str, Any]) -> None:
    assert why_only_once(a_call(body, path=path)) is None


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (b"/v1/chat/completions", {**BODY, "store": True}, REASONS),
        (b"/v1/responses", {"model": "m", "input": "x", "previous_response_id": "r"}, REASONS),
        (b"/v1/responses", {"model": "m", "input": "x", "background": True}, REASONS),
        (b"/v1/responses", {"model": "m", "input": "x", "conversation": "c"}, REASONS),
        (b"/v1/images/generations", {"prompt": "x"}, "its endpoint"),
        (b"/v1/files", {"x": 1}, "its endpoint"),
        (b"/v1/fine_tuning/jobs", {"model": "m"}, "its endpoint"),
        (b"/v1/chat/completions", b"{not json", "its body cannot be read: not JSON"),
    ],
)
def test_what_leaves_something_behind_or_is_not_known_may_not(path: bytes, body: Any, why: str) -> None:
    told = why_only_once(a_call(body, path=path))

    assert told is not None
    assert told.startswith(why[:23])


def test_what_is_read_nowhere_may_not() -> None:
    assert why_only_once(a_call(method=b"GET", path=b"/v1/models")) == "its endpoint"


def test_what_is_not_held_cannot_be() -> None:
    assert why_only_once(a_call(BODY, held=False)) == "not_replayable"


def test_a_rival_has_a_body_of_its_own_and_shares_what_is_spent() -> None:
    call = a_call(BODY)
    found = rival_of(call, call.target)
    assert not isinstance(found, str)
    rival, what = found

    assert what == {}
    assert rival.request.body is not call.request.body
    assert rival.request.headers is call.request.headers
    assert rival.payload is call.payload
    assert rival.allowance is call.allowance


def test_another_model_gets_what_it_takes() -> None:
    call = a_call({**BODY, "temperature": 0.5, "max_tokens": 5})
    found = rival_of(call, Target("openai", "o3"))
    assert not isinstance(found, str)
    rival, what = found

    assert what == {"removed": ["temperature"], "renamed": ["max_tokens to max_completion_tokens"]}
    assert rival.target == Target("openai", "o3")
    assert rival.payload.value("max_completion_tokens") == 5
    assert call.payload.value("temperature") == 0.5


def test_what_must_stay_has_no_rival_elsewhere() -> None:
    call = a_call(BODY, path=b"/other/chat/completions")

    assert rival_of(call, Target("groq")) == "a path outside of /v1"
    assert not isinstance(rival_of(call, Target("openai", "mini")), str)


def test_names_are_for_people() -> None:
    assert name_of(a_call(BODY), Target("groq", "llama")) == "groq llama"
    assert name_of(a_call(BODY), Target("openai")) == "openai gpt-4o"
    assert name_of(a_call(b"{nope"), Target("openai")) == "openai"
    assert len(name_of(a_call(BODY), Target("groq", "x" * 500))) < 100
