"""Which recorded calls would be treated differently, and how: no difference is missed, and none is made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.assembly.diff import CallsDiff, Change, compare
from proxy.assembly.load import Policies, load_text
from proxy.assembly.recorded import Asked, WrongRequest
from tests.assembly.engines import JSON, UPSTREAMS, chat


def policies(rules: str = "", upstreams: str = UPSTREAMS, **env: str) -> Policies:
    return load_text(f"version: 1\n{upstreams}\npolicies: [{rules}]\n", "p.yaml", env)


def request(body: Any = None, name: str = "r", **more: Any) -> Asked:
    data = json.dumps(chat() if body is None else body).encode() if not isinstance(body, bytes) else body
    return Asked(**{"headers": JSON, "body": data, "name": name, **more})


async def changes(old: Policies, new: Policies, *asked: Asked) -> list[Change]:
    """Those of the only group; none where nothing differs."""
    found = await compare(old, new, asked or [request()])
    assert len(found.groups) <= 1
    return [change for group in found.groups.values() for change in group.changes]


RULE = "{name: p, match: {endpoint: chat}, apply: {%s}}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        (RULE % "rewrite: {model: a}", RULE % "rewrite: {model: a}", []),
        (RULE % "rewrite: {model: a}", RULE % "rewrite: {model: b}", [Change("model", "", "a", "b")]),
        ("", RULE % "rewrite: {model: a}", [Change("model", "", "as asked", "a"), Change("policies", "", "none", "p")]),
        ("", RULE % "rewrite: {model: gpt-4o}", []),
        (RULE % "rewrite: {upstream: groq}", RULE % "rewrite: {upstream: local}", [Change("upstream", "", "groq", "local")]),
        (RULE % "params: {overrides: {n: 1}}", RULE % "params: {overrides: {n: 2}}", [Change("body", "n", "1", "2")]),
        (RULE % "params: {overrides: {n: 1}}", RULE % "params: {defaults: {n: 1}}", []),
        (RULE % "params: {overrides: {n: 1}}", RULE % "params: {overrides: {n: 1}, max: {seed: 3}}", []),
        (RULE % "instruct: {append: One.}", RULE % "instruct: {append: Two.}", "body"),
        (RULE % "refuse: {}", RULE % "refuse: {code: other}", "refused"),
        (RULE % "refuse: {message: a}", RULE % "refuse: {message: b}", "refused"),
        ("", RULE % "refuse: {}", "refused"),
        ("", RULE.replace("match", "mode: shadow, match") % "refuse: {}", []),
        (RULE % "rewrite: {model: a}", RULE.replace("name: p", "name: q") % "rewrite: {model: a}", [Change("policies", "", "p", "q")]),
    ],
)
async def test_a_change_is_told_by_its_kind(old: str, new: str, expected: list[Change] | str) -> None:
    found = await changes(policies(old), policies(new))

    if isinstance(expected, str):
        assert found[0].kind == expected
    else:
        assert found == expected


async def test_a_refusal_is_told_with_its_words() -> None:
    (first, second) = await changes(policies(), policies(RULE % "refuse: {status: 451, code: nope, message: Not here.}"))

    assert first == Change("refused", "", "sent", "451 nope: Not here.")
    assert second == Change("policies", "", "none", "p")


async def test_upstreams_of_the_same_name_are_compared_by_what_they_get() -> None:
    def of(url: str = "https://a/v1", more: str = "", **env: str) -> Policies:
        return policies("", f"upstreams: {{a: {{url: '{url}'{more}}}}}", **env)

    keyed = ", key: '${K}', headers: {set: {x-t: '${K}', x-app: one}}, query: {v: '${K}'}"
    other_key = await changes(of(more=keyed, K="sk-canary-1"), of(more=keyed, K="sk-canary-2"))

    assert await changes(of(), of("https://b/base/v1")) == [Change("url", "", "https://a/v1", "https://b/base/v1")]
    assert [(change.kind, change.what) for change in other_key] == [("headers", "authorization"), ("headers", "query"), ("headers", "x-t")]
    assert "canary" not in repr(other_key)
    assert await changes(of(more=", headers: {set: {x-app: one}}"), of(more=", headers: {set: {x-app: two}}")) == [
        Change("headers", "x-app", "one", "two")
    ]
    assert await changes(of(more=", models: {gpt-4o: theirs}"), of()) == [Change("model", "", "theirs", "as asked")]


async def test_calls_that_change_alike_are_one_group_with_a_few_examples() -> None:
    asked = [request(chat("hi " * number, model=f"gpt-{number % 3}"), f"r{number}") for number in range(300)]
    new = "{name: p, match: {model: 'gpt-1'}, apply: {rewrite: {model: a}}}, {name: q, match: {model: 'gpt-2'}, apply: {refuse: {}}}"
    found = await compare(policies(), policies(new), asked)
    first, second = found.ordered()

    assert (found.requests, found.different, len(found.groups)) == (300, 200, 2)
    assert (first.count, second.count) == (100, 100)
    assert found.by_kind == {"policies": 200, "model": 100, "refused": 100}
    assert first.examples == [f"r{number}" for number in range(1, 31, 3)]


async def test_where_in_a_conversation_a_text_goes_makes_no_group_of_its_own() -> None:
    asked = [
        request({"model": "m", "messages": [{"role": "user", "content": "x"}] * number + [{"role": "system", "content": "s"}]})
        for number in range(1, 5)
    ]
    found = await compare(policies(), policies(RULE % "instruct: {append: Be brief.}"), asked)

    assert (found.different, len(found.groups)) == (4, 1)


async def test_what_shadows_would_do_is_counted_and_changes_nothing() -> None:
    shadow = "{name: s, mode: shadow, match: {keywords: {any_of: [hello]}}, apply: {refuse: {}}}"
    found = await compare(policies(), policies(shadow), [request(chat("hello")), request(chat("bye"))])

    assert (found.different, found.shadow) == (0, {("s", "refuse"): [0, 1]})


async def test_an_order_that_changes_what_wins_is_seen() -> None:
    first, second = "{name: a, apply: {rewrite: {model: a}}}", "{name: b, apply: {rewrite: {model: b}}}"

    assert await changes(policies(f"{first}, {second}"), policies(f"{second}, {first}")) == [
        Change("model", "", "a", "b"),
        Change("policies", "", "a", "b"),
    ]


async def test_a_layer_that_leaves_no_trace_in_what_is_sent_is_compared_by_its_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.assembly.diff.VISIBLE", frozenset())
    found = await changes(policies(RULE % "params: {max: {n: 9}}"), policies(RULE % "params: {max: {n: 8}}"))

    assert found == [Change("layers", "params of p", "so", "otherwise")]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 1}', b"x" * 5_000_000])
@pytest.mark.parametrize("target", [b"/v1/chat/completions", b"/nowhere", b"/v1/files"])
async def test_hostile_requests_are_compared_like_any(body: bytes, target: bytes) -> None:
    rewrite = "{name: p, match: {not: {model: x}}, apply: {rewrite: {model: m}}}"
    new = policies(f"{rewrite}, {{name: q, match: {{path: '/nowhere'}}, apply: {{refuse: {{}}}}}}")
    found = await compare(policies(), new, [request(body, target=target)])

    assert found.requests == 1


async def test_what_is_no_request_is_kept_apart() -> None:
    found = await compare(policies(), policies(), [WrongRequest("r.jsonl:3: is no JSON object"), request()])

    assert (found.requests, found.wrong) == (1, ["r.jsonl:3: is no JSON object"])
    assert found == CallsDiff(1, {}, ["r.jsonl:3: is no JSON object"], {})
