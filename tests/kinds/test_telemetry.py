"""Records of calls and exchanges: right for every way in which either can end."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging

import pytest

from proxy.adapters import trace_context
from proxy.core.body import Body, Headers
from proxy.core.call import Allowance, Call, Target
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Fault, Refusal
from proxy.core.journal import Journal
from proxy.core.ports import CallRecord, ExchangeRecord, Outcome, Trace, is_stream
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request
from proxy.core.service import Service, compose
from proxy.core.virtual import run
from proxy.kinds.prime import Prime
from proxy.kinds.telemetry import CallTelemetry, ExchangeTelemetry
from tests import scripted
from tests.scripted import Upstream, chat, chat_stream

SSE = [(b"Content-Type", b"text/event-stream")]
JSON = [(b"Content-Type", b"application/json")]
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}'
)
CHUNKS = (
    b'data: {"id":"chatcmpl-2","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"o"}}]}\n\n',
    b'data: {"id":"chatcmpl-2","model":"gpt-4o","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"chatcmpl-2","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":5,'
    b'"completion_tokens":1,"total_tokens":6}}\n\ndata: [DONE]\n\n',
)


class Kept:
    """A recorder that keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.exchanges: list[ExchangeRecord] = []

    def call_ended(self, record: CallRecord) -> None:
        self.calls.append(record)

    def exchange_ended(self, record: ExchangeRecord) -> None:
        self.exchanges.append(record)


class Broken:
    """A recorder that cannot."""

    def call_ended(self, record: CallRecord) -> None:
        raise RuntimeError("no disk")

    def exchange_ended(self, record: ExchangeRecord) -> None:
        raise RuntimeError("no disk")


def a_call() -> Call:
    now = asyncio.get_running_loop().time
    request = Request(b"POST", b"/v1/chat/completions", 1, [], Framing.NONE, 0, Body.of())
    return Call("c1", "chat", request, Target("openai"), Journal(now), Allowance())


def a_reply(body: Body, status: int = 200, headers: Headers = JSON) -> Reply:
    return Reply(status, b"", list(headers), Framing.CHUNKED, body)


def clock() -> LoopClock:
    return LoopClock(asyncio.get_running_loop())


def sampled(headers: Headers) -> Trace:
    return trace_context.begin(headers, lambda context: True)


def both(kept: Kept, answer: Service, reads: bool = False) -> Service:
    """The two layers as they stand in a stack, around `answer`."""
    layers = (CallTelemetry([kept], clock(), sampled if reads else None), ExchangeTelemetry([kept], clock(), reads))

    def report(layer: str, bug: Exception) -> None:
        raise AssertionError(f"{layer} broke") from bug

    return compose(layers, answer, report)


async def consumed(reply: Reply) -> bytes:
    data = bytearray()
    try:
        await reply.body.pipe(data.extend)
    finally:
        reply.close()
    return bytes(data)


def answering(reply: Reply) -> Service:
    async def answer(call: Call) -> Reply:
        call.allowance.spend()
        call.trace.address = "api.openai.com:443"
        await asyncio.sleep(0.5)
        reply.target = call.target
        return reply

    return answer


def test_a_call_ends_when_the_app_has_it_all_and_not_when_its_head_is_known() -> None:
    kept = Kept()

    async def main() -> None:
        body = Body()
        reply = await both(kept, answering(a_reply(body, headers=SSE)))(a_call())
        body.feed(b"data: 1\n\n")
        await asyncio.sleep(2)
        assert kept.calls == []
        body.end()
        assert [record.outcome for record in kept.exchanges] == [Outcome.OK]
        await asyncio.sleep(1)
        await consumed(reply)

    run(main())

    (call,), (exchange,) = kept.calls, kept.exchanges
    assert (call.outcome, call.status, call.fault, call.origin, is_stream(call.headers)) == (Outcome.OK, 200, None, "upstream", True)
    assert call.head is not None
    assert (call.head - call.started, call.ended - call.started) == (pytest.approx(0.5), pytest.approx(3.5))
    assert exchange.ended - exchange.started == pytest.approx(2.5)
    assert call.target == Target("openai")
    assert call.exchanges == [exchange]
    assert (exchange.target.upstream, exchange.status, exchange.address) == ("openai", 200, "api.openai.com:443")


def test_times_of_a_record_are_wall_times_of_the_clock() -> None:
    kept = Kept()

    async def main() -> int:
        time = clock()
        before = time.wall_ns()
        await consumed(await compose((CallTelemetry([kept], time),), answering_statically, lambda layer, bug: None)(a_call()))
        return before

    async def answering_statically(call: Call) -> Reply:
        await asyncio.sleep(0.25)
        return a_reply(Body.of(b"{}"))

    before = run(main())

    record = kept.calls[0]
    assert abs(record.clock.wall_of_ns(record.started) - before) < 1_000
    assert record.clock.wall_of_ns(record.ended) - record.clock.wall_of_ns(record.started) == pytest.approx(250_000_000, abs=1_000)


