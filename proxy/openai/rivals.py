"""rivals -- which calls may be asked twice at once, and what a call is that is asked of another target beside its own.

Stands under hedge and race. Two exchanges of one call never share a body: each sends its own copy of what was held.
Cost: some µs, and only for a call that is asked twice.
"""

from __future__ import annotations

from typing import Any

from proxy.core.body import Body
from proxy.core.call import Call, Target
from proxy.openai.conversion import Convert, converted
from proxy.openai.endpoints import Endpoint, is_stateful
from proxy.openai.moves import why_it_stays
from proxy.openai.payload import Payload, Unread

TWICE = frozenset((Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES, Endpoint.EMBEDDINGS))  # they change nothing but a bill


def why_only_once(call: Call) -> str | None:
    """Why a call may not be asked twice at once, None where it may."""
    if call.endpoint not in TWICE or call.request.upgrade is not None:
        return "its endpoint"
    if call.payload is None:
        return "not_replayable"
    try:
        return "it refers to state on its upstream" if is_stateful(Endpoint(call.endpoint), call.payload) else None
    except Unread as unread:
        return f"its body cannot be read: {unread.why}"


def rival_of(call: Call, target: Target) -> tuple[Call, dict[str, Any]] | str:
    """The call as `target` takes it, with a body of its own, and what it no longer says; or why there can be none."""
    moves = target.upstream != call.target.upstream
    if moves and (why := why_it_stays(call)) is not None:
        return why
    payload: Payload = call.payload
    what: dict[str, Any] = {}
    if target != call.target:
        try:
            out = converted(payload, target.model or payload.model, Convert.AUTO, moves)
        except Unread as unread:
            return f"its body cannot be read: {unread.why}"
        payload = out.payload
        what = {name: list(names) for name, names in (("removed", out.removed), ("renamed", out.renamed)) if names}
    request = call.request
    own = request.derive(request.target, request.headers, request.framing, request.length, Body.of(trailers=request.body.trailers))
    return call.derive(target=target, payload=payload, request=own), what


def name_of(call: Call, target: Target) -> str:
    """`openai gpt-4o`, for a person."""
    payload: Payload | None = call.payload
    model = target.model
    if model is None and payload is not None:
        try:
            model = payload.model
        except Unread:
            model = None
    return f"{target.upstream} {model[:80]}" if model else target.upstream
