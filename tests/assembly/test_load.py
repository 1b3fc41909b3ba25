from __future__ import annotations

from pathlib import Path

import pytest

from proxy.assembly.load import Policies, compiled, covers, load, load_text, refuse_own_listener, refuse_without_upstream
from proxy.policy.match_spec import MatchSpec
from proxy.policy.problems import PolicyError
from tests.assembly.engines import UPSTREAMS

POLICY = "- {name: p, match: {model: gpt-4o}, apply: {rewrite: {model: mini}}}\n"


def of(policies: str, **more: str) -> Policies:
    return load_text(f"version: 1\n{UPSTREAMS}\npolicies:\n{policies}", "p.yaml", {}, **more)


def covered(first: str, second: str) -> list[str]:
    loaded = of(f"- {{name: first, {first}}}\n- {{name: second, {second}}}\n")
    return [str(warning) for warning in loaded.warnings if "never acts" in str(warning)]


REWRITE = "apply: {rewrite: {model: a}}"


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{}", "{}"),
        ("{}", "{endpoint: chat, stream: true}"),
        ("{endpoint: chat}", "{endpoint: chat, model: x}"),
        ("{endpoint: [chat, responses]}", "{endpoint: chat}"),
        ("{model: [a, b]}", "{model: [b]}"),
        ("{has: [tools, images]}", "{has: images, stream: true}"),
        ("{prompt_tokens: {below: 5}}", "{prompt_tokens: {below: 5}, endpoint: chat}"),
        ("{not: {model: a}}", "{not: {model: a}, stream: true}"),
    ],
)
def test_a_policy_that_can_never_act_is_warned_of(wide: str, narrow: str) -> None:
    (warning,) = covered(f"match: {wide}, {REWRITE}", f"match: {narrow}, {REWRITE}")

    assert "`rewrite.model` never acts: 'first'" in warning


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("{endpoint: chat}", "{}"),
        ("{endpoint: chat}", "{endpoint: [chat, responses]}"),
        ("{model: gpt-4o}", '{model: "gpt-4*"}'),
        ("{stream: true}", "{stream: false}"),
        ("{prompt_tokens: {below: 5}}", "{prompt_tokens: {below: 6}}"),
        ("{keywords: {any_of: [a]}}", "{keywords: {any_of: [a, b]}}"),
        ("{header: {x-a: b}}", "{header: {x-a: c}}"),
        ("{not: {model: a}}", "{model: a}"),
        ("{any: [{model: a}]}", "{model: b}"),
        ("{all: [{model: a}]}", "{all: [{model: b}]}"),
        ("{has: tools}", "{has: [tools, images]}"),
    ],
)
def test_a_policy_that_may_act_is_not_warned_of(wide: str, narrow: str) -> None:
    assert covered(f"match: {wide}, {REWRITE}", f"match: {narrow}, {REWRITE}") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"mode: shadow, {REWRITE}", REWRITE),
        (f"mode: off, {REWRITE}", REWRITE),
        (REWRITE, f"mode: shadow, {REWRITE}"),
        (REWRITE, "apply: {rewrite: {upstream: groq}}"),
        ("apply: {params: {overrides: {a: 1}}}", "apply: {params: {overrides: {b: 1}}}"),
        ("apply: {instruct: {append: a}}", "apply: {instruct: {append: a}}"),
    ],
)
def test_what_does_not_compete_is_not_warned_of(first: str, second: str) -> None:
    assert covered(first, second) == []


def test_only_the_field_that_is_lost_is_warned_of() -> None:
    (warning,) = covered(REWRITE, "apply: {rewrite: {model: b, upstream: groq}}")
    (other,) = covered("apply: {params: {overrides: {a: 1}}}", "apply: {params: {max: {a: 1}, remove: [b]}}")

    assert "`rewrite.model`" in warning
    assert "`params.a`" in other


def test_an_empty_match_covers_all() -> None:
    assert covers(MatchSpec.read({}), MatchSpec.read({"model": ["a"]}))
    assert not covers(MatchSpec.read({"model": ["a"]}), MatchSpec.read({}))


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
