"""admin -- what an operator sees: is it alive, is it ready, what is loaded, what is counted. An aiohttp application; the caller runs it.

The probes answer anyone. What tells of the configuration needs the token where there is one; without one it answers on loopback only.
The page's own files tell nothing, so they need no token; they ask for it. Web pages of elsewhere get nothing: no rebound name, no request
of another origin, no frame. All is GET, nothing changes anything.
Readiness never depends on an upstream: a provider's outage must not take every pod out of service.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from proxy.server.explaining import Explaining
from proxy.server.feed import Feed
from proxy.server.page import HEADERS, is_page, page_routes

log = logging.getLogger("chassis")

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN = frozenset(("/livez", "/readyz"))  # kubelets carry no token
MEASURED = OPEN | {"/metrics"}  # counts and names of policies: what a scraper of the pod's network may see
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Status(Protocol):
    """What the server says of itself."""

    def not_ready(self) -> str | None:
        """Why no new calls should come (`starting`, `draining`); None: they may."""

    def policies(self) -> dict[str, object]:
        """What is loaded, as plain values: never a key's value."""

    def metrics(self) -> bytes:
        """Prometheus text."""


def admin_app(
    status: Status,
    *,
    explaining: Explaining | None = None,
    feed: Feed | None = None,
    token: str | None = None,
    loopback: bool = True,
) -> web.Application:
    """The application. `loopback`: it is bound to loopback only; if not, and without a `token`, all but counts and probes is closed.

    With a `feed` there is the page too.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _refusal(request, token, loopback)
        if refusal is None:
            try:
                response = await handler(request)
            except web.HTTPException as problem:
                response = _problem(problem.status, problem.reason.lower() + ": " + request.path)
                if (allow := problem.headers.get("Allow")) is not None:
                    response.headers["Allow"] = allow
            except Exception:
                log.exception("admin: %s could not be shown", request.path)
                response = _problem(500, "this page could not be made; the log says why")
        else:
            response = refusal
        return response

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:  # a stream's head leaves before its handler returns
        response.headers.update(HEADERS)

    app = web.Application(middlewares=[guard], client_max_size=64 * 1024)
    app.on_response_prepare.append(prepare)
    app.add_routes([*_routes(status), *(explaining or Explaining(None)).routes()])
    if feed is not None:
        app.add_routes([*page_routes(), *feed.routes()])
        app.on_shutdown.append(feed.close)
    return app


def is_loopback(host: str) -> bool:
    """Whether binding to `host` is binding to loopback only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _routes(status: Status) -> list[web.RouteDef]:
    async def livez(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        why = status.not_ready()
        return web.Response(text="ok\n") if why is None else web.Response(status=503, text=why + "\n")

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=status.metrics(), headers={"Content-Type": METRICS_TYPE})

    async def policies(request: web.Request) -> web.Response:
        return _json(status.policies())

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics), web.get("/policies", policies)]


def _refusal(request: web.Request, token: str | None, loopback: bool) -> web.Response | None:
    path = request.path
    if path in OPEN:
        return None
    if _is_foreign(request):
        return _problem(403, "a web page of another origin may not ask this")
    if token is not None and is_page(path):
        return None
    if token is not None:
        given = request.headers.get("Authorization", "")
        scheme, _, value = given.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode("utf-8", "replace"), token.encode("utf-8")):
            return None
        response = _problem(401, "this page needs the admin token: Authorization: Bearer <token>")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if not loopback:
        return None if path in MEASURED else _problem(403, "the admin port is open to the network without a token: set CHASSIS_ADMIN_TOKEN")
    if not _is_local_name(request.headers.get("Host", "")):
        return _problem(403, "the Host header names another machine; ask 127.0.0.1 or localhost")  # a web page by a rebound name
    return None


def _is_foreign(request: web.Request) -> bool:
    """Whether a browser says that a page of another origin asks, in the background. A link that a person follows is none."""
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and request.headers.get("Sec-Fetch-Mode") != "navigate":
        return True
    origin = request.headers.get("Origin")
    try:
        return origin is not None and urlsplit(origin).netloc != request.headers.get("Host", "")
    except ValueError:
        return True


def _is_local_name(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return not name or is_loopback(name.lower())


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    return web.Response(status=status, body=body, content_type="application/json")


def _problem(status: int, message: str) -> web.Response:
    return _json({"error": {"message": message, "status": status}}, status)
