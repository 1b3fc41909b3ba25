from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.call import Call
from proxy.kinds.params import KIND
from proxy.policy.edits import NOT_PARAMETERS, ParamsSpec
from tests.kinds.layering import POLICY, observed, through
from tests.scripted import a_call

RAW = b'{"model":"gpt-4o","temperature":1.50,"n":1e0,"top_logprobs":3,"max_tokens":4000,"messages":[]}'


async def edited(body: bytes, won: frozenset[str] | None = None, **given: Any) -> bytes:
    return (await through(KIND, a_call(body), won, **given)).body


async def test_an_override_takes_the_place_of_what_the_app_said() -> None:
    assert await edited(RAW, overrides={"temperature": 0}) == RAW.replace(b"1.50", b"0")


async def test_an_override_is_set_where_the_app_said_nothing() -> None:
    assert await edited(b'{"a":1}', overrides={"seed": 7}) == b'{"a":1,"seed":7}'
    assert await edited(b"{}", overrides={"seed": 7}) == b'{"seed":7}'


async def test_a_default_gives_way_to_the_app() -> None:
    assert await edited(RAW, defaults={"temperature": 0, "seed": 7}) == RAW[:-1] + b',"seed":7}'


async def test_a_default_gives_way_to_null_too_as_the_app_said_so() -> None:
    assert await edited(b'{"seed":null}', defaults={"seed": 7}) == b'{"seed":null}'


async def test_what_is_removed_is_gone_with_its_comma() -> None:
    assert await edited(RAW, remove=["top_logprobs"]) == RAW.replace(b'"top_logprobs":3,', b"")
    assert await edited(b'{"a":1}', remove=["a"]) == b"{}"
    assert await edited(b'{"a":1,"b":2}', remove=["b", "c"]) == b'{"a":1}'


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"max_tokens":4000}', b'{"max_tokens":100}'),
        (b'{"max_tokens":1e9}', b'{"max_tokens":100}'),
        (b'{"max_tokens":99999999999999999999999999}', b'{"max_tokens":100}'),
        (b'{"max_tokens":100}', b'{"max_tokens":100}'),
        (b'{"max_tokens":100.0}', b'{"max_tokens":100.0}'),
        (b'{"max_tokens":5e1}', b'{"max_tokens":5e1}'),
        (b'{"max_tokens":-1}', b'{"max_tokens":-1}'),
        (b'{"max_tokens":null}', b'{"max_tokens":null}'),
        (b'{"max_tokens":"4000"}', b'{"max_tokens":"4000"}'),
        (b'{"max_tokens":true}', b'{"max_tokens":true}'),
        (b"{}", b"{}"),
    ],
)
async def test_a_cap_lowers_numbers_above_it_and_nothing_else(body: bytes, sent: bytes) -> None:
    assert await edited(body, max={"max_tokens": 100}) == sent


async def test_infinity_is_lowered_as_any_number() -> None:
    assert await edited(b'{"max_tokens":Infinity}', max={"max_tokens": 100}) == b'{"max_tokens":100}'


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"x":0}', 0),
        (b'{"x":0.0}', 0),
        (b'{"x":1e0}', 1),
        (b'{"x": [1,  2]}', [1, 2]),
        (b'{"x":{"b":1,"a":[]}}', {"a": [], "b": 1}),
        (b'{"x":null}', None),
        (b'{"x":false}', False),
    ],
)
async def test_what_the_app_says_already_keeps_its_spelling_and_is_no_act(body: bytes, value: object) -> None:
    call = a_call(body)
    sent = await through(KIND, call, overrides={"x": value})

    assert sent.call is call
    assert sent.body == body
    assert call.journal.entries == []


@pytest.mark.parametrize(
    ("body", "value"), [(b'{"x":true}', 1), (b'{"x":0}', False), (b'{"x":[true]}', [1]), (b'{"x":{"y":0}}', {"y": False})]
)
async def test_a_truth_value_is_no_number_at_any_depth(body: bytes, value: object) -> None:
    assert json.loads(await edited(body, overrides={"x": value})) == {"x": value}
    assert await edited(body, overrides={"x": value}) != body


async def test_values_of_any_shape_are_set() -> None:
    value = {"type": "json_schema", "json_schema": {"name": "é", "schema": {"enum": [1, None, "x"]}}}

    assert json.loads(await edited(b"{}", overrides={"response_format": value})) == {"response_format": value}


