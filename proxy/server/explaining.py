"""explaining -- `/explain` of the admin port: the last calls, and for one of them what was decided and why.

JSON; text with `?format=text` or where a client takes text only. No prompt, no credential is in it.
"""

from __future__ import annotations

import json

import orjson
from aiohttp import web

from proxy.adapters.calllog import as_text as line_text
from proxy.assembly.explain_calls import CallsExplained

LISTED = 50  # calls, where no limit is given
LAST = "last"  # in the place of an id: the youngest
ID_CHARS = 64  # an id has 16, a trace id 32


class Explaining:
    """The routes. `calls` is None where none are kept."""

    def __init__(self, calls: CallsExplained | None) -> None:
        self._calls = calls

    def routes(self) -> list[web.RouteDef]:
        """For the admin application."""
        return [web.get("/explain", self.explain)]

    async def explain(self, request: web.Request) -> web.Response:
        """The call of `?id=`, which may be `last`; without it the last ones, newest first, `?limit=` of them."""
        text = _wants_text(request)
        if self._calls is None:
            return _problem(404, "no calls are kept for explanation: the proxy runs with --recent 0")
        id = request.query.get("id")
        if id is None:
            return self._listed(self._calls, request.query.get("limit", str(LISTED)), text)
        recent = self._calls.recent
        call = next(iter(recent.latest(1)), None) if id == LAST else recent.find(id)
        if call is None:
            return _problem(404, "no call has ended yet" if id == LAST else _unknown(id, len(recent)))
        from proxy.assembly.explain_json import as_json  # a megabyte that a proxy whom nobody asks does not need
        from proxy.assembly.explain_text import as_text

        found = await self._calls.explain(call)
        if text:
            return web.Response(text="\n".join(as_text(found, brief=_says_yes(request.query.get("brief", "")))) + "\n")
        return _json(as_json(found))

    def _listed(self, calls: CallsExplained, limit: str, text: bool) -> web.Response:
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 6):
            return _problem(400, "limit is a number of calls")
        latest = calls.recent.latest(int(limit))
        if text:
            lines = b"".join([line_text(call.line) for call in latest])
            return web.Response(body=lines or b"no call has ended yet\n", content_type="text/plain", charset="utf-8")
        return _json({"kept": len(calls.recent), "calls": [call.told() for call in latest]})


def _unknown(id: str, kept: int) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in id[:ID_CHARS])
    return f"no call '{shown}' is kept: it is not one of the last {kept}, or has not ended yet (`--recent` says how many are kept)"


def _wants_text(request: web.Request) -> bool:
    asked = request.query.get("format")
    if asked is not None:
        return asked == "text"
    accepted = request.headers.get("Accept", "").lower()
    return "text/plain" in accepted and "application/json" not in accepted


def _says_yes(word: str) -> bool:
    return word.lower() in ("1", "true", "yes")


def _json(value: object, status: int = 200) -> web.Response:
    try:
        body = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a character, or a number beyond 64 bits: the slower encoder writes both
        body = json.dumps(value, default=str, indent=2).encode("ascii") + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")


def _problem(status: int, message: str) -> web.Response:
    return _json({"error": {"message": message, "status": status}}, status)