def test_a_call_starts_when_its_head_was_complete() -> None:
    kept = Kept()

    async def main() -> None:
        call = a_call()
        call.request.received = asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        await consumed(await both(kept, answering(a_reply(Body.of(b"{}"))))(call))

    run(main())

    assert kept.calls[0].ended - kept.calls[0].started == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("raised", "outcome", "status", "fault", "detail"),
    [
        (Failure(Fault.TIMEOUT, "openai", "no token in 5 s"), Outcome.FAILED, None, "timeout", "openai: no token in 5 s"),
        (Refusal(403, "refused", "not here"), Outcome.REFUSED, 403, None, "not here"),
        (asyncio.CancelledError(), Outcome.LEFT, None, None, ""),
        (KeyError("x"), Outcome.FAILED, 500, "KeyError", ""),
    ],
)
def test_what_is_raised_is_recorded_and_raised_on(
    raised: BaseException, outcome: Outcome, status: int | None, fault: str | None, detail: str
) -> None:
    kept = Kept()

    async def answer(call: Call) -> Reply:
        raise raised

    async def main() -> None:
        layers = CallTelemetry([kept], clock()), ExchangeTelemetry([kept], clock())
        call = a_call()
        with pytest.raises(type(raised)):
            await layers[0](call, lambda inner: layers[1](inner, answer))

    run(main())

    assert len(kept.calls) == len(kept.exchanges) == 1
    for record in (*kept.calls, *kept.exchanges):
        assert (record.outcome, record.status, record.fault, record.detail) == (outcome, status, fault, detail)
        assert record.head is None


def test_a_reply_of_our_own_is_a_refusal_or_a_failure_by_its_fault() -> None:
    kept = Kept()

    async def main() -> None:
        for fault in (None, Fault.CONNECT):
            reply = a_reply(Body.of(b"{}"), 502 if fault else 403)
            reply.origin, reply.fault = "static", fault

            async def answer(call: Call, reply: Reply = reply) -> Reply:
                return reply

            await consumed(await compose((CallTelemetry([kept], clock()),), answer, lambda layer, bug: None)(a_call()))

    run(main())

    assert [(record.outcome, record.fault, record.status) for record in kept.calls] == [
        (Outcome.REFUSED, None, 403),
        (Outcome.FAILED, "connect", 502),
    ]


def test_an_upstreams_error_reply_has_its_fault_and_went_whole() -> None:
    kept = Kept()

    async def main() -> None:
        body = Body.of(b'{"error":{"code":"insufficient_quota"}}')
        await consumed(await both(kept, answering(a_reply(body, 429)))(a_call()))

    run(main())

    for record in (*kept.calls, *kept.exchanges):
        assert (record.outcome, record.status, record.fault) == (Outcome.OK, 429, "quota")


def test_a_body_that_breaks_fails_call_and_exchange() -> None:
    kept = Kept()

    async def main() -> None:
        body = Body()
        reply = await both(kept, answering(a_reply(body, headers=SSE)))(a_call())
        body.feed(b"data: 1\n\n")
        body.fail(Failure(Fault.TRUNCATED, "openai", "cut after 9 bytes"))
        with pytest.raises(Failure):
            await consumed(reply)

    run(main())

    for record in (*kept.calls, *kept.exchanges):
        assert (record.outcome, record.fault, record.status) == (Outcome.FAILED, "truncated", 200)
        assert record.detail == "openai: cut after 9 bytes"


def test_an_app_that_leaves_in_a_stream_has_left_and_nothing_failed() -> None:
    kept = Kept()

    async def main() -> None:
        body = Body()
        reply = await both(kept, answering(a_reply(body, headers=SSE)))(a_call())
        body.feed(b"data: 1\n\n")
        reply.close()

    run(main())

    for record in (*kept.calls, *kept.exchanges):
        assert (record.outcome, record.fault, record.status) == (Outcome.LEFT, None, 200)


