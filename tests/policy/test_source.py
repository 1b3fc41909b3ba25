from __future__ import annotations

from proxy.policy.document_spec import document_model
from proxy.policy.source import Source, read_source
from tests.policy.kinds_for_tests import KINDS


def source(text: str) -> Source:
    return read_source(text, "p.yaml", document_model(KINDS))


WRONG = """\
version: 3
upstreams:
  good: {url: https://a/v1}
  bad: {url: 5}
signals:
  good: {stream: true}
  bad: {stream: 1}
limits: {exchanges: 0}
nonsense: 1
policies:
  - {name: wrong, apply: {retry: {max_attempts: 99}}}
  - {name: right, apply: {retry: {}}}
  - 7
  - {name: also-right, match: {signals: good}, apply: {rewrite: {model: m}}}
"""


def test_what_is_right_is_kept_beside_what_is_wrong() -> None:
    got = source(WRONG)

    assert list(got.upstreams) == ["good"]
    assert list(got.signals) == ["good"]
    assert [(index, policy.name) for index, policy in got.policies] == [(1, "right"), (3, "also-right")]
    assert got.limits is None
    assert len(got.problems) == 7


def test_the_names_of_wrong_parts_are_known_too() -> None:
    got = source(WRONG)

    assert list(got.names("upstreams")) == ["good", "bad"]
    assert list(got.names("signals")) == ["good", "bad"]
    assert list(source("version: 1\nupstreams: [a]\n").names("upstreams")) == []
    assert list(source("[]").names("upstreams")) == []


def test_a_place_may_be_asked_in_the_long_form_of_a_short_one() -> None:
    got = source("version: 1\npolicies:\n  - name: p\n    apply: {fallback: [{model: a}, {upstream: b}]}\n")

    assert str(got.place(("policies", 0, "apply", "fallback", "targets", 1, "upstream"))) == "p.yaml:4:47"
    assert str(got.problem(("policies", 0, "apply", "fallback", "targets", 1, "upstream"), "m")) == (
        "p.yaml:4:47: policies[0].apply.fallback[1].upstream: m"
    )


def test_a_file_that_cannot_be_read_has_nothing_but_its_problems() -> None:
    got = source("a: [")

    assert len(got.problems) == 1
    assert (got.upstreams, got.signals, got.policies) == ({}, {}, [])


def test_a_section_of_the_wrong_shape_does_not_hide_the_others() -> None:
    got = source("version: 1\nupstreams: []\nsignals: 5\npolicies:\n  - {name: p, apply: {retry: {}}}\n")

    assert [policy.name for _, policy in got.policies] == ["p"]
    assert len(got.problems) == 2
