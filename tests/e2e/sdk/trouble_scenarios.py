"""When it goes wrong: the SDK must raise the same exception, with the same content, after the same number of tries."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import openai

from tests.e2e.sdk.both import each, got
from tests.e2e.sdk.chat_scenarios import HELLO, SAID
from tests.e2e.sdk.compare import end_to_end, portless


def told(error: openai.APIError) -> dict[str, Any]:
    """All that an app can read from an exception."""
    found = {
        "class": type(error).__name__,
        "message": portless(str(error)),
        "body": error.body,
        "code": error.code,
        "param": error.param,
        "type": error.type,
        "cause": type(error.__cause__).__name__,
    }
    if isinstance(error, openai.APIStatusError):
        found |= {
            "status": error.status_code,
            "request_id": error.request_id,
            "headers": end_to_end(error.response.headers.raw),
            "content": error.response.content,
        }
    return found


async def asked(client: Any, play: str, **more: Any) -> Any:
    """A chat completion in trouble: its text, or what was raised."""
    headers = {"x-play": play} if play else {}
    try:
        reply = await got(client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers=headers, **more))
        return reply.choices[0].message.content
    except openai.APIError as error:
        return told(error)


async def streamed(client: Any, play: str, **more: Any) -> tuple[list[Any], Any]:
    """A stream in trouble: the chunks until then, and what was raised."""
    chunks: list[Any] = []
    try:
        stream = await got(
            client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-play": play}, **more)
        )
        async for chunk in each(stream):
            chunks.append(chunk.to_dict())  # noqa: PERF401 -- what came before the exception counts
    except openai.APIError as error:
        return chunks, told(error)
    return chunks, None


async def unauthorized(client: Any) -> Any:
    found = await asked(client.with_options(api_key="sk-wrong"), "")
    assert found["class"] == "AuthenticationError"
    assert found["code"] == "invalid_api_key"
    return found


async def not_found(client: Any) -> Any:
    try:
        found: Any = await got(client.models.retrieve("gpt-9"))
    except openai.NotFoundError as error:
        found = told(error)
    assert found["code"] == "model_not_found"
    assert found["request_id"].startswith("req_")
    return found


async def statuses(client: Any) -> Any:
    """Each status has its exception; with retries, those worth it end well at the third try."""
    never, patient = client.with_options(max_retries=0), client.with_options(max_retries=2)
    found = {status: await asked(never, f"failing {status} 9") for status in (400, 403, 409, 422, 500, 503)}
    retried = {status: await asked(patient, f"failing {status} 2") for status in (400, 409, 422, 500, 503)}
    assert [each["class"] for each in found.values()] == [
        "BadRequestError",
        "PermissionDeniedError",
        "ConflictError",
        "UnprocessableEntityError",
        "InternalServerError",
        "InternalServerError",
    ]
    assert [status for status, each in retried.items() if each == SAID] == [409, 500, 503]
    return found, retried


async def default_retries(client: Any) -> Any:
    """A broken server is asked three times by a client that was told nothing, with the SDK's own waits."""
    found = await asked(client, "broken")
    assert found["class"] == "InternalServerError"
    return found


async def rate_limits(client: Any) -> Any:
    """Waits that the server names are kept: in milliseconds, in seconds, as a date."""
    quick = await asked(client, "rate-limited 2 retry-after-ms 30")
    started = time.monotonic()
    slow = await asked(client, "rate-limited 1 retry-after 1")
    waited_s = time.monotonic() - started
    date = await asked(client, f"rate-limited 1 Retry-After {formatdate(1_700_000_000, usegmt=True)}", timeout=5)
    tired = await asked(client.with_options(max_retries=1), "rate-limited 9 retry-after-ms 30")
    assert quick == slow == date == SAID
    assert 0.9 < waited_s < 3
    assert tired["class"] == "RateLimitError"
    assert (b"retry-after-ms", b"30") in tired["headers"]
    return quick, slow, date, tired


async def retries_as_told(client: Any) -> Any:
    """x-should-retry beats the status, both ways."""
    found = [await asked(client, "told 500 false"), await asked(client, "told 400 true")]
    assert found[0]["class"] == "InternalServerError"
    assert found[1] == SAID
    return found


async def html_for_an_answer(client: Any) -> Any:
    found = await asked(client.with_options(max_retries=0), "html")
    assert found["class"] == "InternalServerError"
    assert b"<h1>503" in found["content"]
    return found


async def error_in_a_stream(client: Any) -> Any:
    chunks, raised = await streamed(client, "erring 4")
    assert len(chunks) == 3
    assert raised["class"] == "APIError"
    assert raised["code"] == "overheated"
    return chunks, raised


async def error_in_a_responses_stream(client: Any) -> Any:
    found: list[Any] = []
    try:
        stream = await got(client.responses.create(model="gpt-5", input="Hallo", stream=True, extra_headers={"x-play": "failed-response"}))
        async for event in each(stream):
            found.append(event.to_dict())  # noqa: PERF401 -- what came before the exception counts
    except openai.APIError as error:
        found.append(told(error))
    assert "The response failed." in str(found[-1])
    return found


async def error_instead_of_a_stream(client: Any) -> Any:
    chunks, raised = await streamed(client.with_options(max_retries=1), "failing 503 9")
    assert chunks == []
    assert raised["class"] == "InternalServerError"
    return raised


async def stream_cut(client: Any) -> Any:
    """A stream that breaks off in an event never looks finished."""
    chunks, raised = await streamed(client, "cut 5")
    assert len(chunks) == 4
    assert raised["class"] == "APIConnectionError"
    return chunks, raised


async def reply_cut(client: Any) -> Any:
    """A plain reply that is shorter than announced is a connection error, tried again like any other."""
    found = await asked(client.with_options(max_retries=1), "cut 40")
    assert found["class"] == "APIConnectionError"
    return found


async def silence(client: Any) -> Any:
    """The client's own timeout, before any reply: the exception, and one more try."""
    found = await asked(client.with_options(max_retries=1, timeout=0.25), "silent")
    assert found["class"] == "APITimeoutError"
    return found


async def silence_in_a_stream(client: Any) -> Any:
    chunks, raised = await streamed(client.with_options(timeout=0.25), "stalled 4")
    assert len(chunks) == 3
    assert raised["class"] == "APITimeoutError"
    return chunks, raised


SCENARIOS = (
    unauthorized,
    not_found,
    statuses,
    default_retries,
    rate_limits,
    retries_as_told,
    html_for_an_answer,
    error_in_a_stream,
    error_in_a_responses_stream,
    error_instead_of_a_stream,
    stream_cut,
    reply_cut,
    silence,
    silence_in_a_stream,
)
