"""whole -- whether a plain reply is what its endpoint may send: one look at a body that is all here.

Cost: parsing its JSON, up to 256 KiB of it; of a longer one only its two ends are looked at.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from proxy.core.faults import Fault
from proxy.openai.deltas import is_error
from proxy.openai.endpoints import Endpoint
from proxy.openai.stream_reading import json_value

PARSED_BYTES = 256 * 1024  # a millisecond
START_BYTES = 64
WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_is_events = re.compile(rb"(?:data|event|id|retry)?:").match
_is_long_error = re.compile(rb'\{\s*"error"\s*:\s*[{"]').match


class Verdict(NamedTuple):
    """What a body is found to be. `value`: its JSON, where it was parsed."""

    fault: Fault | None = None
    value: Any = None


def begins_events(data: bytes) -> bool:
    """Whether a body begins as a stream of events does."""
    return _is_events(data[:START_BYTES].removeprefix(_BOM).lstrip(WHITE)) is not None


def judged(data: bytes, endpoint: str) -> Verdict:
    """The fault of a 2xx body where JSON is due: `truncated` for JSON that stops before its end, `bad_reply` for all else."""
    text = data.removeprefix(_BOM).lstrip(WHITE)
    if not text.startswith((b"{", b"[")):
        return Verdict(Fault.BAD_REPLY)
    if len(text) > PARSED_BYTES:
        if not text.rstrip(WHITE).endswith((b"}", b"]")):
            return Verdict(Fault.TRUNCATED)
        return Verdict(Fault.BAD_REPLY if _is_long_error(text) else None)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = json_value(text)  # as the SDKs' parsers read it
        if value is None:
            return Verdict(Fault.BAD_REPLY if text.rstrip(WHITE).endswith((b"}", b"]")) else Fault.TRUNCATED)
    if isinstance(value, list):
        return Verdict(None if endpoint == Endpoint.MODELS else Fault.BAD_REPLY, value)  # some list their models without a wrapper
    return Verdict(Fault.BAD_REPLY if is_error(value) else None, value)
