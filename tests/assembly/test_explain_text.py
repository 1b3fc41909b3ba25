"""An explanation for a person: the outcome first, nothing that a terminal would take for more than text."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.assembly.changes import Body, Change, Header, Span
from proxy.assembly.explain import Explanation, Held, Holder, LayerExplained, RuleExplained, Sent
from proxy.assembly.explain_text import as_text
from proxy.core.journal import Entry
from proxy.openai.payload import MISSING
from proxy.policy.conditions import Explained


def rule(name: str, verdict: bool | None = True, **more: Any) -> RuleExplained:
    condition = Explained("match", "each of them", "1 of 1", verdict, (Explained("model", "gpt-*", "gpt-4o", verdict),))
    return RuleExplained(name, "p.yaml:1:1", more.pop("mode", "enforce"), verdict, condition, ("rewrite",), **more)


def explanation(**more: Any) -> Explanation:
    return Explanation("chat", "POST", "/v1/chat/completions", "gpt-4o", **more)


def sent(**more: Any) -> Sent:
    return Sent("openai", "https://a/v1/chat/completions", True, "mini", **{"body": None, "headers": (), **more})


def test_the_outcome_comes_first() -> None:
    journal = [
        Entry(0, "rewrite", "a", acted=True),
        Entry(0, "rewrite", "a", acted=True),
        Entry(0, "refuse", "s", shadow=True),
        Entry(0, "unknown", None),
    ]
    lines = as_text(explanation(rules=[rule("a"), rule("b", None)], journal=journal, sent=sent()))

    assert lines[:5] == [
        "chat call, model gpt-4o: POST /v1/chat/completions",
        "  goes to: openai, model mini",
        "  acted: a (rewrite)",
        "  would have acted, in shadow: s (refuse)",
        "  cannot be told: b",
    ]


def test_a_refusal_comes_first_too() -> None:
    lines = as_text(explanation(status=403, reply=b'{"error": "no"}', headers=[(b"x-chassis-policies", b"a")]))

    assert lines[1] == "  refused: 403, nothing is sent"
    assert lines[-3:] == ["answered by the proxy itself: 403", "  x-chassis-policies: a", '  {"error": "no"}']


def test_labels_kinds_and_marks_of_a_policy() -> None:
    lines = as_text(explanation(rules=[rule("a", None, mode="shadow", labels=(("team", "x"),))]))

    assert lines[lines.index("a (p.yaml:1:1): cannot be told, so it does not match, in shadow") :][1:3] == [
        "  apply: rewrite; labels: team=x",
        "  ?   model: wants gpt-*; saw gpt-4o",
    ]


@pytest.mark.parametrize(("exchanges", "said"), [(0, "0 exchanges"), (1, "1 exchange"), (2, "2 exchanges")])
def test_exchanges_are_counted_in_words(exchanges: int, said: str) -> None:
    recorded = {"call": "c", "ts": "t", "ms": 1, "outcome": "ok", "exchanges": exchanges, "status": 200}

    assert f"call c at t: 200 (ok) in 1 ms, {said}" in as_text(explanation(recorded=recorded))


def test_brief_leaves_out_what_does_not_match() -> None:
    lines = as_text(explanation(rules=[rule("a"), rule("b", False), rule("c", None)]), brief=True)

    assert [line.partition(" ")[0] for line in lines if "p.yaml" in line] == ["a", "c"]
    assert "1 policy does not match" in lines


def test_policies_that_are_off_and_what_was_lost_are_listed() -> None:
    stack = [
        LayerExplained("rewrite", "a", "call", ("model",)),
        LayerExplained("retry", "a", "plan", ()),
        LayerExplained("prime", "a", "exchange", ()),
    ]
    lines = as_text(explanation(off=[("o", "p.yaml:9:9")], stack=stack))

    assert lines[lines.index("off:") + 1] == "  o (p.yaml:9:9)"
    assert lines[lines.index("layers, outermost first:") :][1:4] == [
        "  rewrite of a, once a call: model",
        "  retry of a, once a call",
        "  prime of a, once an exchange",
    ]


def test_who_holds_what_is_listed_up_to_a_screen() -> None:
    by = tuple(Holder(f"p{number}", "rewrite") for number in range(20))
    held = Held(True, True, (Holder(None, "the model names of upstream a"), *by), (Holder("q", "check, whole"),))
    lines = as_text(explanation(held=held))
    at = lines.index("held:")

    assert lines[at + 1 : at + 4] == [
        "  request: the body is held until it is whole",
        "    for the model names of upstream a",
        "    for p0: rewrite",
    ]
    assert "    and 13 more" in lines
    assert lines[lines.index("  reply: held back") + 1] == "    for q: check, whole"


def test_the_diff_has_sizes_places_fields_and_headers() -> None:
    body = Body(1000, 1010, (Change("n", 3, MISSING), Change("x (after)", MISSING, "One.\nTwo.")), (Span(10, 20, 0), Span(30, 30, 20)))
    headers = (Header(" ", "A", "1"), Header("+", "B", "***"), Header("-", "C", "3"))
    lines = as_text(explanation(sent=sent(body=body, headers=headers), has_body=True))

    assert lines[lines.index("sent to openai: https://a/v1/chat/completions, model mini") + 1 :] == [
        "  headers:",
        "    A: 1",
        "  + B: ***",
        "  - C: 3",
        "  body, 1,000 bytes in, 1,010 out, changed at 10-20, 30-30:",
        "  - n: 3",
        "  + x (after):",
        "  +   One.",
        "  +   Two.",
    ]


def test_no_line_holds_what_a_terminal_would_obey() -> None:
    bad = "\x1b[2J\r\n\x00é"
    seen = Explained("match", "x", "x", True, (Explained("header x", bad, bad, True),))
    lines = as_text(
        Explanation(
            "chat",
            "POST",
            "/",
            bad,
            rules=[RuleExplained("a", "p.yaml:1:1", "enforce", True, seen, ("rewrite",))],
            journal=[Entry(0, "rewrite", "a", what={"asked": bad, "list": [bad, bad], "other": {"k": bad}})],
            sent=sent(body=Body(1, 1, (Change("model", bad, bad),), ()), headers=(Header("+", "A", bad),)),
            headers=[(b"x", bad.encode())],
            recorded={"call": "c", "ts": "t", "ms": 1, "outcome": "failed", "exchanges": 1, "detail": bad},
            has_body=True,
        )
    )

    assert all(line.isprintable() for line in lines)


def test_a_recorded_call_shows_when_and_how_it_ended() -> None:
    recorded = {
        "call": "c1",
        "ts": "2026-01-01T00:00:00.000Z",
        "ms": 12.5,
        "outcome": "failed",
        "status": 502,
        "exchanges": 2,
        "fault": "connect",
        "detail": "refused",
        "generation": 3,
        "revision": "abc",
        "upstream": "groq",
        "model_sent": "m",
    }
    lines = as_text(explanation(recorded=recorded, notes=["the policies have changed since"]))

    assert lines[1:7] == [
        "call c1 at 2026-01-01T00:00:00.000Z: 502 (failed) in 12.5 ms, 2 exchanges",
        "  fault: connect",
        "  detail: refused",
        "  policies of then: generation 3, revision abc",
        "  went to: groq, model m",
        "  note: the policies have changed since",
    ]
