from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from proxy.policy.document import Loaded, load_texts
from proxy.policy.problems import PolicyError
from tests.policy.kinds_for_tests import KINDS

ENV = {"K": "sk-1"}


def loaded(*texts: str, **options: object) -> Loaded:
    named = [(f"{chr(97 + i)}.yaml", f"version: 1\n{text}") for i, text in enumerate(texts)]
    return load_texts(named, KINDS, ENV, **options)  # type: ignore[arg-type]


def problems(*texts: str, **options: object) -> list[str]:
    try:
        return [str(each) for each in loaded(*texts, **options).warnings]
    except PolicyError as error:
        return [str(each) for each in error.problems]


def policies(*applied: str, match: str = "{}") -> str:
    return "policies:\n" + "".join(f"  - {{name: p{i}, match: {match}, apply: {each}}}\n" for i, each in enumerate(applied))


def upstreams(**keys: str) -> str:
    lines = [f"  {name}: {{url: https://{name}.example/v1, key: '{key}'}}\n" for name, key in keys.items()]
    return "upstreams:\n" + "".join(line.replace(", key: ''", "") for line in lines)


@pytest.mark.parametrize(
    ("texts", "home"),
    [
        ([upstreams(a="", b="none")], "a"),
        ([upstreams(b="", a="none")], "b"),
        ([upstreams(a="none", default="")], "default"),
        ([upstreams(a=""), upstreams(b="none", default="")], "default"),
        ([upstreams(b=""), upstreams(a="none")], "b"),
        (["policies: []"], None),
    ],
)
def test_home_is_the_default_or_else_the_first(texts: list[str], home: str | None) -> None:
    got = loaded(*texts)

    assert got.home == home
    assert [name for name, each in got.upstreams.items() if each.callers_credential] == ([home] if home else [])


def test_only_home_may_lack_a_key_and_only_who_sends_there_is_told() -> None:
    two = upstreams(a="", b="")

    assert problems(two, policies("{rewrite: {upstream: a}}")) == [
        "a.yaml:4:3: warning: upstreams.b: no policy sends calls to this upstream"
    ]
    assert problems(two, policies("{rewrite: {upstream: b}}", "{fallback: {upstream: b}}")) == [
        f"b.yaml:{line}: {path}: upstream 'b' (a.yaml:4:3) has no key, and the caller's own goes to home alone; "
        "give it a `key`, or `key: none` where it needs none"
        for line, path in (("3:55", "policies[0].apply.rewrite.upstream"), ("4:56", "policies[1].apply.fallback.upstream"))
    ]
    assert problems(upstreams(a="", b="none"), policies("{rewrite: {upstream: b}}")) == []
    assert problems(upstreams(a="", b="${K}"), policies("{rewrite: {upstream: b}}")) == []


def test_an_identical_repeat_is_allowed_and_another_is_not() -> None:
    text = upstreams(a="") + "signals:\n  s: {stream: true}\nlimits: {exchanges: 3}\n" + policies("{retry: {}}", match="{signals: s}")
    again = upstreams(a="") + "signals:\n  s: {stream: true}\nlimits: {exchanges: 3}\n"

    assert problems(text, again) == []
    assert problems(text, again.replace("a.example", "b.example").replace("true", "false").replace("3", "4")) == [
        "b.yaml:3:3: upstreams.a: already set otherwise at a.yaml:3:3; names are global to a folder",
        "b.yaml:5:3: signals.s: already set otherwise at a.yaml:5:3; names are global to a folder",
        "b.yaml:6:1: limits: already set otherwise at a.yaml:6:1; names are global to a folder",
    ]


def test_limits_of_any_file_count() -> None:
    assert loaded("policies: []", "limits: {exchanges: 9}").limits.exchanges == 9
    assert loaded("policies: []").limits.exchanges == 6


def test_a_policy_name_is_global() -> None:
    assert problems(policies("{retry: {}}"), policies("{retry: {}}")) == [
        "b.yaml:3:12: policies[0].name: the name 'p0' is taken by the policy at a.yaml:3:12"
    ]


def test_names_of_other_files_are_found() -> None:
    text = policies("{rewrite: {upstream: b}}", match="{signals: s}")

    assert problems(text, upstreams(a="", b="none") + "signals:\n  s: {stream: true}\n") == []


def test_what_a_broken_declaration_declares_is_not_called_unknown() -> None:
    broken = "upstreams:\n  a: {url: 5}\nsignals:\n  s: {stream: 5}\n"

    assert problems(policies("{rewrite: {upstream: a}}", match="{signals: s}"), broken) == [
        "b.yaml:3:12: upstreams.a.url: must be text; put it in quotes",
        "b.yaml:5:15: signals.s.stream: must be true or false, got 5",
    ]


