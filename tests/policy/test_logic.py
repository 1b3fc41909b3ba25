"""What is claimed of matches holds for every call that was tried, and what people write is seen."""

from __future__ import annotations

import functools
import itertools
import random
from typing import Any

import pytest
import yaml

from proxy.openai.endpoints import Endpoint
from proxy.policy.facts import Facts
from proxy.policy.logic import MAX_WORDS, Logic
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.shape import unfold
from tests.policy.test_facts import Counter, facts, user

SIGNALS = {
    "legal": "{keywords: {any_of: [contract, lawsuit]}}",
    "both": "{signals: legal, stream: true}",
    "big": "{prompt_tokens: {at_least: 4}}",
}


def match(text: str | dict[str, Any]) -> MatchSpec:
    return MatchSpec.read(unfold(MatchSpec, yaml.safe_load(text) if isinstance(text, str) else text)[0])


@functools.cache
def signals() -> dict[str, MatchSpec]:
    return {name: match(text) for name, text in SIGNALS.items()}


def logic() -> Logic:
    return Logic(signals())


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{}", "{endpoint: chat}"),
        ("{endpoint: [chat, responses]}", "{endpoint: chat, model: x}"),
        ("{not: {endpoint: chat}}", "{endpoint: files}"),
        ('{model: "gpt-*"}', '{model: [gpt-4o, "gpt-4.1*"]}'),
        ('{model: "gpt-*"}', '{model: ["gpt-4*", o3], not: {model: "o*"}}'),
        ("{prompt_tokens: {below: 400}}", "{prompt_tokens: {below: 100, at_least: 5}}"),
        ("{not: {prompt_tokens: {below: 400}}}", "{prompt_tokens: {at_least: 400}}"),
        ("{stream: false}", "{not: {stream: true}}"),
        ("{not: {model: a}}", "{model: b}"),
        ("{not: {model: a}}", '{not: {model: ["a*", c]}}'),
        ("{any: [{stream: true}, {model: a}]}", "{model: a}"),
        ("{has: [tools, images]}", "{has: images}"),
        ("{not: {has: tools}}", "{not: {has: [tools, images]}}"),
        ("{keywords: {any_of: [a, b]}}", "{keywords: {all_of: [A, c]}}"),
        ("{keywords: {none_of: [a]}}", "{not: {keywords: {any_of: [a, b]}}}"),
        ("{header: {x-a: {present: true}}}", '{header: {X-A: "b*"}}'),
        ('{header: {x-a: "b*"}}', "{header: {x-a: [b1, b2], x-c: d}}"),
        ("{signals: legal}", "{signals: both}"),
        ("{signals: legal}", "{keywords: {any_of: [lawsuit]}, model: m}"),
        ("{stream: true}", "{signals: both}"),
        ("{any: [{endpoint: chat}, {endpoint: files}]}", "{any: [{endpoint: files}, {endpoint: chat, model: x}]}"),
        ("{path: /v1/*}", "{path: /v1/chat/*}"),
    ],
)
def test_what_surely_follows_is_seen(wide: str, narrow: str) -> None:
    assert logic().implies(match(narrow), match(wide))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{stream: true}", "{}"),
        ("{not: {stream: true}}", "{not: {model: a}}"),
        ('{header: {x-a: "b*"}}', "{header: {x-a: {present: true}}}"),
        ("{not: {header: {x-a: b}}}", "{header: {x-a: c}}"),  # it may be there twice
        ("{any: [{stream: true}, {stream: false}]}", "{}"),  # it may be unknown
        ("{keywords: {any_of: [a]}}", "{keywords: {any_of: [a], in: all}}"),
        ("{keywords: {any_of: [a], in: all}}", "{keywords: {any_of: [a], in: user}}"),
        ("{has: tools}", "{has: [tools, images]}"),
        ("{model: gpt-4o}", '{model: "gpt-4*"}'),
        ("{endpoint: chat}", "{path: /v1/chat/completions}"),
    ],
)
def test_what_does_not_follow_is_not_claimed(wide: str, narrow: str) -> None:
    assert not logic().implies(match(narrow), match(wide))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{model: a, not: {model: "a*"}}', "`model` would have to be 'a', and not 'a*'"),
        ("{model: a, all: [{model: b}]}", "`model` would have to be 'a' and 'b'"),
        ("{model: [a, b], not: {any: [{model: a}, {model: b}]}}", "`model` would have to be one of 'a', 'b', and not one of 'a', 'b'"),
        ("{endpoint: chat, not: {endpoint: [chat, files]}}", "no `endpoint` is left that every condition allows"),
        ("{endpoint: chat, all: [{endpoint: [files, chat]}, {endpoint: files}]}", "no `endpoint` is left that every condition allows"),
        ("{stream: true, not: {stream: true}}", "no `stream` is left that every condition allows"),
        ("{all: [{prompt_tokens: {below: 5}}, {prompt_tokens: {at_least: 5}}]}", "`prompt_tokens` would have to be at least 5 and below 5"),
        ("{prompt_tokens: {below: 9}, not: {prompt_tokens: {below: 9}}}", "`prompt_tokens` would have to be at least 9 and below 9"),
        ("{keywords: {any_of: [A], none_of: [a, b]}}", "`keywords`: 'a' would have to be there and not be there"),
        ("{has: tools, not: {has: [tools, images]}}", "`has`: 'tools' would have to be there and not be there"),
        ("{header: {x-a: {present: false}}, all: [{header: {X-A: b}}]}", "`header x-a` would have to be there and not be there"),
        ('{header: {x-a: b}, not: {header: {x-a: "b*"}}}', "`header x-a` would have to be 'b', and not 'b*'"),
        ("{signals: both, stream: false}", "no `stream` is left that every condition allows"),
        ("{signals: legal, not: {signals: legal}}", "`keywords`: one of 'contract', 'lawsuit' would have to be there and not be there"),
        ("{not: {}}", "it denies what always holds"),
        ("{not: {any: [{}]}}", "it denies what always holds"),
    ],
)
def test_what_can_never_be_true_is_said_with_its_reason(text: str, why: str) -> None:
    assert logic().never(match(text)) == why


