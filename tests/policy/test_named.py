from __future__ import annotations

from proxy.policy.document_spec import document_model
from proxy.policy.named import secrets_in, signals_in, upstreams_in
from tests.policy.kinds_for_tests import KINDS
from tests.policy.test_references import problems

MODEL = document_model(KINDS)


def test_signals_are_found_in_a_match_that_is_wrong() -> None:
    inner = [{"all": [{"signals": "d"}]}, 5]
    match = {"endpoint": 5, "signals": ["a", 7, "b"], "not": {"signals": "c"}, "any": inner, "all": {"signals": "e"}}

    assert list(signals_in(match)) == [
        (("signals", 0), "a"), (("signals", 2), "b"), (("all", "signals"), "e"), (("any", 0, "all", 0, "signals"), "d"),
        (("not", "signals"), "c"),
    ]  # fmt: skip
    assert list(signals_in("x")) == list(signals_in(None)) == []


def test_upstreams_are_found_by_their_field_and_nowhere_else() -> None:
    policy = {
        "name": 5,
        "apply": {
            "rewrite": {"modle": "x", "upstream": "a"},
            "fallback": {"targets": [{"upstream": "b"}, 7, {"upstream": 5}]},
            "hold": {"body": {"upstream": "no"}},
        },
    }
    (model, _) = MODEL.model_fields["policies"].annotation.__args__  # type: ignore[union-attr]

    assert list(upstreams_in(model, policy)) == [
        (("apply", "rewrite", "upstream"), "a"),
        (("apply", "fallback", "targets", 0, "upstream"), "b"),
    ]


def test_secrets_are_found_wherever_they_are_resolved() -> None:
    upstream = {"url": "${NO}", "key": "${A}", "proxy": 5, "headers": {"set": {"x": "${B}", "y": 5}, "keep": ["z"]}, "query": {"q": "${C}"}}

    assert list(secrets_in(upstream)) == [(("key",), "${A}"), (("headers", "set", "x"), "${B}"), (("query", "q"), "${C}")]
    assert list(secrets_in({"headers": 5, "query": []})) == list(secrets_in(7)) == []


def test_all_of_a_policy_that_is_wrong_in_one_place_is_told_at_once() -> None:
    text = """\
upstreams:
  a: {url: https://a/v1}
  b: {url: 5, key: "${NOPE}", headers: {set: {x: "${NOPE2}"}}}
  c: {url: https://c/v1}
signals:
  s: {stream: 5, signals: nome}
policies:
  - name: p
    match: {endpoint: chatt, signals: [s, nope]}
    apply: {rewrite: {modle: x, upstream: d}, fallback: [{upstream: c}, {upstream: b}, {upstream: e}]}
  - {name: 7, apply: {rewrite: {upstream: f}}}
"""
    got = [each.removeprefix("a.yaml:") for each in problems(text)]

    assert [each.partition(": must be one of")[0] for each in got] == [
        "4:12: upstreams.b.url: must be text; put it in quotes",
        "4:20: upstreams.b.key: the environment has no NOPE",
        "4:50: upstreams.b.headers.set.x: the environment has no NOPE2",
        "7:15: signals.s.stream: must be true or false, got 5",
        "7:27: signals.s.signals: unknown signal 'nome'; declared: s",
        "10:23: policies[0].match.endpoint",
        "10:43: policies[0].match.signals[1]: unknown signal 'nope'; declared: s",
        "11:23: policies[0].apply.rewrite: unknown field 'modle'; did you mean 'model'?",
        "11:43: policies[0].apply.rewrite.upstream: unknown upstream 'd'; declared: a, b, c",
        "11:69: policies[0].apply.fallback[0].upstream: upstream 'c' (a.yaml:5:3) has no key, and the caller's own goes to home alone; "
        "give it a `key`, or `key: none` where it needs none",
        "11:99: policies[0].apply.fallback[2].upstream: unknown upstream 'e'; declared: a, b, c",
        "12:12: policies[1].name: must be text, got 7; put it in quotes",
        "12:43: policies[1].apply.rewrite.upstream: unknown upstream 'f'; declared: a, b, c",
    ]
