"""The onion: layers in their order, telemetry of the exchange between them, and prime only where somebody asks for a fault."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.assembly.onion import Core
from proxy.assembly.rules import Layered, Part, Rule
from proxy.core.call import Call
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.policy.kind import Floor, Kind
from proxy.policy.spec import Spec
from tests.assembly.engines import Condition, Inner, call_of


class NoSpec(Spec):
    """Says nothing."""


class Marks:
    """A layer that writes down its turn."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def __call__(self, call: Call, inner: Service) -> Reply:
        self.seen.append(self.name)
        return await inner(call)


def layered(name: str, floor: Floor, primes: bool = False) -> Layered:
    kind = Kind(name, NoSpec, floor, enforce=lambda spec, site: None, shadow=None, primes=lambda spec: primes)  # type: ignore[arg-type,return-value]
    part = Part.of(kind, NoSpec())
    return Layered(Rule(0, "p", False, Condition(), (part,)), part, frozenset(("",)))


@pytest.mark.parametrize(
    ("primes", "seen"),
    [(False, ["retry", "telemetry", "timeouts"]), (True, ["retry", "telemetry", "timeouts", "prime"])],
)
async def test_layers_stand_where_the_stack_says(primes: bool, seen: list[str]) -> None:
    told: list[str] = []
    inner = Inner()
    core = Core(inner, _raise, (Marks("telemetry", told),), Marks("prime", told), inside=frozenset((("timeouts", Floor.EXCHANGE),)))
    layers = [(layered("retry", Floor.PLAN, primes), Marks("retry", told)), (layered("timeouts", Floor.EXCHANGE), Marks("timeouts", told))]
    reply = await core.compose(layers)(call_of({}))
    reply.close()

    assert told == seen
    assert len(inner.calls) == 1


@pytest.mark.parametrize(
    ("floor", "primes", "seen"),
    [
        (Floor.PLAN, True, ["reads", "kind", "telemetry", "keeps", "prime"]),
        (Floor.PLAN, False, ["reads", "kind", "telemetry"]),
        (Floor.CALL, True, ["kind", "telemetry", "prime"]),
    ],
)
async def test_the_apps_patience_counts_where_a_layer_plans_exchanges(floor: Floor, primes: bool, seen: list[str]) -> None:
    told: list[str] = []
    patience = Marks("reads", told), Marks("keeps", told)
    core = Core(Inner(), _raise, (Marks("telemetry", told),), Marks("prime", told), patience=patience)
    reply = await core.compose([(layered("kind", floor, primes), Marks("kind", told))])(call_of({}))
    reply.close()

    assert told == seen


async def test_no_layer_leaves_telemetry_and_the_upstream() -> None:
    told: list[str] = []
    reply = await Core(Inner(), _raise, (Marks("telemetry", told),), Marks("prime", told)).compose(())(call_of({}))
    reply.close()

    assert told == ["telemetry"]


def _raise(name: str, bug: Any) -> None:
    raise bug
