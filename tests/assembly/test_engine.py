from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from typing import Any

import pytest

from proxy.assembly import engine as module
from proxy.assembly.engine import Engine
from proxy.assembly.hold import Holds
from proxy.core.call import Call, Target
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.request import Framing
from proxy.core.service import Service
from proxy.openai.payload import Payload
from tests.assembly.engines import JSON, Bench, Condition, a_kind, a_rule, bench, call_of, chat, notes

BODY = frozenset(("body",))
SMALL = "- {name: small, match: {endpoint: chat, prompt_tokens: {below: 10}}, apply: {rewrite: {model: gpt-4o-mini}}}\n"
LEGAL = "- {name: legal, match: {keywords: {any_of: [contract]}}, apply: {refuse: {status: 451}}}\n"


async def passes(call: Call, inner: Service) -> Reply:
    call.journal.note("odd", "odd-one", acted=True)
    return await inner(call)


def settle() -> Any:
    return asyncio.sleep(0.01)


# What no policy touches


async def test_without_policies_the_call_goes_as_it_is() -> None:
    it, call = bench(), call_of(chat())
    await it.ask(call)

    assert it.inner.call is call
    assert call.journal.entries == []


async def test_an_endpoint_that_no_policy_names_is_not_even_looked_at() -> None:
    it = bench(SMALL)
    call = call_of({"input": "Hi"}, path=b"/v1/embeddings", streaming=True)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()

    assert it.inner.calls == [call]
    call.request.body.end()
    await asked
    assert call.payload is None


async def test_a_call_that_matches_nothing_leaves_byte_for_byte() -> None:
    it = bench(SMALL)
    body = b'{ "model":"gpt-4o" , "messages":[{"role":"user","content":"' + b"word " * 50 + b'"}],"x":1e3}'
    reply = await it.ask(call_of(body))

    assert it.inner.body == body
    assert reply.headers == []


# Matching


async def test_what_matches_acts() -> None:
    it, call = bench(SMALL), call_of(chat())
    reply = await it.ask(call)

    assert it.inner.call.target == Target("openai", "gpt-4o-mini")
    assert (b"x-chassis-policies", b"small") in reply.headers


async def test_the_journal_names_what_matched_even_where_nothing_was_to_do() -> None:
    quiet = "- {name: quiet, apply: {params: {max: {max_tokens: 9}}}}\n"
    seen = "- {name: seen, mode: shadow, match: {model: gpt-4o}, apply: {rewrite: {model: other}}}\n"
    it, call, other = bench(SMALL + LEGAL + quiet + seen), call_of(chat()), call_of(chat(model="gpt-5"), path=b"/v1/responses")
    await it.ask(call)
    await it.ask(other)

    assert call.journal.matched == ("small", "quiet", "seen")
    assert other.journal.matched == ("quiet",)


async def test_matching_looks_at_the_request_as_the_app_sent_it() -> None:
    it = bench(
        "- {name: a, apply: {rewrite: {model: x}, params: {overrides: {stream: null}}, instruct: {append: contract}}}\n".replace(
            "stream: null", "seed: 1"
        )
        + "- {name: b, match: {model: x}, apply: {params: {overrides: {b: 1}}}}\n"
        + "- {name: c, match: {model: gpt-4o}, apply: {params: {overrides: {c: 1}}}}\n"
        + "- {name: d, match: {keywords: {any_of: [contract], in: all}}, apply: {params: {overrides: {d: 1}}}}\n"
        + "- {name: e, match: {has: seed}, apply: {params: {overrides: {e: 1}}}}\n"
        + "- {name: f, match: {has: system}, apply: {params: {overrides: {f: 1}}}}\n"
    )
    await it.ask(call_of(chat()))

    assert {key for key in it.inner.json if len(key) == 1} == {"c"}


async def test_each_condition_is_asked_once_of_a_small_call_whatever_the_layers_change() -> None:
    condition = Condition(needs=BODY)
    it = bench((a_rule(a_kind(passes, reads_body=True), condition),))
    await it.ask(call_of(chat()))

    assert condition.asked == 1


