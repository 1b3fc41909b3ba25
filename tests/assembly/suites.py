"""suites -- test files in a test: a policy file and cases for it, written to a folder, read and run."""

from __future__ import annotations

from pathlib import Path

from proxy.assembly.coverage import Coverage
from proxy.assembly.suite import Suite, read_suite
from proxy.assembly.trial import run
from proxy.assembly.verdict import Verdict

POLICIES = """
version: 1
upstreams:
  openai: {url: "https://api.openai.com/v1"}
  groq: {url: "https://groq.test/openai/v1", key: "${GROQ_API_KEY}"}
policies:
  - name: small
    match: {endpoint: chat, model: gpt-4o, prompt_tokens: {below: 400}}
    apply: {rewrite: {model: gpt-4o-mini}, params: {overrides: {temperature: 0}}}
  - name: moved
    match: {header: {x-to: groq}}
    apply: {rewrite: {upstream: groq, model: llama}}
  - name: watched
    mode: shadow
    match: {header: {x-team: search}}
    apply: {refuse: {}}
  - name: closed
    match: {model: secret}
    apply: {refuse: {status: 403, code: policy_refused, message: Not for you.}}
"""


def written(folder: Path, cases: str, policies: str = POLICIES) -> Path:
    """A test file of `cases` (the whole text where it has `cases:`, else one case's fields) beside its policies."""
    (folder / "p.yaml").write_text(policies, "utf-8")
    file = folder / "p.test.yaml"
    file.write_text(cases if "cases:" in cases else f"cases: [{{name: a, {cases}}}]", "utf-8")
    return file


def suite(folder: Path, cases: str, policies: str = POLICIES) -> Suite:
    """The same, read."""
    return read_suite(written(folder, cases, policies))


def verdicts(folder: Path, cases: str, policies: str = POLICIES, coverage: Coverage | None = None) -> list[Verdict]:
    """The same, run. The file itself must be right."""
    read = suite(folder, cases, policies)
    assert not read.problems, "\n".join(map(str, read.problems))
    return list(run(read, lambda suite, case: True, coverage))


def told(verdict: Verdict) -> list[str]:
    """What is not as expected, a line each."""
    misses = [f"{'.'.join(map(str, miss.path))}: {miss.expected} | {miss.seen}" for miss in verdict.misses]
    return [*misses, *map(str, verdict.refused), *(f"{what}: {bug!r}" for what, bug in verdict.played.bugs)]
