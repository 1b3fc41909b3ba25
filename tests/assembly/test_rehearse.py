"""A case is played through the whole proxy, on virtual time, and nothing that breaks is hidden."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from proxy.assembly.load import Policies
from proxy.assembly.rehearse import Played, rehearse
from proxy.core.call import Call
from proxy.core.ports import Outcome
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.kinds.rewrite import Rewrite
from tests.assembly.suites import POLICIES, suite

HI = "request: {prompt: Hi}"


def played(folder: Path, case: str, policies: str = POLICIES, **options: Any) -> Played:
    read = suite(folder, f"{case}, expect: {{exchanges: 1}}", policies)
    assert read.spec is not None
    assert not read.problems, read.problems
    (one,) = read.cases
    assert isinstance(one.policies, Policies)
    return rehearse(one.policies, read.spec, one.spec, **options)


def test_a_call_leaves_what_a_log_line_is_made_of(tmp_path: Path) -> None:
    (heard,) = played(tmp_path, HI).heard

    assert heard.record is not None
    assert (heard.record.outcome, heard.record.status) == (Outcome.OK, 200)
    assert heard.record.exchanges[0].target.model == "gpt-4o-mini"
    assert heard.matched == ("small",)


def test_hours_take_no_time(tmp_path: Path) -> None:
    began = perf_counter()
    found = played(tmp_path, "request: {prompt: Hi, leaves: 3h}, upstreams: {openai: {delay: 2h}}")

    assert found.took_s == pytest.approx(7200)
    assert found.heard[0].status == 200
    assert perf_counter() - began < 30


def test_steps_come_one_after_the_other_or_at_their_times(tmp_path: Path) -> None:
    steps = (
        "steps: [{request: {prompt: a}}, {request: {prompt: b}, after: 3s}, "
        "{request: {prompt: c}, at: 10s}, {request: {prompt: d}, at: 10s}]"
    )
    found = played(tmp_path, f"{steps}, upstreams: {{openai: {{delay: 2s}}}}")
    begun = found.heard[0].begun

    assert [round(heard.begun - begun) for heard in found.heard] == [0, 5, 10, 10]
    assert [round(heard.ended - begun) for heard in found.heard] == [2, 7, 12, 12]
    assert [len(heard.exchanges) for heard in found.heard] == [1, 1, 1, 1]


def test_a_step_with_a_time_of_its_own_holds_up_no_other(tmp_path: Path) -> None:
    found = played(tmp_path, "steps: [{request: {prompt: a}, at: 2s}, {request: {prompt: b}, at: 1s}]")

    assert [round(heard.begun - found.heard[1].begun) for heard in found.heard] == [1, 0]
    assert [b'"b"' in each.body for each in found.exchanges] == [True, False]


def test_scripts_go_on_over_the_steps_and_may_be_set_anew(tmp_path: Path) -> None:
    steps = "steps: [{request: {prompt: a}}, {request: {prompt: b}}, {request: {prompt: c}, upstreams: {openai: three}}]"
    found = played(tmp_path, f"{steps}, upstreams: {{openai: [one, two]}}")

    assert [word in heard.data for heard, word in zip(found.heard, (b"one", b"two", b"three"), strict=True)] == [True] * 3


def test_exchanges_of_calls_at_once_are_told_apart(tmp_path: Path) -> None:
    steps = "steps: [{request: {model: x, prompt: a}, at: 1s}, {request: {model: y, prompt: b, headers: {x-to: groq}}, at: 1s}]"
    found = played(tmp_path, f"{steps}, upstreams: {{openai: {{delay: 1s}}, groq: {{delay: 2s}}}}")

    assert [[each.upstream for each in heard.exchanges] for heard in found.heard] == [["openai"], ["groq"]]


def test_an_app_that_leaves_ends_its_exchange(tmp_path: Path) -> None:
    (heard,) = played(tmp_path, "request: {prompt: Hi, stream: true, leaves: 5s}, upstreams: {openai: {stream: [a, b], gap: 1h}}").heard

    assert heard.left
    assert not heard.hung
    assert heard.exchanges[0].failure == "truncated: closed before its end"
    assert heard.record is not None
    assert heard.record.outcome is Outcome.LEFT


def test_an_app_waits_ten_minutes_and_no_longer(tmp_path: Path) -> None:
    (heard,) = played(tmp_path, f"{HI}, upstreams: {{openai: {{stall: head}}}}").heard

    assert heard.hung
    assert heard.status is None
    assert heard.ended - heard.begun == pytest.approx(600)


def test_the_time_of_day_is_the_cases_own(tmp_path: Path) -> None:
    first = played(tmp_path, HI).heard[0].record
    second = played(tmp_path, f"{HI}, now: '2027-05-01T00:00:00+02:00'").heard[0].record

    assert first is not None
    assert second is not None
    assert first.clock.wall_of_ns(first.started) // 10**9 == 1767614400  # 2026-01-05T12:00:00Z
    assert second.clock.wall_of_ns(second.started) // 10**9 == 1809122400


def test_the_body_of_a_large_compressed_request_is_read_as_in_serve(tmp_path: Path) -> None:
    found = played(tmp_path, 'request: {prompt: {text: "word ", times: 200000}, encoding: gzip}')

    assert found.bugs == []
    assert found.heard[0].matched == ()


def test_conditions_are_asked_for_coverage_only_where_it_is_wanted(tmp_path: Path) -> None:
    without, wanted = played(tmp_path, HI).heard[0], played(tmp_path, HI, explains=True).heard[0]

    assert without.explained == []
    assert [each.verdict for each in wanted.explained] == [True, False, False, False]


@contextmanager
def broken(error: BaseException) -> Iterator[None]:
    """Rewrite breaks."""

    async def breaks(self: Rewrite, call: Call, inner: Service) -> Reply:
        raise error

    original = Rewrite.__call__
    Rewrite.__call__ = breaks  # type: ignore[method-assign]
    try:
        yield
    finally:
        Rewrite.__call__ = original  # type: ignore[method-assign]


def test_a_layer_that_breaks_is_told_though_the_call_goes_on(tmp_path: Path) -> None:
    bug = ZeroDivisionError("oh")
    with broken(bug):
        found = played(tmp_path, HI)

    assert found.heard[0].status == 200
    assert ("layer Rewrite broke and was passed over", bug) in found.bugs


def test_what_the_proxy_only_logs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object) -> None:
        raise ZeroDivisionError("recorder")

    monkeypatch.setattr("proxy.assembly.rehearse._Recorder.call_ended", breaks)
    found = played(tmp_path, HI)

    assert any("a recorder broke" in what and isinstance(bug, ZeroDivisionError) for what, bug in found.bugs)
    assert logging.getLogger("chassis").handlers == []


def test_a_case_that_cannot_be_played_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object) -> None:
        raise ZeroDivisionError("build")

    monkeypatch.setattr("proxy.assembly.rehearse.build", breaks)
    found = played(tmp_path, HI)

    assert [(what, repr(bug)) for what, bug in found.bugs] == [("the case cannot be played", "ZeroDivisionError('build')")]


def test_certificates_of_production_are_not_read(tmp_path: Path) -> None:
    policies = POLICIES.replace('"${GROQ_API_KEY}"', '"${GROQ_API_KEY}", tls: {ca: /nowhere/ca.pem}')
    found = played(tmp_path, "request: {prompt: Hi, headers: {x-to: groq}}", policies)

    assert found.heard[0].exchanges[0].upstream == "groq"


def test_an_exchange_that_somebody_forgets_is_told(tmp_path: Path) -> None:
    kept: list[Reply] = []

    async def forgets(self: Rewrite, call: Call, inner: Service) -> Reply:
        kept.append(await inner(call))
        return await inner(call)

    original = Rewrite.__call__
    Rewrite.__call__ = forgets  # type: ignore[method-assign]
    try:
        forgotten = played(tmp_path, f"{HI}, upstreams: {{openai: [{{stall: body}}, ok]}}")
        late = played(tmp_path, f"{HI}, upstreams: {{openai: [{{reply: late, first: 20s}}, ok]}}")
    finally:
        Rewrite.__call__ = original  # type: ignore[method-assign]

    assert [what for what, _ in forgotten.bugs] == ["an exchange with openai still runs 1m after the app has what it gets"]
    assert [what for what, _ in late.bugs] == ["the reply 200 of openai was never closed"]
    assert [each.status for each in late.exchanges] == [200, 200]


def test_conditions_on_the_time_see_the_time_of_the_case(tmp_path: Path) -> None:
    policies = """
version: 1
policies:
  - name: nights
    match: {schedule: {days: [mon], hours: "22:00-06:00", zone: Europe/Berlin}}
    apply: {rewrite: {model: night}}
"""
    day = played(tmp_path, HI, policies)
    night = played(tmp_path, f"{HI}, now: '2026-01-05T23:30:00+01:00'", policies)

    assert [call.matched for call in (*day.heard, *night.heard)] == [(), ("nights",)]
