"""Differences as lines that stay readable for ten thousand requests, and as values for tools."""

from __future__ import annotations

from proxy.assembly.diff import CallsDiff, Change, Group
from proxy.assembly.diff_policies import Edit, PoliciesDiff, Thing
from proxy.assembly.diff_text import GROUPS, calls_json, calls_text, policies_json, policies_text, wrong_text
from proxy.openai.payload import MISSING


def found(groups: int = 2) -> CallsDiff:
    out = CallsDiff(10_000)
    for number in range(groups):
        changes = (Change("model", "", "as asked", f"m{number}"), Change("body", "n", "1", "x" * 300))
        out.groups[changes] = Group(changes, 100 - number, [f"r{each}" for each in range(10)])
    return out


def test_counts_come_first_then_each_way_with_its_count() -> None:
    lines = list(calls_text(found()))

    assert lines[:2] == ["10,000 calls: 9,801 treated the same, 199 differently", "  model 199, body 199"]
    assert lines[2:5] == ["", "100 calls", "  model: as asked -> m0"]
    assert lines[5].startswith("  body n: 1 -> xxx")
    assert len(lines[5]) < 130
    assert not [line for line in lines if "r0" in line]


def test_verbose_adds_examples() -> None:
    assert "  as r0, r1, r2 and 97 more" in list(calls_text(found(), 1))
    assert "  as r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 and 90 more" in list(calls_text(found(), 2))


def test_more_ways_than_a_screen_are_counted_not_listed() -> None:
    lines = list(calls_text(found(GROUPS + 5)))

    assert lines[-1] == f"and 5 more ways, of {sum(100 - number for number in range(GROUPS, GROUPS + 5))} calls; -v shows them"
    assert sum(line.endswith(" calls") for line in lines) == GROUPS
    assert "more ways" not in "\n".join(calls_text(found(GROUPS + 5), 1))


def test_no_difference_is_one_line() -> None:
    assert list(calls_text(CallsDiff(1))) == ["1 call: 1 treated the same, 0 differently"]


def test_shadows_are_told_apart() -> None:
    out = CallsDiff(5, shadow={("s", "refuse"): [0, 3], ("t", "refuse"): [2, 2]})

    assert list(calls_text(out))[2:] == ["in shadow, which changes no call:", "  s (refuse): would act on 0 before, 3 now"]


def test_what_is_no_request_is_listed_up_to_a_screen() -> None:
    lines = list(wrong_text(CallsDiff(wrong=[f"line {number}" for number in range(15)])))

    assert (len(lines), lines[-1]) == (11, "and 5 more that are no requests")


def test_values_for_tools() -> None:
    said = calls_json(found(1))

    assert (said["requests"], said["same"], said["different"]) == (10_000, 9_900, 100)
    assert said["by_kind"] == {"model": 100, "body": 100}
    assert said["groups"][0]["changes"][0] == {"kind": "model", "old": "as asked", "new": "m0"}
    assert said["groups"][0]["changes"][1]["what"] == "n"


def test_policies_as_lines_and_values() -> None:
    edits = (Edit("match.model", "a", MISSING), Edit("apply.instruct.append", MISSING, "Be\nbrief. " + "x" * 200))
    out = PoliciesDiff([Thing("policy", "p", "changed", "p.yaml:3:5", edits), Thing("policy", "q", "moved", note="now first")], ["q", "p"])
    lines = list(policies_text(out))
    said = policies_json(out)

    assert lines[:2] == ["~ policy p changed (p.yaml:3:5)", "    - match.model: a"]
    assert lines[2].startswith("    + apply.instruct.append: Be brief. xxx")
    assert len(lines[2]) < 140
    assert lines[3:] == ["~ policy q moved: now first", "order now: q, p"]
    assert len(list(policies_text(out, 1))[2]) > 200
    assert said["order"] == ["q", "p"]
    assert said["changes"][0]["edits"][0] == {"path": "match.model", "old": "a"}
    assert said["changes"][1]["note"] == "now first"
