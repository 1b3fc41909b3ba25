"""A sticky share of traffic: its size, its stickiness, its growth, and that samples of other names have nothing to do with it."""

from __future__ import annotations

import json
import random
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.policy.conditions import BODY, HEAD
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.sample import draw
from proxy.policy.shape import unfold
from tests.policy.test_facts import facts, user

PEOPLE = [f"person-{i}" for i in range(10_000)]


def condition(sample: Any, owner: str = "p", **signals: Any) -> Any:
    specs = {name: MatchSpec.read(unfold(MatchSpec, match)[0]) for name, match in signals.items()}
    match = sample if isinstance(sample, dict) and "signals" in sample else {"sample": sample}
    return Compiler(specs).condition(MatchSpec.read(unfold(MatchSpec, match)[0]), owner=owner)


def of(user: str, name: str = "x-user") -> Any:
    return facts(headers=[(name.encode(), user.encode())])


def members(share: str, of_name: str = "x", after: str = "0%") -> set[str]:
    test = condition({"share": share, "after": after, "by": "header x-user", "of": of_name}).test
    return {person for person in PEOPLE if test(of(person))}


@pytest.mark.parametrize(("share", "expected"), [("0%", 0), ("0.5%", 50), ("10%", 1000), ("33%", 3300), ("90%", 9000), ("100%", 10_000)])
def test_a_share_is_as_large_as_it_says(share: str, expected: int) -> None:
    off = len(members(share)) - expected

    assert abs(off) <= 4 * (expected * (1 - expected / 10_000)) ** 0.5


@pytest.mark.parametrize(
    "keys", [[str(i) for i in range(10_000)], [f"{i:08x}" for i in range(0, 160_000, 16)], ["é" * i for i in range(2_000)]]
)
def test_keys_that_look_alike_are_spread_evenly(keys: list[str]) -> None:
    tenths = [0] * 10
    for key in keys:
        tenths[draw("x", (key.encode(),)) * 10 >> 64] += 1
    expected = len(keys) / 10

    assert sum((count - expected) ** 2 / expected for count in tenths) < 27.9  # chi-square of 9 degrees, p = 0.001


def test_raising_a_share_keeps_those_that_are_in() -> None:
    grown = [members(share) for share in ("1%", "5%", "10%", "50%", "99.9%", "100%")]

    assert all(fewer < more for fewer, more in pairwise(grown))


def test_shares_side_by_side_split_all_between_them() -> None:
    arms = [members("30%"), members("30%", after="30%"), members("40%", after="60%")]

    assert set().union(*arms) == set(PEOPLE)
    assert sum(map(len, arms)) == len(PEOPLE)


def test_arms_of_uneven_decimals_leave_no_gap() -> None:
    first = condition({"share": "33.333333%", "by": "header x-user", "of": "x"}).children[0]
    second = condition({"share": "66.666667%", "after": "33.333333%", "by": "header x-user", "of": "x"}).children[0]

    assert first._beyond == second._first
    assert second._beyond == 1 << 64


def test_samples_of_other_names_are_independent() -> None:
    one, other = members("20%", "one"), members("20%", "other")

    assert abs(len(one & other) - 400) < 4 * (400 * 0.96) ** 0.5


def test_the_draw_is_the_one_that_is_documented() -> None:
    expected = int.from_bytes(blake2b(b"exp\0anna", digest_size=8).digest(), "big")

    assert draw("exp", (b"anna",)) == expected
    assert draw("new-model", (b"anna",)) == 0xB1861FFFD699BAF4  # it must never change: who is in would be drawn anew


def test_a_policy_draws_by_its_own_name_unless_it_says_otherwise() -> None:
    def who(owner: str, **more: str) -> set[str]:
        test = condition({"share": "20%", "by": "header x-user", **more}, owner).test
        return {person for person in PEOPLE[:2000] if test(of(person))}

    assert who("p") != who("q")
    assert who("p", of="both") == who("q", of="both")
    assert who("p", of="q") == who("q")


def test_a_signal_draws_by_its_own_name_whoever_asks() -> None:
    sample = {"share": "20%", "by": "header x-user"}
    asked = [condition({"signals": ["some"]}, owner, some={"sample": sample}).test for owner in ("p", "q")]
    alone = condition(sample, "some").test

    assert all(asked[0](of(person)) == asked[1](of(person)) == alone(of(person)) for person in PEOPLE[:500])


