"""TLS to an upstream: verified, named by SNI, http/1.1 by ALPN, and a cut that looks like one."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest

from proxy.wire.settings import PoolSettings
from proxy.wire.tls import client_context
from tests.wire.certificates import make
from tests.wire.plumbing import GET, OK, Peer, answering, post, rig

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    return make(tmp_path_factory.mktemp("tls"))


async def test_a_call_goes_over_verified_tls_on_a_kept_connection(certificates: tuple[str, ssl.SSLContext]) -> None:
    ca, server = certificates
    async with rig(answering(OK), settings=PoolSettings(ssl=client_context(ca)), upstream_tls=server) as it:
        client = await it.client()
        for body in (b"", b"a" * 2_000_000):
            await client.send(post(body))
            assert (await client.reply())[1] == b"ok"
        tls = it.upstream.peers[0].writer.get_extra_info("ssl_object")

    assert tls.selected_alpn_protocol() == "http/1.1"
    assert it.upstream.connections == 1


async def test_a_large_reply_comes_whole_through_tls(certificates: tuple[str, ssl.SSLContext]) -> None:
    ca, server = certificates
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
    async with rig(answering(big), settings=PoolSettings(ssl=client_context(ca)), upstream_tls=server) as it:
        client = await it.client()
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        await client.skip(3_000_000)


async def test_the_name_for_sni_and_verification_can_be_set(certificates: tuple[str, ssl.SSLContext]) -> None:
    ca, server = certificates
    asked: list[str | None] = []
    server.sni_callback = lambda tls, name, context: asked.append(name)
    try:
        settings = PoolSettings(ssl=client_context(ca), server_name="upstream.test")
        async with rig(answering(OK), settings=settings, upstream_tls=server) as it:
            _, body = await it.ask(GET)
    finally:
        server.sni_callback = None

    assert body == b"ok"
    assert asked == ["upstream.test"]


@pytest.mark.parametrize(("trusting", "name"), [(False, None), (True, "other.test")])
async def test_a_certificate_that_does_not_fit_is_a_connect_failure(
    certificates: tuple[str, ssl.SSLContext], trusting: bool, name: str | None
) -> None:
    ca, server = certificates
    settings = PoolSettings(ssl=client_context(ca if trusting else None), server_name=name)
    async with rig(answering(OK), settings=settings, upstream_tls=server) as it:
        head, body = await it.ask(GET)

    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"certificate is not trusted" in body


async def test_plain_http_where_tls_is_expected_is_a_connect_failure(certificates: tuple[str, ssl.SSLContext]) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 no\r\n\r\n")

    async with rig(plain, settings=PoolSettings(ssl=client_context(certificates[0]))) as it:
        head, body = await it.ask(GET)

    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"TLS failed" in body


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\n\r\nhalf of it", CHUNKED + b"4\r\nhalf\r\n"])
async def test_a_cut_without_a_goodbye_looks_cut(certificates: tuple[str, ssl.SSLContext], reply: bytes) -> None:
    ca, server = certificates

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        with socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)  # the TCP connection ends, TLS has not

    async with rig(script, settings=PoolSettings(ssl=client_context(ca)), upstream_tls=server) as it:
        client = await it.client()
        await client.send(GET)
        answer = await client.rest()

    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_goodbye_ends_a_body_that_runs_to_the_close(certificates: tuple[str, ssl.SSLContext]) -> None:
    ca, server = certificates

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with rig(script, settings=PoolSettings(ssl=client_context(ca)), upstream_tls=server) as it:
        _, body = await it.ask(GET)

    assert body.endswith(b"0\r\n\r\n")


def test_files_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")

    with pytest.raises(ssl.SSLError):
        client_context(str(tmp_path / "no.pem"))
    with pytest.raises(OSError, match="No such file"):
        client_context(str(tmp_path / "absent.pem"))


def test_old_versions_are_not_spoken() -> None:
    assert client_context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context().verify_mode is ssl.CERT_REQUIRED
