"""stack -- the order of the onion, outermost first. The one place that says it; YAML cannot change it, numbers do not.

Two layers are fixed and not of any policy: `telemetry` of the call, outside of all, and `answer` (`proxy.assembly.answer`) directly
inside of it. Then the engine chooses, for each call, which of the layers below it needs.
"""

from __future__ import annotations

from proxy.kinds import circuit_breaker, concurrency, degrade, fallback, hedge, instruct, params, race, refuse, retry, rewrite, timeouts
from proxy.policy.kind import Floor, Kind

OUTER: tuple[Kind, ...] = (
    # CALL: once per call from the app
    degrade.KIND,  # the last resort: catches every failure from below
    timeouts.KIND,  # `total`: one deadline for all below, bodies included
    refuse.KIND,  # says no before any work
    rewrite.KIND,  # which model, which upstream
    params.KIND,  # temperature and the like, for the model chosen
    instruct.KIND,  # formatting rules into the system message
    concurrency.KIND,  # sheds real work only: what a policy answers by itself takes no slot
    # PLAN: which upstream exchanges happen
    fallback.KIND,  # the chain of targets
    retry.KIND,  # per target
    race.KIND,  # is one try
    hedge.KIND,  # so is a hedged pair
    # EXCHANGE: once per upstream exchange, repairs too
    circuit_breaker.KIND,  # judges the wire, not the content
    concurrency.EXCHANGE,  # per upstream
)
# Telemetry of the exchange stands here: one client span each, which sees how the layers below ended it
INNER: tuple[Kind, ...] = (timeouts.EXCHANGE,)  # connect, first_token, stream_idle, per_try: of one exchange
# innermost, where a layer asks for faults: `prime`; then the upstream adapter

STACK = (*OUTER, *INNER)
KINDS = {kind.name: kind for kind in STACK} | {kind.name: kind for kind in STACK if kind.floor is Floor.CALL}  # of two layers the outer one
INSIDE = frozenset(kind.place for kind in INNER)
PLACES = {kind.place: number for number, kind in enumerate(STACK)}
ORDER = {name: PLACES[kind.place] for name, kind in KINDS.items()}
