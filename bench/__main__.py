"""python -m bench -- Chassis beside nginx, Envoy and a plain aiohttp proxy; prints the table, writes bench/results/."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import measure, provision
from bench.peers import PEERS, versions
from bench.report import Round, foreign, medians, table, verdict_table, verdicts
from bench.run import Plan, gaps, run
from bench.scenarios import SCENARIOS

HERE = Path(__file__).parent
QUICK_ROUNDS, QUICK_SECONDS = 1, 0.7
OURS = Path(sys.executable).parent / "chassis"
SPARE_S = 120.0                                  # a disturbed run may take so much longer
QUIET = 5.0                                      # percent of the cores that others may take
FULL_ROUNDS, FULL_SECONDS = 5, 1.2


def _names(text: str, known: dict[str, object], what: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise SystemExit(f"bench: no {what} {', '.join(unknown) or 'given'}; there are: {', '.join(known)}")
    return names


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything, under three minutes: a look, not a result")
    parser.add_argument("--subjects", default=",".join(PEERS), help="comma-separated; default: all of %(default)s")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="comma-separated; default: all of %(default)s")
    parser.add_argument("--rounds", type=int, help=f"visits of each subject by each scenario (default {FULL_ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"length of a visit (default {FULL_SECONDS})")
    parser.add_argument("--chassis", type=Path, default=OURS, help="the command to measure (default: the one beside this Python)")
    parser.add_argument("--check", action="store_true", help="exit 1 also when a target is missed")
    parser.add_argument("--no-file", action="store_true", help="print only, write nothing")
    return parser.parse_args(argv)


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench: two cores are needed, one for the subject and one for load and upstream; there is one")
    return cores[0], cores[1]


def _git(*argv: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *argv], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _available(wanted: tuple[str, ...]) -> frozenset[str]:
    """The subjects that can be had, after installing what is missing."""
    have = set(wanted)
    for name, fetch in (("nginx", provision.nginx), ("envoy", provision.envoy)):
        if name in have:
            try:
                fetch()
            except provision.Missing as problem:
                have.discard(name)
                print(f"bench: {name} is left out: {problem}", file=sys.stderr)
    return frozenset(have)


def _write(options: argparse.Namespace, plan: Plan, rounds: list[Round], today: str) -> Path:
    commit = _git("rev-parse", "--short", "HEAD") or "nocommit"
    found = medians(rounds)
    document = {
        "date": today,
        "commit": commit,
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "..")),
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "versions": versions(set(plan.subjects)),
        "options": {"rounds": plan.rounds, "seconds": plan.seconds, "quick": options.quick},
        "foreign_percent": dict(zip(("typical", "worst"), foreign(rounds), strict=True)),
        "targets": verdicts(found),
        "medians": found,
        "rounds": rounds,
    }
    whole = set(plan.subjects) == set(PEERS) and len(plan.scenarios) == len(SCENARIOS) and not options.quick
    target = HERE / "results" / f"{today}-{commit}{'' if whole else '-part'}.json"
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1, default=str)
    target.write_text(text + "\n")
    return target


def main(argv: list[str]) -> int:
    options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))        # the subjects are ended on the way out
    scenarios = tuple(SCENARIOS[name] for name in _names(options.scenarios, dict(SCENARIOS), "scenario"))
    subjects = _available(_names(options.subjects, dict(PEERS), "subject"))
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else FULL_SECONDS)
    cores = _cores()
    os.sched_setaffinity(0, {cores[1]})
    measure.raise_limits()
    plan = Plan(scenarios, subjects, rounds, seconds, 0 if options.quick else SPARE_S, options.chassis.absolute(), cores)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        with tempfile.TemporaryDirectory(prefix="chassis-bench-") as folder:
            os.chmod(folder, 0o755)             # nginx's worker is another user
            done = run(plan, Path(folder))
    except provision.Missing as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    found = medians(done)
    judged = verdicts(found)
    print(f"{table(found)}\n\n{verdict_table(judged)}")
    typical, worst = foreign(done)
    print(f"\nother programs took {typical:.0f} % of the two cores in a typical visit, {worst:.0f} % in the worst")
    if typical > QUIET:
        print("bench: the machine was not quiet: compare nothing with this run", file=sys.stderr)
    if not options.no_file:
        print(f"\nwritten: bench/results/{_write(options, plan, done, today).name}")
    failed = sum(row.get("errors", 0) for rows in found.values() for row in rows.values())
    if failed:
        print(f"bench: {failed:.0f} calls failed: see the errors column", file=sys.stderr)
    lacking = gaps(plan, (f"{scenario} {subject}" for scenario, rows in found.items() for subject in rows))
    if lacking:
        print(f"bench: not measured: {', '.join(lacking)}", file=sys.stderr)
    missed = options.check and any(not verdict["met"] for verdict in judged)
    return 1 if failed or lacking or missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
