"""outbound -- what leaves for one upstream: its form of the target, its headers, and one credential. Pure functions of a request.

Home (where calls go by default) hears what the app said. Any other upstream hears an allow-list, and its own credential only.
Cost: nothing for home without settings; one pass over the headers otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.core.body import Headers
from proxy.openai.moves import is_api_path

CREDENTIALS = frozenset((b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"))
NEVER = CREDENTIALS | {b"cookie", b"openai-organization", b"openai-project"}  # to another upstream, whatever `keep` says
TRACE = frozenset((b"traceparent", b"tracestate", b"baggage"))
KEPT = frozenset((b"user-agent", b"idempotency-key", b"expect", b"te", b"host", b"content-length", b"transfer-encoding"))
KEPT_PREFIXES = (b"content-", b"accept", b"x-stainless-")
DIGESTS = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))


@dataclass(slots=True, frozen=True)
class Outbound:
    """The settings of one upstream, as bytes. `base` is the path that stands for `/v1`, None where the url has no path."""

    home: bool
    base: bytes | None = None
    credential: tuple[bytes, bytes] | None = None
    drops_credential: bool = False  # home with `key: none`: the app's own does not leave either
    set_headers: tuple[tuple[bytes, bytes], ...] = ()
    keep: frozenset[bytes] = frozenset()  # header names, lower case, let through besides the allow-list
    query: tuple[tuple[bytes, bytes], ...] = ()  # percent-encoded
    trace: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether home hears exactly what the app said."""
        return self.home and self.credential is None and not self.drops_credential and not self.set_headers and not self.trace

    def target(self, target: bytes) -> bytes:
        """The request target for this upstream: everything undecoded, in order."""
        if self.base is None and self.home and not self.query:
            return target
        path, mark, query = target.partition(b"?")
        if self.base is not None and is_api_path(target):
            path = self.base + path[3:] or b"/"
        if not self.home:
            mark = query = b""
        if self.query:
            names = {name for name, _ in self.query}
            pairs = [pair for pair in query.split(b"&") if pair and pair.partition(b"=")[0] not in names]
            pairs += [name + b"=" + value for name, value in self.query]
            mark, query = b"?", b"&".join(pairs)
        return path + mark + query

    def headers(self, headers: Headers, traceparent: bytes | None = None) -> Headers:
        """The header pairs for this upstream. `traceparent` is sent instead of the app's where the upstream has `trace: true`."""
        if self.is_plain:
            return headers
        replaced = {name.lower() for name, _ in self.set_headers}
        if self.credential is not None:
            replaced.add(self.credential[0].lower())
        out = [(name, value) for name, value in headers if self._lets(name.lower(), replaced)]
        if self.credential is not None:
            out.append(self.credential)
        out.extend(self.set_headers)
        if self.trace and traceparent is not None:
            out.append((b"traceparent", traceparent))
        return out

    def _lets(self, name: bytes, replaced: set[bytes]) -> bool:
        if name in replaced:
            return False
        if name in TRACE:
            return self.home and not self.trace
        if name in CREDENTIALS:
            return self.home and self.credential is None and not self.drops_credential
        if self.home:
            return True
        return name not in NEVER and (name in KEPT or name in self.keep or name.startswith(KEPT_PREFIXES))


def without(headers: Headers, names: frozenset[bytes]) -> Headers:
    """The pairs but those of `names`, lower case."""
    return [pair for pair in headers if pair[0].lower() not in names]
