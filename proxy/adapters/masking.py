"""masking -- requests as they may be kept and shown: credentials replaced, their places left. Pure functions.

By the name of a header or of a query's part, as a credential may have any form. A name that only sounds secret is masked too.
"""

from __future__ import annotations

from functools import lru_cache

from proxy.core.body import Headers

MASK = b"***"
SCHEMES = frozenset((b"bearer", b"basic", b"digest", b"token", b"apikey"))
NAME_BYTES = 64  # of a header name whose meaning is remembered: longer ones are nobody's usual header
SECRET_WORDS = (b"auth", b"key", b"token", b"secret", b"cookie", b"password", b"credential", b"signature")
_NOT_SECRET = frozenset((b"idempotency-key", b"sec-websocket-key"))
_IDENTITIES = frozenset((b"openai-organization", b"openai-project"))


def masked(headers: Headers) -> Headers:
    """The pairs with credentials replaced by `***`, the scheme before one kept: `Bearer ***`."""
    return [(name, _mask(value)) if is_secret(name) else (name, value) for name, value in headers]


def _mask(value: bytes) -> bytes:
    scheme, space, rest = value.partition(b" ")
    return scheme + b" " + MASK if space and rest and scheme.lower() in SCHEMES else MASK


def is_secret(name: bytes) -> bool:
    """Whether a header, by its name, may hold a credential or say whose it is."""
    return _is_secret(name) if len(name) <= NAME_BYTES else _is_secret.__wrapped__(name)


@lru_cache(maxsize=1024)
def _is_secret(name: bytes) -> bool:
    low = name.lower()
    return low not in _NOT_SECRET and (low in _IDENTITIES or any(word in low for word in SECRET_WORDS))


def masked_query(target: bytes) -> bytes:
    """The target with each value of its query replaced: names tell what was asked, values may be keys."""
    path, mark, query = target.partition(b"?")
    if not mark or not query:
        return target
    return path + b"?" + b"&".join(name + b"=" + MASK if equals else name for name, equals, _ in _pairs(query))


def _pairs(query: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [pair.partition(b"=") for pair in query.split(b"&")]
