from __future__ import annotations

import math

import pytest

from proxy.core.body import Body
from proxy.core.call import Target
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.openai.patience import MAX_RETRIES, last_word, not_again, retry_after_s, said_in, says_again


@pytest.mark.parametrize(
    ("headers", "by"),
    [
        ([], None),
        ([(b"x-stainless-read-timeout", b"600")], 20 + 600 - 1.0),
        ([(b"X-Stainless-Read-Timeout", b"3"), (b"x-other", b"1")], 20 + 3 - 0.15),
        ([(b"x-stainless-read-timeout", b"0.5")], 20 + 0.5 - 0.05),
        ([(b"x-stainless-read-timeout", b"0.06")], 20 + 0.03),
        ([(b"x-stainless-timeout", b"30")], 10 + 30 - 1.0),
        ([(b"x-stainless-timeout", b"30"), (b"x-stainless-read-timeout", b"4")], 20 + 4 - 0.2),
        ([(b"x-stainless-timeout", b"4"), (b"x-stainless-read-timeout", b"30")], 10 + 4 - 0.2),
        ([(b"x-stainless-read-timeout", b"0")], None),
        ([(b"x-stainless-read-timeout", b"86400")], None),
        *(
            ([(b"x-stainless-read-timeout", value)], None)
            for value in (b"", b"NaN", b"inf", b"1e3", b"-1", b"1_0", b".", b"1.2.3", b"\xb2", b"9" * 30)
        ),
    ],
)
def test_the_app_has_its_answer_a_margin_before_its_sdk_gives_up(headers: list[tuple[bytes, bytes]], by: float | None) -> None:
    found = said_in(headers).answer_by(received=10.0, here=20.0)  # a body that took ten seconds: node counts them, Python does not

    assert found == (None if by is None else pytest.approx(by))


@pytest.mark.parametrize(
    ("value", "count"), [(b"0", 0), (b"2", 2), (b"x", 0), (b"", 0), (b"-1", 0), (b"999999", MAX_RETRIES), (b"9" * 4000, 0), (b"\xb2", 0)]
)
def test_the_tries_before_are_counted(value: bytes, count: int) -> None:
    assert said_in([(b"X-Stainless-Retry-Count", value)]).tries == count
    assert said_in([]).tries == 0


def reply(*headers: tuple[bytes, bytes]) -> Reply:
    return Reply(429, b"", list(headers), Framing.LENGTH, Body.of(b""))


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        ([(b"Retry-After", b"2")], 2.0),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"9")], 1.5),
        ([(b"retry-after-ms", b"oops"), (b"retry-after", b"9")], 9.0),
        ([(b"retry-after-ms", b"0"), (b"retry-after", b"9")], None),
        ([(b"retry-after", b"1e400")], math.inf),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:16:50 GMT")], 10.0),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:16:30 GMT")], None),
        ([(b"retry-after", b"Thursday")], None),
        ([(b"retry-after", b"\xff\xfe")], None),
    ],
)
def test_the_wait_that_an_upstream_asks_for_is_read_as_the_sdks_read_it(headers: list[tuple[bytes, bytes]], wait_s: float | None) -> None:
    assert retry_after_s(reply(*headers), wall_s=1000.0) == wait_s


def test_an_upstreams_word_on_another_try_is_true_false_or_none() -> None:
    said = [says_again(reply((b"X-Should-Retry", value))) for value in (b"true", b"false", b"True", b"")]

    assert said == [True, False, None, None]
    assert says_again(reply()) is None


def test_the_last_reply_says_that_it_is_the_last_whatever_the_upstream_said() -> None:
    told = not_again([(b"A", b"1"), (b"X-Should-Retry", b"true"), (b"x-should-retry", b"true")])

    assert told == [(b"A", b"1"), (b"x-should-retry", b"false")]


def a_reply(status: int, fault: Fault | None) -> Reply:
    reply = Reply(status, b"", [(b"Content-Type", b"text/html"), (b"X-Should-Retry", b"true")], Framing.LENGTH, Body.of(b"<html>"))
    reply.fault, reply.target = fault, Target("openai")
    return reply


def test_the_last_error_goes_to_the_app_as_it_came_but_for_the_word_to_its_sdk() -> None:
    reply = last_word(a_reply(503, Fault.OVERLOADED), "; 3 tries")

    assert reply.status == 503
    assert reply.headers == [(b"Content-Type", b"text/html"), (b"x-should-retry", b"false")]
    assert not reply.body.closed


def test_a_200_that_is_no_answer_is_a_failure_when_nobody_tries_on() -> None:
    reply = a_reply(200, Fault.BAD_REPLY)
    with pytest.raises(Failure, match="openai answered 200 with what is no answer") as failed:
        last_word(reply, "; 3 tries")

    assert failed.value.spent
    assert failed.value.fault is Fault.BAD_REPLY
    assert failed.value.detail.endswith("; 3 tries")
    assert reply.body.closed


def test_a_failure_says_that_our_tries_are_spent() -> None:
    with pytest.raises(Failure) as failed:
        last_word(Failure(Fault.CONNECT, "openai", "refused"), " (tried: a; b)")

    assert failed.value.spent
    assert failed.value.detail == "refused (tried: a; b)"
