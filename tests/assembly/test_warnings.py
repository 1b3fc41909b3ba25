"""What `check` warns of: only what is certain, each with its place and what to do."""

from __future__ import annotations

import time

import pytest

from proxy.assembly.load import Policies, load_text
from proxy.assembly.stack import KINDS, ORDER
from proxy.assembly.warnings import warnings_of
from proxy.policy.document import load_texts
from proxy.policy.kind import Floor, Kind
from proxy.policy.problems import Severity
from proxy.policy.view import View, Warned
from tests.assembly.engines import UPSTREAMS, NoSpec


def of(policies: str, more: str = "") -> Policies:
    return load_text(f"version: 1\n{UPSTREAMS}\n{more}policies:\n{policies}", "p.yaml", {})


def told(policies: str, more: str = "") -> list[str]:
    """The warnings, without those of unused upstreams."""
    return [str(each) for each in of(policies, more).warnings if "no policy sends calls" not in str(each)]


def covered(first: str, second: str) -> list[str]:
    loaded = of(f"- {{name: first, {first}}}\n- {{name: second, {second}}}\n")
    return [str(warning) for warning in loaded.warnings if "never acts" in str(warning)]


REWRITE = "apply: {rewrite: {model: a}}"


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{}", "{}"),
        ("{}", "{endpoint: chat, stream: true}"),
        ("{endpoint: chat}", "{endpoint: chat, model: x}"),
        ("{endpoint: [chat, responses]}", "{endpoint: chat}"),
        ("{model: [a, b]}", "{model: [b]}"),
        ("{has: [tools, images]}", "{has: images, stream: true}"),
        ("{prompt_tokens: {below: 5}}", "{prompt_tokens: {below: 5}, endpoint: chat}"),
        ("{not: {model: a}}", "{not: {model: a}, stream: true}"),
    ],
)
def test_a_policy_that_can_never_act_is_warned_of(wide: str, narrow: str) -> None:
    (warning,) = covered(f"match: {wide}, {REWRITE}", f"match: {narrow}, {REWRITE}")

    assert "`rewrite.model` never acts: 'first'" in warning


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{endpoint: chat}", "{}"),
        ("{endpoint: chat}", "{endpoint: [chat, responses]}"),
        ("{model: gpt-4o}", '{model: "gpt-4*"}'),
        ("{stream: true}", "{stream: false}"),
        ("{prompt_tokens: {below: 5}}", "{prompt_tokens: {below: 6}}"),
        ("{keywords: {any_of: [a]}}", "{keywords: {any_of: [a, b]}}"),
        ("{header: {x-a: b}}", "{header: {x-a: c}}"),
        ("{not: {model: a}}", "{model: a}"),
        ("{any: [{model: a}]}", "{model: b}"),
        ("{all: [{model: a}]}", "{all: [{model: b}]}"),
        ("{has: tools}", "{has: [tools, images]}"),
    ],
)
def test_a_policy_that_may_act_is_not_warned_of(wide: str, narrow: str) -> None:
    assert covered(f"match: {wide}, {REWRITE}", f"match: {narrow}, {REWRITE}") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"mode: shadow, {REWRITE}", REWRITE),
        (f"mode: off, {REWRITE}", REWRITE),
        (REWRITE, f"mode: shadow, {REWRITE}"),
        (REWRITE, "apply: {rewrite: {upstream: groq}}"),
        ("apply: {params: {overrides: {a: 1}}}", "apply: {params: {overrides: {b: 1}}}"),
        ("apply: {instruct: {append: a}}", "apply: {instruct: {append: a}}"),
    ],
)
def test_what_does_not_compete_is_not_warned_of(first: str, second: str) -> None:
    assert covered(first, second) == []


def test_only_the_field_that_is_lost_is_warned_of() -> None:
    (warning,) = covered(REWRITE, "apply: {rewrite: {model: b, upstream: groq}}")
    (other,) = covered("apply: {params: {overrides: {a: 1}}}", "apply: {params: {max: {a: 1}, remove: [b]}}")

    assert "`rewrite.model`" in warning
    assert "`params.a`" in other


def test_a_policy_all_of_which_is_taken_is_told_once() -> None:
    (one,) = told(
        "- {name: wide, apply: {rewrite: {model: a, upstream: groq}}}\n"
        "- {name: narrow, match: {endpoint: chat}, apply: {rewrite: {model: b, upstream: local}}}\n"
    )

    assert one == (
        "p.yaml:5:10: warning: policies[1].name: never acts: 'wide' (p.yaml:4:10) matches whenever this does, comes first, "
        "and sets all of it: `rewrite.model`, `rewrite.upstream`; the first in file order wins; put the narrower one first"
    )


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ('{model: "gpt-*"}', '{model: [gpt-4o, "gpt-4.1*"]}'),
        ("{prompt_tokens: {below: 400}}", "{prompt_tokens: {below: 100}}"),
        ("{any: [{stream: true}, {model: m}]}", "{model: m}"),
        ("{signals: s}", "{keywords: {any_of: [b]}}"),
        ("{header: {x-team: [a, b]}}", "{header: {X-Team: a}, model: x}"),
    ],
)
def test_what_surely_follows_is_covered(wide: str, narrow: str) -> None:
    signal = "signals: {s: {keywords: {any_of: [a, b]}}}\n" if "signals" in wide else ""
    (one,) = told(f"- {{name: first, match: {wide}, {REWRITE}}}\n- {{name: second, match: {narrow}, {REWRITE}}}\n", signal)

    assert "`rewrite.model` never acts: 'first'" in one


