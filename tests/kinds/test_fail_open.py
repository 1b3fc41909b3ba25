"""Every line of every kind breaks once, before and after `inner` and in each body stage, and no call is lost, doubled or left open by it.

A kind is held to it through its `Example` (`contract.py`); a guard, which has a `failure_mode`, may refuse instead.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from proxy.core.call import Call
from proxy.core.clock import LoopClock
from proxy.core.faults import Failure, Refusal
from proxy.core.reply import Reply
from proxy.core.service import Layer, Service, compose
from proxy.core.virtual import run
from proxy.kinds.prime import Prime
from tests.kinds.bugs import Line, Planting, stages_of
from tests.kinds.contract import LONG_S, Example, Form, asked, call_of, cut, good, stalled, upstream_of
from tests.kinds.test_contract import EXAMPLES
from tests.scripted import RESET, SSE, Ending, Received, Script, Upstream, head
from tests.scripted import error as error_reply

CLEAN_S = 5000.0  # of virtual time after a broken call: every slot, probe and alarm of it is over


Outcome = Received | Failure | Refusal | None  # None: no answer for as long as anybody waits


@dataclass(slots=True)
class Told:
    """What came of one call."""

    outcome: Outcome
    exchanges: int
    left_open: list[str]
    bugs: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the app has a good answer, all of it."""
        return isinstance(self.outcome, Received) and (self.outcome.status, self.outcome.failure) == (200, None)

    @property
    def data(self) -> bytes | None:
        return self.outcome.data if isinstance(self.outcome, Received) else None


class Listening:
    """The upstream, with somebody who hears of bugs in the bodies of its replies."""

    def __init__(self, upstream: Upstream, bugs: list[str]) -> None:
        self._upstream = upstream
        self._bugs = bugs

    async def __call__(self, call: Call) -> Reply:
        reply = await self._upstream(call)
        reply.body.on_bug = lambda stage, bug: self._bugs.append(f"stage: {bug!r}")
        return reply


class Through:
    """No layer."""

    async def __call__(self, call: Call, inner: Service) -> Reply:
        return await inner(call)


def stacked(example: Example, layer: Layer, innermost: Service, bugs: list[str]) -> Service:
    """The layer in its shield, over `prime` where it asks for that."""
    layers: list[Layer] = [layer]
    if example.kind.primes(example.kind.spec.read(example.spec)):
        layers.append(Prime(LoopClock(asyncio.get_running_loop())))
    return compose(layers, innermost, lambda name, bug: bugs.append(f"{name}: {bug!r}"))


async def patiently(service: Service, call: Call) -> Outcome:
    try:
        async with asyncio.timeout(2 * LONG_S):
            return await asked(service, call)
    except TimeoutError:
        return None


async def one(example: Example, form: Form, scripts: tuple[Script, ...], plant: Planting, line: Line | None, layer: Layer) -> Told:
    """A call through the layer, with a bug in the line."""
    bugs: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: bugs.append(f"loop: {context.get('exception')!r}"))
    upstream = upstream_of(*scripts)
    service = stacked(example, layer, Listening(upstream, bugs), bugs)
    with plant.at(line):
        crowd = [loop.create_task(patiently(service, call_of(example.involved, form))) for _ in range(example.crowd)]
        if crowd:
            await asyncio.sleep(0.001)
        outcome = await patiently(service, call_of(example.involved, form))
        for other in crowd:
            await other
    await asyncio.sleep(0)
    return Told(outcome, len(upstream.asked), upstream.left_open(), bugs)


async def again(example: Example, form: Form, layer: Layer) -> Outcome:
    """The next call through the same layer, over a good upstream."""
    await asyncio.sleep(CLEAN_S)
    bugs: list[str] = []
    outcome = await patiently(stacked(example, layer, upstream_of(good(form)), bugs), call_of(example.involved, form))
    assert bugs == []
    return outcome


KEEPERS = {"concurrency": ("Gate.enter", "Gate._of", "Slot.__init__", "Slot.free", "slot.free()", "Slot.end", "Slot.fail", "Gate.leave")}
"""What takes a slot and gives it back: a bug right there keeps the slot, and who comes later has one less. No layer can mend that."""

