"""python -m tests.soak -- all brakes at once under random faults and apps that leave, for minutes: nothing may grow, hang, or go unsaid.

Two upstreams misbehave at random, one of them dies and comes back, policies are reloaded, calls come at an even rate whatever becomes of
them. Every few seconds the process is asked for its memory, tasks and descriptors; a line is fitted to each once it is warm. At the end
the load stops, and it must be as it was before. Exit code 1, with the reasons, where it is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.processes import Running, start
from tests.soak.client import App, Fate, drawn
from tests.soak.mortal import Mortal
from tests.soak.watch import Look, Trend

POLICIES = Path(__file__).with_name("policies.yaml")
UNTOUCHED = "gpt-untouched"  # no policy: what the upstream does is passed on, good or bad
MODELS = ("gpt-4o", "gpt-4o", "gpt-hedged", "gpt-raced", "gpt-crowded", UNTOUCHED)
WARM = 0.25  # of the time goes by before anything is measured, a minute at most
LOOK_S = 2.0
AT_ONCE = 2000  # apps that wait; beyond it the load is not what was asked for
DEATH_S, DEAD_S = 40.0, 2.0
RELOAD_S = 25.0
SETTLE_S = 20.0  # after the load, until all is as it was
FEWEST_WHOLE = 0.9  # of the calls that a fallback stands behind and that nobody left
NEVER = (Fate.DROPPED, Fate.HUNG)
NEVER_WITH_POLICIES = (Fate.SILENT, Fate.ODD)
TROUBLE = ("Traceback", "never retrieved", "was destroyed but it is pending", "never awaited", "Unclosed", "broke and was passed over")


@dataclass(slots=True)
class Run:
    """What one run sees."""

    running: Running
    second: Mortal
    policies: Path
    draw: random.Random
    fates: Counter[tuple[bool, Fate]] = field(default_factory=Counter)  # by whether policies acted
    looks: list[Look] = field(default_factory=list)
    skipped: int = 0
    reloads: int = 0
    deaths: int = 0

    async def load(self, seconds: float, rate: float) -> None:
        """Calls at an even rate, each a task of its own."""
        app, begun, made = App(self.running.port), time.monotonic(), 0
        under_way: set[asyncio.Task[None]] = set()
        while (elapsed := time.monotonic() - begun) < seconds:
            while made < elapsed * rate:
                made += 1
                if len(under_way) >= AT_ONCE:
                    self.skipped += 1
                    continue
                task = asyncio.get_running_loop().create_task(self._call(app))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(0.01)
        await asyncio.gather(*under_way)
        await app.close()

    async def _call(self, app: App) -> None:
        way = drawn(self.draw, MODELS, UNTOUCHED)
        fate = await app.call(way)
        self.fates[way.model != UNTOUCHED, fate] += 1

    async def watch(self, seconds: float) -> None:
        """Looks, while there is load."""
        end = time.monotonic() + seconds
        while time.monotonic() + LOOK_S < end:
            await asyncio.sleep(LOOK_S)
            self.looks.append(await asyncio.to_thread(Look.at, self.running))

    async def kill(self) -> None:
        """The second upstream dies, again and again."""
        while True:
            await asyncio.sleep(DEATH_S)
            self.second.kill()
            self.deaths += 1
            await asyncio.sleep(DEAD_S)
            await asyncio.to_thread(self.second.start)

    async def reload(self) -> None:
        """The policies change, back and forth, so that layers are built anew and the old ones must go."""
        text = self.policies.read_text()
        while True:
            await asyncio.sleep(RELOAD_S)
            self.reloads += 1
            self.policies.write_text(text.replace("max_attempts: 3", f"max_attempts: {3 - self.reloads % 2}"))


async def soak(run: Run, seconds: float, rate: float) -> tuple[Look, Look]:
    """How the process was before and after the load."""
    before = await asyncio.to_thread(Look.at, run.running)
    beside = [asyncio.get_running_loop().create_task(work) for work in (run.watch(seconds), run.kill(), run.reload())]
    try:
        await run.load(seconds, rate)
    finally:
        for task in beside:
            task.cancel()
        for task in beside:
            with suppress(asyncio.CancelledError):
                await task
    return before, await settled(run.running, before)


async def settled(running: Running, before: Look) -> Look:
    """The process once nothing goes on in it, or after SETTLE_S. What upstreams keep open ends with them, so the caller has ended them."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        look = await asyncio.to_thread(Look.at, running)
        if not list(left(before, look)) or time.monotonic() > deadline:
            return look
        await asyncio.sleep(0.5)


def left(before: Look, after: Look) -> Iterator[str]:
    """What there is more of than before; kept connections to living upstreams are left out."""
    for name in ("tasks", "connections", "in flight"):
        more = after.gauges[name] - before.gauges[name]
        if more > 0:
            yield f"{more:g} {name} more than before the load"


