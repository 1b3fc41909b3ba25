from __future__ import annotations

import dataclasses
import itertools

import pytest

from proxy.core.journal import Entry, Journal


def a_journal() -> Journal:
    ticks = itertools.count(1)
    return Journal(lambda: float(next(ticks)))


def test_entries_stand_in_the_order_in_which_they_were_decided_each_with_its_time() -> None:
    journal = a_journal()
    journal.note("rewrite", "cheap", acted=True, model="gpt-4o-mini")
    journal.note("body_too_large", why="over 64 MiB")

    assert journal.entries == [
        Entry(1.0, "rewrite", "cheap", True, False, {"model": "gpt-4o-mini"}),
        Entry(2.0, "body_too_large", None, False, False, {"why": "over 64 MiB"}),
    ]
    assert journal.kinds() == ["rewrite", "body_too_large"]


def test_policies_that_acted_are_named_once_in_the_order_of_their_first_act() -> None:
    journal = a_journal()
    journal.note("params", "b", acted=True)
    journal.note("rewrite", "quiet")
    journal.note("params", "a", acted=True)
    journal.note("instruct", "b", acted=True)
    journal.note("layer_fault", acted=True)
    journal.note("refuse", "shadowy", shadow=True)

    assert journal.acted() == ["b", "a"]


def test_a_call_without_decisions_has_an_empty_journal() -> None:
    journal = a_journal()

    assert journal.entries == []
    assert journal.acted() == []
    assert journal.model is None


def test_an_entry_is_not_changed_afterwards() -> None:
    journal = a_journal()
    journal.note("rewrite", "p")
    with pytest.raises(dataclasses.FrozenInstanceError):
        journal.entries[0].acted = True  # type: ignore[misc]


def test_labels_are_those_of_policies_that_acted_and_the_first_in_file_order_has_a_name() -> None:
    journal = Journal(lambda: 0.0)
    journal.labels = (("idle", (("team", "no"),)), ("one", (("team", "pay"), ("tier", "2"))), ("two", (("team", "ops"), ("zone", "eu"))))
    journal.note("rewrite", "two", acted=True)
    journal.note("params", "one", acted=True)
    journal.note("params", "idle")

    assert journal.labels_of_acted() == {"team": "pay", "tier": "2", "zone": "eu"}
    assert Journal(lambda: 0.0).labels_of_acted() == {}


@pytest.mark.parametrize(
    ("kind", "shadow", "what", "would"),
    [
        ("rewrite", True, {"model": "m"}, True),
        ("rewrite", False, {"model": "m"}, False),
        ("shadow_skipped", True, {"why": "reading it would take over a millisecond"}, False),
        ("layer_fault", True, {"layer": "shadow"}, False),
        ("params", True, {"skipped": "no_body"}, False),
    ],
)
def test_what_a_policy_in_shadow_could_not_do_it_would_not_have_done(kind: str, shadow: bool, what: dict[str, object], would: bool) -> None:
    assert Entry(0.0, kind, "p", shadow=shadow, what=what).would_act is would
