"""tls -- the context in which upstreams are met (verified, TLS 1.2 or newer, HTTP/1.1), and whether one said goodbye."""

from __future__ import annotations

import ssl


def client_context(ca: str | None = None, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """A verifying context. `ca`: a PEM file trusted instead of the system's; `cert` and `key`: our own certificate, PEM files.

    Raises OSError (ssl.SSLError is one) for files that cannot be read or do not fit together.
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


def said_goodbye(tls: ssl.SSLObject) -> bool:
    """Whether the peer, whose bytes have ended, said so within TLS. Without it anybody on the way may have cut them short.

    asyncio reports an end either way, so the state of the engine is asked: an end, or waiting for more that cannot come.
    """
    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False
