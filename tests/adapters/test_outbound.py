from __future__ import annotations

import itertools

import pytest

from proxy.adapters.outbound import Outbound, without
from proxy.core.body import Headers

CANARY = b"canary-%d"
CREDENTIAL_NAMES = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")
IDENTITY_NAMES = (b"cookie", b"OpenAI-Organization", b"OpenAI-Project")
TRACE_NAMES = (b"traceparent", b"tracestate", b"baggage")
ALLOWED_NAMES = (
    b"user-agent",
    b"idempotency-key",
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"content-type",
    b"content-encoding",
    b"x-stainless-lang",
    b"x-stainless-retry-count",
)
OTHER_NAMES = (b"x-team", b"x-forwarded-for", b"openai-beta", b"proxy-authorization", b"acceptance-token", b"forwarded")
ALL_NAMES = CREDENTIAL_NAMES + IDENTITY_NAMES + TRACE_NAMES + ALLOWED_NAMES + OTHER_NAMES

KEY = (b"Authorization", b"Bearer ours")
AZURE = (b"api-key", b"ours")

SPELLINGS = (bytes.lower, bytes.upper, bytes.title)


def said(spelling: int = 0) -> Headers:
    """Every name, twice, each value a canary of its own."""
    numbers = itertools.count()
    return [(SPELLINGS[spelling](name), CANARY % next(numbers)) for _ in (1, 2) for name in ALL_NAMES]


def names(headers: Headers) -> list[bytes]:
    return [name.lower() for name, _ in headers]


def canaries(headers: Headers) -> dict[bytes, int]:
    """How often the app's own value of each name is there."""
    found: dict[bytes, int] = {}
    for name, value in headers:
        if value.startswith(b"canary"):
            found[name.lower()] = found.get(name.lower(), 0) + 1
    return found


# Home


def test_home_without_settings_hears_what_the_app_said() -> None:
    headers = said()

    assert Outbound(home=True).headers(headers) is headers
    assert Outbound(home=True, base=b"/openai/v1", query=((b"api-version", b"1"),)).headers(headers) is headers


@pytest.mark.parametrize("spelling", [0, 1, 2])
@pytest.mark.parametrize("credential", [KEY, AZURE])
def test_home_with_a_key_of_its_own_gets_that_one_alone(credential: tuple[bytes, bytes], spelling: int) -> None:
    sent = Outbound(home=True, credential=credential).headers(said(spelling))

    assert [pair for pair in sent if pair[0].lower() in CREDENTIAL_NAMES] == [credential]
    assert set(canaries(sent)) == {name.lower() for name in ALL_NAMES} - set(CREDENTIAL_NAMES)
    assert set(canaries(sent).values()) == {2}


@pytest.mark.parametrize("spelling", [0, 1, 2])
def test_home_with_key_none_gets_no_credential(spelling: int) -> None:
    sent = Outbound(home=True, drops_credential=True).headers(said(spelling))

    assert not set(names(sent)) & set(CREDENTIAL_NAMES)
    assert {b"cookie", b"x-team", b"openai-organization"} <= set(names(sent))


def test_what_home_is_told_to_set_takes_the_place_of_the_apps_in_any_spelling() -> None:
    out = Outbound(home=True, set_headers=((b"X-Team", b"ours"), (b"OpenAI-Organization", b"org-ours")))
    sent = out.headers([(b"x-TEAM", b"canary"), (b"Host", b"h"), (b"openai-organization", b"canary"), (b"X-Team", b"canary")])

    assert sent == [(b"Host", b"h"), (b"X-Team", b"ours"), (b"OpenAI-Organization", b"org-ours")]


def test_home_keeps_order_and_repeats_of_what_it_lets_through() -> None:
    headers: Headers = [(b"b", b"1"), (b"A", b"2"), (b"Authorization", b"canary"), (b"b", b"3"), (b"A", b"")]

    assert Outbound(home=True, credential=AZURE).headers(headers) == [(b"b", b"1"), (b"A", b"2"), (b"b", b"3"), (b"A", b""), AZURE]


# Another upstream


