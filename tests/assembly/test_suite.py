"""A test file: what is wrong in it is told with its place, and never passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.assembly.load import Policies
from proxy.assembly.stack import KINDS
from proxy.assembly.suite import NOTED, policy_file_of, read_suite, suite_file_of
from proxy.policy.problems import PolicyError
from tests.assembly.suites import POLICIES, suite, written

ROOT = Path(__file__).parents[2]
ASKS = "request: {prompt: Hi}"
WRONG = [
    ("", "1:1: the file is empty; a test file has `cases`"),
    ("cases: []", "1:8: cases: must not be empty"),
    ("- a", "1:1: must be a mapping, got a list"),
    ("cases:\n\t- a", "2:1: a tab cannot indent YAML"),
    ("case: []\ncases: [{name: a, request: {prompt: Hi}, expect: {exchanges: 1}}]", "1:1: unknown field 'case'; did you mean 'cases'?"),
    (ASKS, "expects nothing; a case without `expect` proves nothing"),
    (f"{ASKS}, expect: {{}}", "cases[0].expect: expects nothing"),
    (f"{ASKS}, expect: {{upstreem: {{model: x}}}}", "cases[0].expect: unknown field 'upstreem'; did you mean 'upstream'?"),
    (f"{ASKS}, expect: {{upstream: {{modle: x}}}}", "cases[0].expect.upstream: unknown field 'modle'; did you mean 'model'?"),
    (f"{ASKS}, expect: {{upstream: null}}", "cases[0].expect.upstream: has no value"),
    (f"{ASKS}, expect: {{reply: {{statuss: 200}}}}", "cases[0].expect.reply: unknown field 'statuss'; did you mean 'status'?"),
    (f'{ASKS}, expect: {{reply: {{status: "200"}}}}', "must be a whole number, got '200'; take the quotes away"),
    (f"{ASKS}, expect: {{reply: {{error: {{cod: x}}}}}}", "cases[0].expect.reply.error: unknown field 'cod'; did you mean 'code'?"),
    (f"{ASKS}, expect: {{reply: {{ends: clena}}}}", "must be one of clean, cut, error, left, got 'clena'; did you mean 'clean'?"),
    (
        f"{ASKS}, expect: {{reply: {{body: {{a: {{$contians: x}}}}}}}}",
        "expect.reply.body.a: unknown word '$contians'; did you mean '$contains'?",
    ),
    (f"{ASKS}, expect: {{reply: {{body: {{a: {{$below: x}}}}}}}}", "`$below` takes a number"),
    (f"{ASKS}, expect: {{journal: [rewrit]}}", "no journal has the kind 'rewrit'; did you mean 'rewrite'?"),
    (f"{ASKS}, expect: {{not_journal: [refusal]}}", "no journal has the kind 'refusal'; did you mean 'refuse'?"),
    (f"{ASKS}, expect: {{journal: [{{kind: rewrite, polcy: x}}]}}", "unknown field 'polcy'; did you mean 'policy'?"),
    (f"{ASKS}, expect: {{journal: [{{kind: rewrite, policy: smal}}]}}", "unknown policy 'smal'; did you mean 'small'?"),
    (f"{ASKS}, expect: {{policies: [smal]}}", "cases[0].expect.policies[0]: unknown policy 'smal'; did you mean 'small'?"),
    (f"{ASKS}, expect: {{shadow: [watchd]}}", "unknown policy 'watchd'; did you mean 'watched'?"),
    (f"{ASKS}, expect: {{exchanges: [opnai gpt-4o]}}", "unknown upstream 'opnai'; did you mean 'openai'?"),
    (f"{ASKS}, expect: {{upstream: {{name: grok}}}}", "unknown upstream 'grok'; did you mean 'groq'?"),
    (f"{ASKS}, expect: {{exchanges: -1}}", "must be at least 0, got -1"),
    (f"{ASKS}, expect: {{took: {{below: 5}}}}", "must be a duration such as 200ms, 2s, 1m or 1h, got 5; did you mean '5s'?"),
    (f"{ASKS}, expect: {{took: {{below: 1s, at_least: 2s}}}}", "can never be true"),
    (
        f"{ASKS}, upstreams: {{opnai: ok}}, expect: {{exchanges: 1}}",
        "cases[0].upstreams.opnai: unknown upstream 'opnai'; did you mean 'openai'?",
    ),
    (f"{ASKS}, upstreams: {{openai: {{stall: haed}}}}, expect: {{exchanges: 1}}", "must be one of connect, head, first, body, got 'haed'"),
    (f"{ASKS}, upstreams: {{openai: {{refuse: true, reply: a}}}}, expect: {{exchanges: 1}}", "nothing is said after `refuse`"),
    (f"{ASKS}, upstreams: {{openai: {{reply: a, body: b}}}}, expect: {{exchanges: 1}}", "`reply` and `body` both say what the body is"),
    ("request: {promt: Hi}, expect: {exchanges: 1}", "unknown field 'promt'; did you mean 'prompt'?"),
    ("request: {prompt: Hi, body: {}}, expect: {exchanges: 1}", "`prompt` is the short form, `body` the full one"),
    ("request: {}, expect: {exchanges: 1}", "cases[0].request: asks for nothing"),
    ("expect: {exchanges: 1}", "has no request"),
    ("request: {prompt: Hi, headers: {content-length: '3'}}, expect: {exchanges: 1}", "belongs to the transport"),
    (f"{ASKS}, now: yesterday, expect: {{exchanges: 1}}", "must be a time such as 2026-03-02T09:30:00Z, got 'yesterday'"),
    (f"{ASKS}, steps: [{{{ASKS}}}], expect: {{exchanges: 1}}", "`request` and `steps` both say what is asked"),
    (f"steps: [{{{ASKS}}}], expect: {{policies: []}}", "`policies` is about one request"),
    ("policies: {version: 1}, request: {prompt: Hi}, expect: {problem: x}", "nothing is asked where the policies are refused"),
    (f"policies: no.yaml, {ASKS}, expect: {{exchanges: 1}}", "cases[0].policies: the policy file"),
    (f"policies: 5, {ASKS}, expect: {{exchanges: 1}}", "is a file or a list of files"),
    (
        f"cases: [{{name: a, {ASKS}, expect: {{exchanges: 1}}}}, {{name: a, {ASKS}, expect: {{exchanges: 1}}}}]",
        "cases[1].name: the name 'a' is taken by the case at line 1",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[text[:60] for text, _ in WRONG])
def test_a_mistake_in_a_test_file_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "p.test.yaml"
    if ":" in text:
        written(tmp_path, text)
    else:
        file.write_text(text)
    found = read_suite(file)
    problems = [str(problem).removeprefix(f"{file}:") for problem in found.problems]

    assert any(said in problem for problem in problems), problems
    assert all(re.match(r"\d+:\d+: ", problem) for problem in problems)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    found = suite(tmp_path, "cases: [{name: a, expect: {exchanges: x}}, {name: b, request: {prompt: 1}, expect: {repply: {}}}]")

    assert len(found.problems) == 3


def test_the_policies_are_those_of_the_file_of_the_same_name(tmp_path: Path) -> None:
    found = suite(tmp_path, f"{ASKS}, expect: {{exchanges: 1}}")

    assert not found.problems
    assert isinstance(found.covers, Policies)
    assert [rule.name for rule in found.covers.rules] == ["small", "moved", "watched", "closed"]
    assert not found.cases[0].own


def test_other_files_may_be_named_and_are_one_folder(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("version: 1\npolicies: [{name: more, apply: {refuse: {}}}]\n")
    found = suite(tmp_path, f"policies: [p.yaml, more.yaml]\ncases: [{{name: a, {ASKS}, expect: {{policies: [more]}}}}]")

    assert not found.problems
    assert found.covers is not None
    assert len(found.covers.rules) == 5


def test_policies_that_stand_within_a_test_file_have_their_places_there(tmp_path: Path) -> None:
    text = """
