from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.policy.facts import NO_BODY, Facts, TakesLong

LAST: frozenset[str] = frozenset()


class Counter:
    """Counts words; over `slow_from` words it would take long."""

    def __init__(self, slow_from: int = 1 << 30) -> None:
        self.asked: list[int] = []
        self.slowly: list[int] = []
        self._slow_from = slow_from

    def below(self, texts: Sequence[str], limit: int, ids: int = 0) -> bool | None:
        self.asked.append(limit)
        count = sum(len(text.split()) for text in texts) + ids
        return None if count >= self._slow_from else count < limit

    async def count(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) for text in texts)

    async def below_slowly(self, texts: Sequence[str], limit: int, ids: int = 0) -> bool:
        self.slowly.append(limit)
        return sum(len(text.split()) for text in texts) + ids < limit


def facts(body: Any = None, *, raw: bytes | None = None, tokens: Any = None, endpoint: Endpoint = Endpoint.CHAT, **head: Any) -> Facts:
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
    payload = Payload(data, endpoint) if data is not None else None
    return Facts(
        endpoint, head.get("method", b"POST"), head.get("target", b"/v1/chat/completions"), head.get("headers", []), payload, tokens,
        **{key: head[key] for key in ("why", "wall_ns") if key in head},
    )  # fmt: skip