@pytest.mark.parametrize("spelling", [0, 1, 2])
@pytest.mark.parametrize("credential", [None, KEY, AZURE])
def test_another_upstream_hears_the_allow_list_alone(credential: tuple[bytes, bytes] | None, spelling: int) -> None:
    sent = Outbound(home=False, credential=credential).headers(said(spelling))

    assert set(canaries(sent)) == set(ALLOWED_NAMES)
    assert [pair for pair in sent if not pair[1].startswith(b"canary")] == ([credential] if credential else [])


def test_keep_lets_a_named_header_through_in_any_spelling() -> None:
    out = Outbound(home=False, keep=frozenset((b"x-team",)))

    assert out.headers([(b"X-TEAM", b"1"), (b"x-other", b"2"), (b"x-team", b"3")]) == [(b"X-TEAM", b"1"), (b"x-team", b"3")]


@pytest.mark.parametrize("spelling", [0, 1, 2])
def test_no_keep_lets_a_credential_or_a_trace_through(spelling: int) -> None:
    everything = frozenset(name.lower() for name in ALL_NAMES)
    sent = Outbound(home=False, keep=everything).headers(said(spelling))

    assert not set(names(sent)) & {name.lower() for name in CREDENTIAL_NAMES + IDENTITY_NAMES + TRACE_NAMES}
    assert b"x-team" in names(sent)


def test_set_is_sent_to_another_upstream_once_and_over_the_apps() -> None:
    out = Outbound(home=False, credential=KEY, set_headers=((b"User-Agent", b"ours"), (b"cookie", b"ours")), keep=frozenset((b"cookie",)))
    sent = out.headers([(b"user-agent", b"canary"), (b"Cookie", b"canary"), (b"Accept", b"*/*")])

    assert sent == [(b"Accept", b"*/*"), KEY, (b"User-Agent", b"ours"), (b"cookie", b"ours")]


@pytest.mark.parametrize("name", [b"acceptance-token", b"accepted-by", b"contentious", b"x-stainless"])
def test_a_name_that_only_begins_like_an_allowed_one_stays_here(name: bytes) -> None:
    assert Outbound(home=False).headers([(name, b"canary")]) == []


# Traces


@pytest.mark.parametrize("credential", [None, KEY])
def test_the_apps_trace_goes_home_as_it_came(credential: tuple[bytes, bytes] | None) -> None:
    headers: Headers = [(b"TraceParent", b"00-app"), (b"tracestate", b"a=b"), (b"baggage", b"c=d")]

    assert Outbound(home=True, credential=credential).headers(headers, b"00-ours")[:3] == headers


@pytest.mark.parametrize("home", [True, False])
def test_with_trace_the_exchanges_own_is_sent_instead(home: bool) -> None:
    headers: Headers = [(b"TraceParent", b"00-app"), (b"tracestate", b"a=b"), (b"baggage", b"c=d"), (b"Accept", b"*/*")]

    assert Outbound(home=home, trace=True).headers(headers, b"00-ours") == [(b"Accept", b"*/*"), (b"traceparent", b"00-ours")]


def test_with_trace_and_nothing_to_tell_home_still_gets_the_apps() -> None:
    headers: Headers = [(b"traceparent", b"00-app"), (b"tracestate", b"a=b")]

    assert Outbound(home=True, trace=True).headers(headers, None) == headers
    assert Outbound(home=False, trace=True).headers(headers, None) == []


# Trailers


def test_trailers_are_held_to_the_rules_of_headers() -> None:
    trailers: Headers = [(b"Api-Key", b"canary"), (b"Cookie", b"canary"), (b"Content-Digest", b"d"), (b"x-sum", b"1")]

    assert Outbound(home=True).trailers(trailers) == trailers
    assert Outbound(home=True, credential=KEY).trailers(trailers) == trailers[1:]
    assert Outbound(home=False, credential=KEY).trailers(trailers) == [(b"Content-Digest", b"d")]
    assert Outbound(home=False, keep=frozenset((b"x-sum",))).trailers(trailers) == trailers[2:]


# Targets

