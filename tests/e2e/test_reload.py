"""Policies follow their files while the process serves: edits, renames, a ConfigMap's swap, rotated keys, and mistakes."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import calls
from tests.e2e.calls import CHAT, body, get, metric, open_call, post, release, until
from tests.e2e.processes import Running, serving
from tests.e2e.sdk.upstream import ScriptedUpstream
from tests.e2e.sdk.wording import KEY

OTHER = "version: 1\npolicies:\n  - {name: other, match: {model: never}, apply: {rewrite: {model: other}}}\n"
names = (f"model-{number}" for number in itertools.count())


def rewriting(model: str) -> str:
    return f"version: 1\npolicies:\n  - name: p\n    match: {{endpoint: chat, model: gpt-4o}}\n    apply: {{rewrite: {{model: {model}}}}}\n"


def moving(upstream: ScriptedUpstream, key: Path, model: str) -> str:
    home = f"upstreams:\n  default: {{url: '{upstream.url}'}}\n"
    far = f"  far: {{url: '{upstream.url}', key: '${{file:{key}}}', headers: {{keep: [x-play]}}}}\n"
    rule = "policies:\n  - {name: far, match: {model: %s}, apply: {rewrite: {upstream: far}}}\n"
    return f"version: 1\n{home}{far}{rule % model}"


@dataclass(frozen=True)
class Served:
    """A process with its folder, its key file and the upstream behind."""

    running: Running
    folder: Path
    key: Path
    upstream: ScriptedUpstream

    def model(self) -> str:
        """The model that the policies choose now."""
        return str(post(self.running.port).ours["x-chassis-model"])

    def told(self) -> Any:
        return get(self.running.admin_port, "/policies").json

    def choose(self, model: str, how: str = "write") -> None:
        """Edits the policies as an editor does, and waits until they are in force."""
        before = self.told()["generation"]
        if how == "rename":
            (self.folder / "p.yaml.swp").write_text(rewriting(model))
            os.replace(self.folder / "p.yaml.swp", self.folder / "p.yaml")
        else:
            (self.folder / "p.yaml").write_text(rewriting(model))
        if how == "HUP":
            self.running.process.send_signal(signal.SIGHUP)
        until(lambda: self.told()["generation"] > before and self.model() == model, f"{model} is in force")

    def refuse(self, failures: float, why: str) -> Any:
        """Waits for more refusals than `failures`, and gives what is told of it."""
        until(lambda: metric(self.running, "chassis_reload_failures_total") > failures, why)
        return self.told()["last_error"]["problems"]


def refusals(running: Running) -> list[dict[str, Any]]:
    """The lines that tell of refused edits."""
    return [line for line in calls.lines(running) if line.get("message", "").startswith("policies: refused")]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with calls.upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, key = tmp_path_factory.mktemp("policies"), tmp_path_factory.mktemp("keys") / "far"
    key.write_text(KEY + "\n")
    (folder / "far.yaml").write_text(moving(upstream, key, "far"))
    (folder / "other.yaml").write_text(OTHER)
    (folder / "p.yaml").write_text(rewriting(next(names)))
    with serving(folder, upstream.url) as running:
        yield Served(running, folder, key, upstream)
        assert "Traceback" not in running.logged()


@pytest.mark.parametrize("how", ["write", "rename", "HUP"])
def test_an_edit_is_in_force_for_the_next_call(how: str, served: Served) -> None:
    name = next(names)
    revision = served.told()["revision"]
    served.choose(name, how)

    assert served.model() == name
    assert served.told()["revision"] != revision
    assert served.told()["last_error"] is None
    until(lambda: f"policies: revision {served.told()['revision']} is in force" in served.running.logged(), "it is logged")


def test_a_wrong_edit_is_refused_whole_and_what_runs_stays(served: Served) -> None:
    name = next(names)
    served.choose(name)
    told, failures = served.told(), metric(served.running, "chassis_reload_failures_total")
    (served.folder / "other.yaml").write_text(OTHER.replace("rewrite", "rewrit"))
    (served.folder / "p.yaml").write_text(rewriting(next(names)))
    (problem,) = served.refuse(failures, "the edit is refused")
    still = served.model()
    after = served.told()
    (served.folder / "other.yaml").write_text(OTHER)
    mended = next(names)
    served.choose(mended)

    assert still == name
    assert (problem["file"], problem["line"], problem["hint"]) == (str(served.folder / "other.yaml"), 3, "did you mean 'rewrite'?")
    assert (after["generation"], after["revision"]) == (told["generation"], told["revision"])
    until(lambda: refusals(served.running), "it is logged")
    assert refusals(served.running)[0]["level"] == "error"
    assert f"{served.folder}/other.yaml:3:" in refusals(served.running)[0]["message"]
    assert served.model() == mended
    assert served.told()["last_error"] is None


def test_an_emptied_folder_is_refused_too(served: Served) -> None:
    name = next(names)
    served.choose(name)
    failures = metric(served.running, "chassis_reload_failures_total")
    texts = {path: path.read_text() for path in served.folder.glob("*.yaml")}
    for path in texts:
        path.unlink()
    served.running.process.send_signal(signal.SIGHUP)
    problems = served.refuse(failures, "the empty folder is refused")
    still = served.model()
    for path, text in texts.items():
        path.write_text(text)
    served.running.process.send_signal(signal.SIGHUP)
    until(lambda: served.told()["last_error"] is None, "it is whole again")

    assert still == name
    assert "no policy file" in problems[0]["message"]


def test_a_call_keeps_the_policies_that_it_started_with(served: Served) -> None:
    first, second = next(names), next(names)
    served.choose(first)
    served.upstream.forget()
    data = body("x" * 100)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", served.running.port), 10) as slow:
        slow.sendall(f"{head}Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:50])
        until(lambda: metric(served.running, "chassis_calls_in_flight") == 1, "it is in flight")
        served.choose(second)
        slow.sendall(data[50:])
        reply = b""
        while more := slow.recv(65536):
            reply += more
    after = served.model()

    assert f"x-chassis-model: {first}\r\n".encode() in reply
    assert after == second


def test_a_stream_outlives_the_upstream_that_it_comes_from(served: Served) -> None:
    connection = open_call(served.running.port, body(model="far", stream=True), x_play="lockstep 2")
    stream = connection.getresponse()
    (served.folder / "far.yaml").unlink()
    served.choose(next(names))
    gone = post(served.running.port, body(model="far"))
    release(served.upstream)
    rest = stream.read()
    connection.close()
    (served.folder / "far.yaml").write_text(moving(served.upstream, served.key, "far"))
    served.choose(next(names))
    back = post(served.running.port, body(model="far"))

    assert stream.headers["x-chassis-upstream"] == "far"
    assert rest.endswith(b"data: [DONE]\n\n")
    assert gone.ours == {}
    assert back.ours["x-chassis-upstream"] == "far"


def test_a_rotated_key_is_used_and_never_told(served: Served) -> None:
    before = served.told()["generation"]
    rotated = "sk-rotated-4711"
    served.key.write_text(rotated)
    until(lambda: served.told()["generation"] > before, "the key is read again")
    served.upstream.forget()
    refused = post(served.running.port, body(model="far"))
    (arrival,) = served.upstream.take()
    served.key.write_text(KEY)
    until(lambda: served.told()["generation"] > before + 1, "the old key is back")
    works = post(served.running.port, body(model="far"), authorization="Bearer sk-of-the-app")

    assert arrival.header("authorization") == f"Bearer {rotated}"
    assert (refused.status, works.status) == (401, 200)
    assert rotated not in served.running.logged() + get(served.running.admin_port, "/policies").body.decode()
    assert "sk-of-the-app" not in served.running.logged()


def test_a_config_map_is_followed_through_its_swap(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """As the kubelet does it: files are links into `..data`, which is a link that is replaced."""

    def project(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")

    first, second, third = next(names), next(names), next(names)
    project("..2026_01", rewriting(first))
    (tmp_path / "p.yaml").symlink_to("..data/p.yaml")
    with serving(tmp_path, upstream.url) as running:
        served = Served(running, tmp_path, tmp_path, upstream)
        files = served.told()["files"]
        models = [served.model()]
        project("..2026_02", rewriting(second))
        until(lambda: served.told()["generation"] == 2, "the swap is seen")
        models.append(served.model())
        project("..2026_03", rewriting(third).replace("apply", "aply"))
        problems = served.refuse(0, "the wrong one is refused")
        models.append(served.model())
        project("..2026_04", rewriting(third))
        until(lambda: served.told()["generation"] == 3, "the mended one is taken")
        models.append(served.model())

    assert files == [str(tmp_path / "p.yaml")]
    assert models == [first, second, second, third]
    assert "did you mean 'apply'?" in {problem["hint"] for problem in problems}
