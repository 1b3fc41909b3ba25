"""What no case shows of a policy is found, and what one shows is not complained of."""

from __future__ import annotations

from pathlib import Path

from proxy.assembly.coverage import Coverage
from tests.assembly.suites import POLICIES, verdicts

SHADOWED = """
version: 1
policies:
  - {name: first, match: {endpoint: chat}, apply: {rewrite: {model: a}}}
  - {name: second, match: {endpoint: chat, stream: true}, apply: {rewrite: {model: b}}}
  - {name: always, apply: {params: {defaults: {seed: 1}}}}
  - {name: "off", mode: "off", match: {model: x}, apply: {refuse: {}}}
"""


def lacking(folder: Path, cases: str, policies: str = POLICIES) -> tuple[list[str], Coverage]:
    coverage = Coverage()
    verdicts(folder, cases, policies, coverage)
    return [f"{point.policy}: {point.what}: {point.lacks}" for point in coverage.points() if not point.seen], coverage


def test_a_policy_that_no_case_touches_never_matches(tmp_path: Path) -> None:
    found, coverage = lacking(tmp_path, "request: {model: gpt-4o, prompt: Hi}, expect: {exchanges: 1}")

    assert "moved: the policy: never matches" in found
    assert "small: the policy: always matches" in found
    assert 0 < coverage.percent() < 100


def test_each_condition_must_be_seen_true_and_false(tmp_path: Path) -> None:
    cases = (
        "cases: [{name: a, request: {model: gpt-4o, prompt: Hi}, "
        "expect: {exchanges: 1}}, {name: b, request: {model: x, prompt: Hi}, expect: {exchanges: 1}}]"
    )
    found, _ = lacking(tmp_path, cases)

    assert "small: endpoint: chat: never false" in found
    assert "small: prompt_tokens: below 400: never false" in found
    assert not any(line.startswith("small: model") for line in found)


def test_what_another_policy_always_takes_is_never_in_effect(tmp_path: Path) -> None:
    found, _ = lacking(tmp_path, "request: {prompt: Hi, stream: true}, expect: {exchanges: 1}", SHADOWED)

    assert "second: rewrite.model: never in effect" in found
    assert not any(line.startswith("first: rewrite") for line in found)


def test_a_policy_without_conditions_need_not_be_left_out(tmp_path: Path) -> None:
    found, _ = lacking(tmp_path, "request: {prompt: Hi}, expect: {exchanges: 1}", SHADOWED)

    assert not any(line.startswith(("always", "off")) for line in found)


def test_a_policy_in_shadow_is_shown_by_a_match(tmp_path: Path) -> None:
    found, _ = lacking(tmp_path, "request: {prompt: Hi, headers: {x-team: search}}, expect: {exchanges: 1}")

    assert [line for line in found if line.startswith("watched")] == ["watched: the policy: always matches"]


def test_cases_with_policies_of_their_own_show_nothing_of_the_files(tmp_path: Path) -> None:
    inline = "policies: {version: 1, policies: [{name: p, apply: {refuse: {}}}]}, request: {prompt: Hi}, expect: {exchanges: 0}"
    found, coverage = lacking(tmp_path, inline)

    assert "small: the policy: never matches" in found
    assert not any(line.startswith("p:") for line in found)
    assert coverage.percent() < 30


def test_long_prompts_are_counted_to_their_end(tmp_path: Path) -> None:
    cases = (
        'cases: [{name: a, request: {prompt: {text: "word ", times: 100000}}, '
        "expect: {policies: []}}, {name: b, request: {prompt: Hi}, expect: {exchanges: 1}}]"
    )
    found, _ = lacking(tmp_path, cases)

    assert not any("prompt_tokens" in line for line in found)


def test_where_there_is_nothing_to_show_all_of_it_is_shown() -> None:
    assert Coverage().percent() == 100.0


def test_the_parts_of_a_score_are_no_conditions(tmp_path: Path) -> None:
    policies = "version: 1\npolicies: [{name: p, match: {endpoint: chat, complexity: {below: 0.4}}, apply: {rewrite: {model: m}}}]\n"
    found, _ = lacking(tmp_path, "request: {prompt: What is the capital of France?}, expect: {exchanges: 1}", policies)

    assert found == ["p: the policy: always matches", "p: endpoint: chat: never false", "p: complexity: below 0.4: never false"]
