"""page -- the admin page's files: HTML, CSS and ES modules out of `proxy/page`, as they stand there, and what a browser may do with them.

No build step and nothing from elsewhere: what is in the package is what runs. They are read once, and hold no data: the page asks the
admin port's other paths for that, with the token where there is one.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent.parent / "page"
PREFIX = "/page/"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no text ever becomes markup: the browser itself refuses
    )
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_page(path: str) -> bool:
    """Whether this path is one of the page's own files, which tell nothing of this process."""
    return path == "/" or path.startswith(PREFIX)


def page_routes(folder: Path = FOLDER) -> list[web.RouteDef]:
    """`/` and the files that it loads. Raises OSError where the package is not whole."""
    files = {path.name: path for path in sorted(folder.iterdir()) if path.suffix in TYPES}
    routes = [_route(PREFIX + name, path) for name, path in files.items() if path.suffix != ".html"]
    return [_route("/", folder / "index.html"), *routes]


def _route(target: str, path: Path) -> web.RouteDef:
    body = path.read_bytes()
    kind = TYPES[path.suffix]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return web.get(target, answer)