async def test_unknown_never_matches_not_even_under_not() -> None:
    it = bench(
        "- {name: a, match: {model: x}, apply: {refuse: {}}}\n"
        "- {name: b, match: {not: {model: x}}, apply: {refuse: {}}}\n"
        "- {name: c, match: {any: [{model: x}, {not: {stream: true}}]}, apply: {refuse: {}}}\n"
        "- {name: d, match: {any: [{model: x}, {endpoint: chat}]}, apply: {params: {overrides: {a: 1}}}}\n"
    )
    call = call_of(b"not json")
    reply = await it.ask(call)

    assert reply.status == 200
    assert it.inner.body == b"not json"
    assert len(notes(call, "unknown")) == 1
    assert notes(call, "params")[0].what["skipped"] == "unreadable"


@pytest.mark.parametrize(
    "body",
    [b"{", b'"x"', b"\xff\xfe{}", b'{"model":"a","model":"gpt-4o"}', b'{"model":"gpt-4o"', b"\x1f\x8b\x00"],
)
async def test_an_unreadable_body_passes_byte_for_byte_and_is_told(body: bytes) -> None:
    it = bench("- {name: a, match: {model: gpt-4o}, apply: {rewrite: {model: x}}}\n")
    call = call_of(body)
    await it.ask(call)

    assert it.inner.body == body
    assert notes(call, "unknown")[0].what["why"]


async def test_an_unknown_encoding_passes_and_is_told() -> None:
    it = bench(SMALL)
    call = call_of(b"whatever", headers=[*JSON, (b"Content-Encoding", b"br")])
    await it.ask(call)

    assert it.inner.body == b"whatever"
    assert notes(call, "unknown")[0].what["why"] == ["unknown encoding br"]


@pytest.mark.parametrize("name", [b"content-encoding", b"Content-Encoding", b"CONTENT-ENCODING"])
async def test_a_compressed_body_is_read(name: bytes) -> None:
    it = bench(SMALL)
    packed = gzip.compress(json.dumps(chat()).encode())
    await it.ask(call_of(packed, headers=[*JSON, (name, b"gzip")]))

    assert it.inner.call.target.model == "gpt-4o-mini"
    assert it.inner.body == packed


async def test_a_body_that_expands_beyond_the_limit_is_unknown_and_passes() -> None:
    it = bench(SMALL)
    packed = gzip.compress(b" " * (65 * 1024 * 1024), 1)
    call = call_of(packed, headers=[*JSON, (b"Content-Encoding", b"gzip")])
    await it.ask(call)

    assert it.inner.body == packed
    assert "64 MiB" in notes(call, "unknown")[0].what["why"][0]  # type: ignore[index]


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=x", b"Multipart/Form-Data", b"application/octet-stream", b"audio/wav"])
async def test_what_is_not_json_is_never_held(kind: bytes) -> None:
    it = bench("- {name: a, match: {keywords: {any_of: [x]}}, apply: {rewrite: {model: x}}}\n")
    call = call_of(b"", path=b"/v1/audio/transcriptions", headers=[(b"CONTENT-type", kind)], streaming=True)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()

    assert it.inner.calls == [call]
    call.request.body.feed(b"--x")
    call.request.body.end()
    await asked
    assert it.inner.body == b"--x"
    assert notes(call, "unknown")


# Holding


async def test_a_body_is_held_until_it_is_whole_where_a_condition_reads_it() -> None:
    it = bench(SMALL)
    call = call_of(streaming=True)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()
    assert it.inner.calls == []

    data = json.dumps(chat()).encode()
    call.request.body.feed(data[:10])
    await settle()
    assert it.inner.calls == []

    call.request.body.feed(data[10:])
    call.request.body.end([(b"x-sum", b"1")])
    await asked
    assert it.inner.body == data
    assert it.inner.call.request.body.trailers == [(b"x-sum", b"1")]
    assert it.inner.call.request.framing is Framing.CHUNKED


@pytest.mark.parametrize(
    "policy",
    [
        "- {name: a, match: {model: x, header: {x-team: nobody}}, apply: {rewrite: {model: y}}}\n",
        "- {name: a, match: {header: {x-team: nobody}}, apply: {instruct: {append: y}}}\n",
        "- {name: a, match: {any: [{endpoint: chat}, {model: x}]}, apply: {refuse: {}}}\n",
        "- {name: a, mode: shadow, match: {model: x}, apply: {rewrite: {model: y}}}\n",
        "- {name: a, mode: off, match: {model: x}, apply: {rewrite: {model: y}}}\n",
    ],
)
async def test_a_body_that_decides_nothing_streams_on(policy: str) -> None:
    it = bench(policy)
    call = call_of(streaming=True)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()

    assert it.inner.calls == [call] or asked.done()
    call.request.body.feed(b"{}")
    call.request.body.end()
    await asked


