"""What a case expects is compared with what happened: what holds passes, and each thing that does not is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assembly.suites import told, verdicts

HI = "request: {prompt: Hi}"
STREAM = "request: {prompt: Hi, stream: true}"
HOLDS = [
    f"{HI}, expect: {{upstream: {{name: openai, model: gpt-4o-mini, method: POST, path: /v1/chat/completions, body: {{temperature: 0}}}}}}",
    f"{HI}, expect: {{upstream: openai gpt-4o-mini, exchanges: [openai gpt-4o-*], reply: {{status: 200, text: ok, ends: clean}}}}",
    f"{HI}, expect: {{policies: [small], matched: [small], shadow: [], journal: [rewrite, params], not_journal: refuse}}",
    f"{HI}, expect: {{journal: [{{kind: rewrite, policy: small, acted: true, what: {{asked: gpt-4o}}}}]}}",
    f"{HI}, expect: {{reply: {{headers: {{x-chassis-policies: small, x-chassis-model: gpt-4o-m*, x-nothing: absent}}}}}}",
    f"{HI}, expect: {{upstream: {{untouched: false, headers: {{authorization: Bearer sk-app}}}}}}",
    "request: {model: gpt-5, prompt: Hi}, "
    "expect: {upstream: {untouched: true}, policies: [], reply: {headers: {x-chassis-policies: absent}}}",
    "request: {prompt: Hi, headers: {x-to: groq}}, "
    "expect: {upstream: {to: groq *, path: /openai/v1/chat/completions}, policies: [small, moved]}",
    "request: {prompt: Hi, headers: {x-to: groq}}, expect: {upstream: {headers: {authorization: Bearer <GROQ_API_KEY>}}}",
    "request: {prompt: Hi, model: x, headers: {x-team: search}}, "
    "expect: {shadow: [watched], matched: [watched], upstream: {untouched: true}}",
    "request: {prompt: Hi, model: secret}, "
    "expect: {exchanges: 0, reply: {status: 403, error: {code: policy_refused, message: Not for you.}}}",
    f'{STREAM}, upstreams: {{openai: {{stream: [Hel, lo], gap: 1s}}}}, expect: {{reply: {{text: Hello, events: {{$last: "[DONE]"}}}}}}',
    f"{STREAM}, upstreams: {{openai: {{stream: [Hel, lo], gap: 1s}}}}, expect: {{took: {{at_least: 1s, below: 2s}}, began: {{below: 1s}}}}",
    f"{STREAM}, upstreams: {{openai: {{stream: [Hel], end: cut}}}}, expect: {{reply: {{text: Hel, ends: cut}}}}",
    f"{STREAM}, upstreams: {{openai: {{stream: [Hel], end: error}}}}, expect: {{reply: {{text: Hel, ends: error, error: server_error}}}}",
    f"{STREAM}, upstreams: {{openai: {{stream: [Hel], end: no_done}}}}, "
    f"expect: {{reply: {{events: {{$last: {{choices: [{{finish_reason: stop}}]}}}}}}}}",
    f"{HI}, upstreams: {{openai: {{refuse: true}}}}, "
    f"expect: {{exchanges: [openai gpt-4o-mini], reply: {{status: 502, error: upstream_unavailable}}}}",
    f"{HI}, upstreams: {{openai: {{stall: connect}}}}, expect: {{reply: {{status: 502}}, took: {{at_least: 10s, below: 11s}}}}",
    f"{HI}, upstreams: {{openai: {{tool_calls: {{name: f, arguments: {{a: 1}}}}}}}}, "
    f"expect: {{reply: {{tool_calls: [{{name: f, arguments: {{a: 1}}}}]}}}}",
    f"{HI}, upstreams: {{openai: {{status: 429, headers: {{retry-after: '1'}}}}}}, "
    f"expect: {{reply: {{status: 429, headers: {{retry-after: '1'}}}}}}",
    f"{HI}, upstreams: {{openai: {{body: hello}}}}, expect: {{reply: {{body: hello, text: hello}}}}",
    "request: {prompt: Hi, leaves: 3s}, upstreams: {openai: {stall: head}}, expect: {reply: {ends: left}, took: {below: 4s}}",
    "request: {prompt: Hi, stream: true, leaves: {chunks: 2}}, upstreams: {openai: {stream: [a, b, c], gap: 1s}}, "
    "expect: {reply: {ends: left}}",
    f"{HI}, upstreams: {{openai: {{stall: body}}}}, expect: {{reply: {{ends: left, status: 200}}, took: {{at_least: 10m}}}}",
    "policies: {version: 2}, expect: {problem: must be 1}",
    "policies: {version: 1, signals: {a: {model: x}}}, request: {prompt: Hi}, expect: {warning: no policy uses, exchanges: 1}",
]
FAILS = [
    (f"{HI}, expect: {{upstream: {{model: gpt-4o}}}}", "upstream.model: gpt-4o | gpt-4o-mini"),
    (f"{HI}, expect: {{upstream: groq}}", "upstream: groq | openai gpt-4o-mini"),
    (f"{HI}, expect: {{upstream: {{method: GET}}}}", "upstream.method: GET | POST"),
    (f"{HI}, expect: {{upstream: {{path: /v1/x}}}}", "upstream.path: /v1/x | /v1/chat/completions"),
    (f"{HI}, expect: {{upstream: {{headers: {{authorization: absent}}}}}}", "upstream.headers.authorization: absent | Bearer sk-app"),
    (f"{HI}, expect: {{upstream: {{headers: {{x-a: '*'}}}}}}", "upstream.headers.x-a: * | absent"),
    (f"{HI}, expect: {{upstream: {{body: {{temperature: 1}}}}}}", "upstream.body.temperature: 1 | 0"),
    (f"{HI}, expect: {{upstream: {{body: {{temperature: absent}}}}}}", "upstream.body.temperature: absent | 0"),
    (f"{HI}, expect: {{upstream: {{body_exactly: {{model: gpt-4o-mini}}}}}}", "upstream.body_exactly.messages: absent | "),
    (
        f"{HI}, expect: {{upstream: {{untouched: true}}}}",
        "upstream.untouched: as the app sent it | headers with another Content-Length; body from byte",
    ),
    ("request: {model: x, prompt: Hi}, expect: {upstream: {untouched: false}}", "upstream.untouched: something changed | every byte"),
    ("request: {model: secret, prompt: Hi}, expect: {upstream: openai}", "upstream: an exchange | none: nothing was sent"),
    (f"{HI}, expect: {{exchanges: 2}}", "exchanges: 2 | 1: openai gpt-4o-mini"),
    (f"{HI}, expect: {{exchanges: []}}", "exchanges: none | openai gpt-4o-mini"),
    (f"{HI}, expect: {{exchanges: [openai gpt-5]}}", "exchanges.0: openai gpt-5 | openai gpt-4o-mini"),
    (f"{HI}, expect: {{reply: {{status: 201}}}}", "reply.status: 201 | 200: ok"),
    (f"{HI}, expect: {{reply: {{text: no}}}}", "reply.text: no | ok"),
    (f"{HI}, expect: {{reply: {{text: {{contains: x, lacks: o}}}}}}", "reply.text: contains x | ok"),
    (f"{HI}, expect: {{reply: {{text: {{contains: x, lacks: o}}}}}}", "reply.text: lacks o | ok"),
    (f"{HI}, expect: {{reply: {{error: upstream_timeout}}}}", "reply.error: an error | none: 200 ok"),
    ("request: {model: secret, prompt: Hi}, expect: {reply: {error: {code: x}}}", "reply.error.code: x | policy_refused"),
    (f"{HI}, expect: {{reply: {{ends: cut}}}}", "reply.ends: cut | clean"),
    (f"{STREAM}, upstreams: {{openai: {{stream: [a], end: cut}}}}, expect: {{reply: {{ends: clean}}}}", "reply.ends: clean | cut: "),
    (f"{HI}, expect: {{reply: {{events: []}}}}", "reply.events: [] | absent"),
    (f"{HI}, expect: {{reply: {{tool_calls: [{{name: f}}]}}}}", "reply.tool_calls: 1 items | 0: []"),
    (f"{HI}, expect: {{policies: []}}", "policies: none | small"),
    (f"{HI}, expect: {{policies: [moved, small]}}", "policies: moved, small | small"),
    (f"{HI}, expect: {{matched: []}}", "matched: none | small"),
    (f"{HI}, expect: {{shadow: [watched]}}", "shadow: watched | none"),
    (f"{HI}, expect: {{journal: [params, rewrite]}}", "journal.1: rewrite | rewrite of small, params of small"),
    (f"{HI}, expect: {{journal: [{{kind: rewrite, policy: moved}}]}}", "journal.0: rewrite of moved | rewrite of small"),
    (f"{HI}, expect: {{journal: [{{kind: rewrite, what: {{model: x}}}}]}}", 'journal.0: rewrite ({"model":"x"}) | rewrite of small'),
    (f"{HI}, expect: {{not_journal: rewrite}}", "not_journal.0: no rewrite | rewrite of small"),
    (f"{HI}, upstreams: {{openai: {{delay: 2s}}}}, expect: {{took: {{below: 1s}}}}", "took.below: below 1s | 2 s"),
    (f"{HI}, upstreams: {{openai: {{delay: 2s}}}}, expect: {{began: {{at_least: 3s}}}}", "began.at_least: at least 3s | 2 s"),
    ("request: {prompt: Hi, leaves: 1s}, upstreams: {openai: {stall: head}}, expect: {began: {below: 3s}}", "began: a reply | none"),
    (
        "request: {prompt: Hi, leaves: 1s}, upstreams: {openai: {stall: head}}, expect: {reply: {status: 200}}",
        "reply: a reply | none: the app left",
    ),
    (f"{HI}, upstreams: {{openai: {{stall: head}}}}, expect: {{exchanges: 1}}", "reply: an end | no head of a reply for 10m"),
    (
        f"{HI}, upstreams: {{openai: {{stall: first}}}}, expect: {{exchanges: 1}}",
        "reply: an end | a 200, 0 bytes of its body, and no end for 10m",
    ),
    (
        f"{HI}, upstreams: {{openai: {{refuse: true}}}}, expect: {{upstream: {{headers: {{a: b}}}}}}",
        "upstream: a request | no connection: connect: ",
    ),
    ("policies: {version: 1}, expect: {problem: must be 1}", "problem: must be 1 | the policies are loaded"),
    ("policies: {version: 2}, expect: {problem: {says: must be 1, line: 7}}", "problem: says must be 1, line 7 | "),
    ("policies: {version: 2}, expect: {problem: something else}", "problem: says something else | "),
    ("policies: {version: 1}, request: {prompt: Hi}, expect: {warning: no policy uses}", "warning: says no policy uses | nothing"),
    ("policies: {version: 2}, request: {prompt: Hi}, expect: {exchanges: 1}", "version: must be 1, the only version"),
]


@pytest.mark.parametrize("case", HOLDS, ids=range(len(HOLDS)))
def test_what_holds_passes(tmp_path: Path, case: str) -> None:
    (verdict,) = verdicts(tmp_path, case)

    assert told(verdict) == []
    assert verdict.passed


@pytest.mark.parametrize(("case", "said"), FAILS, ids=[said for _, said in FAILS])
def test_what_does_not_hold_fails_and_says_why(tmp_path: Path, case: str, said: str) -> None:
    (verdict,) = verdicts(tmp_path, case)

    assert not verdict.passed
    assert any(said in line for line in told(verdict)), told(verdict)


def test_everything_that_is_not_as_expected_is_told(tmp_path: Path) -> None:
    (verdict,) = verdicts(tmp_path, f"{HI}, expect: {{upstream: groq, reply: {{status: 201, text: no}}, policies: [], exchanges: 3}}")

    assert len(told(verdict)) == 5


def test_each_step_expects_for_itself_and_the_case_for_all(tmp_path: Path) -> None:
    steps = "steps: [{request: {prompt: Hi}, expect: {exchanges: 2}}, {request: {model: secret, prompt: Hi}, expect: {policies: [closed]}}]"
    (verdict,) = verdicts(tmp_path, f"{steps}, expect: {{exchanges: 1, took: {{below: 1s}}}}")

    assert told(verdict) == ["steps.0.exchanges: 2 | 1: openai gpt-4o-mini"]


def test_a_hang_says_what_to_do(tmp_path: Path) -> None:
    (verdict,) = verdicts(tmp_path, f"{HI}, upstreams: {{openai: {{stall: head}}}}, expect: {{exchanges: 1}}")

    assert "give the request `leaves`, or the policies a timeout" in verdict.misses[0].note
