from __future__ import annotations

import gzip
import json
import zlib

import pytest

from proxy.core.body import Body, Chunk
from proxy.core.faults import PEEK_BYTES, TRANSIENT, Abandoned, Failure, Fault, Refusal, classify, peeked
from proxy.core.reply import Reply
from proxy.core.request import Framing


def reply(status: int, data: Chunk | list[Chunk] = b"", encoding: bytes | None = None) -> Reply:
    headers = [(b"Content-Type", b"application/json")]
    if encoding is not None:
        headers.append((b"Content-Encoding", encoding))
    return Reply(status, b"", headers, Framing.CHUNKED, Body.of(data))


def error(message: str, code: str | None = None, type: str = "invalid_request_error") -> bytes:
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}}).encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


TOO_LONG = error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001.", "context_length_exceeded")


@pytest.mark.parametrize("status", [100, 101, 200, 201, 204, 206, 301, 304, 307])
def test_a_reply_below_400_is_good_unless_who_primed_it_said_otherwise(status: int) -> None:
    bad = reply(status)
    bad.fault = Fault.BAD_REPLY

    assert classify(reply(status)) is None
    assert classify(bad) is Fault.BAD_REPLY


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (401, Fault.AUTH),
        (403, Fault.AUTH),
        (408, Fault.TIMEOUT),
        (504, Fault.TIMEOUT),
        (429, Fault.RATE_LIMITED),
        (503, Fault.OVERLOADED),
        (529, Fault.OVERLOADED),
        (500, Fault.SERVER_ERROR),
        (501, Fault.SERVER_ERROR),
        (502, Fault.SERVER_ERROR),
        (520, Fault.SERVER_ERROR),
        (599, Fault.SERVER_ERROR),
        (400, None),
        (402, None),
        (404, None),
        (405, None),
        (409, None),
        (413, None),
        (415, None),
        (418, None),
        (422, None),
        (451, None),
    ],
)
def test_a_status_alone_says(status: int, fault: Fault | None) -> None:
    assert classify(reply(status)) is fault


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize(
    "data",
    [
        TOO_LONG,
        error("Your input exceeds the context window of this model. Please adjust your input and try again."),
        error("Please reduce the length of the messages or completion.", "context_length_exceeded"),
        error("prompt is too long: 208310 tokens > 200000 maximum"),
        error("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
        error("Input is too long for requested model."),
        error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        error("This model's maximum prompt length is 131072 but the request contains 143437 tokens."),
        error("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        error("the request exceeds the available context size. try increasing the context size", type="exceed_context_size_error"),
        error("too many tokens: total number of tokens in the prompt cannot exceed 4081"),
        error("Prompt contains 40004 tokens, too large for model with 32768 maximum context length"),
    ],
)
def test_a_400_or_413_that_speaks_of_the_context_is_the_context_window(status: int, data: bytes) -> None:
    assert classify(reply(status, data)) is Fault.CONTEXT_WINDOW


@pytest.mark.parametrize(
    "data",
    [
        error("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "content_filter"),
        b'{"error":{"code":"400","innererror":{"code":"ResponsibleAIPolicyViolation"}}}',
        error("Your request was rejected as a result of our safety system.", "content_policy_violation"),
        error("Your request was rejected by the safety system.", "moderation_blocked"),
        error("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_prompt"),
    ],
)
def test_a_400_that_speaks_of_a_filter_is_the_content_filter(data: bytes) -> None:
    assert classify(reply(400, data)) is Fault.CONTENT_FILTER


@pytest.mark.parametrize("status", [402, 429])
@pytest.mark.parametrize(
    "data",
    [
        error("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "insufficient_quota"),
        error("Billing hard limit has been reached", "billing_hard_limit_reached"),
        error("Your account is not active, please check your billing details on our website.", "billing_not_active"),
        error("Insufficient Balance"),
        error("Insufficient credits. Add more and retry."),
        error("Your credit balance is too low to access the API."),
        error("Your team has either used all available credits or reached its monthly spending limit."),
    ],
)
def test_a_429_or_402_that_speaks_of_money_is_the_quota(status: int, data: bytes) -> None:
    assert classify(reply(status, data)) is Fault.QUOTA


@pytest.mark.parametrize(
    "data",
    [
        error("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000", "rate_limit_exceeded"),
        error("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000.", "rate_limit_exceeded"),
        b"<html>too many requests</html>",
        b"",
    ],
)
def test_any_other_429_is_a_rate_limit(data: bytes) -> None:
    assert classify(reply(429, data)) is Fault.RATE_LIMITED


@pytest.mark.parametrize(
    "data",
    [
        error("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
        error("The API deployment for this resource does not exist.", "DeploymentNotFound"),
        error("The model `llama` does not exist.", type="NotFoundError"),
        error('model "llama3:70b" not found, try pulling it first', type="api_error"),
        error("models/gemini-9 is not found for API version v1beta, or is not supported for generateContent."),
        error("Unable to access model x/y.", "model_not_available"),
    ],
)
def test_a_404_that_speaks_of_the_model_is_a_missing_model(data: bytes) -> None:
    assert classify(reply(404, data)) is Fault.MODEL_MISSING


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (404, error("Response with id 'resp_1' not found.")),
        (404, b"<html><title>404 Not Found</title></html>"),
        (404, error("No file with that id exists. See the guide on models.")),
        (400, error("Invalid value for 'temperature': must be at most 2.")),
        (400, error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")),
        (413, b"<html>413 Request Entity Too Large</html>"),
        (402, error("Payment required.")),
        (422, TOO_LONG),
    ],
)
def test_an_error_that_is_the_apps_own_is_no_fault(status: int, data: bytes) -> None:
    assert classify(reply(status, data)) is None


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_body_does_not_change_what_other_statuses_say(status: int) -> None:
    assert classify(reply(status, TOO_LONG)) is classify(reply(status))


@pytest.mark.parametrize("fault", list(Fault))
def test_a_failure_says_its_fault_itself(fault: Fault) -> None:
    assert classify(Failure(fault, "upstream", "why")) is fault


def test_an_abandoned_body_is_truncated() -> None:
    assert classify(Abandoned()) is Fault.TRUNCATED


def test_a_reply_that_carries_a_fault_is_not_judged_again_by_its_status() -> None:
    ours = reply(502)
    ours.fault = Fault.CONNECT

    assert classify(ours) is Fault.CONNECT


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (b"gzip", gzip.compress(TOO_LONG, mtime=0)),
        (b"GZIP", gzip.compress(TOO_LONG, mtime=0)),
        (b" gzip ", gzip.compress(TOO_LONG, mtime=0)),
        (b"x-gzip", gzip.compress(TOO_LONG, mtime=0)),
        (b"deflate", zlib.compress(TOO_LONG)),
        (b"deflate", raw_deflate(TOO_LONG)),
        (b"identity", TOO_LONG),
        (b"gzip", gzip.compress(TOO_LONG, mtime=0)[:-9]),
    ],
)
def test_an_encoded_error_is_read_all_the_same(encoding: bytes, data: bytes) -> None:
    assert classify(reply(400, data, encoding)) is Fault.CONTEXT_WINDOW


@pytest.mark.parametrize(
    ("encoding", "data"), [(b"br", TOO_LONG), (b"gzip", TOO_LONG), (b"gzip, br", gzip.compress(TOO_LONG, mtime=0)), (b"gzip", b"")]
)
def test_what_cannot_be_read_says_nothing(encoding: bytes, data: bytes) -> None:
    assert peeked(reply(400, data, encoding)) == b""
    assert classify(reply(400, data, encoding)) is None


def test_a_bomb_is_read_to_the_peeks_size_only() -> None:
    assert len(peeked(reply(400, gzip.compress(bytes(50_000_000)), b"gzip"))) <= PEEK_BYTES


def test_classifying_takes_no_bytes() -> None:
    outcome = reply(400, [TOO_LONG[:30], memoryview(TOO_LONG[30:])])
    classify(outcome)
    classify(outcome)

    assert outcome.body.size == len(TOO_LONG)
    assert outcome.body.take() == TOO_LONG


def test_only_the_beginning_of_an_error_is_read() -> None:
    assert classify(reply(400, b" " * PEEK_BYTES + TOO_LONG)) is None


def test_the_default_faults_are_those_that_another_try_may_heal() -> None:
    named = "connect timeout rate_limited overloaded server_error bad_reply truncated breaker_open"

    assert {fault.value for fault in TRANSIENT} == set(named.split())


def test_a_bare_failure_says_the_same_and_holds_no_frames() -> None:
    try:
        raise Failure(Fault.TIMEOUT, "openai", "no head within 5 s")
    except Failure as caught:
        bare = caught.bare()

    assert bare.__traceback__ is None
    assert (bare.fault, bare.where, bare.detail, str(bare)) == (Fault.TIMEOUT, "openai", "no head within 5 s", "no head within 5 s")
    assert type(Abandoned().bare()) is Abandoned


def test_a_refusal_carries_what_the_app_is_told() -> None:
    refusal = Refusal(403, "policy_refused", "No.")

    assert (refusal.status, refusal.code, refusal.message, str(refusal)) == (403, "policy_refused", "No.", "No.")


def test_a_failure_tells_its_place_once() -> None:
    assert Failure(Fault.CONNECT, "groq", "refused").told == "groq: refused"
    assert Failure(Fault.TRUNCATED, "a:443", "a:443 broke off its reply").told == "a:443 broke off its reply"
