"""generation -- one loaded set of policies, built: upstreams with their pools, the engine, and the service that calls go through.

Built on the event loop, as pools belong to it. What is unchanged from the generation before is taken over from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.adapters.upstream import Sender, Upstream, Upstreams, client_tls
from proxy.assembly.answer import Answer
from proxy.assembly.engine import Engine
from proxy.assembly.hold import Holds
from proxy.assembly.load import Policies
from proxy.assembly.onion import Core
from proxy.assembly.rules import Rule
from proxy.assembly.shelf import Shelf
from proxy.assembly.stack import INSIDE, PLACES
from proxy.core.call import Call, Target
from proxy.core.clock import Clock
from proxy.core.service import FaultReport, Layer, Service, fixed
from proxy.kinds.patience import InTime, Patience
from proxy.kinds.prime import Prime
from proxy.openai.tokens import Tokens
from proxy.policy.addresses import refused_ip
from proxy.policy.upstreams import Upstream as Declared
from proxy.wire.pool import Pool
from proxy.wire.settings import HttpProxy, PoolSettings


@dataclass(slots=True)
class Outside:
    """What a generation is built with: it outlives all of them."""

    clock: Clock
    report: FaultReport
    around_call: tuple[Layer, ...] = ()  # telemetry of the call, outermost
    around_exchange: tuple[Layer, ...] = ()
    notes_model: bool = False
    count_exchange: Callable[[str, str], None] | None = None
    holds: Holds = field(default_factory=Holds)
    keep: Callable[[Call, bytes], None] | None = None  # bodies that policies read, for an explanation later
    network: Callable[[Declared, Clock], Sender] | None = None  # stands in for the real one
    tokens: Tokens | None = None  # a tokenizer that is loaded: for whoever builds again and again


@dataclass(slots=True)
class Generation:
    """What runs. `number` counts loads."""

    number: int
    policies: Policies
    service: Service
    home: Target
    shelf: Shelf
    upstreams: dict[str, Upstream]
    tokens: Tokens | None = None

    def retire(self, successor: Generation) -> None:
        """Closes the pools that the successor did not take over; exchanges under way end by themselves."""
        for name, upstream in self.upstreams.items():
            if successor.upstreams.get(name) is not upstream:
                upstream.close()


def build(policies: Policies, outside: Outside, before: Generation | None = None) -> Generation:
    """A generation of `policies`. Raises OSError where a TLS file of an upstream cannot be used."""
    number = before.number + 1 if before is not None else 1
    home = policies.home
    upstreams = {name: _upstream(declared, name == home, outside, before) for name, declared in policies.upstreams.items()}
    shelf = Shelf(outside.clock, PLACES, before.shelf if before is not None else None)
    patience = Patience(outside.clock), InTime(outside.clock)
    core = Core(Upstreams(upstreams), outside.report, outside.around_exchange, Prime(outside.clock), INSIDE, patience)
    tokens = outside.tokens or tokens_for(policies.rules)
    engine = Engine(
        policies.rules,
        shelf,
        core,
        tokens=tokens,
        holds=outside.holds,
        holds_all=home in upstreams and upstreams[home].renames_models,  # to the others go only calls that rewrite has held
        notes_model=outside.notes_model,
        generation=number,
        keep=outside.keep,
    )
    shelf.keep_only(frozenset((rule.name, part.digest) for rule in policies.rules for part in rule.parts))
    service = fixed((*outside.around_call, Answer()), engine)
    return Generation(number, policies, service, Target(home), shelf, upstreams, tokens)


def tokens_for(rules: Sequence[Rule]) -> Tokens | None:
    """The tokenizer, loaded (about 0.1 s and 70 MiB), where a rule counts tokens."""
    if not any("tokens" in rule.condition.needs for rule in rules):
        return None
    tokens = Tokens()
    tokens.load()
    return tokens


def _upstream(declared: Declared, home: bool, outside: Outside, before: Generation | None) -> Upstream:
    old = before.upstreams.get(declared.name) if before is not None else None
    if old is not None and old.is_same(declared, home):
        return old
    pool = (outside.network or open_pool)(declared, outside.clock)
    return Upstream(declared, home, pool, outside.count_exchange, outside.report)


def open_pool(declared: Declared, clock: Clock) -> Sender:
    """A connection pool to a declared upstream."""
    address, tls = declared.address, declared.spec.tls
    settings = PoolSettings(
        ssl=client_tls(declared),
        server_name=tls.server_name if tls is not None else None,
        proxy=_http_proxy(declared.proxy.value) if declared.proxy is not None else None,
        refused=refused_ip,
    )
    return Pool(address.host, address.port, settings, clock)


def _http_proxy(url: str) -> HttpProxy:
    """The parts of `http://user:password@host:port`, as `chassis check` has found it sound."""
    rest = url.partition("://")[2].rstrip("/")
    who, _, where = rest.rpartition("@")
    user, _, password = who.partition(":")
    host, _, port = where.rpartition(":") if where.rpartition(":")[2].isdigit() else (where, "", "80")
    return HttpProxy(host.strip("[]"), int(port), user or None, password)