def test_a_signal_that_is_compiled_within_a_policy_leaves_the_policy_its_name() -> None:
    spec = MatchSpec.read(unfold(MatchSpec, {"signals": "some", "sample": {"share": "20%", "by": "header x-user"}})[0])
    compiler = Compiler({"some": MatchSpec.read({"stream": True})})

    assert compiler.condition(spec, owner="p").children[0].expected.startswith("the first 20% of 'p'")  # type: ignore[attr-defined]
    assert compiler.owner == ""


# Of what the share is taken


@pytest.mark.parametrize(
    ("by", "headers"),
    [
        ("header x-user", [(b"X-User", b"")]),
        ("header x-user", [(b"x-other", b"anna")]),
        ("credential", [(b"cookie", b"a=b")]),
        ("credential", [(b"authorization", b"")]),
    ],
)
def test_without_the_header_it_is_unknown_and_stays_so_under_not(by: str, headers: Any) -> None:
    seen = facts(headers=headers)

    assert condition({"share": "100%", "by": by}).test(seen) is None
    assert Compiler({}).condition(MatchSpec.read({"not": {"sample": {"share": "0%", "by": by}}})).test(seen) is None
    assert seen.unknown == [f"nothing in the request to sample by {by}"]


def test_a_header_is_read_with_all_its_values_and_its_name_in_any_case() -> None:
    def drawn(*values: bytes) -> str:
        return str(
            condition({"share": "10%", "by": "header X-User"})
            .explain(facts(headers=[(b"x-USER", each) for each in values]))
            .children[0]
            .seen
        )

    assert drawn(b"a") == drawn(b"a")
    assert len({drawn(b"a"), drawn(b"b"), drawn(b"a", b"b"), drawn(b"b", b"a"), drawn(b"\xff")}) == 5


def test_a_credential_is_the_first_of_the_headers_that_carry_one() -> None:
    seen = facts(headers=[(b"api-key", b"k"), (b"authorization", b"Bearer k")])
    test = condition({"share": "50%", "by": "credential", "of": "x"}).test

    assert test(seen) is (draw("x", (b"Bearer k",)) < 1 << 63)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user": "anna"}, True),
        ({"safety_identifier": "anna", "user": "x"}, True),
        ({"user": ""}, None),
        ({"user": 5}, None),
        ({}, None),
    ],
)
def test_a_user_is_the_one_that_the_body_names(body: Any, expected: bool | None) -> None:
    assert condition({"share": "100%", "by": "user"}).test(facts(body)) is expected


def key_of(body: Any, endpoint: Endpoint = Endpoint.CHAT) -> Any:
    found = condition("50%").children[0]._key(facts(raw=json.dumps(body).encode(), endpoint=endpoint))
    return found or None


FIRST = [{"role": "system", "content": "It is Monday."}, *user("Hello there")]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 3000}}


@pytest.mark.parametrize(
    "later",
    [
        {"messages": [*FIRST, {"role": "assistant", "content": "Hi"}, *user("And now?")]},
        {"messages": [{"role": "system", "content": "It is Tuesday."}, *user("Hello there"), *user("more")]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello there", "cache_control": {"type": "ephemeral"}}]}]},
        {"messages": FIRST, "model": "other", "temperature": 1, "stream": True, "metadata": {"turn": "7"}},
    ],
)
def test_a_conversation_stays_what_it_is_over_its_turns(later: Any) -> None:
    assert key_of(later) == key_of({"messages": FIRST})


@pytest.mark.parametrize(
    "other",
    [
        {"messages": user("Hello there!")},
        {"messages": FIRST, "user": "anna"},
        {"messages": FIRST, "safety_identifier": "anna"},
        {"messages": FIRST, "prompt_cache_key": "c-1"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello there"}, PICTURE]}]},
    ],
)
def test_another_beginning_or_another_user_is_another_conversation(other: Any) -> None:
    assert key_of(other) is not None
    assert key_of(other) != key_of({"messages": FIRST})


def test_the_same_words_are_the_same_conversation_in_both_apis() -> None:
    chat = key_of({"messages": user("Hello")})

    assert key_of({"input": user("Hello")}, Endpoint.RESPONSES) == chat
    assert key_of({"input": "Hello"}, Endpoint.RESPONSES) == chat
    assert (
        key_of({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]}, Endpoint.RESPONSES)
        == chat
    )


def test_a_picture_stays_the_same_in_a_body_that_has_grown() -> None:
    small = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}]}
    large = {"messages": [*small["messages"], {"role": "assistant", "content": "x" * 600_000}]}
    other = json.loads(json.dumps(small).replace("iVBOR", "jVBOR"))

    assert key_of(large) == key_of(small)
    assert key_of(other) != key_of(small)


