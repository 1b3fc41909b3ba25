"""One line a call, without content or secrets, and never at the loop's expense."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from proxy.adapters import trace_context
from proxy.adapters.calllog import CallLog, LogHandler, as_json, line_of, told
from proxy.core.call import Target
from proxy.core.ports import CallRecord, Outcome
from tests.adapters.records import a_call, a_record


@dataclass
class Pipe:
    """Both ends of a pipe."""

    source: int
    sink: int

    def text(self) -> str:
        """All that was written; closes the sink."""
        os.close(self.sink)
        self.sink = -1
        with os.fdopen(os.dup(self.source), "rb") as file:
            return file.read().decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe())
    yield pipe
    for end in (pipe.source, pipe.sink):
        if end >= 0:
            os.close(end)


def written(pipe: Pipe, *records: CallRecord, text: bool = False) -> str:
    log = CallLog(pipe.sink, text=text)
    log.start()
    for record in records:
        log.call_ended(record)
    log.stop()
    assert log.dropped == 0
    return pipe.text()


def test_a_line_says_what_happened_and_nothing_secret(pipe: Pipe) -> None:
    call = a_call()
    call.journal.note("rewrite", "small", acted=True, model="gpt-4o-mini", asked="gpt-4o")
    call.journal.note("refuse", "later", shadow=True, status=403)
    trace = trace_context.begin([], lambda context: True)

    headers = [(b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Set-Cookie", b"canary=1")]
    text = written(pipe, a_record(call, trace, headers=headers))

    assert "canary" not in text
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "ts": "2026-01-01T00:00:00.000Z",
        "level": "info",
        "call": "c0ffee",
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "model": "gpt-4o",
        "model_sent": "gpt-4o-mini",
        "upstream": "openai",
        "origin": "upstream",
        "status": 200,
        "ms": 1500.0,
        "first_byte_ms": 500.0,
        "exchanges": 1,
        "stream": True,
        "policies": ["small"],
        "decisions": [
            {"kind": "rewrite", "policy": "small", "model": "gpt-4o-mini", "asked": "gpt-4o"},
            {"kind": "refuse", "policy": "later", "shadow": True, "status": 403},
        ],
        "trace_id": f"{trace.trace_id:032x}",
    }


def test_an_app_that_left_and_a_failure_can_be_told_apart(pipe: Pipe) -> None:
    left = a_record(outcome=Outcome.LEFT, status=None, head=None, target=None, origin="")
    failed = a_record(outcome=Outcome.FAILED, fault="timeout", status=504, detail="openai: nothing came for 5 s" + "!" * 400)

    first, second = (json.loads(line) for line in written(pipe, left, failed).splitlines())

    assert first["client_left"] is True
    assert "status" not in first
    assert "first_byte_ms" not in first
    assert (second["level"], second["fault"], second["status"]) == ("error", "timeout", 504)
    assert (second["upstream"], second["model_sent"]) == ("openai", "gpt-4o-mini")
    assert second["detail"].startswith("openai: nothing came for 5 s!!")
    assert len(second["detail"]) == 256
    assert "detail" not in first
    assert "client_left" not in second


def test_a_line_of_decisions_that_changed_nothing_names_no_policy(pipe: Pipe) -> None:
    call = a_call()
    call.journal.note("instruct", "plain", shadow=True)
    said = json.loads(written(pipe, a_record(call)))

    assert "policies" not in said
    assert said["decisions"] == [{"kind": "instruct", "policy": "plain", "shadow": True}]


def test_a_model_that_was_not_changed_is_what_was_sent(pipe: Pipe) -> None:
    said = json.loads(written(pipe, a_record(target=Target("openai"))))

    assert (said["model"], said["model_sent"]) == ("gpt-4o", "gpt-4o")


def test_hostile_names_stay_one_bounded_line_of_json(pipe: Pipe) -> None:
    call = a_call(b"P\xffST", b"/v1/\nchat\x1b[31m/" + b"x" * 5_000 + b"?k=sk-canary", model="\ud800" + "m" * 5_000)
    call.journal.note("instruct", "p\ud800", added=["\ud800"], text="\ud800" * 999)

    text = written(pipe, a_record(call))

    assert text.count("\n") == 1
    assert len(text) < 3_000
    said = json.loads(text)
    assert said["path"].startswith("/v1/\nchat\x1b[31m/xxx")
    assert said["path"].endswith("…")
    assert said["model"].startswith("?mmm")


def test_a_line_for_a_person_is_one_line_without_control_characters(pipe: Pipe) -> None:
    call = a_call(target=b"/v1/\nfake line\x1b[2J")
    call.journal.note("rewrite", "small", acted=True)

    text = written(pipe, a_record(call, spent=3, fault="truncated", outcome=Outcome.FAILED), text=True)

    assert text == (
        "2026-01-01T00:00:00.000Z POST /v1/?fake line?[2J 200 1500.0 ms gpt-4o -> gpt-4o-mini openai"
        " fault=truncated exchanges=3 policies=small call=c0ffee\n"
    )


def test_a_line_for_a_person_names_shadows_and_what_could_not_be_read(pipe: Pipe) -> None:
    call = a_call()
    call.journal.note("body_too_large", why="over 64 MiB")
    call.journal.note("unknown", why=["the body is not held", "not JSON"])
    call.journal.note("instruct", "plain", shadow=True, added=["append"])
    call.journal.note("params", "plain", shadow=True)

    text = written(pipe, a_record(call), text=True)

    assert text.endswith(" openai shadow=plain notes=body_too_large (over 64 MiB), unknown (the body is not held; not JSON) call=c0ffee\n")
    assert "policies=" not in text


def test_a_reader_that_does_not_read_costs_the_loop_nothing_and_drops_are_counted(pipe: Pipe) -> None:
    log = CallLog(pipe.sink, most=1_000)
    log.start()
    began = time.perf_counter()
    for _ in range(20_000):
        log.call_ended(a_record())
    took_s = time.perf_counter() - began
    log.stop(deadline_s=0.05)

    assert took_s < 5  # a blocked write would never return
    assert log.dropped >= 15_000
    os.set_blocking(pipe.source, False)
    while True:  # lets the writer's thread end before the pipe is closed
        try:
            os.read(pipe.source, 1 << 20)
        except BlockingIOError:
            thread = log._thread
            assert thread is not None
            thread.join(0.01)
            if not thread.is_alive():
                break


def test_a_reader_that_is_gone_is_survived_and_counted(pipe: Pipe) -> None:
    os.close(pipe.source)
    pipe.source = -1
    log = CallLog(pipe.sink)
    log.start()
    for _ in range(10):
        log.call_ended(a_record())
    log.stop()

    assert log.dropped == 10


def test_many_lines_arrive_in_order_and_whole(pipe: Pipe) -> None:
    log = CallLog(pipe.sink)
    log.start()
    for number in range(200):
        log.call_ended(a_record(spent=number))
    log.stop()

    assert [json.loads(line)["exchanges"] for line in pipe.text().splitlines()] == list(range(200))


def test_the_loggers_messages_come_the_same_way(pipe: Pipe) -> None:
    log = CallLog(pipe.sink)
    logger = logging.getLogger("chassis.test_calllog")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = LogHandler(log)
    logger.addHandler(handler)
    log.start()
    try:
        logger.debug("unheard")
        logger.warning("policies: %s\nrefused", "a.yaml:1:2")
        try:
            raise KeyError("x")
        except KeyError:
            logger.exception("a layer broke")
        logger.info("bad %d", "format")
    finally:
        logger.removeHandler(handler)
        log.stop()

    first, second = (json.loads(line) for line in pipe.text().splitlines())
    assert (first["level"], first["message"]) == ("warning", "policies: a.yaml:1:2\nrefused")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["ts"])
    assert (second["level"], second["message"]) == ("error", "a layer broke")
    assert "KeyError: 'x'" in second["error"]


def test_a_message_for_a_person_keeps_its_traceback(pipe: Pipe) -> None:
    log = CallLog(pipe.sink, text=True)
    log.start()
    log.message("error", "a layer broke", "Traceback:\n  x")
    log.stop()

    assert re.fullmatch(r"20\S+Z error a layer broke\nTraceback:\n  x\n", pipe.text())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"outcome": Outcome.LEFT, "status": None, "head": None, "target": None, "origin": ""},
        {"outcome": Outcome.FAILED, "fault": "timeout", "status": 504, "detail": 'nothing "came" for 5 s\n\ud800' + "!" * 400},
        {"status": 503, "headers": [(b"content-type", b"text/event-stream")], "spent": 4},
        {"target": Target("é\x1b", "m\ud800"), "origin": "static"},
    ],
    ids=["plain", "left", "failed", "stream", "odd"],
)
@pytest.mark.parametrize("model", [None, "gpt-4o", "\ud800" + "m" * 5_000])
@pytest.mark.parametrize("target", [b"/v1/x?k=1", b"/\xff\xfe\x00\"\\", b"/v1/" + b"x" * 5_000])
def test_a_line_put_together_by_hand_says_what_the_plain_way_says(changes: dict[str, object], model: str | None, target: bytes) -> None:
    call = a_call(b"P\xffST", target, model)
    if changes.get("outcome") is not Outcome.LEFT:
        call.journal.note("rewrite", "p\ud800", acted=True, model="\ud800x", n=1)
        call.journal.note("unknown", why=["a", "b"])
    record = a_record(call, trace_context.begin([], lambda context: True), **changes)
    line = line_of(record, target, record.headers)

    assert as_json(line).count(b"\n") == 1
    assert json.loads(as_json(line)) == json.loads(json.dumps(told(line), default=str))


def test_labels_of_the_policies_that_acted_are_in_the_line(pipe: Pipe) -> None:
    call = a_call()
    call.journal.labels = (("small", (("team", "pay"), ("cost", "low"))), ("idle", (("team", "other"),)))
    call.journal.note("rewrite", "small", acted=True)
    lines = written(pipe, a_record(call))

    assert json.loads(lines)["labels"] == {"team": "pay", "cost": "low"}


def test_labels_are_in_the_line_for_a_person(pipe: Pipe) -> None:
    call = a_call()
    call.journal.labels = (("small", (("team", "pay"),)),)
    call.journal.note("rewrite", "small", acted=True)

    assert " policies=small labels=team=pay call=" in written(pipe, a_record(call), text=True)