async def test_a_call_without_a_body_is_not_waited_for() -> None:
    it = bench("- {name: a, match: {endpoint: models}, apply: {rewrite: {upstream: groq}}}\n")
    await it.ask(call_of(method=b"GET", path=b"/v1/models"))

    assert it.inner.call.target == Target("groq")


async def test_a_sender_that_waits_is_told_to_go_on_when_its_body_is_held() -> None:
    told: list[int] = []
    it = bench(SMALL)
    call = call_of(streaming=True, length=2)
    call.request.expect = True
    call.request.interim = lambda status, reason, headers: told.append(status)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()
    assert told == [100]

    call.request.body.feed(b"{}")
    call.request.body.end()
    await asked
    assert told == [100]
    assert it.inner.call.request.continued


async def test_a_sender_that_waits_is_left_to_the_upstream_when_its_body_streams() -> None:
    told: list[int] = []
    it = bench("- {name: a, match: {header: {x: y}}, apply: {refuse: {}}}\n")
    call = call_of(streaming=True, length=2)
    call.request.expect = True
    call.request.interim = lambda status, reason, headers: told.append(status)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()

    assert told == []
    call.request.body.end()
    await asked
    assert not call.request.continued


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_streams_on_and_the_journal_says_so(announced: bool) -> None:
    it = bench(SMALL, holds=Holds(call_bytes=3 * 1024 * 1024))
    size = 5 * 1024 * 1024
    call = call_of(streaming=True, length=size if announced else None)
    asked = asyncio.ensure_future(it.ask(call))
    for _ in range(5):
        await settle()
        call.request.body.feed(b"x" * (1024 * 1024))
    call.request.body.end()
    reply = await asked

    assert reply.status == 200
    assert len(it.inner.body) == size
    assert notes(call, "body_too_large")[0].what["why"] == "the body is over the hold limit of 3 MiB a call"
    assert "the body is over the hold limit of 3 MiB a call" in notes(call, "unknown")[0].what["why"]  # type: ignore[operator]
    assert it.engine._holds.held_bytes == 0


async def test_what_was_held_is_given_back_on_every_way_out() -> None:
    holds = Holds()

    async def refuses(call: Call, inner: Service) -> Reply:
        assert holds.held_bytes > 0
        raise Failure(Fault.CONNECT, "x", "no")

    async def lingers(call: Call, inner: Service) -> Reply:
        await asyncio.sleep(3600)
        raise AssertionError

    for layer in (passes, refuses):
        await bench((a_rule(a_kind(layer, reads_body=True)),), holds).ask(call_of(chat()))
        assert holds.held_bytes == 0
    asked = asyncio.ensure_future(bench((a_rule(a_kind(lingers, reads_body=True)),), holds).ask(call_of(chat())))
    await settle()
    assert holds.held_bytes > 0

    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert holds.held_bytes == 0


async def test_an_app_that_leaves_in_the_midst_of_its_body_gives_room_back() -> None:
    it = bench(SMALL)
    call = call_of(streaming=True)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()
    assert it.engine._holds.held_bytes > 0

    call.request.body.fail(Failure(Fault.INVALID, "app", "left"))
    reply = await asked
    assert reply.status == 502
    assert it.inner.calls == []
    assert it.engine._holds.held_bytes == 0


async def test_an_upstream_with_its_own_names_has_every_body_held() -> None:
    it = bench(holds_all=True)
    await it.ask(call_of(chat()))

    assert [payload is not None and payload.model for payload in it.inner.payloads] == ["gpt-4o"]


async def test_a_reply_that_goes_on_holds_no_prompt() -> None:
    it = bench(holds_all=True)
    call = call_of(chat())
    await it.ask(call)

    assert call.payload is None


# Precedence, through the engine