@pytest.mark.parametrize("mode", ["enforce", "shadow", "off"])
def test_a_match_that_can_never_be_true_is_told_in_every_mode(mode: str) -> None:
    found = told(f"- {{name: p, mode: {mode}, match: {{model: a, not: {{model: 'a*'}}}}, apply: {{refuse: {{}}}}}}\n")

    assert any(": warning: policies[0].match: can never be true: `model` would have to be 'a', and not 'a*'" in each for each in found)


def test_an_alternative_that_can_never_be_true_is_told_at_its_place() -> None:
    text = "- name: p\n  match:\n    any:\n      - stream: true\n      - {model: a, all: [{model: b}]}\n  apply: {refuse: {}}\n"
    (one,) = told(text)

    assert one == "p.yaml:8:9: warning: policies[0].match.any[1]: can never be true: `model` would have to be 'a' and 'b'"


def test_a_signal_that_can_never_be_true_is_told() -> None:
    found = told("- {name: p, match: {not: {signals: s}}, apply: {refuse: {}}}\n", "signals: {s: {stream: true, not: {stream: true}}}\n")

    assert found == ["p.yaml:3:14: warning: signals.s: can never be true: no `stream` is left that every condition allows"]


def test_what_a_refusal_answers_is_told_wherever_it_stands() -> None:
    found = told(
        "- {name: early, match: {model: zz, stream: true}, apply: {instruct: {prepend: q}}}\n"
        "- {name: no, match: {model: zz}, apply: {refuse: {}, rewrite: {model: q}}}\n"
        "- {name: fine, match: {model: z}, apply: {instruct: {prepend: q}}}\n"
    )

    assert found == [
        "p.yaml:4:10: warning: policies[0].name: never acts: 'no' (p.yaml:5:10) answers each call that it matches, by `refuse`; "
        "narrow the match of one of them",
        "p.yaml:5:63: warning: policies[1].apply.rewrite: `rewrite` never acts: `refuse` beside it answers each call that the policy "
        "matches; take one of them out",
    ]


def test_a_refusal_in_shadow_answers_nothing() -> None:
    assert told("- {name: no, mode: shadow, apply: {refuse: {}}}\n- {name: p, apply: {instruct: {prepend: q}}}\n") == []


def test_policies_that_are_off_are_counted_in_one_note() -> None:
    loaded = of(
        "- {name: a, mode: off, apply: {refuse: {}}}\n- {name: b, apply: {refuse: {}}}\n- {name: c, mode: off, apply: {refuse: {}}}\n"
    )

    assert {each.severity for each in loaded.loaded.notes} == {Severity.NOTE}
    assert [str(each) for each in loaded.loaded.notes] == [
        "p.yaml:4:19: note: policies[0].mode: 'a' is off, and 1 more of 3: checked, and never applied"
    ]


# The kinds' own


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (
            "match: {endpoint: embeddings}, apply: {instruct: {append: x}}",
            "`instruct` does nothing on embeddings, and the policy is for nothing else",
        ),
        ("match: {endpoint: [chat, embeddings]}, apply: {instruct: {append: x}}", "does nothing on embeddings, which the policy names"),
        ("match: {endpoint: files}, apply: {params: {remove: [seed]}}", "`params` does nothing on files"),
        ("match: {endpoint: [models, realtime]}, apply: {rewrite: {model: x}}", "`rewrite.model` does nothing on models, realtime"),
        ("match: {endpoint: batches}, apply: {rewrite: {upstream: groq}}", "`rewrite.upstream` does nothing on batches"),
        ("match: {model: gpt-4o}, apply: {rewrite: {model: gpt-4o}}", "only calls that ask for 'gpt-4o' already"),
        ("apply: {rewrite: {upstream: openai}}", "calls go to 'openai' anyway, as it is home"),
        ("apply: {params: {defaults: {max_tokens: 50}, max: {max_tokens: 10}}}", "the default of 50 is lowered to 10 at once"),
        ("apply: {params: {overrides: {temprature: 1}}}", "'temprature' is no parameter of the API; did you mean 'temperature'?"),
        ("apply: {params: {remove: [seed, logit_bais]}}", "remove[1]: 'logit_bais' is no parameter"),
    ],
)
def test_a_kind_warns_of_its_own(policy: str, says: str) -> None:
    (one,) = told(f"- {{name: p, {policy}}}\n")

    assert says in one
    assert one.startswith("p.yaml:4:")


