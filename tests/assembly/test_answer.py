from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.assembly.answer import Answer, failed, refused
from proxy.core.call import Target
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.reply import Reply
from proxy.core.service import fixed
from proxy.openai.errors import CODES, code_of
from proxy.openai.static import static_reply
from proxy.wire.head import reply_head
from tests.assembly.engines import Inner, call_of, chat


async def error_of(reply: Reply) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(await reply.body.read_all())["error"]
    return error


@pytest.mark.parametrize("fault", Fault)
async def test_each_fault_is_an_error_in_the_apis_form(fault: Fault) -> None:
    reply = failed(Failure(fault, "openai", "no luck"))
    code = code_of(fault)
    length = int(reply.header(b"content-length") or 0)

    assert reply.status == CODES[code].status == (504 if fault is Fault.TIMEOUT else 502)
    assert length == reply.body.size
    assert await error_of(reply) == {"message": f"{fault.value}: no luck", "type": "chassis_error", "param": None, "code": code}
    assert (reply.header(b"x-chassis-origin"), reply.header(b"content-type")) == (b"static", b"application/json")
    assert (reply.origin, reply.fault, reply.header(b"x-should-retry")) == ("static", fault, None)


@pytest.mark.parametrize("code", [*CODES, "policy_code_of_its_own"])
async def test_each_refusal_says_whether_to_try_again(code: str) -> None:
    status = CODES[code].status if code in CODES else 422
    reply = refused(Refusal(status, code, "No."))

    assert reply.status == status
    assert await error_of(reply) == {"message": "No.", "type": "chassis_error", "param": None, "code": code}
    assert reply.header(b"x-should-retry") == (None if code == "overloaded" else b"false")


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_has_a_reason_that_is_one_line(status: int) -> None:
    reason = static_reply(status, "policy_refused", "x").reason

    assert reason
    assert reason.isascii()
    assert b"\r" not in reason


@pytest.mark.parametrize("message", ['a "quote"\r\nx: y', "\x00\x1f", "é 漢 \ud800", ""])
async def test_any_message_is_carried_in_the_body_alone(message: str) -> None:
    reply = static_reply(403, "policy_refused", message)
    head, _ = reply_head(reply, call_of().request, close=False)

    assert (await error_of(reply))["message"] == message
    assert b"x: y" not in head


async def answered(raises: Exception | None = None, model: str | None = None, asked: str | None = "gpt-4o", acted: bool = True) -> Reply:
    inner = Inner()
    call = call_of(chat())
    call.journal.model = asked

    async def service(call: Any) -> Reply:
        if acted:
            for name in ("b", "a", "b"):
                call.journal.note("odd", name, acted=True)
        call.journal.note("odd", "shadowy", shadow=True)
        if raises is not None:
            raise raises
        return await inner(call)

    return await fixed((Answer(),), service)(call.derive(target=Target("groq", model)))


async def test_the_app_is_told_what_acted_in_order_and_where_the_answer_is_from() -> None:
    reply = await answered(model="llama")

    assert reply.headers == [
        (b"x-chassis-policies", b"b, a"),
        (b"x-chassis-upstream", b"groq"),
        (b"x-chassis-model", b"llama"),
        (b"x-chassis-exchanges", b"1"),
        (b"x-chassis-origin", b"upstream"),
    ]


@pytest.mark.parametrize("model", [None, "gpt-4o"])
async def test_the_model_is_told_only_where_it_is_not_what_was_asked(model: str | None) -> None:
    assert (await answered(model=model)).header(b"x-chassis-model") is None


async def test_where_nothing_acted_the_reply_is_the_upstreams_alone() -> None:
    assert (await answered(acted=False)).headers == []


@pytest.mark.parametrize("model", ["a\r\nx-evil: 1", "a\x00b", "é漢", "\u2028", "\ud800", "\x7f", " a "])
async def test_no_models_name_breaks_a_head(model: str) -> None:
    reply = await answered(model=model)
    value = reply.header(b"x-chassis-model")
    head, _ = reply_head(reply, call_of().request, close=False)

    assert value is not None
    assert not any(byte < 32 or byte == 127 for byte in value)
    assert b"\r\nx-evil" not in head


async def test_a_failure_tells_who_acted_and_that_the_answer_is_ours_once() -> None:
    reply = await answered(Failure(Fault.CONNECT, "groq", "refused"))
    names = [name for name, _ in reply.headers]

    assert reply.status == 502
    assert reply.header(b"x-chassis-policies") == b"b, a"
    assert reply.header(b"x-chassis-exchanges") == b"0"
    assert names.count(b"x-chassis-origin") == 1
    assert (await answered(Failure(Fault.CONNECT, "groq", "refused"), acted=False)).header(b"x-chassis-policies") is None


async def test_a_bug_is_not_taken_for_an_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        await answered(ZeroDivisionError())


@pytest.mark.parametrize(("later_s", "header"), [(None, None), (0.2, b"1"), (1.0, b"1"), (29.1, b"30")])
async def test_the_app_is_told_when_to_come_again_where_that_is_known(later_s: float | None, header: bytes | None) -> None:
    failure, refusal = Failure(Fault.BREAKER_OPEN, "groq", "open"), Refusal(429, "overloaded", "Too many.")
    failure.retry_after_s = refusal.retry_after_s = later_s

    assert failed(failure).header(b"retry-after") == refused(refusal).header(b"retry-after") == header
    assert failed(failure.bare()).header(b"retry-after") == header
