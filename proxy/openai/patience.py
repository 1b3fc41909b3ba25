"""patience -- what the official SDKs say of themselves in a request (how long they will wait, how often they have tried), and what they
are told in a reply: when to try again, and whether.

Python sends `x-stainless-read-timeout` (the wait for each byte), node `x-stainless-timeout`; both in seconds, and both count the tries
before this one in `x-stainless-retry-count`. Whoever sends something else has no patience that we know of.
Cost: one pass over the headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache

from proxy.core.body import Headers
from proxy.core.faults import Failure
from proxy.core.outcomes import Outcome
from proxy.core.reply import Reply

SHOULD_RETRY = b"x-should-retry"
MAX_S = 86_400.0  # more is no limit
MAX_RETRIES = 100
MARGIN = 0.05  # of the app's patience is kept for the way to it: a proxy in front, the SDK's own part
MARGIN_S = (0.05, 1.0)  # at least, and at most; never more than half of it

_is_number = re.compile(rb"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,4})?").fullmatch


@dataclass(slots=True, frozen=True)
class Said:
    """What an SDK says of itself: `read_s`, `whole_s`: how long Python and node wait; `tries`: how often it has tried this call before."""

    read_s: float | None = None
    whole_s: float | None = None
    tries: int = 0

    def answer_by(self, received: float, here: float) -> float | None:
        """The loop time by which the app must have its first byte, a small margin before it gives up; None where it does not say.

        `received`: when the head had come, from where node counts. `here`: when all of the request had, from where Python does.
        """
        if self.whole_s is None:
            return None if self.read_s is None else here + self.read_s
        return received + self.whole_s if self.read_s is None else min(received + self.whole_s, here + self.read_s)


def said_in(headers: Headers) -> Said:
    """What these headers say. Apps have few settings, so what they say is remembered."""
    read = whole = tries = b""
    for name, value in headers:
        size = len(name)
        if size == 24 and name.lower() == b"x-stainless-read-timeout":
            read = read or value
        elif size == 23 and name.lower() == b"x-stainless-retry-count":
            tries = tries or value
        elif size == 19 and name.lower() == b"x-stainless-timeout":
            whole = whole or value
    return _said(read, whole, tries)


@lru_cache(maxsize=256)
def _said(read: bytes, whole: bytes, tries: bytes) -> Said:
    return Said(_patience_s(read), _patience_s(whole), min(int(tries), MAX_RETRIES) if tries.isdigit() and len(tries) < 10 else 0)


def _patience_s(value: bytes) -> float | None:
    """Seconds, as SDKs write them (digits, with a point; nothing else that Python would take for a number), less the margin."""
    if not value or len(value) > 20 or value.strip(b"0123456789.") or value.count(b".") > 1 or value == b".":
        return None
    wait_s = float(value)
    return wait_s - min(max(wait_s * MARGIN, MARGIN_S[0]), MARGIN_S[1], wait_s / 2) if 0 < wait_s < MAX_S else None


def not_again(headers: Headers) -> Headers:
    """The headers of a reply that tell the SDK not to try on, whatever the upstream thinks of it: our own tries are spent."""
    return [*((name, value) for name, value in headers if name.lower() != SHOULD_RETRY), (SHOULD_RETRY, b"false")]


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