@pytest.mark.parametrize(
    "policies",
    [
        "- {name: p, match: {endpoint: [chat, embeddings]}, apply: {instruct: {append: x}, params: {remove: [seed]}}}\n",
        "- {name: keep, match: {model: gpt-4o, stream: true}, apply: {rewrite: {model: gpt-4o}}}\n"
        "- {name: all, apply: {rewrite: {model: m}}}\n",
        "- {name: keep, match: {header: {x-a: b}}, apply: {rewrite: {upstream: openai}}}\n"
        "- {name: q, apply: {rewrite: {upstream: groq}}}\n",
        "- {name: p, match: {model: 'gpt-4o*'}, apply: {rewrite: {model: gpt-4o}}}\n",
        "- {name: p, apply: {params: {defaults: {max_tokens: 5}, max: {max_tokens: 10}}}}\n",
        "- {name: narrow, match: {model: a}, apply: {rewrite: {model: x}}}\n- {name: wide, apply: {rewrite: {model: y}}}\n",
        "- {name: a, match: {model: a}, apply: {rewrite: {model: x}}}\n- {name: b, match: {stream: true}, apply: {rewrite: {model: x}}}\n",
        "- {name: a, match: {path: /x}, apply: {rewrite: {model: x}}}\n- {name: b, match: {stream: true}, apply: {rewrite: {model: y}}}\n",
        "- {name: a, match: {model: a}, apply: {rewrite: {model: x}}}\n"
        "- {name: b, mode: shadow, match: {stream: true}, apply: {rewrite: {model: y}}}\n",
    ],
)
def test_what_may_be_meant_is_not_warned_of(policies: str) -> None:
    assert told(policies) == []


def test_two_rewrites_that_surely_meet_are_told_with_both_places() -> None:
    found = told(
        "- {name: a, match: {model: gpt-5}, apply: {rewrite: {model: x}}}\n"
        "- {name: b, match: {stream: true}, apply: {rewrite: {model: y}}}\n"
    )

    assert found == [
        "p.yaml:5:61: warning: policies[1].apply.rewrite.model: where 'a' (p.yaml:4:10) matches too, its `model: x` wins: it comes first; "
        "make the two apart by `not`, or put the one that should win first"
    ]


def test_a_kind_sees_its_policy_among_the_others() -> None:
    seen = []

    def warn(spec: NoSpec, view: View) -> list[Warned]:
        seen.append((view.mode, sorted(view.endpoints)[:2], view.models, view.home))
        return [Warned((), "goes to itself", "name another")]

    kind = Kind("odd", NoSpec, Floor.CALL, enforce=lambda spec, site: None, shadow=None, warn=warn)  # type: ignore[arg-type,return-value]
    text = f"version: 1\n{UPSTREAMS}\npolicies:\n- {{name: p, match: {{model: m, endpoint: [chat, audio]}}, apply: {{odd: {{}}}}}}\n"
    loaded = load_texts([("p.yaml", text)], {"odd": NoSpec}, {})
    found = [str(each) for each in warnings_of(loaded, {"odd": kind}, {"odd": 0})]

    assert found == ["p.yaml:4:70: warning: policies[0].apply.odd: goes to itself; name another"]
    assert seen == [("enforce", ["audio", "chat"], ("m",), "openai")]


def test_no_shipped_kind_warns_of_a_plain_policy() -> None:
    assert set(KINDS) == set(ORDER)
    for text in ("refuse: {}", "rewrite: {model: m}", "params: {remove: [seed]}", "instruct: {append: x}"):
        assert told(f"- {{name: p, apply: {{{text}}}}}\n") == []


def test_many_policies_are_compared_in_seconds() -> None:
    tenants = "".join(f"- {{name: p{i}, match: {{header: {{x-team: t{i}}}}}, apply: {{rewrite: {{model: m{i}}}}}}}\n" for i in range(1_000))
    alike = "".join(f"- {{name: q{i}, match: {{model: 'm{i}-*'}}, apply: {{params: {{remove: [seed]}}}}}}\n" for i in range(200))
    begun = time.process_time()
    found = told(tenants + alike)

    assert found == []
    assert time.process_time() - begun < 20


def test_a_rewrite_to_a_glob_is_told_as_nothing_expands_it() -> None:
    assert told("- {name: p, match: {endpoint: chat}, apply: {rewrite: {model: 'gpt-4*'}}}\n") == [
        "p.yaml:4:63: warning: policies[0].apply.rewrite.model: 'gpt-4*' is sent as it stands: globs are for `match`; name one model"
    ]
    assert told("- {name: p, match: {endpoint: chat}, apply: {rewrite: {model: gpt-4o}}}\n") == []
