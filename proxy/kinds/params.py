"""params -- pin, default, cap or remove parameters of a request: temperature, seed, max_tokens and the like.

Floor CALL: inside rewrite, as what a model takes depends on the model.
All matching policies add up; where two name one field, the first in file order has it.
Cost: a few microseconds for each field that changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.core.call import Call
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.openai.parameters import WITH_BODY
from proxy.openai.payload import Payload
from proxy.policy.edits import Edits, ParamsSpec, slips
from proxy.policy.facts import NO_BODY
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.view import View, Warned


def _fields(spec: ParamsSpec) -> frozenset[str]:
    return frozenset((*spec.defaults, *spec.overrides, *spec.remove, *spec.max))


def _warn(spec: ParamsSpec, view: View) -> Iterable[Warned]:
    yield from view.idle(WITH_BODY, "`params`")
    yield from slips(spec)


class Params:
    """Edits the payload. Notes each field that it changed."""

    __slots__ = ("_edits", "_policy")

    def __init__(self, spec: ParamsSpec, site: Site) -> None:
        self._policy = site.policy
        self._edits = Edits(spec, site.fields)

    async def __call__(self, call: Call, inner: Service) -> Reply:
        payload = self.apply(call, shadow=False)
        return await inner(call if payload is call.payload else call.derive(payload=payload))

    def observe(self, call: Call) -> None:
        """The same edits, noted only."""
        self.apply(call, shadow=True)

    def apply(self, call: Call, shadow: bool) -> Payload | None:
        """The payload with the edits, the call's own where nothing changes. A field that cannot be read hides no other."""
        payload: Payload | None = call.payload
        if payload is None:
            call.journal.note("params", self._policy, shadow=shadow, skipped="no_body", why=NO_BODY)
            return payload
        payload, what, unread = self._edits.apply(payload)
        for why in unread:
            call.journal.note("params", self._policy, shadow=shadow, skipped="unreadable", why=why)
        if what:
            call.journal.note("params", self._policy, acted=not shadow, shadow=shadow, **what)
        return payload


KIND = Kind(
    "params",
    ParamsSpec,
    Floor.CALL,
    enforce=Params,
    shadow=lambda spec, site: Params(spec, site).observe,
    fields=_fields,
    reads_body=lambda spec: True,
    warn=_warn,
)
