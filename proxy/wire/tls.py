"""tls -- the context in which upstreams are met: verified, TLS 1.2 or newer, HTTP/1.1, and a cut that shows."""

from __future__ import annotations

import ssl


def client_context(ca: str | None = None, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """A verifying context. `ca`: a PEM file trusted instead of the system's; `cert` and `key`: our own certificate, PEM files.

    Raises OSError (ssl.SSLError is one) for files that cannot be read or do not fit together.
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # An end without close_notify is an error, not an end: a body that runs to the close would look whole.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context