@pytest.mark.parametrize(
    "text",
    [
        "{}", "{model: [a, b], not: {model: a}}", "{header: {x-a: b}, all: [{header: {x-a: c}}]}", "{not: {model: '*'}}",
        "{any: [{model: a, not: {model: a}}, {stream: true}]}", "{keywords: {any_of: [a, b], none_of: [a]}}",
        "{keywords: {any_of: [a]}, not: {keywords: {any_of: [a], in: all}}}", "{has: [tools, images], not: {has: tools}}",
    ],
)  # fmt: skip
def test_what_may_be_true_is_not_called_impossible(text: str) -> None:
    assert logic().never(match(text)) is None


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        ("{model: gpt-5, stream: true}", '{model: "gpt-5*", header: {x-a: b}}', True),
        ("{}", "{stream: true}", True),
        ("{has: tools}", "{prompt_tokens: {below: 400}}", True),
        ("{keywords: {any_of: [a]}}", "{header: {x-a: b}}", True),
        ("{model: a}", "{model: b}", False),
        ("{path: /v1/x}", "{stream: true}", False),
        ("{keywords: {any_of: [a]}}", "{keywords: {none_of: [b]}}", False),
        ("{has: json_schema}", "{has: json_object}", False),
        ("{endpoint: embeddings}", "{has: tools}", False),
        ("{header: {x-a: b}}", "{header: {x-a: c}}", False),
        ("{header: {content-type: 'text/*'}}", "{stream: true}", False),
        ("{messages: {below: 2}}", "{has: tool_results}", False),
    ],
)
def test_that_two_meet_is_claimed_only_where_a_call_surely_exists(one: str, other: str, meets: bool) -> None:
    assert logic().meet(match(one), match(other)) is meets
    assert not (meets and logic().apart(match(one), match(other)))


def test_what_matches_is_known_by_endpoint_and_model() -> None:
    known = logic()

    assert known.endpoints(match("{not: {endpoint: [chat, files]}}")) == {each.value for each in Endpoint} - {"chat", "files"}
    assert known.endpoints(match("{any: [{endpoint: chat}, {endpoint: files, stream: true}]}")) == {"chat", "files"}
    assert known.models(match("{any: [{model: a}, {model: [b, c], not: {model: c}}]}")) == ("a", "b")
    assert known.models(match("{any: [{model: a}, {stream: true}]}")) is None
    assert known.models(match("{}")) is None


def test_a_formula_of_many_branches_claims_nothing_and_takes_no_time() -> None:
    wide = {"any": [{"model": f"m{i}"} for i in range(9)]}
    spec = match({"all": [wide] * 30})

    assert logic().never(spec) is None
    assert not logic().implies(spec, match("{model: m1}"))
    assert not logic().meet(spec, spec)
    assert not logic().apart(spec, match("{model: x}"))


def test_two_samples_are_alike_only_where_they_draw_by_one_name() -> None:
    own, other = match("{sample: 10%}"), match("{sample: 10%}")
    named = "{sample: {share: 10%, of: trial}}"

    assert not logic().implies(own, other)
    assert logic().implies(own, own)
    assert logic().implies(match(named), match(named))
    assert logic().never(match({"sample": "10%", "not": {"sample": "10%"}})) is None


def test_a_long_keyword_list_is_compared_as_a_whole() -> None:
    words = [f"w{i}" for i in range(MAX_WORDS + 1)]
    one, other = match({"keywords": {"any_of": words}}), match({"keywords": {"any_of": words[:-1]}})

    assert logic().implies(one, one)
    assert not logic().implies(other, one)