async def test_the_first_wins_each_field_and_what_lost_is_journalled() -> None:
    it = bench(
        "- {name: a, apply: {rewrite: {upstream: groq}, params: {overrides: {x: 1}}}}\n"
        "- {name: b, apply: {rewrite: {model: llama, upstream: local}, params: {overrides: {x: 2, y: 2}}}}\n"
        "- {name: c, apply: {rewrite: {model: other}, params: {max: {y: 1}, defaults: {z: 3}}}}\n"
    )
    call = call_of(chat())
    reply = await it.ask(call)

    assert it.inner.call.target == Target("groq", "llama")
    assert {key: value for key, value in it.inner.json.items() if len(key) == 1} == {"x": 1, "y": 2, "z": 3}
    assert [(e.policy, e.what["of"], e.what["fields"], e.what["by"]) for e in notes(call, "shadowed")] == [
        ("b", "rewrite", ["upstream"], "a"),
        ("b", "params", ["x"], "a"),
        ("c", "rewrite", ["model"], "b"),
        ("c", "params", ["y"], "b"),
    ]
    assert (b"x-chassis-policies", b"a, b, c") in reply.headers


async def test_texts_stand_in_file_order() -> None:
    it = bench(
        "- {name: a, apply: {instruct: {prepend: a1, append: a2}}}\n"
        "- {name: b, match: {stream: true}, apply: {instruct: {append: never}}}\n"
        "- {name: c, apply: {instruct: {prepend: c1, append: c2}}}\n"
    )
    await it.ask(call_of(chat()))

    assert it.inner.json["messages"][0]["content"].split("\n\n") == ["a1", "c1", "a2", "c2"]


async def test_a_refusal_leaves_nothing_to_any_other_policy_wherever_it_stands() -> None:
    it = bench("- {name: a, apply: {rewrite: {model: x}}}\n- {name: b, apply: {refuse: {status: 418}}}\n")
    reply = await it.ask(call_of(chat()))

    assert reply.status == 418
    assert it.inner.calls == []
    assert (b"x-chassis-policies", b"b") in reply.headers


async def test_a_stack_is_composed_once_for_a_set_of_winners() -> None:
    made: list[int] = []

    def enforce(spec: Any, site: Any) -> Any:
        made.append(1)
        return passes

    it = bench((a_rule(a_kind(enforce=enforce)),))
    for _ in range(3):
        await it.ask(call_of(chat()))

    assert len(made) == 1


async def test_stacks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STACKS", 2)
    it = bench("".join(f"- {{name: p{i}, match: {{header: {{x: '{i}'}}}}, apply: {{refuse: {{}}}}}}\n" for i in range(9)))
    for i in range(9):
        reply = await it.ask(call_of(chat(), headers=[(b"x", b"%d" % i)]))
        assert reply.status == 403

    assert len(it.engine._stacks) == 2


# Our own faults


def broken_by(test: Any, *, needs: frozenset[str] = BODY, **more: Any) -> Bench:
    return bench((a_rule(a_kind(passes, **more), Condition(test, needs)), a_rule(a_kind(passes, name="fine"), name="fine", place=1)))


def breaks(facts: Any) -> bool:
    raise ZeroDivisionError


async def test_a_condition_that_breaks_breaks_no_call() -> None:
    it, call = broken_by(breaks), call_of(chat())
    reply = await it.ask(call)
    (entry,) = notes(call, "layer_fault")

    assert (reply.status, it.inner.json) == (200, chat())
    assert [name for name, _ in it.faults] == ["match"]
    assert (entry.policy, entry.what) == ("odd-one", {"layer": "match", "why": "ZeroDivisionError"})


async def test_a_condition_that_breaks_takes_no_other_policy_with_it() -> None:
    it, call = broken_by(breaks), call_of(chat())
    await it.ask(call)

    assert len(notes(call, "odd")) == 1


async def test_a_count_that_breaks_breaks_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    it = bench(SMALL)
    monkeypatch.setattr("proxy.openai.tokens.Tokens.below", lambda *given: breaks(given))
    call = call_of(chat())
    reply = await it.ask(call)

    assert (reply.status, it.inner.json) == (200, chat())
    assert notes(call, "layer_fault")[0].policy == "small"


async def test_a_condition_that_breaks_before_the_body_is_here_breaks_no_call() -> None:
    it = broken_by(breaks)
    call = call_of(streaming=True)
    asked = asyncio.ensure_future(it.ask(call))
    await settle()
    call.request.body.feed(b"{}")
    call.request.body.end()
    reply = await asked

    assert (reply.status, it.inner.body) == (200, b"{}")
    assert {name for name, _ in it.faults} == {"match"}
    assert notes(call, "layer_fault")


