"""patience -- what the official SDKs say of themselves in a request (how long they will wait, how often they have tried), and what they
are told in a reply: when to try again, and whether.

Python sends `x-stainless-read-timeout` (the wait for each byte), node `x-stainless-timeout`; both in seconds, and both count the tries
before this one in `x-stainless-retry-count`. Whoever sends something else has no patience that we know of.
Cost: one pass over the headers.
"""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz

from proxy.core.body import Headers
from proxy.core.faults import Failure
from proxy.core.outcomes import Outcome
from proxy.core.reply import Reply

_WAITS = (b"x-stainless-read-timeout", b"x-stainless-timeout")
_RETRIES = b"x-stainless-retry-count"
SHOULD_RETRY = b"x-should-retry"
MAX_S = 86_400.0  # more is no limit
MAX_RETRIES = 100
MARGIN = 0.05  # of the app's patience is kept for the way to it: a proxy in front, the SDK's own part
MARGIN_S = (0.05, 1.0)  # at least, and at most; never more than half of it

_is_number = re.compile(rb"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,4})?").fullmatch


def retries_before(headers: Headers) -> int:
    """How often the app's SDK has already tried this call."""
    for name, value in headers:
        if len(name) == len(_RETRIES) and name.lower() == _RETRIES:
            return min(int(value), MAX_RETRIES) if value.isdigit() and len(value) < 10 else 0
    return 0


def _number(value: bytes) -> float | None:
    """Seconds, as SDKs write them: digits, with a point; nothing else that Python would take for a number."""
    if not value or len(value) > 20 or value.strip(b"0123456789.") or value.count(b".") > 1 or value == b".":
        return None
    return float(value)


def not_again(headers: Headers) -> Headers:
    """The headers of a reply that tell the SDK not to try on, whatever the upstream thinks of it: our own tries are spent."""
    return [*((name, value) for name, value in headers if name.lower() != SHOULD_RETRY), (SHOULD_RETRY, b"false")]


def answer_by(headers: Headers, received: float, here: float) -> float | None:
    """The loop time by which the app must have its first byte, a small margin before it gives up; None where it does not say.

    `received`: when the head had come, from where node counts. `here`: when all of the request had, from where Python does.
    """
    found: float | None = None
    for name, value in headers:
        if len(name) in (19, 24) and name.lower() in _WAITS and (wait := _number(value)) is not None and 0 < wait < MAX_S:
            margin_s = min(max(wait * MARGIN, MARGIN_S[0]), MARGIN_S[1], wait / 2)
            by = (here if len(name) == 24 else received) + wait - margin_s
            found = by if found is None else min(found, by)
    return found


def retry_after_s(reply: Reply, wall_s: float) -> float | None:
    """The seconds that an upstream asks to wait, read as the SDKs do: `retry-after-ms`, else `retry-after` in seconds or as a date.

    None where it asks for nothing that lies ahead, or says what nobody understands. May be infinite. `wall_s`: the Unix time.
    """
    for name, per_s in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        value = reply.header(name)
        if value is not None and _is_number(value := value.strip()):
            wait_s = float(value) / per_s
            return wait_s if wait_s > 0 else None
    return _until_date(reply.header(b"retry-after"), wall_s)


def _until_date(value: bytes | None, wall_s: float) -> float | None:
    try:
        date = parsedate_tz(value.decode("ascii")) if value is not None and len(value) < 100 else None
        wait_s = mktime_tz(date) - wall_s if date is not None else 0.0
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return wait_s if wait_s > 0 else None


def says_again(reply: Reply) -> bool | None:
    """What `x-should-retry` of an upstream says; None where it does not."""
    value = reply.header(SHOULD_RETRY)
    return {b"true": True, b"false": False}.get(value) if value is not None else None


def last_word(outcome: Outcome, told: str) -> Reply:
    """The outcome where our own tries are spent, as it came: the SDK is told that they are. `told` follows a Failure's own words.

    A 200 that is no answer (a page of HTML, an error, nothing) is a Failure: no SDK would raise at it, and its caller would go on with it.
    """
    if isinstance(outcome, Reply):
        fault = outcome.fault
        if fault is None or outcome.status >= 400:
            outcome.headers = not_again(outcome.headers)
            return outcome
        outcome.close()
        where = outcome.target.upstream if outcome.target is not None else "upstream"
        outcome = Failure(fault, where, f"{where} answered {outcome.status} with what is no answer of this API")
    outcome.spent = True
    outcome.detail += told
    raise outcome.bare()
