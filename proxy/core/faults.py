"""faults -- why an exchange, a check or a call failed: one closed list, and the one place that classifies.

`when:` in a policy, the span attribute `error.type`, the metrics' labels and the docs speak exactly these words.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from proxy.core.reply import Reply

PEEK_BYTES = 64 * 1024  # of an error reply: providers' error bodies are a few hundred bytes, HTML pages of middleboxes some KiB


class Fault(StrEnum):
    """What went wrong, as every floor names it."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONTEXT_WINDOW = "context_window"
    CONTENT_FILTER = "content_filter"
    AUTH = "auth"
    MODEL_MISSING = "model_missing"
    BAD_REPLY = "bad_reply"
    TRUNCATED = "truncated"
    INVALID = "invalid"
    BREAKER_OPEN = "breaker_open"


TRANSIENT = frozenset(
    (
        Fault.CONNECT,
        Fault.TIMEOUT,
        Fault.RATE_LIMITED,
        Fault.OVERLOADED,
        Fault.SERVER_ERROR,
        Fault.BAD_REPLY,
        Fault.TRUNCATED,
        Fault.BREAKER_OPEN,
    )
)


class Failure(Exception):
    """There is no reply, or it may not be used. `detail` says what and how long, for a person."""

    def __init__(self, fault: Fault, where: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.where = where
        self.detail = detail
        self.spent = False  # our own tries are: the SDK had better not try on
        self.retry_after_s: float | None = None  # when asking again makes sense, where that is known

    @property
    def told(self) -> str:
        """Where and what, for the log: the place once."""
        return self.detail if self.detail.startswith(self.where) else f"{self.where}: {self.detail}"

    def bare(self) -> Self:
        """A copy without the frames that it passed. They hold what broke: who keeps a Failure keeps it bare, or leaves a cycle."""
        new = type(self).__new__(type(self), *self.args)
        new.__dict__.update(self.__dict__)
        return new


class Abandoned(Failure):
    """Whoever received the body closed it before its end."""

    def __init__(self) -> None:
        super().__init__(Fault.TRUNCATED, "reader", "closed before its end")


class Refusal(Exception):
    """A policy, or the proxy itself, says no to the app: never retried. `code` is one of `proxy.openai.errors.CODES`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s: float | None = None  # when asking again makes sense, where that is known


# What providers and servers say, in lower case: OpenAI, Azure, Anthropic, Bedrock, Gemini, Mistral, Groq, xAI, Cohere, DeepSeek, vLLM,
# llama.cpp, Ollama. Plain texts, not patterns: those take up to 60 ms for 64 KiB, these under one.
_CONTEXT = (
    *(b"context_length_exceeded", b"context length", b"context window", b"context size", b"context limit", b"prompt is too long"),
    *(b"input is too long", b"maximum prompt length", b"maximum model length", b"input token count", b"too many tokens"),
)
_FILTER = (
    *(b"content_filter", b"content_policy_violation", b"content management policy", b"responsibleaipolicyviolation"),
    *(b"moderation_blocked", b"safety system", b"violating our usage policy"),
)
_QUOTA = (
    *(b"insufficient_quota", b"billing_hard_limit", b"billing_not_active", b"exceeded your current quota", b"insufficient balance"),
    *(b"insufficient credit", b"out of credits", b"credit balance", b"available credits", b"spending limit"),
)
_MODEL = (b"model_not_found", b"model_not_available", b"deploymentnotfound")
_MISSING = (b"does not exist", b"not found", b"not exist")
_REACH_BYTES = 120  # before "not found", for the word `model`: a model's name may be a path
_LOOKS = 20  # at places that say "not found": an error of an API has one


def classify(outcome: Reply | Failure) -> Fault | None:
    """The fault of a failure, or of a reply by its status and the beginning of its body that is already buffered.

    None: a good reply, or an answer that is the app's own to deal with (any other 4xx).
    Never waits and takes nothing: who wants the body considered has let it arrive (`body.until`) before.
    """
    if isinstance(outcome, Failure):
        return outcome.fault
    status = outcome.status
    if status < 400 or outcome.fault is not None:
        return outcome.fault
    if status in (401, 403):
        return Fault.AUTH
    if status in (408, 504):
        return Fault.TIMEOUT
    if status in (503, 529):
        return Fault.OVERLOADED
    if status >= 500:
        return Fault.SERVER_ERROR
    if status in (400, 402, 404, 413, 429):
        return _said(status, peeked(outcome).lower())
    return None


def _said(status: int, text: bytes) -> Fault | None:
    if status == 429:
        return Fault.QUOTA if _any(_QUOTA, text) else Fault.RATE_LIMITED
    if status == 402:
        return Fault.QUOTA if _any(_QUOTA, text) or b"billing" in text else None
    if status == 404:
        return Fault.MODEL_MISSING if _any(_MODEL, text) or _misses_a_model(text) else None
    return Fault.CONTEXT_WINDOW if _any(_CONTEXT, text) else Fault.CONTENT_FILTER if _any(_FILTER, text) else None


def _any(phrases: tuple[bytes, ...], text: bytes) -> bool:
    return any(phrase in text for phrase in phrases)


def _misses_a_model(text: bytes) -> bool:
    """Whether one sentence says that a model or a deployment is not there; a name in it may stand between escaped quotes."""
    for phrase in _MISSING:
        at = -1
        for _ in range(_LOOKS):
            at = text.find(phrase, at + 1)
            if at < 0:
                break
            before = text[max(0, at - _REACH_BYTES) : at].replace(b'\\"', b"'").rpartition(b'"')[2]
            if b"model" in before or b"deployment" in before:
                return True
    return False


def peeked(reply: Reply) -> bytes:
    """The buffered beginning of a reply, at most `PEEK_BYTES`, decoded where it is gzip or deflate; b"" where it cannot be read."""
    data = reply.body.peek()[:PEEK_BYTES]
    encoding = (reply.header(b"content-encoding") or b"").strip().lower()
    if encoding in (b"", b"identity") or not data:
        return data
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        return b""
    for wbits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # some servers send raw deflate as `deflate`
        try:
            return zlib.decompressobj(wbits).decompress(data, PEEK_BYTES)
        except zlib.error:
            continue
    return b""