async def test_a_layer_that_cannot_be_built_breaks_no_call() -> None:
    def enforce(spec: Any, site: Any) -> Any:
        raise ZeroDivisionError

    it = bench((a_rule(a_kind(enforce=enforce)), a_rule(a_kind(passes, name="fine"), name="fine", place=1)))
    for _ in (1, 2):
        call = call_of(chat())
        reply = await it.ask(call)

        assert (reply.status, it.inner.bodies[-1]) == (200, json.dumps(chat()).encode())
        assert notes(call, "layer_fault")[0].policy == "odd-one"
        assert len(notes(call, "odd")) == 1
    assert len(it.faults) == 2


async def test_a_layer_that_breaks_before_inner_is_passed_over() -> None:
    async def breaks_early(call: Call, inner: Service) -> Reply:
        raise ZeroDivisionError

    it, call = bench((a_rule(a_kind(breaks_early)),)), call_of(chat())
    reply = await it.ask(call)

    assert reply is it.inner.replies[0]
    assert len(it.faults) == len(notes(call, "layer_fault")) == 1


async def test_a_layer_that_breaks_after_inner_costs_no_second_exchange() -> None:
    async def breaks_late(call: Call, inner: Service) -> Reply:
        await inner(call)
        raise ZeroDivisionError

    it, call = bench((a_rule(a_kind(breaks_late)),)), call_of(chat())
    reply = await it.ask(call)

    assert reply is it.inner.replies[0]
    assert not reply.body.closed
    assert len(it.inner.calls) == 1
    assert len(it.faults) == len(notes(call, "layer_fault")) == 1


async def test_a_body_that_was_taken_goes_on_when_reading_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(self: Payload) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(Payload, "model", property(model))
    it = bench(LEGAL, notes_model=True)
    call = call_of(chat())
    reply = await it.ask(call)

    assert (reply.status, it.inner.json) == (200, chat())
    assert it.faults
    assert it.engine._holds.held_bytes == 0


async def test_shadows_that_break_break_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    it = bench("- {name: a, mode: shadow, apply: {refuse: {}}}\n")
    monkeypatch.setattr("proxy.assembly.shadow.Shadows.watch", lambda *given: breaks(given))
    call = call_of(chat())
    reply = await it.ask(call)

    assert (reply.status, it.inner.json) == (200, chat())
    assert it.faults


# Names of models, for log lines


async def test_the_models_name_is_read_only_where_it_is_wanted() -> None:
    for wanted in (True, False):
        it = bench(LEGAL, notes_model=wanted)
        call = call_of(chat())
        await it.ask(call)

        assert call.journal.model == ("gpt-4o" if wanted else None)


async def test_a_body_that_does_not_tell_its_model_is_told_so() -> None:
    it = bench(LEGAL, notes_model=True)
    call = call_of(b'{"model":"a","model":"b","messages":[]}')
    await it.ask(call)

    assert notes(call, "body_unread")[0].what["why"] == "key 'model' is there twice"


async def test_a_long_prompt_is_counted_off_the_loop() -> None:
    it = bench("- {name: a, match: {prompt_tokens: {at_least: 40000}}, apply: {rewrite: {model: big}}}\n")
    text = "counting words takes a while, " * 8000
    await it.ask(call_of(chat(text)))

    assert it.inner.call.target.model == "big"


async def test_engines_leave_nothing_behind_for_a_call() -> None:
    it = bench(SMALL)
    for _ in range(20):
        (await it.ask(call_of(chat()))).close()
    it.inner.__init__()  # type: ignore[misc]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            (await it.ask(call_of(chat()))).close()
            it.inner.__init__()  # type: ignore[misc]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 100_000
    assert isinstance(it.engine, Engine)


async def test_a_call_knows_the_labels_of_the_policies_that_matched() -> None:
    policies = """
- {name: a, labels: {team: pay}, match: {endpoint: chat}, apply: {rewrite: {model: m}}}
- {name: b, labels: {team: ops, tier: "2"}, match: {endpoint: chat}, apply: {rewrite: {upstream: groq}}}
- {name: c, labels: {team: no}, match: {endpoint: files}, apply: {refuse: {}}}
- {name: d, labels: {team: no}, mode: shadow, apply: {refuse: {}}}
"""
    call = call_of(chat())
    await bench(policies).ask(call)

    assert call.journal.labels == (("a", (("team", "pay"),)), ("b", (("team", "ops"), ("tier", "2"))))
    assert call.journal.labels_of_acted() == {"team": "pay", "tier": "2"}
