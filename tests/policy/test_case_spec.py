"""What a test file may say: its cases and what they ask."""

from __future__ import annotations

import pytest

from proxy.policy.case_spec import CaseSpec, LeavesSpec, RepeatedSpec, RequestSpec, StepSpec, SuiteSpec
from tests.policy.specs import read, refused

ASKS = "request: {prompt: Hi}"


def test_the_form_of_the_design_is_read() -> None:
    text = """
    policies: [example.yaml]
    cases:
      - name: a stalled primary is left for groq, and nobody waits long
        request: {headers: {authorization: Bearer sk-app}, body: {model: gpt-5, stream: true, messages: [{role: user, content: Hi}]}}
        upstreams:
          openai: [{stall: head}, {status: 503, headers: {retry-after: "1"}}]
          groq: [{stream: [Hel, lo], gap: 50ms, end: clean}]
        expect:
          exchanges: [openai gpt-5, openai gpt-5, groq llama-3.3-70b-versatile]
          reply: {text: Hello, headers: {x-chassis-upstream: groq}}
          took: {below: 60s}
          journal: [retry, fallback]
    """
    (case,) = read(SuiteSpec, text).cases

    assert [play.stall for play in case.upstreams["openai"]] == ["head", None]
    assert case.expect is not None
    assert case.expect.took is not None
    assert case.expect.took.below == 60.0


def test_a_text_may_be_repeated_and_a_leaving_named_in_short() -> None:
    assert read(RepeatedSpec, "{text: ab, times: 3}").whole == "ababab"
    assert read(RepeatedSpec, "ab").whole == "ab"
    assert read(LeavesSpec, "3s").after == 3.0
    assert read(LeavesSpec, "{chunks: 2}").chunks == 2


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (RequestSpec, "{}", "asks for nothing"),
        (RequestSpec, "{prompt: a, body: {}}", "`prompt` is the short form"),
        (RequestSpec, "{prompt: a, messages: []}", "both say what is asked"),
        (RequestSpec, "{endpoint: images, prompt: a}", "has no short form"),
        (RequestSpec, "{path: v1}", "must start with '/'"),
        (RequestSpec, "{path: /a b}", "may hold no space"),
        (RequestSpec, "{path: /a, method: GE T}", "must be a method"),
        (RequestSpec, "{prompt: a, headers: {content-length: '1'}}", "belongs to the transport"),
        (RepeatedSpec, "{text: aaaaaaaaaaaaaaaaaaaa, times: 1000000}", "is longer than 10,000,000 characters"),
        (LeavesSpec, "{}", "needs one of"),
        (LeavesSpec, "{after: 1s, chunks: 1}", "needs one of"),
        (StepSpec, f"{{{ASKS}, after: 1s, at: 1s}}", "both say when"),
        (StepSpec, f"{{{ASKS}, expect: {{problem: x}}}}", "is about the policies"),
        (CaseSpec, f"{{name: a, {ASKS}}}", "expects nothing"),
        (CaseSpec, "{name: a, expect: {exchanges: 1}}", "has no request"),
        (CaseSpec, f"{{name: a, {ASKS}, steps: [{{{ASKS}}}], expect: {{exchanges: 1}}}}", "both say what is asked"),
        (CaseSpec, f"{{name: a, steps: [{{{ASKS}}}], expect: {{reply: {{status: 200}}}}}}", "`reply` is about one request"),
        (CaseSpec, f"{{name: a, {ASKS}, expect: {{problem: x}}}}", "nothing is asked where the policies are refused"),
        (CaseSpec, f"{{name: a, now: soon, {ASKS}, expect: {{exchanges: 1}}}}", "must be a time"),
        (CaseSpec, f"{{name: a, now: '2026-01-01T00:00:00', {ASKS}, expect: {{exchanges: 1}}}}", "must say its zone"),
        (CaseSpec, f"{{name: a, policies: [], {ASKS}, expect: {{exchanges: 1}}}}", "is a file or a list"),
        (SuiteSpec, "{cases: []}", "at least 1 item"),
    ],
)
def test_what_cannot_be_meant_is_refused(kind: type[CaseSpec], text: str, said: str) -> None:
    assert said in refused(kind, text)


def test_a_case_may_be_about_the_policies_alone() -> None:
    assert read(CaseSpec, "{name: a, expect: {warning: unused}}").request is None
    assert read(CaseSpec, "{name: a, policies: {version: 1}, expect: {problem: [a, b]}}").expect is not None