# Random matches against random calls: the claims are compared with what the real conditions say.

ATOMS: list[dict[str, Any]] = [
    {}, {"endpoint": "chat"}, {"endpoint": ["chat", "responses"]}, {"endpoint": ["embeddings", "files"]}, {"model": "gpt-4o"},
    {"model": "gpt-*"}, {"model": ["gpt-4*", "o3"]}, {"model": "*"}, {"path": "/v1/chat/*"}, {"path": "/v1/*"}, {"stream": True},
    {"stream": False}, {"header": {"x-a": "b"}}, {"header": {"X-A": ["b*", "c"]}}, {"header": {"x-a": {"present": True}}},
    {"header": {"x-a": {"present": False}}}, {"prompt_tokens": {"below": 4}}, {"prompt_tokens": {"at_least": 2, "below": 6}},
    {"prompt_tokens": {"at_least": 4}}, {"messages": {"below": 2}}, {"messages": {"at_least": 2}}, {"has": "tools"},
    {"has": ["tools", "stop"]}, {"has": "seed"}, {"keywords": {"any_of": ["contract"]}},
    {"keywords": {"any_of": ["Contract", "prove"]}}, {"keywords": {"all_of": ["contract", "prove"]}},
    {"keywords": {"none_of": ["prove"]}}, {"keywords": {"any_of": ["contract"], "none_of": ["prove"]}},
    {"keywords": {"any_of": ["prove"], "in": "all"}}, {"signals": "legal"}, {"signals": ["both", "big"]},
]  # fmt: skip


def a_match(draw: random.Random, depth: int = 2) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for _ in range(draw.randint(1, 2)):
        out |= draw.choice(ATOMS)
    if depth and draw.random() < 0.6:
        key = draw.choice(["all", "any", "not"])
        out[key] = a_match(draw, depth - 1) if key == "not" else [a_match(draw, depth - 1) for _ in range(draw.randint(1, 2))]
    return out


@functools.cache
def calls() -> tuple[Facts, ...]:
    draw = random.Random(3)
    out = []
    for model, stream, text in itertools.product(
        ["gpt-4o", "gpt-5", "o3", None], [True, False, None], ["a contract", "Prove this contract now please ok", "hi"]
    ):
        body: dict[str, Any] = {"messages": user(*["prove"] * draw.randint(0, 2), text)}
        body |= {"model": model} if model else {}
        body |= {"stream": stream} if stream is not None else {}
        body |= {"tools": [{"type": "function", "function": {"name": "f"}}]} if draw.random() < 0.3 else {}
        body |= {"stop": ["x"]} if draw.random() < 0.3 else {}
        body |= {"seed": 1} if draw.random() < 0.3 else {}
        headers = [(b"x-a", value) for value in draw.choice([[], [b"b"], [b"bb"], [b"c"], [b"b", b"d"]])]
        endpoint = draw.choice([Endpoint.CHAT, Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.EMBEDDINGS, Endpoint.FILES])
        target = draw.choice([b"/v1/chat/completions", b"/v1/x", b"/y"])
        raw = draw.choice([None, None, None, b"{", b'{"model": "a", "model": "b", "messages": []}'])
        out.append(facts(body, raw=raw, tokens=Counter(), endpoint=endpoint, headers=headers, target=target))
    out += [facts(None, endpoint=endpoint, tokens=Counter()) for endpoint in (Endpoint.CHAT, Endpoint.FILES, Endpoint.MODELS)]
    return tuple(out)


def held(spec: MatchSpec) -> frozenset[int]:
    """The calls that match."""
    condition = Compiler(signals()).condition(spec)
    found = set()
    for i, call in enumerate(calls()):
        call.memo.clear()
        if condition.test(call):
            found.add(i)
    return frozenset(found)


def test_no_claim_is_refuted_by_a_call() -> None:
    draw = random.Random(8)
    known = logic()
    specs = [match(a_match(draw)) for _ in range(80)]
    matched = {id(spec): held(spec) for spec in specs}
    claims = {"never": 0, "implies": 0, "apart": 0, "meet": 0}
    for one in specs:
        if known.never(one) is not None:
            claims["never"] += 1
            assert not matched[id(one)], one
        for other in specs:
            mine, theirs = matched[id(one)], matched[id(other)]
            if known.implies(one, other):
                claims["implies"] += 1
                assert mine <= theirs, (one, other)
            if known.apart(one, other):
                claims["apart"] += 1
                assert not mine & theirs, (one, other)
            elif known.meet(one, other):
                claims["meet"] += 1
    assert min(claims.values()) > 2, claims
    assert len({each for each in matched.values() if each}) > 20