def judged(run: Run, trends: list[Trend], before: Look, after: Look) -> Iterator[str]:
    """All that is wrong."""
    for trend in trends:
        if trend.grows:
            yield f"it grows: {trend}"
    yield from left(before, after)
    if (fds := after.gauges["fds"] - before.gauges["fds"]) > 0:
        yield f"{fds:g} descriptors more than before the load"
    if after.layer_faults:
        yield f"{after.layer_faults:g} layers broke"
    for (with_policies, fate), count in run.fates.items():
        if fate in NEVER or (with_policies and fate in NEVER_WITH_POLICIES):
            yield f"{count} calls {'with' if with_policies else 'without'} policies: {fate.value}"
    yield from implausible(run.fates)
    if run.skipped:
        yield f"{run.skipped} calls were not made, as {AT_ONCE} were waiting"


def implausible(fates: Counter[tuple[bool, Fate]]) -> Iterator[str]:
    """What cannot be after so many random faults."""
    touched = {fate: fates[True, fate] for fate in Fate}
    stayed = sum(touched.values()) - touched[Fate.LEFT]
    good = touched[Fate.WHOLE] + touched[Fate.STATIC]
    if good < FEWEST_WHOLE * stayed:
        yield f"with policies only {good} of {stayed} calls were answered whole"
    for with_policies, fate in ((True, Fate.WHOLE), (True, Fate.LATE_ERROR), (True, Fate.LEFT), (False, Fate.REFUSED), (False, Fate.CUT)):
        if not fates[with_policies, fate]:
            yield f"not one call {'with' if with_policies else 'without'} policies had this fate: {fate.value}"


def troubles(log: Path) -> list[str]:
    """What the log tells of exceptions that nobody caught, each once with how often, ten at most."""
    found: Counter[str] = Counter()
    block: list[str] = []  # of lines that are no calls: a traceback has many
    with log.open(errors="replace") as lines:
        for line in (*lines, "{}"):
            if not line.startswith("{"):
                block.append(line)
                continue
            if any(word in each for each in block for word in TROUBLE):
                found["".join(block)[:4000]] += 1
            block.clear()
            told = json.loads(line)
            if "call" not in told and told.get("level") in ("error", "critical"):
                found[line[:4000]] += 1
    return [f"{count} times in the log: {text}" for text, count in found.most_common(10)]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the load (default %(default)g)")
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second (default %(default)g)")
    parser.add_argument("--faults", type=float, default=0.25, help="share of exchanges that go wrong (default %(default)g)")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    given = options()
    seconds = given.minutes * 60
    draw = random.Random(given.seed)
    primary = Mortal("primary", faults=given.faults, seed=draw.randrange(1 << 30))
    second = Mortal("second", faults=given.faults / 2, seed=draw.randrange(1 << 30))
    with tempfile.TemporaryDirectory(prefix="chassis-soak-") as folder, primary, second:
        policies = Path(folder) / "policies.yaml"
        policies.write_text(POLICIES.read_text().replace("http://127.0.0.1:1/v1", primary.url).replace("http://127.0.0.1:2/v1", second.url))
        running = start(policies, None, folder=Path(folder))
        try:
            run = Run(running, second, policies, draw)
            before, after = asyncio.run(soak(run, seconds, given.rate))
            primary.kill()
            second.kill()
            time.sleep(1.0)
            after = Look.at(running)
            return report(run, before, after, min(seconds * WARM, 60.0))
        finally:
            running.stop()


def report(run: Run, before: Look, after: Look, warm_s: float) -> int:
    """Prints the summary; the exit code."""
    warm = [look for look in run.looks if look.at_s >= run.looks[0].at_s + warm_s]
    trends = [Trend.of(name, warm) for name in before.gauges]
    total = sum(run.fates.values())
    print(f"{total} calls; {run.deaths} deaths of an upstream, {run.reloads} reloads, {len(warm)} looks after {warm_s:g} s of warming")
    for with_policies in (True, False):
        counted = {fate.value: run.fates[with_policies, fate] for fate in Fate if run.fates[with_policies, fate]}
        print(f"{'with' if with_policies else 'without'} policies: " + ", ".join(f"{count} {word}" for word, count in counted.items()))
    for trend in trends:
        print(trend)
    print(f"the event loop was late by {max(look.loop_lag_s for look in warm) * 1000:.0f} ms at most")
    ends = (f"{after.gauges[name]:g} {name} ({before.gauges[name]:g} before)" for name in ("tasks", "fds", "connections", "in flight"))
    print("at the end: " + ", ".join(ends))
    wrong = [*judged(run, trends, before, after), *troubles(run.running.log)]
    for each in wrong:
        print(f"FAILED: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
