from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.policy.shape import unfold
from proxy.policy.upstreams import Resolver, Upstream, UpstreamSpec, is_plain_key

ENV = {"K": "sk-1", "ORG": "acme", "PW": "hunter2"}


def spec(**fields: Any) -> UpstreamSpec:
    return UpstreamSpec.read(unfold(UpstreamSpec, {"url": "https://a.example/v1", **fields})[0])


def resolved(is_home: bool = False, **fields: Any) -> Upstream:
    resolver = Resolver(ENV)
    upstream = resolver.resolve("a", spec(**fields), Path(), is_home)
    assert resolver.missing == []
    assert resolver.wrong == []
    return upstream


def test_a_key_is_a_bearer_by_default() -> None:
    credential = resolved(key="${K}").credential

    assert credential is not None
    assert (credential.header, credential.line) == ("Authorization", "Bearer sk-1")


def test_a_key_may_stand_alone_in_a_header_of_its_own() -> None:
    credential = resolved(key="${K}", auth={"header": "api-key"}).credential

    assert credential is not None
    assert (credential.header, credential.line) == ("api-key", "sk-1")


@pytest.mark.parametrize("fields", [{"key": "none"}, {"key": "${K}", "auth": "none"}, {}])
def test_no_credential_is_sent_where_there_is_none(fields: dict[str, Any]) -> None:
    assert resolved(**fields).credential is None


@pytest.mark.parametrize(
    ("is_home", "fields", "callers"),
    [
        (True, {}, True),
        (True, {"key": "none"}, False),
        (True, {"key": "${K}"}, False),
        (True, {"auth": "none"}, False),
        (False, {}, False),
        (False, {"key": "none"}, False),
    ],
)
def test_the_callers_credential_goes_to_home_without_a_key_and_nowhere_else(is_home: bool, fields: dict[str, Any], callers: bool) -> None:
    assert resolved(is_home, **fields).callers_credential is callers


def test_headers_query_and_proxy_are_resolved() -> None:
    upstream = resolved(
        headers={"set": {"x-org": "org ${ORG}"}, "keep": "x-request-id"},
        query={"api-version": "2025-01-01"},
        proxy="http://me:${PW}@proxy:3128",
    )

    assert [(name, secret.value) for name, secret in upstream.headers] == [("x-org", "org acme")]
    assert [(name, secret.value) for name, secret in upstream.query] == [("api-version", "2025-01-01")]
    assert upstream.spec.headers.keep == ("x-request-id",)
    assert upstream.proxy is not None
    assert upstream.proxy.value == "http://me:hunter2@proxy:3128"
    assert len(upstream.secrets) == 3


def test_no_secret_is_in_the_text_of_an_upstream() -> None:
    upstream = resolved(key="${K}", headers={"set": {"x-org": "${ORG}"}}, proxy="http://me:${PW}@proxy:3128")
    plain = resolved(key="sk-plain", headers={"set": {"x-org": "plain-org"}}, query={"k": "plain-query"})

    for secret in ("sk-1", "acme", "hunter2", "sk-plain", "plain-org", "plain-query"):
        assert secret not in repr(upstream) + repr(plain) + str(plain.spec)


def test_what_is_missing_is_collected_and_stands_in_empty() -> None:
    resolver = Resolver({})
    upstream = resolver.resolve("a", spec(key="${K}", query={"q": "${Q}"}, tls={"ca": "nowhere.pem"}), Path("/nowhere"), False)

    assert [path for path, _ in resolver.missing] == [("key",), ("query", "q"), ("tls", "ca")]
    assert upstream.credential is not None
    assert upstream.credential.secret.value == ""


def test_tls_files_are_found_beside_the_policy_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    resolver = Resolver({})
    upstream = resolver.resolve("a", spec(key="none", tls={"ca": "ca.pem", "server_name": "b"}), tmp_path, False)

    assert upstream.ca == tmp_path / "ca.pem"
    assert resolver.missing == []


@pytest.mark.parametrize(
    "proxy", ["${BAD}", "socks5://proxy:1", "http://169.254.169.254:1", "http://user:${PW}@metadata.google.internal:80", "proxy:3128"]
)
def test_a_proxy_that_is_none_is_told_without_its_value(proxy: str) -> None:
    resolver = Resolver({**ENV, "BAD": "hunter2 proxy"})
    resolver.resolve("a", spec(proxy=proxy), Path(), False)

    assert [path for path, _, _ in resolver.wrong] == [("proxy",)]
    assert "hunter2" not in str(resolver.wrong)


def test_plain_http_is_for_this_machine_or_for_who_says_so() -> None:
    assert spec(url="http://127.0.0.1:8000/v1")
    assert spec(url="http://vllm:8000/v1", allow_insecure=True)
    with pytest.raises(ValidationError, match="in clear"):
        spec(url="http://vllm:8000/v1")


@pytest.mark.parametrize(
    "name", ["authorization", "Authorization", "cookie", "api-key", "X-API-Key", "OpenAI-Organization", "proxy-authorization"]
)
def test_no_credential_of_the_caller_may_be_kept(name: str) -> None:
    with pytest.raises(ValidationError, match="never follows"):
        spec(headers={"keep": name})


@pytest.mark.parametrize("name", ["Host", "Content-Length", "transfer-encoding", "Connection", "x y", "x:y", "", "é", "x\r\ny"])
def test_headers_of_the_transport_and_no_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        spec(headers={"set": {name: "a"}})


def test_a_key_that_stands_in_the_file_is_known() -> None:
    assert is_plain_key(spec(key="sk-plain"))
    assert not any(map(is_plain_key, (spec(key="${K}"), spec(key="none"), spec())))