@pytest.mark.parametrize(
    ("signals", "says"),
    [
        ("  a: {signals: b}\n  b: {signals: c}\n  c: {any: [{not: {signals: a}}]}\n", "signals go in a circle: a -> b -> c -> a"),
        ("  a: {signals: a}\n", "signals go in a circle: a -> a"),
        ("  a: {signals: b}\n  b: {signals: nope}\n", "unknown signal 'nope'"),
        ("".join(f"  s{i}: {{signals: s{i + 1}}}\n" for i in range(20)) + "  s20: {stream: true}\n", "more than 16 deep"),
    ],
)
def test_signals_that_cannot_be_used_are_told_and_nothing_hangs(signals: str, says: str) -> None:
    name = signals.split(":")[0].strip()
    got = problems("signals:\n" + signals, policies("{retry: {}}", match=f"{{signals: {name}}}"))

    assert len(got) == 1
    assert says in got[0]


def test_a_deep_signal_is_refused_whatever_is_looked_at_first() -> None:
    deep = [f"  s{i:02}: {{signals: s{i + 1:02}}}\n" for i in range(40)] + ["  s40: {stream: true}\n"]
    for order in (deep, deep[::-1]):
        got = problems("signals:\n" + "".join(order) + policies("{retry: {}}", match="{signals: s00}"))

        assert any("more than 16 deep" in each for each in got)


def test_a_signal_that_only_an_unused_signal_uses_is_unused() -> None:
    text = "signals:\n  a: {stream: true}\n  b: {signals: a}\n  c: {signals: [d]}\n  d: {has: tools}\n"

    assert problems(text + policies("{retry: {}}", match="{not: {signals: c}}")) == [
        "a.yaml:3:3: warning: signals.a: no policy uses this signal",
        "a.yaml:4:3: warning: signals.b: no policy uses this signal",
    ]


def test_unused_things_are_not_told_beside_errors() -> None:
    assert problems("signals:\n  a: {stream: true}\n" + policies("{retry: {wait: 1}}")) == [
        "a.yaml:5:49: policies[0].apply.retry.wait: must be a duration such as 200ms, 2s, 1m or 1h, got 1; did you mean '1s'?"
    ]


def test_a_missing_secret_is_an_error_or_a_warning() -> None:
    text = upstreams(a="${NOPE}")

    assert problems(text) == ["a.yaml:3:39: upstreams.a.key: the environment has no NOPE"]
    assert problems(text, no_secrets=True) == ["a.yaml:3:39: warning: upstreams.a.key: the environment has no NOPE"]


def test_a_key_in_the_file_is_a_warning() -> None:
    assert problems(upstreams(a="sk-plain")) == [
        "a.yaml:3:39: warning: upstreams.a.key: the key itself stands in the file; use ${NAME} or ${file:/path}"
    ]


@pytest.mark.parametrize(
    ("text", "home", "origin"),
    [
        ("policies: []", "default", "https://other.example"),
        (upstreams(a="", b="none"), "a", "https://other.example"),
        (upstreams(a="none", default="${K}"), "default", "https://other.example"),
    ],
)
def test_the_flag_gives_home_its_url(text: str, home: str, origin: str) -> None:
    got = loaded(text, upstream="https://other.example/v1")

    assert got.home == home
    assert got.upstreams[home].address.origin == origin
    assert all(each.address.origin != origin for name, each in got.upstreams.items() if name != home)


def test_the_flag_keeps_what_home_says_besides() -> None:
    got = loaded(
        "upstreams:\n  a: {url: http://x:1/v1, allow_insecure: true, key: '${K}', auth: {header: api-key}}\n",
        upstream="http://vllm:8000/v1",
    )

    assert got.upstreams["a"].address.host == "vllm"
    assert got.upstreams["a"].credential is not None
    assert got.upstreams["a"].credential.header == "api-key"


@pytest.mark.parametrize("url", ["", "nonsense", "http://vllm:8000/v1", "https://169.254.169.254/v1", "https://u:p@a/v1"])
def test_a_wrong_flag_is_told(url: str) -> None:
    got = problems("policies: []", upstream=url)

    assert len(got) == 1
    assert got[0].startswith("--upstream: ")


def test_checks_of_the_floors_above_are_heard() -> None:
    from proxy.policy.problems import Problem, Severity

    def warn(folder: Loaded) -> Iterable[Problem]:
        for policy in folder.policies:
            yield policy.problem(("apply", "retry", "wait"), "is long", "shorten it", Severity.WARNING)

    def refuse(folder: Loaded) -> Iterable[Problem]:
        yield folder.policies[0].problem(("mode",), "not so")

    text = policies("{retry: {wait: 9s}}")
    assert problems(text, checks=[warn]) == ["a.yaml:3:49: warning: policies[0].apply.retry.wait: is long; shorten it"]
    assert len(problems(text, checks=[warn, refuse])) == 2


def test_environment_is_read_only_through_what_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLY_IN_THE_PROCESS", "x")
    env: Mapping[str, str] = ENV

    assert "ONLY_IN_THE_PROCESS" not in env
    assert problems(upstreams(a="${ONLY_IN_THE_PROCESS}"))[0].endswith("the environment has no ONLY_IN_THE_PROCESS")
