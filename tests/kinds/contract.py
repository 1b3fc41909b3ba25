"""contract -- what every kind of policy promises, whatever it does. `test_contract.py` holds each kind of the stack to it.

A kind brings one `Example`: a spec, a call on which it acts, and a call that has nothing for it. Each claim below is checked for a plain
and for a streamed reply, with the layer alone around a played upstream, on virtual time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Refusal
from proxy.core.service import Layer, Service, compose
from proxy.core.virtual import run
from proxy.policy.kind import Kind, Site
from tests.scripted import DONE, RESET, ROLE, SILENT, STOP, Bugs, Ending, Received, Script, Upstream, a_call, chat, chat_stream, drained
from tests.scripted import error as error_reply
from tests.scripted import stream as stream_reply

POLICY = "the-policy"
LONG_S = 3600.0  # of virtual time: longer than any limit that a kind may have
ELSEWHERE = ("groq", "local")  # upstreams that a spec may name, beside `openai`


class Form(Enum):
    """What the app asks for."""

    JSON = "json"
    SSE = "sse"


@dataclass(slots=True, frozen=True)
class Example:
    """How one kind is held to the contract."""

    kind: Kind
    spec: dict[str, Any]
    """As YAML gives it, short forms unfolded."""
    involved: dict[str, Any]
    """The body of a chat call on which it acts. `stream` is added."""
    uninvolved: dict[str, Any] | None
    """One that has nothing for it; None for a kind that acts on whatever matches."""
    scripts: Sequence[Script] | None = None
    """What the upstream plays, exchange by exchange, so that it acts; None: a good reply."""
    answers: bool = False
    """It answers the call by itself: nothing is asked of an upstream."""
    noted: str = ""
    """The word of its entries in the journal, where that is not the kind's name."""
    crowd: int = 0
    """So many calls like it begin before it, a millisecond apart: for what acts on many."""

    def layer(self) -> Layer:
        """The kind enforced; made inside a running loop."""
        spec = self.kind.spec.read(self.spec)
        return self.kind.enforce(spec, self._site(spec))

    def observe(self, call: Call) -> None:
        """The kind in shadow, told of a call."""
        assert self.kind.shadow is not None
        spec = self.kind.spec.read(self.spec)
        self.kind.shadow(spec, self._site(spec))(call)

    def _site(self, spec: Any) -> Site:
        return Site(POLICY, self.kind.fields(spec), LoopClock(asyncio.get_running_loop()))


def good(form: Form) -> Script:
    """A reply that nothing is wrong with."""
    return chat("Hello there") if form is Form.JSON else chat_stream("Hel", "lo ", "there", gap_s=0.01)


def cut(form: Form) -> Script:
    """A reply that breaks amid its body."""
    if form is Form.JSON:
        return (chat("Hello there")[0], b'{"id": "chatcmpl-1", "cho', Ending.CUT)
    return stream_reply(ROLE, "Hel", 0.01, Ending.CUT)


def stalled(form: Form) -> Script:
    """A reply that begins, and then nothing comes for longer than anybody waits."""
    if form is Form.JSON:
        return (chat("Hello there")[0], b'{"id": "chatcmpl-1", "cho', LONG_S, Ending.CUT)
    return stream_reply(ROLE, "Hel", LONG_S, STOP, DONE, Ending.END)


def call_of(body: dict[str, Any], form: Form, exchanges: int = 6) -> Call:
    """The app's call."""
    return a_call({**body, "stream": True} if form is Form.SSE else body, exchanges=exchanges)


def upstream_of(*scripts: Script) -> Upstream:
    """The same scripts wherever the call goes."""
    return Upstream(**{name: scripts for name in ("openai", *ELSEWHERE)})


async def asked(service: Service, call: Call) -> Received | Failure | Refusal:
    """What the app gets."""
    try:
        reply = await service(call)
    except (Failure, Refusal) as exc:
        return exc
    return await drained(reply)


def enforced(example: Example, upstream: Upstream) -> Service:
    """The layer around the upstream. A bug in it fails the test."""
    return compose([example.layer()], upstream, Bugs())


def in_shadow(example: Example, upstream: Upstream) -> Service:
    """The call goes through beside the observer."""

    async def service(call: Call) -> Any:
        example.observe(call)
        return await upstream(call)

    return service


# The claims. Each is a function of (example, form) that raises AssertionError.


def an_uninvolved_call_goes_through_untouched(example: Example, form: Form) -> None:
    if example.uninvolved is not None:
        run(_goes_through(example, call_of(example.uninvolved, form), enforced, good(form)))


def in_shadow_every_call_goes_through_untouched(example: Example, form: Form) -> None:
    for body in filter(None, (example.uninvolved, example.involved)):
        run(_goes_through(example, call_of(body, form), in_shadow, good(form)))


async def _goes_through(example: Example, call: Call, around: Callable[[Example, Upstream], Service], script: Script) -> None:
    sent = call.payload.raw
    plain = await asked(upstream_of(script), call_of(json.loads(sent), Form.JSON))
    target = call.target
    with upstream_of(script) as upstream:
        got = await asked(around(example, upstream), call)

        assert isinstance(plain, Received)
        assert isinstance(got, Received), f"the call failed: {got!r}"
        assert [each.body for each in upstream.asked] == [sent], "the upstream saw other bytes than the app sent, or saw them twice"
        assert upstream.asked[0].target == target, "the call went elsewhere"
        assert (got.status, got.headers, got.data) == (plain.status, plain.headers, plain.data), "the reply was changed"
        assert call.journal.acted() == [], "it says that it acted"
        assert call.allowance.spent == 1, f"it took {call.allowance.spent} exchanges"