def user(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def test_the_head_is_read_as_it_came() -> None:
    seen = facts(target=b"/v1/a%2Fb//c?x=/y", headers=[(b"X-Team", b"pay"), (b"x-tEAM", b"\xe9quipe"), (b"X-Teams", b"no")])

    assert seen.path == "/v1/a%2Fb//c"
    assert seen.header(b"x-team") == ("pay", "équipe")
    assert seen.header(b"x-none") == ()


def test_a_utf8_header_is_read_as_utf8() -> None:
    assert facts(headers=[(b"x-a", "日本".encode())]).header(b"x-a") == ("日本",)


def test_the_body_is_read() -> None:
    seen = facts({"model": "gpt-4o", "stream": True, "tools": [{}], "messages": user("one", "Two")})

    assert (seen.model, seen.stream, seen.messages, seen.has("tools"), seen.has("images")) == ("gpt-4o", True, 2, True, False)
    last, every = seen.text(LAST), seen.text(frozenset({"user"}))
    assert last is not None
    assert every is not None
    assert (last.folded, every.folded) == ("two", "one\0two")
    assert seen.unknown == []


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": 5}])
def test_no_model_is_known_to_be_none(body: dict[str, Any]) -> None:
    seen = facts(body)

    assert (seen.model, seen.stream, seen.messages) == ("", False, 0)
    assert seen.unknown == []


def test_items_of_a_responses_input_are_messages() -> None:
    assert facts({"input": "hi"}, endpoint=Endpoint.RESPONSES).messages == 1
    assert facts({"input": user("a", "b", "c")}, endpoint=Endpoint.RESPONSES).messages == 3


def test_no_user_message_is_an_empty_text() -> None:
    text = facts({"messages": [{"role": "system", "content": "x"}]}).text(LAST)

    assert text is not None
    assert text.folded == ""


@pytest.mark.parametrize("raw", [b"", b"not json", b"[1]", b'{"model": "a", "model": "b", "stream": tru', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_unknown_with_its_reason(raw: bytes) -> None:
    seen = facts(raw=raw, tokens=Counter())

    assert (seen.model, seen.stream, seen.messages, seen.has("tools"), seen.text(LAST), seen.prompt_below(5)) == (None,) * 6
    assert len(seen.unknown) == 1


def test_only_the_key_that_stands_twice_is_unknown() -> None:
    seen = facts(raw=b'{"model": "a", "stream": true, "model": "b"}')

    assert (seen.model, seen.stream) == (None, True)
    assert len(seen.unknown) == 1


def test_a_body_that_is_not_held_is_unknown_with_its_reason() -> None:
    assert facts().model is None

    other = facts(why="body_too_large")
    assert other.stream is None
    assert other.has("tools") is None
    assert other.unknown == ["body_too_large"]


def test_the_default_reason_says_that_there_is_no_body() -> None:
    seen = facts()
    assert seen.model is None

    assert seen.unknown == [NO_BODY]


def test_each_answer_is_found_once() -> None:
    class Once:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __getattr__(self, name: str) -> Any:
            self.asked.append(name)
            return {"model": "m", "stream": False}.get(name) if name in ("model", "stream") else lambda *_: ["x"] if name != "has" else True

    payload = Once()
    seen = Facts("chat", b"POST", b"/", [], payload)  # type: ignore[arg-type]
    for _ in range(3):
        _ = (seen.model, seen.stream, seen.messages, seen.has("tools"), seen.text(frozenset({"user"})))

    assert sorted(payload.asked) == ["has", "model", "stream", "texts", "value"]


def test_token_bounds_are_kept_over_several_thresholds() -> None:
    counter = Counter()
    seen = facts({"messages": user("a " * 50)}, tokens=counter)

    assert [seen.prompt_below(limit) for limit in (100, 20, 400, 10, 50, 51, 100, 30)] == [
        True,
        False,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert counter.asked == [100, 20, 50, 51]
    assert seen.prompt_seen == "50 tokens"


def test_ids_of_a_prompt_count() -> None:
    seen = facts({"prompt": [1, 2, 3]}, tokens=Counter(), endpoint=Endpoint.COMPLETIONS)

    assert (seen.prompt_below(4), seen.prompt_below(3)) == (True, False)


async def test_what_takes_long_is_settled_off_the_loop_and_then_known() -> None:
    counter = Counter(slow_from=10)
    seen = facts({"messages": user("a " * 50)}, tokens=counter)
    with pytest.raises(TakesLong) as caught:
        seen.prompt_below(40)
    await seen.settle(caught.value.limit)

    assert seen.prompt_below(40) is False
    assert seen.prompt_below(30) is False
    assert (counter.asked, counter.slowly) == ([40], [40])


async def test_settling_what_is_known_asks_nothing() -> None:
    counter = Counter()
    seen = facts({"messages": user("a b c")}, tokens=counter)
    assert seen.prompt_below(10) is True
    await seen.settle(20)

    assert counter.slowly == []


async def test_a_count_to_the_end_answers_every_question_after_it() -> None:
    counter = Counter()
    seen = facts({"prompt": ["one two", "three"]}, tokens=counter, endpoint=Endpoint.COMPLETIONS)
    await seen.count()

    assert seen.prompt_seen == "3 tokens"
    assert (seen.prompt_below(3), seen.prompt_below(4)) == (False, True)
    assert counter.asked == []


async def test_counting_what_cannot_be_read_gives_no_reason_before_anyone_asks() -> None:
    unread = facts(raw=b"{", tokens=Counter())
    await unread.count()

    assert (unread.unknown, unread.prompt_seen) == ([], "not counted")


async def test_without_a_counter_or_a_body_the_size_is_unknown() -> None:
    without = facts({"messages": user("a")})
    assert without.prompt_below(5) is None
    await without.settle(5)
    assert without.unknown == ["no token counter is loaded"]

    unread = facts(raw=b"{", tokens=Counter())
    assert unread.prompt_below(5) is None
    assert unread.prompt_seen == "not counted"


def test_what_a_condition_finds_out_is_sought_once() -> None:
    seen, asked = facts(), []

    def find() -> None:
        asked.append(1)

    assert seen.once("it", find) is None
    assert seen.once("it", find) is None
    assert asked == [1]


def test_a_condition_reads_the_payload_and_the_reason_is_noted_where_it_cannot() -> None:
    assert facts({"user": "anna"}).read(lambda payload: payload.value("user")) == "anna"

    unread = facts(raw=b"{")
    assert unread.read(lambda payload: payload.value("user")) is None
    assert len(unread.unknown) == 1


def test_a_reason_of_a_condition_is_noted_once() -> None:
    seen = facts()
    seen.cannot("no such header")
    seen.cannot("no such header")

    assert seen.unknown == ["no such header"]


def test_the_time_is_that_of_the_clock_in_seconds() -> None:
    assert facts(wall_ns=lambda: 1_500_000_000).wall_s == 1.5
    assert facts().wall_s is None


def test_an_answer_that_takes_long_is_waited_for_and_asked_again() -> None:
    class Slow:
        settled = 0

        async def settle(self, facts: Facts) -> None:
            self.settled += 1

    slow, asked = Slow(), []

    def ask(seen: Facts) -> str:
        asked.append(slow.settled)
        if slow.settled < 2:
            raise TakesLong(slow)
        return "known"

    assert asyncio.run(facts().answer(ask)) == "known"
    assert asked == [0, 1, 2]
    asked.clear()
    assert asyncio.run(facts().answer(ask, TakesLong(slow))) == "known"
    assert (asked, slow.settled) == ([3], 3), "what was raised already is settled before it is asked again"
