"""What a test file may say about upstreams."""

from __future__ import annotations

import pytest

from proxy.policy.play_spec import PlaySpec, StreamedSpec
from tests.policy.specs import read, refused


def test_a_text_alone_is_the_answer() -> None:
    spec = read(PlaySpec, "Hello")

    assert spec.reply == "Hello"
    assert spec.status == 200


def test_a_text_in_a_stream_is_a_delta_of_content() -> None:
    spec = read(PlaySpec, "{stream: [Hel, {wait: 2s}, lo], gap: 50ms}")

    assert spec.stream is not None
    assert [piece.text for piece in spec.stream] == ["Hel", None, "lo"]
    assert spec.stream[1].wait == 2.0
    assert spec.gap == 0.05


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{reply: a, stream: [b]}", "both say what the body is"),
        ("{raw: a, body: b}", "both say what the body is"),
        ("{refuse: true, reset: head}", "cannot both happen"),
        ("{stall: head, body: x}", "nothing is said after `stall`"),
        ("{dns: true, status: 500}", "nothing is said after `dns`"),
        ("{status: 101}", "greater than or equal to 200"),
        ("{stall: never}", "connect"),
        ("{end: slowly}", "clean"),
        ('{headers: {"a b": c}}', "must be a header name"),
        ('{headers: {a: "b\\nc"}}', "must be one line"),
    ],
)
def test_what_cannot_be_played_is_refused(text: str, said: str) -> None:
    assert said in refused(PlaySpec, text)


@pytest.mark.parametrize("text", ["{reply: Let me see., tool_calls: {name: f}}", "{stall: body, reply: a}", "{reset: body, stream: [a]}"])
def test_what_goes_together_may_be_said_together(text: str) -> None:
    assert read(PlaySpec, text)


@pytest.mark.parametrize(
    ("text", "unconnected", "unsaid"),
    [
        ("{refuse: true}", True, True),
        ("{dns: gone}", True, True),
        ("{stall: connect}", True, True),
        ("{stall: head}", False, True),
        ("{reset: connect}", False, True),
        ("{reset: body}", False, False),
        ("{stall: first}", False, False),
        ("{}", False, False),
    ],
)
def test_it_knows_how_far_an_exchange_comes(text: str, unconnected: bool, unsaid: bool) -> None:
    spec = read(PlaySpec, text)

    assert (spec.is_unconnected, spec.is_unsaid) == (unconnected, unsaid)


def test_a_piece_of_a_stream_is_one_thing() -> None:
    assert "is one thing" in refused(StreamedSpec, "{text: a, wait: 1s}")
    assert "is one thing" in refused(StreamedSpec, "{}")
