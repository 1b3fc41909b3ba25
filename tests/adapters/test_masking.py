from __future__ import annotations

import pytest

from proxy.adapters.masking import masked, masked_query


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"authorization", b"Bearer sk-1", b"Bearer ***"),
        (b"Authorization", b"sk-1 and more", b"***"),
        (b"PROXY-AUTHORIZATION", b"Basic eDp5", b"Basic ***"),
        (b"x-my-api-key", b"sk 1", b"***"),
        (b"x-" + b"long-" * 50 + b"key", b"sk-1", b"***"),
        (b"x-api-key", b"bearer sk-1", b"bearer ***"),
        (b"X-Auth-Token", b"", b"***"),
        (b"Cookie", b"a=b; c=d", b"***"),
        (b"OpenAI-Organization", b"org-1", b"***"),
        (b"Idempotency-Key", b"k-1", b"k-1"),
        (b"X-Session-Id", b"s-1", b"s-1"),
        (b"User-Agent", b"x", b"x"),
    ],
)
def test_a_credential_is_masked_by_its_headers_name(name: bytes, value: bytes, shown: bytes) -> None:
    sent = [(b"Host", b"a"), (name, value)]

    assert masked(sent) == [(b"Host", b"a"), (name, shown)]
    assert sent == [(b"Host", b"a"), (name, value)]


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/v1/x", b"/v1/x"),
        (b"/v1/x?", b"/v1/x?"),
        (b"/v1/x?key", b"/v1/x?key"),
        (b"/v1/x?a=1&key=s=k&&b", b"/v1/x?a=***&key=***&&b"),
        (b"*", b"*"),
    ],
)
def test_the_values_of_a_query_are_masked(target: bytes, shown: bytes) -> None:
    assert masked_query(target) == shown
