from __future__ import annotations

import pytest

from proxy.adapters import hits as module
from proxy.adapters.hits import Hit, Hits
from proxy.core.ports import CallRecord
from tests.adapters.records import WALL_NS, a_call, a_record, an_exchange


def matching(*names: str) -> CallRecord:
    record = a_record()
    record.call.journal.matched = names
    return record


def counts(hit: Hit) -> tuple[int, int, int, int]:
    return hit.matched, hit.acted, hit.would, hit.overruled


def test_a_call_counts_once_whatever_number_of_kinds_a_policy_has() -> None:
    hits = Hits()
    record = matching("p")
    record.call.journal.note("rewrite", "p", acted=True)
    record.call.journal.note("params", "p", acted=True)
    hits.call_ended(record)

    assert counts(hits.of("p")) == (1, 1, 0, 0)


def test_one_that_matched_and_changed_nothing_is_told_from_one_that_acted() -> None:
    hits = Hits()
    hits.call_ended(matching("p"))
    record = matching("p", "q")
    record.call.journal.note("rewrite", "q", acted=True)
    hits.call_ended(record)

    assert counts(hits.of("p")) == (2, 0, 0, 0)
    assert counts(hits.of("q")) == (1, 1, 0, 0)


def test_what_a_shadow_would_have_done_is_no_act() -> None:
    hits = Hits()
    record = matching("s")
    record.call.journal.note("rewrite", "s", shadow=True, model="m")
    hits.call_ended(record)

    assert counts(hits.of("s")) == (1, 0, 1, 0)


def test_a_shadow_that_could_not_tell_would_have_done_nothing() -> None:
    hits = Hits()
    record = matching("s")
    record.call.journal.note("rewrite", "s", shadow=True, skipped="unreadable")
    hits.call_ended(record)

    assert counts(hits.of("s")) == (1, 0, 0, 0)


def test_one_that_lost_a_field_and_won_another_both_acted_and_was_overruled() -> None:
    hits = Hits()
    record = matching("p", "q")
    record.call.journal.note("shadowed", "q", of="rewrite", fields=["model"], by="p")
    record.call.journal.note("params", "q", acted=True)
    hits.call_ended(record)

    assert counts(hits.of("q")) == (1, 1, 0, 1)
    assert counts(hits.of("p")) == (1, 0, 0, 0)


def test_a_call_that_nothing_matched_leaves_nothing() -> None:
    hits = Hits()
    record = a_record(a_call())
    record.call.journal.note("unknown", why=["x"])
    hits.call_ended(record)
    hits.exchange_ended(an_exchange())

    assert hits.all() == {}
    assert counts(hits.of("p")) == (0, 0, 0, 0)


def test_it_tells_when_last() -> None:
    hits = Hits()
    hits.call_ended(matching("p"))

    assert hits.of("p").to_json() == {"matched": 1, "acted": 0, "would": 0, "overruled": 0, "last_ms": WALL_NS // 1_000_000 + 1500}


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLICIES", 2)
    hits = Hits()
    hits.call_ended(matching("a", "b", "c"))
    hits.call_ended(matching("a", "c"))

    assert {name: hit.matched for name, hit in hits.all().items()} == {"a": 2, "b": 1}
