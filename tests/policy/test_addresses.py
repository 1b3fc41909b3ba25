from __future__ import annotations

import ipaddress

import pytest

from proxy.policy.addresses import address, literal_ip, refused_ip
from proxy.policy.units import Wrong


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com", "/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com", "/v1"),
        ("https://api.openai.com", "https://api.openai.com", ""),
        ("https://api.openai.com/", "https://api.openai.com", ""),
        ("HTTPS://API.openai.com:443/v1", "https://api.openai.com", "/v1"),
        ("https://x.openai.azure.com:8443/openai/deployments/d%20e/v1", "https://x.openai.azure.com:8443", "/openai/deployments/d%20e/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000", "/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000", "/v1"),
        ("https://10.0.0.7/v1", "https://10.0.0.7", "/v1"),
        ("https://vllm.svc.cluster.local./v1", "https://vllm.svc.cluster.local.", "/v1"),
        ("https://my_host/v1", "https://my_host", "/v1"),
        ("https://xn--bcher-kva.example/v1", "https://xn--bcher-kva.example", "/v1"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: str, path: str) -> None:
    got = address(url)

    assert (got.origin, got.path) == (origin, path)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "a.localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"]
)
def test_loopback_is_known_in_every_spelling(host: str) -> None:
    assert address(f"http://{host}:1/v1").loopback


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example.com", "notlocalhost", "128.0.0.1", "[2001:db8::1]"])
def test_what_is_not_loopback_is_not_taken_for_it(host: str) -> None:
    assert not address(f"http://{host}/v1").loopback


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "2852039166",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00:ec2::254]",
        "[FD00:EC2:0::254]",
        "100.100.100.200",
        "168.63.129.16",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata",
        "0.0.0.0",
        "0",
        "0x0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_metadata_and_link_local_addresses_are_refused_in_every_spelling(host: str, scheme: str) -> None:
    with pytest.raises(Wrong):
        address(f"{scheme}://{host}/v1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "//api.openai.com/v1",
        "https:/api.openai.com",
        "ftp://a/v1",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://:443/v1",
        "https://a:/v1",
        "https://a:0/v1",
        "https://a:65536/v1",
        "https://a:-1/v1",
        "https://a:x/v1",
        "https://a:４４３/v1",
        "https://u@a/v1",
        "https://u:p@a/v1",
        "https://@a/v1",
        "https://a?x=1",
        "https://a/v1?x=1",
        "https://a/v1?",
        "https://a/v1#x",
        "https://a#x",
        "https://a b/v1",
        "https://a/v 1",
        "https://a\r\nb/v1",
        "https://a\\b/v1",
        "https://a/../v1",
        "https://a/%2e%2E/v1",
        "https://a/./v1",
        "https://bücher.example/v1",
        "https://-a.example/v1",
        "https://a..b/v1",
        "https://[::1/v1",
        "https://[::g]/v1",
        "https://1.2.3.4.5/v1",
        "https://256.1.1.1/v1",
        "https://a.0x7f/v1",
        "https://a/<v1>",
        "https://${HOST}/v1",
    ],
)
def test_a_url_that_is_none_is_refused_without_a_crash(url: str) -> None:
    with pytest.raises(Wrong):
        address(url)


def test_a_password_in_a_url_is_not_repeated() -> None:
    for url in ("https://me:hunter2@a/v1", "ftp://me:hunter2@a/v1", "https://me:hunter2@a:0/v1", "x me:hunter2@a"):
        with pytest.raises(Wrong) as caught:
            address(url)

        assert "hunter2" not in str(caught.value)
        assert caught.value.got is False


def test_what_a_name_resolved_to_can_be_asked_again() -> None:
    assert refused_ip("169.254.169.254")
    assert refused_ip("fe80::1%eth0")
    assert refused_ip(ipaddress.ip_address("::ffff:169.254.1.1"))
    assert refused_ip("8.8.8.8") == ""
    assert refused_ip("10.0.0.1") == ""
    assert refused_ip("::1") == ""


def test_a_name_is_no_literal() -> None:
    assert literal_ip("api.openai.com") is None
    assert literal_ip("1.2.3") == ipaddress.ip_address("1.2.0.3")
