"""rehearse -- plays one case: the whole proxy of `serve`, from the client's connection to the upstream's, over a network in memory.

Only sockets and time are others: listener, parser, engine, layers, telemetry, credentials, pool and error bodies are the real ones. Time is
virtual, so waits take none. Cost: 1 to 2 ms a case.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from proxy.adapters.played import Exchange, Network
from proxy.assembly.asking import asked
from proxy.assembly.coverage import explained, facts_of
from proxy.assembly.generation import Generation, Outside, build
from proxy.assembly.heard import SETTLE_S, Heard, ask
from proxy.assembly.load import Policies
from proxy.core import virtual
from proxy.core.call import Allowance, Call
from proxy.core.clock import LoopClock
from proxy.core.journal import Journal
from proxy.core.ports import CallRecord, ExchangeRecord
from proxy.core.reply import Reply
from proxy.core.request import Request
from proxy.core.tasks import spawn
from proxy.kinds.telemetry import CallTelemetry, ExchangeTelemetry
from proxy.openai.endpoints import endpoint_of
from proxy.openai.static import static_reply
from proxy.openai.tokens import Tokens
from proxy.policy.case_spec import CaseSpec, StepSpec, SuiteSpec
from proxy.policy.units import duration_text
from proxy.wire.listener import Listener
from proxy.wire.settings import ServerLimits

NOW = "2026-01-05T12:00:00+00:00"  # a Monday: the time at which a case begins that names none
LOOK_S = 0.1
BEHIND_S = 60.0  # what goes on behind the app's back, as a copy of a call does, may take so long


@dataclass(slots=True)
class Played:
    """One case, played. `bugs`: what broke in the proxy, or in playing, with the traceback as far as there is one."""

    heard: list[Heard] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    bugs: list[tuple[str, BaseException]] = field(default_factory=list)
    took_s: float = 0.0


def rehearse(policies: Policies, suite: SuiteSpec, case: CaseSpec, *, explains: bool = False) -> Played:
    """Plays a case over these policies. Never raises for what the proxy does. `explains`: conditions are asked once more, for coverage."""
    played = Played()
    log = _Log(played.bugs)
    logger = logging.getLogger("chassis")
    logger.addHandler(log)
    propagates, logger.propagate = logger.propagate, False
    try:
        virtual.run(_Theatre(policies, suite, case, played, explains).play())
    except Exception as bug:
        played.bugs.append(("the case cannot be played", bug))
    finally:
        logger.removeHandler(log)
        logger.propagate = propagates
    return played


class _Log(logging.Handler):
    """What the proxy would only have logged."""

    def __init__(self, bugs: list[tuple[str, BaseException]]) -> None:
        super().__init__(logging.ERROR)
        self._bugs = bugs

    def emit(self, record: logging.LogRecord) -> None:
        bug = record.exc_info[1] if record.exc_info else None
        if bug is None or all(bug is not known for _, known in self._bugs):
            self._bugs.append((record.getMessage(), bug or RuntimeError(record.getMessage())))


class _Theatre:
    """The proxy of one case, and who asks it."""

    def __init__(self, policies: Policies, suite: SuiteSpec, case: CaseSpec, played: Played, explains: bool) -> None:
        self._policies = _without_tls_files(policies)
        self._case = case
        self._played = played
        self._scripts = {**suite.upstreams, **case.upstreams}
        self._now = case.now or suite.now or NOW
        self._calls = 0
        self._explains = explains
        self._tokens = _tokens() if any("tokens" in rule.condition.needs for rule in policies.rules) else None

    async def play(self) -> None:
        """All requests, in their order."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_broke)
        self._clock = clock = LoopClock(loop)
        clock.anchor(int(datetime.fromisoformat(self._now).timestamp() * 1e9))
        self._network = network = Network()
        network.set(self._scripts)
        self._played.exchanges = network.exchanges
        generation = self._built(clock, network)
        begun = clock.now()
        running: list[asyncio.Task[None]] = []
        for step in self._case.steps or (StepSpec.model_construct(request=self._case.request, after=None, at=None, upstreams={}),):
            heard = Heard(asked(step.request), step.request)
            self._played.heard.append(heard)
            if step.at is None:
                await asyncio.gather(*running)
            running.append(spawn(self._step(step, heard, generation, begun), "step"))
        await asyncio.gather(*running)
        self._played.took_s = max(heard.ended for heard in self._played.heard) - begun
        await self._finish_behind(network)
        playing = network.running()  # it is told of these already
        for exchange in network.exchanges:
            if exchange.is_open and exchange.upstream not in playing:
                self._forgotten(f"the reply {exchange.status} of {exchange.upstream} was never closed")
        for upstream in generation.upstreams.values():
            upstream.close()
        await asyncio.sleep(SETTLE_S)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            self._forgotten(f"the task {task.get_name()} still runs")
        self._played.bugs += [("playing an upstream", bug) for bug in network.bugs]

    async def _finish_behind(self, network: Network) -> None:
        """Lets exchanges end that nobody waits for. One that does not was forgotten: whoever receives a reply returns or closes it."""
        await asyncio.sleep(SETTLE_S)
        for _ in range(int(BEHIND_S / LOOK_S)):
            if not network.running():
                return
            await asyncio.sleep(LOOK_S)
        for name in network.running():
            self._forgotten(f"an exchange with {name} still runs {duration_text(BEHIND_S)} after the app has what it gets")

    def _forgotten(self, what: str) -> None:
        self._played.bugs.append((what, RuntimeError("whoever receives a reply returns it or closes it, and ends what it has begun")))

    async def _step(self, step: StepSpec, heard: Heard, generation: Generation, begun: float) -> None:
        """One request, at its time."""
        wait_s = begun + step.at - self._clock.now() if step.at is not None else step.after or 0.0
        await asyncio.sleep(max(0.0, wait_s))
        self._network.set(step.upstreams)
        await self._ask(heard, generation)

    def _built(self, clock: LoopClock, network: Network) -> Generation:
        outside = Outside(
            clock,
            self._layer_broke,
            around_call=(CallTelemetry([_Recorder(self)], clock),),
            around_exchange=(ExchangeTelemetry([_Recorder(self)], clock),),
            notes_model=True,
            network=network.sender,
            tokens=self._tokens,
        )
        return build(self._policies, outside)

    async def _ask(self, heard: Heard, generation: Generation) -> None:
        """One request, over a connection of its own."""
        if self._explains:
            sent = heard.asked
            facts = facts_of(sent.method, sent.target, sent.headers, sent.body, self._tokens, self._clock)
            heard.explained = await explained(self._policies.rules, facts)
        listener = Listener(lambda request: self._handle(heard, generation, request), ServerLimits(), static_reply)
        try:
            await ask(heard, listener, self._clock)
        except Exception as bug:
            self._played.bugs.append(("the reply cannot be received", bug))
        finally:
            listener.close()

    async def _handle(self, heard: Heard, generation: Generation, request: Request) -> Reply:
        """What the data port's handler does: a request becomes a call."""
        self._calls += 1
        journal = Journal(self._clock.now)
        heard.entries = journal.entries
        self._network.caller.set(heard)
        endpoint = endpoint_of(request.method, request.target)
        exchanges = self._policies.exchanges
        call = Call(f"{self._calls:016x}", endpoint, request, generation.home, journal, Allowance(exchanges))
        try:
            return await generation.service(call)
        except Exception as bug:
            self._played.bugs.append(("the call failed in the proxy itself", bug))
            return static_reply(500, "internal_error", "The proxy failed; its log says why.")
        finally:
            heard.matched = journal.matched

    # What breaks

    def _layer_broke(self, layer: str, bug: Exception) -> None:
        self._played.bugs.append((f"layer {layer} broke and was passed over", bug))

    def _loop_broke(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._played.bugs.append((str(context.get("message")), context.get("exception") or RuntimeError(str(context))))

    def call_ended(self, record: CallRecord) -> None:
        """A call's record, as the log and the traces get it."""
        for heard in self._played.heard:
            if heard.entries is record.call.journal.entries:
                heard.record = record
                heard.matched = record.call.journal.matched


class _Recorder:
    """Stands where the log and the traces do."""

    def __init__(self, theatre: _Theatre) -> None:
        self._theatre = theatre

    def call_ended(self, record: CallRecord) -> None:
        self._theatre.call_ended(record)

    def exchange_ended(self, record: ExchangeRecord) -> None:
        pass


@lru_cache(maxsize=1)
def _tokens() -> Tokens:
    """One for all cases: what it remembers is what texts count, and depends on nothing else."""
    tokens = Tokens()
    tokens.load()
    return tokens


def _without_tls_files(policies: Policies) -> Policies:
    """No certificate is read: nothing is encrypted in memory, and a test needs no file of production."""
    bare = {name: replace(declared, ca=None, cert=None, cert_key=None) for name, declared in policies.upstreams.items()}
    return replace(policies, upstreams=bare)
