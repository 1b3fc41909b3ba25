"""handler -- where a request becomes a call: its endpoint, its id, and the policies that are loaded now.

A call keeps the generation that it started with; a reload changes only which one the next call gets.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.call import Allowance, Call, Target
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Request
from proxy.core.service import Service
from proxy.openai.endpoints import Endpoint, endpoint_of
from proxy.openai.static import static_reply

ENDPOINTS = 4096  # request lines whose endpoint is remembered; emptied when full, as ids in paths would fill it
TARGET_BYTES = 256  # of a target that is remembered: longer ones are rarely seen twice, and may be 16 KiB
log = logging.getLogger("chassis")


@dataclass(slots=True, frozen=True)
class Pipeline:
    """One generation of policies as a service, and where its calls go by default."""

    service: Service
    home: Target
    exchanges: int


class Handler:
    """Answers requests. `pipeline` may be replaced at any time."""

    def __init__(self, pipeline: Pipeline, now: Callable[[], float]) -> None:
        self.pipeline = pipeline
        self._now = now
        self._endpoints: dict[tuple[bytes, bytes], Endpoint] = {}
        self._id = random.SystemRandom().getrandbits(64)

    async def __call__(self, request: Request) -> Reply:
        pipeline = self.pipeline
        journal = Journal(self._now)
        call = Call(self._next_id(), self._endpoint(request), request, pipeline.home, journal, Allowance(pipeline.exchanges))
        try:
            return await pipeline.service(call)
        except Exception:
            log.exception("call %s failed in the proxy itself", call.id)
            return static_reply(500, "internal_error", "The proxy failed; its log says why.")

    def _endpoint(self, request: Request) -> Endpoint:
        key = (request.method, request.target)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            if len(self._endpoints) >= ENDPOINTS:
                self._endpoints.clear()
            endpoint = endpoint_of(request.method, request.target)
            if len(request.target) <= TARGET_BYTES:
                self._endpoints[key] = endpoint
        return endpoint

    def _next_id(self) -> str:
        self._id = (self._id * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF  # a full cycle: no id comes twice
        return f"{self._id:016x}"
