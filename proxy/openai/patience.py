"""patience -- what the official SDKs say of themselves in a request: how long they will wait, and how often they have tried.

Python sends `x-stainless-read-timeout` (the wait for each byte), node `x-stainless-timeout`; both in seconds, and both count the tries
before this one in `x-stainless-retry-count`. Whoever sends something else has no patience that we know of.
Cost: one pass over the headers.
"""

from __future__ import annotations

from proxy.core.body import Headers

_WAITS = (b"x-stainless-read-timeout", b"x-stainless-timeout")
_RETRIES = b"x-stainless-retry-count"
MAX_S = 86_400.0  # more is no limit
MAX_RETRIES = 100


def patience_s(headers: Headers) -> float | None:
    """How many seconds the app waits for the first byte, None where it does not say."""
    found = None
    for name, value in headers:
        if len(name) in (19, 24) and name.lower() in _WAITS and (wait := _number(value)) is not None and wait > 0:
            found = wait if found is None else min(found, wait)
    return found if found is None or found < MAX_S else None


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