SCENES: dict[str, Any] = {
    "a good reply": lambda form: (good(form),),
    "a reset, then a good reply": lambda form: (RESET, good(form)),
    "an error": lambda form: (error_reply(503, "busy"),),
    "a cut": lambda form: (cut(form),),
    "a stream that nobody can read": lambda form: (
        (head(200, [*SSE, (b"Content-Encoding", b"unheard-of")]), b"abc", 0.01, b"def", Ending.END),
    ),
    "a stall": lambda form: (stalled(form),),
}


def scenes(example: Example, form: Form) -> dict[str, tuple[Script, ...]]:
    """What the upstream plays: what it does in all kinds, and what makes this kind act."""
    own = {"its own": tuple(example.scripts)} if example.scripts is not None else {}
    return {**{name: scripts(form) for name, scripts in SCENES.items()}, **own}


def planting(example: Example) -> Planting:
    return Planting([str(sys.modules[module_of(example)].__file__)])


def module_of(example: Example) -> str:
    return f"proxy.kinds.{example.kind.name}"


def is_guard(example: Example) -> bool:
    return "failure_mode" in example.kind.spec.model_fields


def wrong(example: Example, bare: Told, before: Told, after: Told, next_one: Outcome, line: Line) -> Iterator[str]:
    """What a bug must not do. `bare`: the same without the layer; `before`: the same without the bug."""
    if after.left_open:
        yield f"left open: {after.left_open}"
    if after.exchanges > max(before.exchanges, bare.exchanges):
        yield f"{after.exchanges} exchanges, {before.exchanges} without the bug"
    if not after.bugs:
        yield "nobody is told of it"
    keepers = KEEPERS.get(example.kind.name, ())
    may_keep = line.name in keepers or line.text in keepers
    if bare.is_whole and (before.is_whole or example.answers) and not is_guard(example) and not may_keep:
        if not after.is_whole:
            yield f"the call is lost: {after.outcome!r}"
        elif after.data not in (bare.data, before.data):
            yield f"the reply is changed: {after.data!r}"
    if is_guard(example) and isinstance(after.outcome, Received) and after.outcome.status == 200:
        yield "a guard let it pass"
    if not isinstance(next_one, Received) and not example.answers and not may_keep:
        yield f"the next call is lost: {next_one!r}"


async def broken(example: Example, form: Form, scripts: tuple[Script, ...], plant: Planting, line: Line | None) -> tuple[Told, Outcome]:
    layer = example.layer()
    told = await one(example, form, scripts, plant, line, layer)
    return told, await again(example, form, layer)


each_form = pytest.mark.parametrize("form", Form, ids=lambda form: form.value)
each_example = pytest.mark.parametrize(
    "at", range(len(EXAMPLES)), ids=lambda at: f"{EXAMPLES[at].kind.name}-{EXAMPLES[at].kind.floor.value}"
)


@cache
def break_all(at: int, form: Form) -> tuple[frozenset[str], tuple[str, ...]]:
    """(functions in which a line was broken, what was wrong then) of an example, by its place."""
    example = EXAMPLES[at]
    functions: set[str] = set()
    found: list[str] = []
    for scene, scripts in scenes(example, form).items():
        plant = planting(example)
        bare = run(one(example, form, scripts, Planting(()), None, Through()))
        before, _ = run(broken(example, form, scripts, plant, None))
        for line in plant.lines:
            after, next_one = run(broken(example, form, scripts, plant, line))
            if plant.broke:
                functions.add(line.name)
                found += [f"{scene}: a bug in {line}: {what}" for what in wrong(example, bare, before, after, next_one, line)]
    return frozenset(functions), tuple(found)


@each_form
@each_example
def test_a_bug_in_any_line_of_a_kind_costs_no_call(at: int, form: Form) -> None:
    functions, found = break_all(at, form)

    assert any(name.endswith(".__call__") for name in functions), "its layer was not broken"
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("name", sorted({example.kind.name for example in EXAMPLES}))
def test_each_body_stage_of_a_kind_has_been_broken(name: str) -> None:
    """One that is not needs a scene, or an example in `test_contract.py`, in which a body goes through it."""
    examples = [at for at, example in enumerate(EXAMPLES) if example.kind.name == name]
    functions: set[str] = set()
    for at in examples:
        for form in Form:
            functions |= break_all(at, form)[0]

    assert [each for each in stages_of(sys.modules[module_of(EXAMPLES[examples[0]])]) if each not in functions] == []
