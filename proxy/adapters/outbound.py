"""outbound -- what leaves for one upstream: its form of the target, its headers, and one credential. Pure functions of a request.

Home (where calls go by default) hears what the app said. Any other upstream hears an allow-list, and its own credential only.
Cost: nothing for home without settings; one pass over the headers otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from urllib.parse import unquote_to_bytes

from proxy.core.body import Headers
from proxy.openai.moves import is_api_path

CREDENTIALS = frozenset((b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"))
NEVER = CREDENTIALS | {b"cookie", b"openai-organization", b"openai-project"}  # to another upstream, whatever `keep` says
TRACE = frozenset((b"traceparent", b"tracestate", b"baggage"))
KEPT = frozenset((b"accept", b"user-agent", b"idempotency-key", b"expect", b"te", b"host", b"content-length", b"transfer-encoding"))
KEPT_PREFIXES = (b"content-", b"accept-", b"x-stainless-")
_first = itemgetter(0)
DIGESTS = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))
DIGESTS_AND_ENCODING = DIGESTS | {b"content-encoding"}


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
    own: frozenset[bytes] = field(init=False)  # names of the headers that are ours to set here, lower case
    is_plain: bool = field(init=False)  # home hears exactly what the app said

    def __post_init__(self) -> None:
        own = frozenset(name.lower() for name, _ in self.set_headers)
        own = own if self.credential is None else own | {self.credential[0].lower()}
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "is_plain", self.home and not own and not self.drops_credential and not self.trace)

    def target(self, target: bytes) -> bytes:
        """The request target for this upstream: everything undecoded, in order."""
        if (self.base is None and self.home and not self.query) or target == b"*":
            return target
        path, mark, query = target.partition(b"?")
        if self.base is not None and is_api_path(target):
            path = self.base + path[3:]
        if not self.home:
            mark = query = b""
        if self.query:
            names = {unquote_to_bytes(name) for name, _ in self.query}
            pairs = [pair for pair in query.split(b"&") if _name(pair) not in names] if query else []
            pairs += [name + b"=" + value for name, value in self.query]
            mark, query = b"?", b"&".join(pairs)
        return path + mark + query

    def headers(self, headers: Headers, traceparent: bytes | None = None) -> Headers:
        """The header pairs for this upstream. `traceparent` is sent instead of the app's where the upstream has `trace: true`."""
        if self.is_plain:
            return headers
        traced = self.trace and traceparent is not None
        out = [(name, value) for name, value in headers if self._lets(name.lower(), traced)]
        if self.credential is not None:
            out.append(self.credential)
        out.extend(self.set_headers)
        if self.trace and traceparent is not None:
            out.append((b"traceparent", traceparent))
        return out

    def trailers(self, trailers: Headers) -> Headers:
        """What may follow of a request's trailers: the same names as of its headers."""
        if self.is_plain or not trailers:
            return trailers
        return [(name, value) for name, value in trailers if self._lets(name.lower(), self.trace)]

    def _lets(self, name: bytes, traced: bool) -> bool:
        if name in self.own:
            return False
        if name in TRACE:
            return self.home and not traced
        if name in CREDENTIALS:
            return self.home and self.credential is None and not self.drops_credential
        if self.home:
            return True
        return name not in NEVER and (name in KEPT or name in self.keep or name.startswith(KEPT_PREFIXES))


def _name(pair: bytes) -> bytes:
    """The name of one `name=value` of a query, decoded: it is one however it is spelt."""
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))


def without(headers: Headers, names: frozenset[bytes]) -> Headers:
    """The pairs but those of `names`, lower case; the same list where there are none."""
    gone = _places(tuple(map(_first, headers)), names)
    return [pair for at, pair in enumerate(headers) if at not in gone] if gone else headers


@lru_cache(maxsize=128)  # a client sends the same names in the same order again and again
def _places(names: tuple[bytes, ...], wanted: frozenset[bytes]) -> frozenset[int]:
    return frozenset(at for at, name in enumerate(names) if name.lower() in wanted)
