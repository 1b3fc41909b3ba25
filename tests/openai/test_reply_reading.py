from __future__ import annotations

import orjson

from proxy.openai.reply_reading import Reading, WholeReading
from proxy.openai.stream_reading import StreamReading
from proxy.openai.usage import Usage
from tests.scripted import a_call

SAID = {"id": "c1", "model": "m", "choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
USAGE = Usage("m", 5, 2, None, None, ("stop",), "c1")


def test_a_whole_reply_tells_its_usage_from_what_was_parsed() -> None:
    reading = WholeReading(b"not looked at", SAID, 7.0)

    assert reading.usage() == USAGE
    assert reading.usage() is reading.usage()
    assert (reading.is_stream, reading.finished, reading.error, reading.began_at, reading.content_at) == (False, True, False, 7.0, 7.0)


def test_one_that_was_too_long_to_be_parsed_tells_it_from_its_ends() -> None:
    long = orjson.dumps({"id": "c1", "model": "m", "x": "x" * 500_000, **SAID})

    assert WholeReading(long, None, 7.0).usage() == USAGE


def test_a_list_says_nothing() -> None:
    assert WholeReading(b"[]", [], 7.0).usage() == Usage()


def test_both_kinds_of_reading_are_asked_alike() -> None:
    readings: list[Reading] = [WholeReading(b"{}", {}, 7.0), StreamReading(a_call().endpoint, lambda: 7.0, "openai")]  # type: ignore[arg-type]

    assert [reading.is_stream for reading in readings] == [False, True]
    assert [reading.usage() for reading in readings] == [Usage(), Usage()]