cases:
  - name: a
    policies:
      version: 1
      policies:
        - name: p
          apply: {rewrite: {modell: x}}
    expect: {problem: modell}
"""
    (case,) = suite(tmp_path, text).cases

    assert isinstance(case.policies, PolicyError)
    first = case.policies.problems[0]
    assert (first.file, first.line) == (str(tmp_path / "p.test.yaml"), 8)


def test_policies_may_be_given_as_text_for_what_yaml_itself_refuses(tmp_path: Path) -> None:
    text = (
        "cases:\n  - name: a\n    policies: |\n      version: 1\n      version: 1\n    expect: {problem: {says: duplicate key, line: 2}}\n"
    )
    (case,) = suite(tmp_path, text).cases

    assert isinstance(case.policies, PolicyError)


def test_no_secret_is_needed_or_read(tmp_path: Path) -> None:
    policies = POLICIES.replace('"${GROQ_API_KEY}"', '"${file:/nowhere/at/all}"')
    found = suite(tmp_path, f"{ASKS}, expect: {{exchanges: 1}}", policies)

    assert not found.problems
    assert found.covers is not None
    credential = found.covers.upstreams["groq"].credential
    assert credential is not None
    assert credential.secret.value == "</nowhere/at/all>"


def test_policies_that_are_wrong_are_told_once_for_all_cases(tmp_path: Path) -> None:
    cases = f"cases: [{{name: a, {ASKS}, expect: {{exchanges: 1}}}}, {{name: b, {ASKS}, expect: {{exchanges: 1}}}}]"
    found = suite(tmp_path, cases, "version: 1\npolicies: [{name: x}]\n")

    assert [problem.file for problem in found.problems] == [str(tmp_path / "p.yaml")]
    assert found.cases == []


def test_a_file_that_is_not_there_and_one_without_policies_are_told(tmp_path: Path) -> None:
    missing = read_suite(tmp_path / "no.test.yaml")
    (tmp_path / "x.test.yaml").write_text(f"cases: [{{name: a, {ASKS}, expect: {{exchanges: 1}}}}]")
    alone = read_suite(tmp_path / "x.test.yaml")

    assert "cannot be read" in str(missing.problems[0])
    assert "there is no x.yaml beside it to be tested" in str(alone.problems[0])


def test_a_policy_file_and_its_tests_find_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.yml").touch()

    assert policy_file_of(tmp_path / "a.test.yaml") == tmp_path / "a.yml"
    assert policy_file_of(tmp_path / "b.test.yaml") is None
    assert suite_file_of(Path("x/a.yaml")) == Path("x/a.test.yaml")


def test_every_word_that_a_journal_may_have_is_known() -> None:
    noted = set()
    for file in (ROOT / "proxy").rglob("*.py"):
        noted |= set(re.findall(r'journal\.note\(\s*"([a-z_]+)"', file.read_text("utf-8")))

    assert noted <= {*KINDS, *NOTED}
    assert noted >= NOTED
