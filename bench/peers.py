"""peers -- who is measured: for each subject the command that starts it in front of the upstream.

A subject runs on one core with one worker. nginx and Envoy are set as for this job (peers/), not as they come: kept upstream
connections, no buffering of streams, no access log.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench import provision

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where one subject runs."""

    folder: Path                                # its own, for configuration and logs
    port: int
    admin_port: int
    upstream_port: int                          # the one it must use: plain, or TLS where `ca` is set
    ca: Path | None
    chassis: Path                               # the command to measure

    @property
    def url(self) -> str:
        """The upstream as the subject names it; the certificate is for localhost."""
        return f"https://localhost:{self.upstream_port}" if self.ca else f"http://127.0.0.1:{self.upstream_port}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A subject of the bench."""

    name: str
    command: Callable[[Place], list[str]] | None          # None: the load generator speaks to the upstream itself
    judges: bool = False                        # reads answers: an echo is none to a stream, so it is checked by a plain call
    rewrites: bool = False                      # the model must change on its way (checked before anything is measured)
    admin: bool = False                         # answers /livez on the admin port, from the event loop that carries the calls


def _fill(template: str, place: Place, **values: object) -> Path:
    source = HERE / "peers" / template
    target = place.folder / template
    target.write_text(Template(source.read_text()).substitute(folder=place.folder, port=place.port, **values))
    return target


_NGINX_TLS = "proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on;"


def _nginx(place: Place) -> list[str]:
    tls = _NGINX_TLS.format(ca=place.ca) if place.ca else ""
    scheme = "https" if place.ca else "http"
    config = _fill("nginx.conf", place, upstream=f"127.0.0.1:{place.upstream_port}", scheme=scheme, tls=tls)
    return [provision.nginx(), "-c", str(config), "-p", str(place.folder), "-e", str(place.folder / "nginx.err")]


_ENVOY_TLS = """    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          validation_context: {{trusted_ca: {{filename: {ca}}}}}
"""


def _envoy(place: Place) -> list[str]:
    config = _fill("envoy.yaml", place, upstream_port=place.upstream_port, tls=_ENVOY_TLS.format(ca=place.ca) if place.ca else "")
    return [provision.envoy(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def _aiohttp(place: Place) -> list[str]:
    argv = [sys.executable, str(HERE / "plain_aiohttp.py"), "--port", str(place.port), "--upstream", place.url]
    return [*argv, "--ca", str(place.ca)] if place.ca else argv


def _chassis(policies: str, *, log: bool = False) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        path = HERE / "policies" / policies
        home = ["--upstream", f"{place.url}/v1"]
        if place.ca:
            text = path.read_text()
            path = place.folder / policies
            path.write_text(f"{text}upstreams:\n  default: {{url: {place.url}/v1, tls: {{ca: {place.ca}}}}}\n")
            home = []
        ports = ["--port", str(place.port), "--admin-port", str(place.admin_port)]
        return [str(place.chassis), "serve", "--policies", str(path), *home, *ports, *(() if log else ("--log", "off"))]

    return command


PEERS = {
    peer.name: peer
    for peer in (
        Peer("direct", None),
        Peer("nginx", _nginx),
        Peer("envoy", _envoy),
        Peer("aiohttp", _aiohttp),
        Peer("chassis", _chassis("unmatched.yaml"), admin=True),
        Peer("chassis-empty", _chassis("empty.yaml"), admin=True),
        Peer("chassis-rewrite", _chassis("rewrite.yaml"), rewrites=True, admin=True),
        Peer("chassis-brakes", _chassis("brakes.yaml"), judges=True, admin=True),
        Peer("chassis-log", _chassis("unmatched.yaml", log=True), admin=True),
    )
}


def versions(names: set[str]) -> dict[str, str]:
    """What each foreign subject says of its version."""
    found = {}
    if "nginx" in names:
        found["nginx"] = provision.version([provision.nginx(), "-v"]).removeprefix("nginx version: ")
    if "envoy" in names:
        found["envoy"] = provision.version([provision.envoy(), "--version"]).split("version: ")[-1]
    return found