def test_a_cancelled_call_stays_cancelled_even_when_a_recorder_breaks(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(call: Call) -> Reply:
        await asyncio.sleep(10)
        raise AssertionError

    async def main() -> bool:
        service = compose((CallTelemetry([Broken()], clock()), ExchangeTelemetry([Broken()], clock())), answer, lambda layer, bug: None)
        task = asyncio.ensure_future(service(a_call()))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(main())
    assert "a recorder broke" in caplog.text


def test_a_broken_recorder_hurts_neither_the_others_nor_the_call_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()

    async def main() -> list[bytes]:
        layer = CallTelemetry([Broken(), kept], clock())

        async def answer(call: Call) -> Reply:
            return a_reply(Body.of(b"fine"))

        return [await consumed(await compose((layer,), answer, lambda name, bug: None)(a_call())) for _ in range(3)]

    with caplog.at_level(logging.ERROR, "chassis"):
        replies = run(main())

    assert replies == [b"fine"] * 3
    assert len(kept.calls) == 3
    assert len(caplog.records) == 1


def test_each_try_is_an_exchange_of_the_same_call() -> None:
    kept = Kept()
    outcomes = [Failure(Fault.CONNECT, "openai", "refused"), None]

    async def answer(call: Call) -> Reply:
        call.allowance.spend()
        if (failure := outcomes.pop(0)) is not None:
            raise failure
        return a_reply(Body.of(b"{}"))

    class Twice:
        async def __call__(self, call: Call, inner: Service) -> Reply:
            try:
                return await inner(call)
            except Failure:
                return await inner(call.derive(target=Target("groq", "llama")))

    async def main() -> None:
        layers = (CallTelemetry([kept], clock()), Twice(), ExchangeTelemetry([kept], clock()))
        await consumed(await compose(layers, answer, lambda layer, bug: None)(a_call()))

    run(main())

    assert [(e.target.upstream, e.target.model, e.outcome, e.fault) for e in kept.calls[0].exchanges] == [
        ("openai", None, Outcome.FAILED, "connect"),
        ("groq", "llama", Outcome.OK, None),
    ]
    assert kept.exchanges == kept.calls[0].exchanges


def test_what_was_never_sent_is_no_exchange() -> None:
    kept = Kept()

    async def answer(call: Call) -> Reply:
        call.allowance.spend()
        raise AssertionError

    async def main() -> None:
        call = a_call()
        call.allowance.left = 0
        with pytest.raises(Failure):
            await both(kept, answer)(call)

    run(main())

    assert kept.exchanges == kept.calls[0].exchanges == []


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_model_usage_and_finish_reason_are_read_from_a_copy(encoding: str) -> None:
    kept = Kept()
    data = {"identity": ANSWER, "gzip": gzip.compress(ANSWER), "deflate": __import__("zlib").compress(ANSWER)}[encoding]
    headers = JSON if encoding == "identity" else [*JSON, (b"Content-Encoding", encoding.encode())]

    async def main() -> bytes:
        body = Body()
        reply = await both(kept, answering(a_reply(body, headers=headers)), reads=True)(a_call())
        for at in range(0, len(data), 50):
            body.feed(data[at : at + 50])
        body.end()
        return await consumed(reply)

    assert run(main()) == data
    usage = kept.exchanges[0].usage
    assert (usage.model, usage.input_tokens, usage.output_tokens) == ("gpt-4o-2024-08-06", 7, 2)
    assert list(usage.finish_reasons) == ["stop"]


def test_a_streams_usage_and_first_chunk_are_read_while_it_passes() -> None:
    kept = Kept()

    async def main() -> bytes:
        body = Body()
        reply = await both(kept, answering(a_reply(body, headers=SSE)), reads=True)(a_call())
        for chunk in CHUNKS:
            await asyncio.sleep(1)
            body.feed(chunk)
        body.end()
        return await consumed(reply)

    assert run(main()) == b"".join(CHUNKS)
    record = kept.exchanges[0]
    assert record.first_chunk is not None
    assert record.first_chunk - record.started == pytest.approx(1.5)
    assert (record.usage.model, record.usage.input_tokens, record.usage.output_tokens) == ("gpt-4o", 5, 1)


@pytest.mark.parametrize(
    "headers",
    [[*JSON, (b"Content-Encoding", b"gzip")], [*JSON, (b"Content-Encoding", b"zstd")], [(b"Content-Type", b"audio/mpeg")], []],
)
def test_a_reply_that_cannot_be_read_passes_untouched(headers: Headers) -> None:
    kept = Kept()

    async def main() -> bytes:
        body = Body()
        reply = await both(kept, answering(a_reply(body, headers=headers)), reads=True)(a_call())
        body.feed(b"\x00\xffnot what it says")
        body.end()
        return await consumed(reply)

    assert run(main()) == b"\x00\xffnot what it says"
    assert kept.exchanges[0].outcome is Outcome.OK


def test_no_chunk_is_looked_at_where_traces_are_off_or_the_span_is_not_sampled() -> None:
    seen: list[bool] = []

    async def main() -> None:
        for begin, reads in ((None, False), (None, True), (lambda headers: trace_context.begin(headers, lambda context: False), True)):
            layers = CallTelemetry([Kept()], clock(), begin), ExchangeTelemetry([Kept()], clock(), reads)
            body = Body()
            reply = await compose(layers, answering(a_reply(body, headers=SSE)), lambda layer, bug: None)(a_call())
            seen.append(bool(reply.body._feeds))
            reply.close()

    run(main())

    assert seen == [False, False, False]


def test_an_exchanges_span_is_a_child_of_its_calls_span() -> None:
    kept = Kept()

    async def main() -> None:
        await consumed(await both(kept, answering(a_reply(Body.of(b"{}"))), reads=True)(a_call()))

    run(main())

    call, exchange = kept.calls[0].trace, kept.exchanges[0].trace
    assert call is not None
    assert exchange is not None
    assert (exchange.trace_id, exchange.parent_id) == (call.trace_id, call.span_id)
    assert exchange.span_id != call.span_id


def posting(body: Body, kind: bytes = b"application/json", model: str | None = None) -> Call:
    call = a_call()
    request = Request(b"POST", b"/v1/chat/completions", 1, [(b"Content-Type", kind)], Framing.CHUNKED, 0, body)
    call = Call("c1", "chat", request, Target("openai"), call.journal, Allowance())
    call.journal.model = model
    return call


@pytest.mark.parametrize(
    ("chunks", "kind", "known", "model"),
    [
        ([b'{"messages": [{"content": "\\"model\\": \\"no\\""}], "mo', b'del": "gpt-4o"}'], b"Application/JSON; charset=x", None, "gpt-4o"),
        ([b'{"model": "gpt-4o"}'], b"application/json", "asked-before", "asked-before"),
        ([b'{"model": "gpt-4o"}'], b"multipart/form-data", None, None),
        ([b'{"model": '], b"application/json", None, None),
        ([b'{"model": "gpt-4o", "x": "', b"x" * 300_000, b'"}'], b"application/json", None, None),
        ([b'{"model": 7}'], b"application/json", None, None),
    ],
)
def test_the_model_that_was_asked_is_read_from_a_copy_of_the_request(
    chunks: list[bytes], kind: bytes, known: str | None, model: str | None
) -> None:
    kept = Kept()

    async def answer(call: Call) -> Reply:
        sent = await call.request.body.read_all()
        return a_reply(Body.of(sent))

    async def main() -> bytes:
        body = Body()
        call = posting(body, kind, known)
        layer = CallTelemetry([kept], clock(), reads_model=True)
        task = asyncio.ensure_future(compose((layer,), answer, lambda name, bug: None)(call))
        for chunk in chunks:
            await asyncio.sleep(0.1)
            body.feed(chunk)
        body.end()
        return await consumed(await task)

    assert run(main()) == b"".join(chunks)
    assert kept.calls[0].call.journal.model == model


def test_a_request_that_breaks_off_names_no_model() -> None:
    kept = Kept()

    async def answer(call: Call) -> Reply:
        call.request.body.fail(Failure(Fault.TRUNCATED, "app", "left"))
        raise Failure(Fault.TRUNCATED, "app", "left")

    async def main() -> None:
        layer = CallTelemetry([kept], clock(), reads_model=True)
        with pytest.raises(Failure):
            await layer(posting(Body()), answer)

    run(main())

    assert kept.calls[0].call.journal.model is None


def test_a_finished_call_leaves_no_reference_cycle() -> None:
    class Dropped:
        def call_ended(self, record: CallRecord) -> None: ...
        def exchange_ended(self, record: ExchangeRecord) -> None: ...

    async def main() -> int:
        layers = CallTelemetry([Dropped()], clock(), sampled, True), ExchangeTelemetry([Dropped()], clock(), True)

        async def answer(call: Call) -> Reply:
            body = Body()
            reply = a_reply(body, headers=SSE)
            for chunk in CHUNKS:
                body.feed(chunk)
            body.end()
            return reply

        service = compose(layers, answer, lambda layer, bug: None)
        await consumed(await service(posting(Body.of(b"{}"))))
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await consumed(await service(posting(Body.of(b"{}"))))
            return gc.collect()
        finally:
            gc.enable()

    assert run(main()) == 0


@pytest.mark.parametrize("streams", [False, True])
def test_a_reply_that_prime_has_read_is_not_read_again(streams: bool) -> None:
    kept = Kept()
    readings = []

    async def main() -> None:
        layer = ExchangeTelemetry([kept], clock(), read_replies=True)
        with Upstream(openai=[chat_stream("Hel", "lo", gap_s=1.0) if streams else chat("Hi")]) as upstream:

            async def prime(call: Call) -> Reply:
                reply = await compose([Prime(clock())], upstream, lambda name, bug: None)(call)
                readings.append(reply.reading)
                return reply

            call = scripted.a_call({"model": "gpt-4o", "stream": streams})
            call.trace = CallRecord(call, clock(), 0.0, trace=sampled([]))
            await consumed(await layer(call, prime))

    run(main())
    [record] = kept.exchanges

    assert record.usage is readings[0].usage()
    assert record.usage.finish_reasons == ("stop",)
    assert record.streamed is streams
    assert record.first_chunk is not None