def in_shadow_nothing_is_delayed(example: Example, form: Form) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        took = []
        for around in (lambda example, upstream: upstream, in_shadow):
            begun = loop.time()
            await asked(around(example, upstream_of(good(form))), call_of(example.involved, form))
            took.append(round(loop.time() - begun, 6))

        assert took[0] == took[1], f"{took[1]} s instead of {took[0]} s"

    run(main())


def what_it_did_is_in_the_journal(example: Example, form: Form) -> None:
    async def main() -> None:
        call = call_of(example.involved, form)
        with upstream_of(*(example.scripts or (good(form),))) as upstream:
            service = enforced(example, upstream)
            async with asyncio.TaskGroup() as crowd:
                for _ in range(example.crowd):
                    crowd.create_task(_any(asked(service, call_of(example.involved, form))))
                    await asyncio.sleep(0.001)
                await asked(service, call)

            entries = [entry for entry in call.journal.entries if entry.kind == (example.noted or example.kind.name)]
            assert entries, "the journal is silent"
            assert {entry.policy for entry in entries} == {POLICY}, "an entry does not name its policy"
            assert any(entry.acted for entry in entries), "it acted, and no entry says so"
            assert not any(entry.shadow for entry in entries), "an entry says `shadow` although the policy is enforced"
            if example.answers:
                assert upstream.asked == [], "it was to answer by itself"

    run(main())


def in_shadow_what_it_would_do_is_in_the_journal(example: Example, form: Form) -> None:
    async def main() -> None:
        call = call_of(example.involved, form)
        with upstream_of(*(example.scripts or (good(form),))) as upstream:
            await asked(in_shadow(example, upstream), call)

            entries = [entry for entry in call.journal.entries if entry.kind == (example.noted or example.kind.name)]
            assert entries, "the journal is silent"
            assert all(entry.shadow and not entry.acted for entry in entries), "an entry does not say `shadow`, or says that it acted"
            assert {entry.policy for entry in entries} == {POLICY}, "an entry does not name its policy"

    run(main())


def the_journal_holds_plain_values_and_no_content(example: Example, form: Form) -> None:
    async def main() -> None:
        secret = "Content that nobody else may read"
        said = [{"role": role, "content": secret} for role in ("system", "user")]
        body = {**example.involved, "messages": [*example.involved.get("messages", ()), *said]}
        call, seen = call_of(body, form), call_of(body, form)
        await asked(enforced(example, upstream_of(*(example.scripts or (good(form),)))), call)
        if example.kind.shadow is not None:
            example.observe(seen)
        text = json.dumps([entry.what for entry in (*call.journal.entries, *seen.journal.entries)])  # raises for what is not plain

        assert secret not in text, f"the journal holds what was said: {text}"

    run(main())


def no_body_is_left_open(example: Example, form: Form) -> None:
    async def main(*scripts: Script) -> None:
        with upstream_of(*scripts) as upstream:
            await asked(enforced(example, upstream), call_of(example.involved, form))

    for scripts in _outcomes(example, form):
        run(main(*scripts))


def _outcomes(example: Example, form: Form) -> list[Sequence[Script]]:
    return [
        example.scripts or (good(form),),
        (good(form),),
        (RESET,),
        (cut(form),),
        (RESET, good(form)),
        (cut(form), good(form)),
        (error_reply(429, "slow down"), good(form)),
        (error_reply(500, "oh"),),
        (error_reply(400, "wrong"),),
    ]


def no_body_is_left_open_by_an_app_that_leaves(example: Example, form: Form) -> None:
    async def main(script: Script, after_s: float) -> None:
        with upstream_of(script) as upstream:
            task = asyncio.get_running_loop().create_task(_any(asked(enforced(example, upstream), call_of(example.involved, form))))
            await asyncio.sleep(after_s)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            spent = len(upstream.asked)
            await asyncio.sleep(LONG_S / 2)

            assert len(upstream.asked) == spent, "it went on asking after the app had left"

    for script in (SILENT, stalled(form), (LONG_S, *good(form))):
        for after_s in (0.0, 0.005, 1.0):
            run(main(script, after_s))


async def _any(work: Awaitable[object]) -> object:
    return await work


def no_exchange_is_made_beyond_the_allowance(example: Example, form: Form) -> None:
    async def main(allowed: int, *scripts: Script) -> None:
        call = call_of(example.involved, form, allowed)
        with upstream_of(*scripts) as upstream:
            await asked(enforced(example, upstream), call)

            made = len(upstream.asked)
            assert made == call.allowance.spent <= allowed, f"{made} exchanges were made, {call.allowance.spent} counted, {allowed} allowed"

    for allowed in (1, 2, 6):
        for scripts in _outcomes(example, form):
            run(main(allowed, *scripts))


CLAIMS: tuple[Callable[[Example, Form], None], ...] = (
    an_uninvolved_call_goes_through_untouched,
    what_it_did_is_in_the_journal,
    the_journal_holds_plain_values_and_no_content,
    no_body_is_left_open,
    no_body_is_left_open_by_an_app_that_leaves,
    no_exchange_is_made_beyond_the_allowance,
)
SHADOW_CLAIMS: tuple[Callable[[Example, Form], None], ...] = (
    in_shadow_every_call_goes_through_untouched,
    in_shadow_nothing_is_delayed,
    in_shadow_what_it_would_do_is_in_the_journal,
)
