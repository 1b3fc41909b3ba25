"""errors -- what we say in the API's own form when the answer is ours: the closed list of our codes, and the body of an error.

An SDK chooses its exception by the status alone, so each code has one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType

from proxy.core.faults import Fault
from proxy.openai.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Code:
    """One of our error codes. `meaning` is the sentence of the reference."""

    status: int
    meaning: str


CODES = MappingProxyType(
    {
        "bad_request": Code(400, "The request is not well-formed HTTP, or its framing is ambiguous; nothing was sent upstream."),
        "policy_refused": Code(403, "A policy says no to this request."),
        "request_timeout": Code(408, "The request did not arrive in time."),
        "request_too_large": Code(413, "The body is over the limit up to which a policy that must read it can hold it."),
        "uri_too_long": Code(414, "The request target is over the limit."),
        "budget_exceeded": Code(429, "A budget is spent; `retry-after` says when there is more."),
        "overloaded": Code(429, "Too many calls at once; trying again after `retry-after` may work."),
        "headers_too_large": Code(431, "The request head is over a limit of size or count."),
        "internal_error": Code(500, "The proxy itself failed; nothing is known to be wrong with the request."),
        "not_implemented": Code(501, "The request uses a part of HTTP that is not carried."),
        "invalid_reply": Code(502, "The upstream answered, but not with what this API may send, or a check found the answer wrong."),
        "upstream_truncated": Code(502, "The upstream's answer was cut before its end."),
        "upstream_unavailable": Code(502, "The upstream could not be reached, or failed on each try."),
        "shutting_down": Code(503, "The proxy is about to stop and takes no new calls."),
        "upstream_timeout": Code(504, "The upstream did not answer within a limit that a policy sets."),
        "http_version": Code(505, "The request speaks an HTTP version other than 1.0 and 1.1."),
        "loop_detected": Code(508, "The upstream is this proxy itself."),
    }
)


def error_body(message: str, code: str, type: str = "chassis_error", param: str | None = None) -> bytes:
    """An error as the API writes it, in ASCII: any message is carried, lone surrogates too."""
    return json.dumps({"error": {"message": message, "type": type, "param": param, "code": code}}).encode("ascii")


def code_of(fault: Fault) -> str:
    """Our code for what went wrong with an upstream."""
    return _OF_FAULT.get(fault, "upstream_unavailable")


_OF_FAULT = MappingProxyType(
    {
        Fault.TIMEOUT: "upstream_timeout",
        Fault.TRUNCATED: "upstream_truncated",
        Fault.INVALID: "invalid_reply",
        Fault.BAD_REPLY: "invalid_reply",
    }
)


def error_event(endpoint: str, message: str, code: str, number: int = 0, type: str = "chassis_error") -> bytes:
    """An error as an event of a stream: the SDKs raise at it. `number`: the next sequence number, of Responses.

    That of Responses says it twice: flat, as the API's reference has it, and in `error`, without which openai-python does not raise.
    """
    said = {"message": message, "type": type, "param": None, "code": code}
    if endpoint != Endpoint.RESPONSES:
        return b"data: " + json.dumps({"error": said}).encode("ascii") + b"\n\n"
    event = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": number, "error": said}
    return b"event: error\ndata: " + json.dumps(event).encode("ascii") + b"\n\n"
