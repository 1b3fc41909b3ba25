from __future__ import annotations

import pytest

from proxy.core.body import Body
from proxy.core.reply import Reply
from proxy.core.request import Framing


class FakeTunnel:
    """A tunnel that counts its ends."""

    def __init__(self) -> None:
        self.ends = 0

    def end(self) -> None:
        self.ends += 1


def a_reply() -> Reply:
    return Reply(
        200, b"OK", [(b"Content-Type", b"application/json"), (b"SET-COOKIE", b"a"), (b"set-cookie", b"b")], Framing.CHUNKED, Body()
    )


@pytest.mark.parametrize(("name", "value"), [(b"content-type", b"application/json"), (b"set-cookie", b"a"), (b"date", None)])
def test_a_header_is_found_whatever_its_case_and_the_first_counts(name: bytes, value: bytes | None) -> None:
    assert a_reply().header(name) == value


def test_a_new_reply_comes_from_the_upstream_and_has_no_fault() -> None:
    reply = a_reply()

    assert reply.origin == "upstream"
    assert reply.fault is None
    assert reply.target is None
    assert reply.last_words is None


def test_closing_a_reply_closes_its_body_and_ends_its_tunnel_once() -> None:
    reply = a_reply()
    tunnel = FakeTunnel()
    reply.tunnel = tunnel  # type: ignore[assignment]
    reply.close()
    reply.close()

    assert reply.body.closed
    assert tunnel.ends == 1
    assert reply.tunnel is None
