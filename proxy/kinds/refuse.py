"""refuse -- say no before any work is done.

Floor CALL: outside everything that costs something. Nothing inside is asked.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from proxy.core.call import Call
from proxy.core.faults import Refusal
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.spec import Spec


class RefuseSpec(Spec):
    """Answer the app with an error of the API's own form, and ask no upstream."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": 403, "code": "not_allowed_here", "message": "Ask the platform team."}]}
    )
    status: int = Field(403, ge=400, le=599, description="The HTTP status. The SDK is told not to try again.")
    code: str = Field("policy_refused", min_length=1, max_length=64, pattern=r"^[a-z0-9_]+$", description="The app's `error.code`.")
    message: str = Field("This call is refused by policy.", min_length=1, max_length=2000, description="The app's `error.message`.")


class Refuse:
    """Raises the Refusal."""

    __slots__ = ("_policy", "_spec")

    def __init__(self, spec: RefuseSpec, site: Site) -> None:
        self._policy = site.policy
        self._spec = spec

    async def __call__(self, call: Call, inner: Service) -> Reply:
        spec = self._spec
        call.journal.note("refuse", self._policy, acted=True, status=spec.status, code=spec.code)
        raise Refusal(spec.status, spec.code, spec.message)

    def observe(self, call: Call) -> None:
        """Notes that it would have refused."""
        call.journal.note("refuse", self._policy, shadow=True, status=self._spec.status, code=self._spec.code)


KIND = Kind("refuse", RefuseSpec, Floor.CALL, enforce=Refuse, shadow=lambda spec, site: Refuse(spec, site).observe, answers=True)
