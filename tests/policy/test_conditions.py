"""Each condition on its own: what it matches, what not, and when it does not know."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.openai.endpoints import Endpoint
from proxy.policy.facts import TakesLong
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.shape import unfold
from tests.policy.test_facts import Counter, facts, user

BODY = {"model": "gpt-4o", "messages": [{"role": "system", "content": "Answer as a lawyer."}, *user("Hello contract", "What is SQL?")]}
IMAGE = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]}
TWICE = b'{"model": "a", "model": "b", "messages": [], "messages": [], "stream": true, "stream": false, "tools": [], "tools": [1]}'


def verdict(match: dict[str, Any], **seen: Any) -> bool | None:
    spec = MatchSpec.read(unfold(MatchSpec, match)[0])
    return Compiler({}).condition(spec).test(facts(tokens=Counter(), **seen))


@pytest.mark.parametrize(
    ("match", "seen", "expected"),
    [
        ({"endpoint": "chat"}, {"body": {}}, True),
        ({"endpoint": ["images", "chat"]}, {}, True),
        ({"endpoint": "responses"}, {"body": {}}, False),
        ({"endpoint": "realtime"}, {"endpoint": Endpoint.REALTIME}, True),
        ({"path": "/v1/chat/completions"}, {}, True),
        ({"path": "/v1/chat/completions"}, {"target": b"/v1/chat/completions?a=b"}, True),
        ({"path": "/v1/chat"}, {}, False),
        ({"path": ["/x", "/v1/*"]}, {}, True),
        ({"path": "/v1/%61"}, {"target": b"/v1/a"}, False),
        ({"header": {"x-team": "pay*"}}, {"headers": [(b"X-Team", b"payments")]}, True),
        ({"header": {"X-TEAM": "payments"}}, {"headers": [(b"x-team", b"payments")]}, True),
        ({"header": {"x-team": "Payments"}}, {"headers": [(b"x-team", b"payments")]}, False),
        ({"header": {"x-team": ["a", "b"]}}, {"headers": [(b"x-team", b"c"), (b"x-team", b"b")]}, True),
        ({"header": {"x-team": "*"}}, {}, False),
        ({"header": {"x-team": {"present": True}}}, {"headers": [(b"x-team", b"")]}, True),
        ({"header": {"x-team": {"present": True}}}, {}, False),
        ({"header": {"x-team": {"present": False}}}, {}, True),
        ({"header": {"x-a": "1", "x-b": "2"}}, {"headers": [(b"x-a", b"1")]}, False),
        ({"header": {"x-a": "1", "x-b": "2"}}, {"headers": [(b"x-a", b"1"), (b"x-b", b"2")]}, True),
        ({"model": "gpt-4o"}, {"body": BODY}, True),
        ({"model": ["o?", "gpt-4*"]}, {"body": BODY}, True),
        ({"model": "GPT-4o"}, {"body": BODY}, False),
        ({"model": "gpt-4"}, {"body": BODY}, False),
        ({"model": "*"}, {"body": {}}, False),
        ({"model": "*"}, {"raw": b"{"}, None),
        ({"model": "a"}, {"raw": TWICE}, None),
        ({"model": "gpt-4o"}, {}, None),
        ({"stream": True}, {"body": {"stream": True}}, True),
        ({"stream": True}, {"body": {"stream": False}}, False),
        ({"stream": False}, {"body": {}}, True),
        ({"stream": True}, {"body": {"stream": "true"}}, False),
        ({"stream": False}, {"raw": TWICE}, None),
        ({"stream": False}, {}, None),
        ({"has": "images"}, {"body": IMAGE}, True),
        ({"has": ["tools", "images"]}, {"body": IMAGE}, True),
        ({"has": "tools"}, {"body": IMAGE}, False),
        ({"has": "tools"}, {"raw": TWICE}, None),
        ({"has": ["tools", "seed"]}, {"raw": TWICE.replace(b"}", b', "seed": 1}')}, True),
        ({"has": "tools"}, {}, None),
        ({"messages": {"below": 4}}, {"body": BODY}, True),
        ({"messages": {"at_least": 3, "below": 4}}, {"body": BODY}, True),
        ({"messages": {"at_least": 4}}, {"body": BODY}, False),
        ({"messages": {"below": 3}}, {"body": BODY}, False),
        ({"messages": {"below": 3}}, {"raw": TWICE}, None),
        ({"prompt_tokens": {"below": 10}}, {"body": BODY}, True),
        ({"prompt_tokens": {"below": 9}}, {"body": BODY}, False),
        ({"prompt_tokens": {"at_least": 9}}, {"body": BODY}, True),
        ({"prompt_tokens": {"at_least": 10}}, {"body": BODY}, False),
        ({"prompt_tokens": {"at_least": 9, "below": 10}}, {"body": BODY}, True),
        ({"prompt_tokens": {"at_least": 1, "below": 9}}, {"body": BODY}, False),
        ({"prompt_tokens": {"below": 10}}, {"raw": TWICE}, None),
        ({"prompt_tokens": {"at_least": 10}}, {}, None),
        ({"keywords": {"any_of": ["nosql", "sql"]}}, {"body": BODY}, True),
        ({"keywords": {"any_of": ["contract"]}}, {"body": BODY}, False),
        ({"keywords": {"any_of": ["contract"], "in": "user"}}, {"body": BODY}, True),
        ({"keywords": {"any_of": ["lawyer"], "in": "user"}}, {"body": BODY}, False),
        ({"keywords": {"any_of": ["lawyer"], "in": ["assistant", "system"]}}, {"body": BODY}, True),
        ({"keywords": {"all_of": ["lawyer", "contract", "sql"], "in": "all"}}, {"body": BODY}, True),
        ({"keywords": {"all_of": ["what", "how"]}}, {"body": BODY}, False),
        ({"keywords": {"none_of": ["contract"]}}, {"body": BODY}, True),
        ({"keywords": {"none_of": ["contract"], "in": "all"}}, {"body": BODY}, False),
        ({"keywords": {"any_of": ["sql"], "none_of": ["what"]}}, {"body": BODY}, False),
        ({"keywords": {"none_of": ["x"]}}, {"body": {"messages": []}}, True),
        ({"keywords": {"any_of": ["x"]}}, {"body": {"messages": []}}, False),
        ({"keywords": {"none_of": ["x"]}}, {"raw": TWICE}, None),
        ({"keywords": {"any_of": ["x"]}}, {}, None),
        ({}, {}, True),
        ({}, {"raw": b"{"}, True),
    ],
)
def test_a_condition_matches_does_not_or_does_not_know(match: dict[str, Any], seen: dict[str, Any], expected: bool | None) -> None:
    assert verdict(match, **seen) is expected


@pytest.mark.parametrize(
    ("match", "seen", "name", "wanted", "saw"),
    [
        ({"endpoint": ["chat", "responses"]}, {}, "endpoint", "one of chat, responses", "chat"),
        ({"model": "o3"}, {"body": BODY}, "model", "o3", "gpt-4o"),
        ({"model": "o3"}, {"body": {}}, "model", "o3", "no model"),
        ({"stream": True}, {"body": BODY}, "stream", "true", "false"),
        ({"has": ["tools", "images"]}, {"body": IMAGE}, "has", "one of tools, images", "images"),
        ({"path": "/v1/*"}, {}, "path", "/v1/*", "/v1/chat/completions"),
        ({"header": {"x-a": "b"}}, {"headers": [(b"x-a", b"c")]}, "header x-a", "b", "c"),
        (
            {"header": {"Authorization": "Bearer *"}},
            {"headers": [(b"authorization", b"Bearer sk-1")]},
            "header Authorization",
            "Bearer *",
            "there, not shown",
        ),
        ({"messages": {"at_least": 2}}, {"body": BODY}, "messages", "at least 2", "3"),
        ({"prompt_tokens": {"below": 400}}, {"body": BODY}, "prompt_tokens", "below 400", "fewer than 400 tokens"),
        ({"keywords": {"any_of": ["SQL", "x"]}}, {"body": BODY}, "keywords", "any of SQL, x in the last user message", "sql"),
        ({"model": "a"}, {"why": "body_too_large"}, "model", "a", "unknown: body_too_large"),
    ],
)
def test_an_explanation_says_what_was_wanted_and_what_was_seen(
    match: dict[str, Any], seen: dict[str, Any], name: str, wanted: str, saw: str
) -> None:
    condition = Compiler({}).condition(MatchSpec.read(unfold(MatchSpec, match)[0]))
    told = condition.explain(facts(tokens=Counter(), **seen)).children[0]

    assert (told.name, told.expected, told.seen) == (name, wanted, saw)


def test_an_explanation_shows_no_text_of_the_app() -> None:
    spec = MatchSpec.read(unfold(MatchSpec, {"keywords": {"any_of": ["sql"]}, "prompt_tokens": {"below": 5}})[0])

    assert "Hello" not in repr(Compiler({}).condition(spec).explain(facts(BODY, tokens=Counter())))


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"any_of": ["contract"]}, True),
        ({"any_of": ["lawsuit"]}, False),
        ({"all_of": ["contract", "end"]}, True),
        ({"all_of": ["contract", "lawsuit"]}, False),
        ({"none_of": ["lawsuit"]}, True),
        ({"none_of": ["end"]}, False),
        ({"any_of": ["contract"], "all_of": ["start", "end"], "none_of": ["lawsuit"]}, True),
        ({"any_of": [f"w{i}" for i in range(1000)] + ["contract"]}, True),
    ],
)
async def test_a_long_text_is_read_in_slices_and_then_known(keywords: dict[str, Any], expected: bool) -> None:
    condition = Compiler({}).condition(MatchSpec.read(unfold(MatchSpec, {"keywords": keywords, "model": "m"})[0]))
    seen = facts({"model": "m", "messages": user("start " + "words and " * 20_000 + "contract " + "words and " * 20_000 + "end")})
    with pytest.raises(TakesLong) as caught:
        condition.test(seen)
    await seen.settle(caught.value.limit)

    assert condition.test(seen) is expected
    assert condition.explain(seen).children[1].seen == "400,018 characters, read in slices"
