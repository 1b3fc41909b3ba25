from __future__ import annotations

from pathlib import Path

import pytest

from proxy.assembly.load import Policies, compiled, load, load_text, refuse_own_listener, refuse_without_upstream
from proxy.policy.problems import PolicyError
from tests.assembly.engines import UPSTREAMS

POLICY = "- {name: p, match: {model: gpt-4o}, apply: {rewrite: {model: mini}}}\n"


def of(policies: str, **more: str) -> Policies:
    return load_text(f"version: 1\n{UPSTREAMS}\npolicies:\n{policies}", "p.yaml", {}, **more)


def test_policies_that_are_off_are_not_compiled_and_keep_their_place() -> None:
    loaded = of("- {name: a, mode: off, apply: {refuse: {}}}\n- {name: b, mode: shadow, apply: {refuse: {}}}\n")
    rules = compiled(loaded.loaded)

    assert [(rule.name, rule.place, rule.shadow) for rule in rules] == [("b", 1, True)]


def test_without_a_path_there_are_no_policies_but_an_upstream() -> None:
    loaded = load(None, {}, upstream="https://x/v1")

    assert loaded.rules == ()
    assert loaded.upstreams[loaded.home].address.host == "x"


def test_bypass_leaves_the_upstreams_alone(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(f"version: 1\n{UPSTREAMS}\npolicies:\n{POLICY}")
    loaded = load(file, {}, bypass=True)

    assert loaded.rules == ()
    assert loaded.home == "openai"
    assert len(load(file, {}).rules) == 1


def test_the_flag_gives_home_another_url_and_no_other_upstream() -> None:
    loaded = of(POLICY, upstream="https://flag/base/v1")

    assert [each.address.origin for each in loaded.upstreams.values()] == ["https://flag", "https://b", "https://c"]
    assert loaded.home == "openai"


def test_without_an_upstream_serving_is_refused() -> None:
    with pytest.raises(PolicyError, match="no upstream to send calls to"):
        refuse_without_upstream(load_text(f"version: 1\npolicies:\n{POLICY}", "p.yaml", {}))
    refuse_without_upstream(of(POLICY))


@pytest.mark.parametrize(
    ("url", "host", "refused"),
    [
        ("http://127.0.0.1:4141/v1", "127.0.0.1", True),
        ("http://localhost:4141/v1", "127.0.0.1", True),
        ("http://[::1]:4141/v1", "::", True),
        ("http://127.0.0.1:4141/v1", "0.0.0.0", True),
        ("http://127.1:4141", "0.0.0.0", True),
        ("https://10.0.0.5:4141/v1", "10.0.0.5", True),
        ("http://127.0.0.1:4142/v1", "127.0.0.1", False),
        ("https://10.0.0.5:4141/v1", "127.0.0.1", False),
        ("http://127.0.0.1:4141/v1", "10.0.0.5", False),
    ],
)
def test_an_upstream_that_is_our_own_listener_is_refused(url: str, host: str, refused: bool) -> None:
    policies = load(None, {}, upstream=url)

    if refused:
        with pytest.raises(PolicyError, match="this proxy itself"):
            refuse_own_listener(policies, host, 4141)
    else:
        refuse_own_listener(policies, host, 4141)


def test_the_files_of_secrets_are_known(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("k")
    loaded = load_text(f"{{version: 1, upstreams: {{a: {{url: 'https://a/v1', key: '${{file:{secret}}}'}}}}}}", "p.yaml", {})

    assert secret in loaded.other_files


def test_a_bypass_leaves_models_their_names_too(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("{version: 1, upstreams: {a: {url: 'https://a/v1', models: {gpt-4o: theirs}}}}")

    assert load(file, {}).upstreams["a"].spec.models == {"gpt-4o": "theirs"}
    assert load(file, {}, bypass=True).upstreams["a"].spec.models == {}