async def test_only_the_fields_that_it_won_are_touched() -> None:
    given = {"overrides": {"temperature": 0}, "defaults": {"seed": 7}, "remove": ["top_logprobs"], "max": {"max_tokens": 100}}

    for field, sent in {
        "temperature": RAW.replace(b"1.50", b"0"),
        "seed": RAW[:-1] + b',"seed":7}',
        "top_logprobs": RAW.replace(b'"top_logprobs":3,', b""),
        "max_tokens": RAW.replace(b"4000", b"100"),
    }.items():
        assert await edited(RAW, frozenset((field,)), **given) == sent


async def test_what_it_changed_is_in_the_journal_by_name_alone() -> None:
    call = a_call(RAW)
    await through(KIND, call, overrides={"temperature": 0}, defaults={"seed": 7}, remove=["top_logprobs"], max={"max_tokens": 100})
    (entry,) = call.journal.entries

    assert (entry.kind, entry.policy, entry.acted) == ("params", POLICY, True)
    assert entry.what == {"set": ["temperature", "seed"], "removed": ["top_logprobs"], "capped": ["max_tokens"]}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
async def test_a_body_that_is_no_object_goes_as_it_came(body: bytes) -> None:
    call = a_call({"a": 1})
    call = call.derive(payload=type(call.payload)(body, call.payload.endpoint))
    sent = await through(KIND, call, overrides={"seed": 7})

    assert sent.call is call
    assert call.journal.entries[0].what["skipped"] == "unreadable"


async def test_a_field_that_is_there_twice_stays_and_hides_no_other() -> None:
    body = b'{"seed":1,"seed":2,"max_tokens":4000,"top_logprobs":1}'
    call = a_call(body)
    sent = await through(KIND, call, overrides={"seed": 7}, max={"max_tokens": 100}, remove=["top_logprobs"])

    assert sent.body == b'{"seed":1,"seed":2,"max_tokens":100}'
    assert [entry.what for entry in call.journal.entries] == [
        {"skipped": "unreadable", "why": "key 'seed' is there twice"},
        {"removed": ["top_logprobs"], "capped": ["max_tokens"]},
    ]


async def test_a_body_that_is_not_held_goes_as_it_came() -> None:
    call = a_call(RAW, held=False)
    sent = await through(KIND, call, overrides={"seed": 7})

    assert sent.call is call
    assert call.journal.entries[0].what["skipped"] == "no_body"


async def test_edits_stand_upon_those_of_the_policy_before() -> None:
    first: Call = (await through(KIND, a_call(b'{"a":1}'), overrides={"b": 2})).call
    second = await through(KIND, first, remove=["a"], max={"b": 1})

    assert second.body == b'{"b":1}'


def test_in_shadow_nothing_is_edited() -> None:
    call = a_call(RAW)
    (entry,) = observed(KIND, call, overrides={"temperature": 0})

    assert (entry.shadow, entry.acted, entry.what) == (True, False, {"set": ["temperature"]})
    assert not call.payload.edited


def test_each_parameter_is_a_field_whatever_is_done_with_it() -> None:
    spec = ParamsSpec.read({"overrides": {"a": 1}, "defaults": {"b": 1}, "remove": ["c"], "max": {"b": 4, "d": 1.5}})

    assert KIND.fields(spec) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("name", sorted(NOT_PARAMETERS))
@pytest.mark.parametrize("where", ["overrides", "defaults", "remove", "max"])
def test_what_is_no_parameter_is_refused_with_a_hint(where: str, name: str) -> None:
    given = [name] if where == "remove" else {name: 1}

    with pytest.raises(ValidationError, match="is not a parameter"):
        ParamsSpec.read({where: given})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"overrides": {}},
        {"overrides": {"a": 1}, "remove": ["a"]},
        {"overrides": {"a": 1}, "defaults": {"a": 1}},
        {"overrides": {"a": 1}, "max": {"a": 1}},
        {"remove": ["a"], "max": {"a": 1}},
        {"remove": ["a"], "defaults": {"a": 1}},
        {"max": {"a": "1"}},
        {"max": {"a": True}},
        {"set": {"a": 1}},
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ParamsSpec.read(given)
