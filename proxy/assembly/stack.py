"""stack -- the order of the onion, outermost first. The one place that says it; YAML cannot change it, numbers do not.

Two layers are fixed and not of any policy: `telemetry` of the call, outside of all, and `answer` (`proxy.assembly.answer`) directly
inside of it. Then the engine chooses, for each call, which of the layers below it needs.
"""

from __future__ import annotations

from proxy.kinds import instruct, params, refuse, rewrite
from proxy.policy.kind import Kind

STACK: tuple[Kind, ...] = (
    # CALL: once per call from the app
    refuse.KIND,  # says no before any work
    rewrite.KIND,  # which model, which upstream
    params.KIND,  # temperature and the like, for the model chosen
    instruct.KIND,  # formatting rules into the system message
    # EXCHANGE: once per upstream exchange; telemetry of the exchange stands here, around the upstream adapter
)
KINDS = {kind.name: kind for kind in STACK}
ORDER = {kind.name: place for place, kind in enumerate(STACK)}
