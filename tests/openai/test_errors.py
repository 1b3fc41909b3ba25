"""Our own errors, in the API's form."""

from __future__ import annotations

import json

import pytest

from proxy.core.faults import Fault
from proxy.core.sse import events
from proxy.openai.errors import CODES, code_of, error_body, error_event


def test_an_error_has_the_shape_that_sdks_read() -> None:
    body = json.loads(error_body("no token within 5 s", "upstream_timeout"))

    assert body == {"error": {"message": "no token within 5 s", "type": "chassis_error", "param": None, "code": "upstream_timeout"}}


@pytest.mark.parametrize("message", ['a "quoted" \\ word', "line\nend\x00", "caf\u00e9 \U0001f600", "lone \ud800", "</script>"])
def test_any_message_is_carried(message: str) -> None:
    assert json.loads(error_body(message, "bad_request", param="model"))["error"]["message"] == message


def test_each_code_has_a_status_that_is_an_error_and_a_sentence() -> None:
    for code, (status, meaning) in {name: (code.status, code.meaning) for name, code in CODES.items()}.items():
        assert 400 <= status <= 599, code
        assert meaning.endswith("."), code


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("upstream_timeout", 504),
        ("upstream_unavailable", 502),
        ("invalid_reply", 502),
        ("upstream_truncated", 502),
        ("budget_exceeded", 429),
        ("overloaded", 429),
        ("request_too_large", 413),
        ("policy_refused", 403),
        ("loop_detected", 508),
    ],
)
def test_an_sdk_raises_the_right_exception(code: str, status: int) -> None:
    assert CODES[code].status == status


def test_the_list_is_closed() -> None:
    with pytest.raises(TypeError):
        CODES["new"] = CODES["overloaded"]  # type: ignore[index]


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_has_a_code_of_the_list(fault: Fault) -> None:
    assert code_of(fault) in CODES


@pytest.mark.parametrize("endpoint", ["chat", "completions", "responses"])
def test_an_error_event_is_one_event_at_which_sdks_raise(endpoint: str) -> None:
    [event] = events(error_event(endpoint, "no\n\ud800", "upstream_timeout", 7))
    said = json.loads(event.data or b"")

    assert said["error"] == {"message": "no\n\ud800", "type": "chassis_error", "param": None, "code": "upstream_timeout"}
    assert event.name == (b"error" if endpoint == "responses" else b"")
    if endpoint == "responses":
        assert {key: said[key] for key in ("type", "code", "message", "param", "sequence_number")} == {
            "type": "error",
            "code": "upstream_timeout",
            "message": "no\n\ud800",
            "param": None,
            "sequence_number": 7,
        }