@pytest.mark.parametrize("size", [100_000, 2_000_000])
def test_a_long_text_is_known_by_its_size_and_its_ends(size: int) -> None:
    text = "".join(random.Random(1).choices("abc ", k=size))

    assert key_of({"messages": user(text)}) == key_of({"messages": [*user(text), *user("more" * 200_000)]})
    assert key_of({"messages": user(text)}) != key_of({"messages": user(text + "a")})
    assert key_of({"messages": user(text)}) != key_of({"messages": user("x" + text[1:])})


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_of_the_api_is_known_by_its_id(conversation: Any) -> None:
    first = key_of({"conversation": conversation, "input": "Hello"}, Endpoint.RESPONSES)

    assert first == key_of({"conversation": "conv_1", "input": "And now?"}, Endpoint.RESPONSES)
    assert first != key_of({"conversation": "conv_2", "input": "Hello"}, Endpoint.RESPONSES)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.RESPONSES, {"previous_response_id": "resp_1", "input": "And now?"}),
        (Endpoint.CHAT, {"messages": []}),
        (Endpoint.CHAT, {"messages": user("")}),
        (Endpoint.CHAT, {}),
        (Endpoint.COMPLETIONS, {"prompt": ""}),
    ],
)
def test_what_has_no_beginning_is_unknown(endpoint: Endpoint, body: Any) -> None:
    seen = facts(body, endpoint=endpoint)

    assert condition("100%").test(seen) is None
    assert condition("100%").explain(seen).children[0].seen == "unknown: nothing in the request to sample by conversation"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.CHAT, {"messages": [{"role": "system", "content": "Write a haiku."}]}),
        (Endpoint.COMPLETIONS, {"prompt": "Once upon"}),
        (Endpoint.COMPLETIONS, {"prompt": [1, 2, 3]}),
        (Endpoint.EMBEDDINGS, {"input": ["a", "b"]}),
        (Endpoint.IMAGES, {"prompt": "a cat"}),
    ],
)
def test_a_prompt_without_turns_is_its_own_conversation(endpoint: Endpoint, body: Any) -> None:
    assert key_of(body, endpoint) is not None
    assert condition("100%").test(facts(body, endpoint=endpoint)) is True


def test_a_body_that_cannot_be_read_is_unknown_for_its_own_reason() -> None:
    seen = facts(raw=b"{")
    told = condition("100%").explain(seen).children[0]

    assert told.verdict is None
    assert told.seen.startswith("unknown: not JSON")
    assert len(seen.unknown) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": {"a": 1}}]},
        {"messages": [5, None]},
        {"messages": "x"},
        {"messages": [{"role": "user", "content": [[[[[[["x"]]]]]]]}]},
    ],
)
def test_odd_contents_break_nothing(body: Any) -> None:
    assert condition("100%").test(facts(body)) is None


def test_the_body_is_read_only_where_it_is_asked() -> None:
    assert condition("10%").needs == BODY | HEAD
    assert condition({"share": "10%", "by": "user"}).needs == BODY | HEAD
    assert condition({"share": "10%", "by": "credential"}).needs == HEAD
    assert condition({"share": "10%", "by": "header x"}).needs == HEAD


def test_an_explanation_says_where_the_call_falls_and_not_who_it_is() -> None:
    seen = of("anna")
    told = condition({"share": "10%", "by": "header x-user", "after": "5%", "of": "trial"}).explain(seen).children[0]

    assert (told.name, told.expected) == ("sample", "from 5% to 15% of 'trial' by header x-user")
    assert told.seen == f"at {100 * draw('trial', (b'anna',)) / 2**64:.2f}%"
    assert "anna" not in repr(told)
