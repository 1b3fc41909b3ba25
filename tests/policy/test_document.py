"""Files and folders: what is read, in which order, and that one bad file refuses all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.policy.document import Loaded, load, load_text, policy_files
from proxy.policy.problems import PolicyError
from tests.policy.kinds_for_tests import KINDS, RetrySpec, RewriteSpec
from tests.policy.test_facts import facts, user

GOOD = "version: 1\npolicies:\n  - {{name: {name}, apply: {{retry: {{}}}}}}\n"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def problems(path: Path | str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(path, KINDS, {})
    return [str(problem).replace(f"{path}", "PATH") for problem in caught.value.problems]


def test_a_folder_is_read_flat_in_name_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "C.yaml"):
        (tmp_path / name).write_text(GOOD.format(name=name[0]))
    for name in ("a.test.yaml", "a.test.yml", ".hidden.yaml", "notes.txt", "x.json", "yaml", "d.yaml.bak", "E.YAML"):
        (tmp_path / name).write_text("not: [policies")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.yaml").write_text("not: [policies")
    (tmp_path / "folder.yaml").mkdir()
    got = load(tmp_path, KINDS, {})

    assert [policy.name for policy in got.policies] == ["C", "a", "b"]
    assert [os.path.basename(file) for file in got.files] == ["C.yaml", "a.yml", "b.yaml"]
    assert policy_files(tmp_path) == list(got.files)


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    (data / "p.yaml").write_text(GOOD.format(name="p"))
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "p.yaml").symlink_to("..data/p.yaml")

    assert [policy.name for policy in load(tmp_path, KINDS, {}).policies] == ["p"]


def test_a_single_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "policy.conf").write_text(GOOD.format(name="p"))

    assert load(tmp_path / "policy.conf", KINDS, {}).policies[0].name == "p"


def test_a_folder_without_policies_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, a__test__yaml="x: 1")

    assert problems(tmp_path) == [
        "PATH: there is no policy file in this folder; policies are *.yaml or *.yml; *.test.yaml are tests, "
        "and names with a leading dot are skipped"
    ]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere") == ["PATH: cannot be read: No such file or directory"]
    assert "cannot be read" in problems("a\0b")[0]


def test_a_file_that_vanishes_or_is_none_is_an_error_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "b.yaml")
    write(tmp_path, c__yaml="version: 2\n")

    assert problems(tmp_path) == [
        "PATH/a.yaml: cannot be read: No such file or directory",
        "PATH/b.yaml: is not a regular file",
        "PATH/c.yaml:1:10: version: must be 1, the only version that this program reads, got 2",
    ]


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(10 * 1024 * 1024)

    assert problems(tmp_path) == ["PATH/a.yaml:1:1: larger than 1 MiB; split it into several files"]


def test_one_bad_file_refuses_the_folder_and_all_problems_of_all_files_are_told(tmp_path: Path) -> None:
    write(tmp_path, a__yaml=GOOD.format(name="p"), b__yaml="version: 1\npolicies: 5\n", c__yaml="a: [\n", d__yaml=GOOD.format(name="p"))

    assert problems(tmp_path) == [
        "PATH/b.yaml:2:11: policies: must be a list, got 5",
        "PATH/c.yaml:2:1: not valid YAML: did not find expected node content (while parsing a flow node)",
        f"PATH/d.yaml:3:12: policies[0].name: the name 'p' is taken by the policy at {'PATH'}/a.yaml:3:12",
    ]


def test_the_revision_changes_with_any_byte_and_not_with_the_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        write(folder, a__yaml=GOOD.format(name="p"), b__yaml=GOOD.format(name="q"))
    first = load(one, KINDS, {}).revision

    assert load(other, KINDS, {}).revision == first
    write(other, b__yaml=GOOD.format(name="q") + "#\n")
    assert load(other, KINDS, {}).revision != first
    (one / "b.yaml").rename(one / "c.yaml")
    assert load(one, KINDS, {}).revision != first


EXAMPLE = """\
version: 1
upstreams:
  openai:
    url: https://api.openai.com/v1
  groq:
    url: https://api.groq.com/openai/v1
    key: ${GROQ_API_KEY}
signals:
  legal: {keywords: {any_of: [contract, lawsuit, liability]}}
policies:
  - name: short-prompts-go-small
    labels: {team: platform}
    match:
      endpoint: chat
      model: [gpt-4o, "gpt-4.1*"]
      not: {signals: [legal]}
    apply:
      rewrite: {model: gpt-4o-mini, upstream: groq}
  - name: resilient
    mode: shadow
    apply:
      retry: {max_attempts: 2, wait: 200ms}
"""


def example() -> Loaded:
    return load_text(EXAMPLE, "example.yaml", KINDS, {"GROQ_API_KEY": "gsk-1"})


def test_a_policy_has_all_that_a_pipeline_is_made_of() -> None:
    got = example()
    first, second = got.policies

    assert (first.name, first.mode, first.labels, first.apply) == (
        "short-prompts-go-small",
        "enforce",
        {"team": "platform"},
        {"rewrite": RewriteSpec(model="gpt-4o-mini", upstream="groq")},
    )
    assert (second.mode, second.apply) == ("shadow", {"retry": RetrySpec.read({"max_attempts": 2, "wait": "200ms"})})
    assert list(got.signals) == ["legal"]
    assert got.warnings == ()
    assert str(first.place("apply", "rewrite", "model")) == "example.yaml:18:24"


def test_its_conditions_decide() -> None:
    first, second = example().policies

    def ask(model: str, text: str) -> tuple[bool | None, bool | None]:
        seen = facts({"model": model, "messages": user(text)})
        return first.condition.test(seen), second.condition.test(seen)

    assert ask("gpt-4.1-nano", "a poem") == (True, True)
    assert ask("gpt-4.1-nano", "a Contract!") == (False, True)
    assert ask("o3", "a poem") == (False, True)


def test_nothing_loaded_prints_a_secret() -> None:
    text = EXAMPLE.replace("${GROQ_API_KEY}", "gsk-plain")

    assert "gsk-1" not in repr(example())
    assert "gsk-plain" not in repr(load_text(text, "p.yaml", KINDS, {}))


def test_an_inline_policy_may_be_json() -> None:
    assert load_text('{"version": 1, "policies": [{"name": "p", "apply": {"retry": {}}}]}', "inline", KINDS, {}).policies[0].name == "p"


def test_anchors_and_merges_are_ordinary_yaml() -> None:
    text = (
        "version: 1\nupstreams:\n  a: &a {url: https://a/v1, key: none}\n  b: {<<: *a, url: https://b/v1}\n"
        "policies:\n"
        "  - {name: p, match: &m {endpoint: chat}, apply: {rewrite: {upstream: b}}}\n"
        "  - {name: q, match: *m, apply: {retry: {}}}\n"
    )
    got = load_text(text, "p.yaml", KINDS, {})

    assert got.upstreams["b"].spec.key == "none"
    assert got.policies[0].match == got.policies[1].match


def test_a_file_name_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.yaml", "wb") as file:
        file.write(b"version: 2\n")

    assert problems(tmp_path)[0].encode() == b"PATH/caf\\xe9.yaml:1:10: version: must be 1, the only version that this program reads, got 2"


def test_a_file_without_permission_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, a__yaml=GOOD.format(name="p"))
    (tmp_path / "a.yaml").chmod(0)
    if os.access(tmp_path / "a.yaml", os.R_OK):
        pytest.skip("this user may read every file")

    assert problems(tmp_path) == ["PATH/a.yaml: cannot be read: Permission denied"]
