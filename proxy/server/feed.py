"""feed -- calls as they end, for the admin page and for `curl -N`: `/calls` is JSON of the last ones, `/calls/live` goes on from there.

`/calls/live` is a stream of Server-Sent Events: `hello` (which process this is), `calls` (some, oldest first; the id is that of the last),
`lost` (how many came faster than they could be told), `pulse` (once a second: counts, and what is loaded). Who comes back with
`Last-Event-ID` gets what ended meanwhile, as far as it is still kept.
Cost: nothing where nobody watches; for each that does, ten wake-ups a second, of at most 250 calls, each some 10 us.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from proxy.adapters.recent import Ended, Recent, Subscription
from proxy.core.clock import Clock

WATCHERS = 16  # pages that are open at once; each costs the loop a little
GATHER_S = 0.1  # how long calls wait for each other: below what a person sees
PULSE_S = 1.0
STALL_S = 30.0  # a reader that takes nothing for this long is let go: a laptop that sleeps
WAITING = 250  # calls told at a wake-up; with more than 2,500 a second nobody reads along
LISTED = 50  # calls that `/calls` tells of, where no limit is given
Pulse = Callable[[], dict[str, Any]]


class Feed:
    """The routes. `pulse` says what changes by the second; `close` ends all streams, so that the process can."""

    def __init__(
        self,
        recent: Recent | None,
        pulse: Pulse,
        clock: Clock,
        base_url: str,
        gather_s: float = GATHER_S,
        pulse_s: float = PULSE_S,
    ) -> None:
        """`base_url` is what an app would set as OPENAI_BASE_URL."""
        self._recent = recent
        self._pulse = pulse
        self._clock = clock
        self._base_url = base_url
        self._gather_s = gather_s
        self._pulse_s = pulse_s
        self._boot = secrets.token_hex(8)
        self._watching: set[asyncio.Transport] = set()
        self._closing = False

    def routes(self) -> list[web.RouteDef]:
        """For the admin application."""
        return [web.get("/calls", self.calls), web.get("/calls/live", self.live, allow_head=False)]

    async def close(self, app: web.Application) -> None:
        """Streams end within a wake-up, those whose reader sleeps too; new ones are refused."""
        self._closing = True
        if self._watching:
            await asyncio.sleep(2 * self._gather_s)
        for transport in tuple(self._watching):
            transport.abort()

    async def calls(self, request: web.Request) -> web.Response:
        """The last calls, newest first; `?limit=` says how many."""
        given = request.query.get("limit", str(LISTED))
        if not (given.isascii() and given.isdigit()) or len(given) > 6:
            raise web.HTTPBadRequest(reason="limit is a number of calls")
        latest = self._recent.latest(int(given)) if self._recent is not None else []
        said = {"kept": self._recent is not None, "calls": [call_json(call) for call in latest]}
        return web.Response(body=_dumps(said), content_type="application/json")

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The stream, until its reader leaves or the process ends."""
        transport = request.transport
        if self._closing or transport is None:
            raise web.HTTPServiceUnavailable(reason="the proxy is ending")
        if len(self._watching) >= WATCHERS:
            raise web.HTTPServiceUnavailable(reason=f"{WATCHERS} pages watch already; close one")
        self._watching.add(transport)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"})
        subscription = self._recent.subscribe(WAITING) if self._recent is not None else None
        try:  # subscribed before the last ones are told, so that none falls between
            missed, resumed = self._since(request.headers.get("Last-Event-ID"))
            await response.prepare(request)
            hello = {"boot": self._boot, "resumed": resumed, "kept": self._recent is not None, "base_url": self._base_url}
            await self._write(response, event("hello", hello) + calls_event(missed))
            await self._go_on(response, subscription)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            pass  # the reader has left, or sleeps
        finally:
            self._watching.discard(transport)
            if subscription is not None:
                subscription.close()
        return response

    def _since(self, last: str | None) -> tuple[list[Ended], bool]:
        """The calls after the one of that id, oldest first, and whether it is still known; without it, all that are kept."""
        kept = self._recent.latest() if self._recent is not None else []
        for place, call in enumerate(kept):
            if call.id == last:
                return kept[:place][::-1], True
        return kept[::-1], False

    async def _go_on(self, response: web.StreamResponse, subscription: Subscription | None) -> None:
        due = 0.0
        hits: dict[str, Any] = {}
        while not self._closing:
            out = b""
            lost, calls = subscription.take() if subscription is not None else (0, [])
            if lost:
                out += event("lost", lost)
            out += calls_event(calls)
            if (now := self._clock.now()) >= due:
                due = now + self._pulse_s
                out += event("pulse", _changed(self._pulse(), hits))
            if out:
                await self._write(response, out)
            await asyncio.sleep(self._gather_s)

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        with self._clock.limit(self._clock.now() + STALL_S):
            await response.write(data)


def _changed(pulse: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The pulse with only those hits that differ from what this reader was told `before`."""
    hits = pulse["hits"]
    changed = {name: hit for name, hit in hits.items() if before.get(name) != hit}
    before.update(changed)
    return {**pulse, "hits": changed}


def call_json(call: Ended) -> dict[str, Any]:
    """A call as its log line has it, and for each decision, when it was taken, in milliseconds after the call began."""
    said = call.told()
    started = call.line[11]
    for entry, decision in zip(call.line[17], said.get("decisions", ()), strict=False):
        decision["at_ms"] = round((entry.at - started) * 1e3, 3)
    return said


def calls_event(calls: list[Ended]) -> bytes:
    """One event for all of them; nothing where there are none."""
    return b"id: %s\n" % calls[-1].id.encode() + event("calls", [call_json(call) for call in calls]) if calls else b""


def event(name: str, data: object) -> bytes:
    """A Server-Sent Event. JSON has no raw line ends, so one data line is enough."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _dumps(data))


def _dumps(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a character, deep inside: the slower encoder escapes it
        return json.dumps(value, default=str).encode("ascii")