AS_IT_CAME = (
    b"/v1/chat/completions",
    b"/v1/chat/completions?",
    b"/v1",
    b"/v1?a=1",
    b"/v1/",
    b"/",
    b"*",
    b"//v1/models",
    b"/v1x/models",
    b"/%76%31/models",
    b"/v1%2Fmodels",
    b"/V1/models",
    b"/v1/a/../b//c?x=%41&x=&&y=[]?",
    b"/v2/models",
    b"/v1/files/a%2Fb",
)


@pytest.mark.parametrize("target", AS_IT_CAME)
def test_home_without_a_path_changes_no_target(target: bytes) -> None:
    assert Outbound(home=True).target(target) is target


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"/v1/chat/completions", b"/openai/v1/chat/completions"),
        (b"/v1/chat/completions?", b"/openai/v1/chat/completions?"),
        (b"/v1/chat/completions?b=2&a=1&&b=%32", b"/openai/v1/chat/completions?b=2&a=1&&b=%32"),
        (b"/v1/files/a%2Fb//c/../d", b"/openai/v1/files/a%2Fb//c/../d"),
        (b"/v1", b"/openai/v1"),
        (b"/v1/", b"/openai/v1/"),
        (b"/v1?x", b"/openai/v1?x"),
        (b"/v1/v1/models", b"/openai/v1/v1/models"),
        (b"//v1/models", b"//v1/models"),
        (b"/v1x/models", b"/v1x/models"),
        (b"/V1/models", b"/V1/models"),
        (b"/%76%31/models", b"/%76%31/models"),
        (b"/v1%2Fmodels", b"/v1%2Fmodels"),
        (b"/base/v1/models", b"/base/v1/models"),
        (b"/", b"/"),
        (b"/?v1", b"/?v1"),
        (b"*", b"*"),
    ],
)
def test_the_path_of_home_stands_for_exactly_v1(target: bytes, sent: bytes) -> None:
    assert Outbound(home=True, base=b"/openai/v1").target(target) == sent


def test_a_base_that_is_v1_itself_changes_nothing() -> None:
    assert Outbound(home=True, base=b"/v1").target(b"/v1/models?a=b") == b"/v1/models?a=b"


@pytest.mark.parametrize("base", [None, b"/openai/v1"])
def test_no_query_of_the_app_follows_to_another_upstream(base: bytes | None) -> None:
    path = b"/v1" if base is None else base

    assert Outbound(home=False, base=base).target(b"/v1/models?api-key=canary") == path + b"/models"
    assert Outbound(home=False, base=base).target(b"/v1/models?") == path + b"/models"
    assert Outbound(home=False, base=base, query=((b"v", b"1"),)).target(b"/v1/models?api-key=canary") == path + b"/models?v=1"


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"/v1/models", b"/v1/models?api-version=2024&x=%20y"),
        (b"/v1/models?", b"/v1/models?api-version=2024&x=%20y"),
        (b"/v1/models?b=2&a=1", b"/v1/models?b=2&a=1&api-version=2024&x=%20y"),
        (b"/v1/models?b&&a=1&", b"/v1/models?b&&a=1&&api-version=2024&x=%20y"),
        (b"/v1/models?api-version=1&a=1&x", b"/v1/models?a=1&api-version=2024&x=%20y"),
        (b"/v1/models?api%2Dversion=1&%78=2&a=%41", b"/v1/models?a=%41&api-version=2024&x=%20y"),
        (b"/v1/models?api-version=1&api-version=2", b"/v1/models?api-version=2024&x=%20y"),
        (b"/v1/models?API-Version=1", b"/v1/models?API-Version=1&api-version=2024&x=%20y"),
        (b"/v1/models?a=api-version=1", b"/v1/models?a=api-version=1&api-version=2024&x=%20y"),
        (b"/elsewhere?a", b"/elsewhere?a&api-version=2024&x=%20y"),
        (b"*", b"*"),
    ],
)
def test_the_query_of_the_settings_replaces_the_apps_of_that_name(target: bytes, sent: bytes) -> None:
    assert Outbound(home=True, query=((b"api-version", b"2024"), (b"x", b"%20y"))).target(target) == sent


def test_without_leaves_out_names_in_any_spelling() -> None:
    assert without([(b"Content-MD5", b"1"), (b"A", b"2"), (b"a", b"3")], frozenset((b"content-md5",))) == [(b"A", b"2"), (b"a", b"3")]
