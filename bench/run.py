"""run -- a whole bench: upstream and subjects up, each checked, then round after round every scenario visits every subject.

One core for the subjects (only one of them works at a time), the other for the load generator, the upstream and this process.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import payloads, provision
from bench.measure import VISITS, Rig, Row, Subject
from bench.peers import PEERS, Peer, Place
from bench.processes import Failed, Running, free_port
from bench.report import Round
from bench.scenarios import Scenario

REPEATS = 2
DISTURBED = 8.0                                 # percent of both cores that other programs may take before a visit is repeated
LOG_KEPT = 16 << 20
Say = Callable[[str], None]
REWRITTEN = {"1k": "gpt-4o-mini", "1k-stream": "gpt-4o-mini", "32k": "gpt-4.1-mini", "50m": "gpt-4o-mini"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do."""

    scenarios: tuple[Scenario, ...]
    subjects: frozenset[str]
    rounds: int
    seconds: float
    spare_s: float                              # for repeating visits that other programs disturbed
    chassis: Path
    cores: tuple[int, int]                      # of the subjects; of all else


def send(port: int, body: bytes, bench: str) -> tuple[int, bytes]:
    """One chat call: (status, body of the answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"content-type": "application/json", "authorization": "Bearer sk-bench", "x-bench": bench}
        connection.request("POST", "/v1/chat/completions", body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def check(peer: Peer, port: int, body_name: str, body: bytes) -> None:
    """That the subject does its work: the upstream got the right bytes. Raises Failed otherwise.

    Without this a proxy that answers by itself, or rewrites nothing, would win.
    """
    try:
        status, got = send(port, body, "echo")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{peer.name} does not answer a {body_name} call: {error!r}") from error
    old = b'"model":"' + payloads.MODEL.encode() + b'"'
    wanted = body.replace(old, b'"model":"' + REWRITTEN[body_name].encode() + b'"', 1) if peer.rewrites else body
    if status != 200 or got != wanted:
        raise Failed(f"{peer.name} sent something else than it should for {body_name}: status {status}, {len(got)} bytes: {got[:120]!r}")


def _checked_body(scenario: Scenario) -> str:
    return "50m" if scenario.kind == "big" else scenario.body


class Bench:
    """The processes of one run. `close` ends them all."""

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self._plan, self._folder, self._say = plan, folder, say
        self._running: dict[tuple[str, bool], tuple[Running, Subject]] = {}
        self._spare_s = plan.spare_s
        self._out: set[tuple[str, bool]] = set()          # subjects that cannot take part
        program, self.speaks_tls = provision.upstream()
        names = {"1k", *(_checked_body(scenario) for scenario in plan.scenarios)}
        bodies = payloads.write_bodies(folder, names)
        self._port, self._tls_port, self._ca = free_port(), 0, None
        argv = [str(program), "--port", str(self._port)]
        if self.speaks_tls:
            self._ca, key = provision.certificate(folder)
            self._tls_port = free_port()
            argv += ["--tls-port", str(self._tls_port), "--cert", str(self._ca), "--key", str(key)]
        upstream = Running(argv, plan.cores[1], folder / "upstream.log")
        self.rig = Rig(provision.load(), plan.cores, upstream, self._port, bodies, plan.seconds)
        self._checked: set[tuple[str, bool, str]] = set()
        upstream.wait_for(self._port)

    def close(self) -> None:
        for running, _ in self._running.values():
            running.close()
        self.rig.upstream.close()

    def _start(self, peer: Peer, tls: bool) -> tuple[Running, Subject]:
        folder = self._folder / (f"{peer.name}-tls" if tls else peer.name)
        folder.mkdir(exist_ok=True)
        port = free_port()
        place = Place(folder, port, free_port(), self._tls_port if tls else self._port, self._ca if tls else None, self._plan.chassis)
        if peer.command is None:
            raise Failed(f"{peer.name} is no program")
        try:
            running = Running(peer.command(place), self._plan.cores[0], folder / "out.log")
        except OSError as error:
            raise Failed(f"{peer.name} cannot be started: {error}") from error
        try:
            running.wait_for(port)
        except Failed:
            running.close()
            raise
        return running, Subject(running, port, place.admin_port if peer.admin else None)

    @contextmanager
    def _subject(self, peer: Peer, scenario: Scenario) -> Iterator[Subject]:
        """The subject, started when it is not up; a fresh one where memory is measured."""
        if peer.command is None:
            yield Subject(None, self._port)
        elif scenario.kind == "held":
            running, subject = self._start(peer, scenario.tls)
            try:
                yield subject
            finally:
                running.close()
        else:
            key = (peer.name, scenario.tls)
            if key not in self._running:
                self._running[key] = self._start(peer, scenario.tls)
            yield self._running[key][1]

    def _visit(self, peer: Peer, scenario: Scenario) -> Row:
        body = _checked_body(scenario)
        if peer.judges:
            body = body.removesuffix("-stream")
        ticket = (peer.name, scenario.tls, body)
        with self._subject(peer, scenario) as subject:
            running = subject.running
            if running is not None and scenario.kind != "held" and ticket not in self._checked:
                check(peer, subject.port, body, self.rig.bodies[body].read_bytes())
                self._checked.add(ticket)
            row = VISITS[scenario.kind](self.rig, scenario, subject)
            for _ in range(REPEATS):
                if row.get("foreign", 0) <= DISTURBED or self._spare_s <= 0:
                    break                       # chosen by what others did meanwhile, never by the subject's own figures
                start = time.monotonic()
                row = min(row, VISITS[scenario.kind](self.rig, scenario, subject), key=lambda each: each["foreign"])
                self._spare_s -= time.monotonic() - start
            if running is not None and running.log.stat().st_size > LOG_KEPT:
                os.truncate(running.log, 0)     # log lines are written for real, not kept
            return row

    def round(self, number: int) -> Round:
        """Every scenario once against every subject; who goes first changes from round to round."""
        found: Round = {}
        for scenario in self._plan.scenarios:
            if number >= scenario.rounds or (scenario.tls and not self.speaks_tls):
                continue
            names = [name for name in scenario.subjects if name in self._plan.subjects and not (scenario.tls and name == "direct")]
            turn = number % len(names) if names else 0
            for name in names[turn:] + names[:turn]:
                key = (name, scenario.tls)
                if key in self._out:
                    continue
                try:
                    found.setdefault(scenario.name, {})[name] = self._visit(PEERS[name], scenario)
                except (Failed, provision.Missing) as problem:
                    self._say(f"bench: {scenario.name}: {name} is left out: {problem}")
                    self._out.add(key)
            self._say(f"bench: round {number + 1} of {self._plan.rounds}: {scenario.name}")
        return found


def gaps(plan: Plan, found: Iterable[str]) -> list[str]:
    """What `plan` asked for and `found` ("scenario subject") lacks."""
    have = set(found)
    wanted = [(each, name) for each in plan.scenarios for name in each.subjects if name in plan.subjects]
    names = [f"{each.name} {name}" for each, name in wanted if not (each.tls and name == "direct")]
    return [name for name in names if name not in have]


def run(plan: Plan, folder: Path) -> list[Round]:
    """All rounds of `plan`; progress goes to standard error."""

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    bench = Bench(plan, folder, say)
    try:
        if not bench.speaks_tls and any(scenario.tls for scenario in plan.scenarios):
            say("bench: no OpenSSL headers and not root: the TLS scenarios are left out")
        return [bench.round(number) for number in range(plan.rounds)]
    finally:
        bench.close()

