"""plain_aiohttp -- a pass-through proxy as a careful programmer writes it with aiohttp on both sides.

A subject of the bench and nothing else: it shows what Python costs here without a transport of its own. uvloop, the low-level
server without a router, one session without limits, raw headers, no decompression; small bodies whole, large ones and streams as they come.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
SMALL = 128 * 1024
AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


def _end_to_end(raw: tuple[tuple[bytes, bytes], ...], *also: bytes) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in raw:
        lowered = name.lower()
        if lowered not in HOP_BY_HOP and lowered not in also:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return headers


class Proxy:
    def __init__(self, session: aiohttp.ClientSession, upstream: str, trust: ssl.SSLContext | bool) -> None:
        self._session, self._upstream, self._trust = session, upstream, trust

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        body: bytes | aiohttp.StreamReader | None = None
        if request.can_read_body:
            small = request.content_length is not None and request.content_length <= SMALL
            body = await request.read() if small else request.content
        headers = _end_to_end(request.raw_headers, b"host")
        url = URL(self._upstream + request.raw_path, encoded=True)
        sent = self._session.request(request.method, url, headers=headers, data=body, allow_redirects=False, ssl=self._trust)
        async with sent as reply:
            size = reply.content_length
            if size is not None and size <= SMALL:
                headers = _end_to_end(reply.raw_headers, b"content-length")
                return web.Response(status=reply.status, reason=reply.reason, headers=headers, body=await reply.read())
            out = web.StreamResponse(status=reply.status, reason=reply.reason, headers=_end_to_end(reply.raw_headers))
            await out.prepare(request)
            async for data in reply.content.iter_any():
                await out.write(data)
            await out.write_eof()
            return out


async def serve(port: int, upstream: str, ca: str | None) -> None:
    trust = ssl.create_default_context(cafile=ca) if ca else True
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    timeout = aiohttp.ClientTimeout(total=None)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=jar, auto_decompress=False, skip_auto_headers=AUTOMATIC, trust_env=False
    ) as session:
        runner = web.ServerRunner(web.Server(Proxy(session, upstream, trust), access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--ca")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.upstream, options.ca))


if __name__ == "__main__":
    main()
