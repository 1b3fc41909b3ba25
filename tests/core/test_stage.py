from __future__ import annotations

from proxy.core.faults import Failure
from proxy.core.stage import Stage, feeds_of, last_words, stage_of
from tests.core.stages import CUT, Ear, Tap


def test_a_plain_stage_passes_bytes_on_and_says_nothing() -> None:
    stage = Stage()

    assert stage.feed(b"abc") == b"abc"
    assert stage.end() == stage.fail(CUT) == stage.rest() == b""
    assert not stage.critical


def test_only_stages_that_read_are_fed() -> None:
    tap = Tap()
    feeds = feeds_of((Ear(), tap, Stage()))

    assert feeds == (tap.feed,)
    assert stage_of(feeds[0]) is tap


def test_last_words_are_empty_where_a_stage_breaks_or_says_nothing() -> None:
    def breaks(failure: Failure) -> bytes:
        raise ZeroDivisionError

    def says_nothing() -> bytes:
        return None  # type: ignore[return-value]

    assert last_words(breaks, CUT) == b""
    assert last_words(says_nothing) == b""
    assert last_words(lambda: b"bye") == b"bye"
