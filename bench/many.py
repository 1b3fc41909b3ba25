"""many -- what many policies cost: 200 of which 3 match, against those 3 alone; `python -m bench.many [ROUNDS]`.

Each family is 197 policies that do not match the call, each for another reason, among three that do. Timed is a call through the policies,
the engine and the layers, over an upstream in memory; both sides in turn, the least of all rounds. The issue's limit: 1.5 times.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable

from bench import payloads
from proxy.assembly.generation import Outside, build
from proxy.assembly.load import load_text
from proxy.core.body import Body
from proxy.core.call import Allowance, Call
from proxy.core.clock import LoopClock
from proxy.core.journal import Journal
from proxy.core.reply import Reply
from proxy.core.request import Framing, Request

ROUNDS = 12
CALLS = 100
LIMIT = 1.5
MATCHING = (
    "{name: first, match: {endpoint: chat, model: 'gpt-4o*', keywords: {any_of: [ferry, lamp]}}, apply: {params: {defaults: {n: 1}}}}",
    "{name: second, match: {prompt_tokens: {below: 100000}, header: {x-lang: python}}, apply: {rewrite: {model: gpt-4o-mini}}}",
    "{name: third, match: {endpoint: chat, stream: false}, apply: {params: {defaults: {seed: 7}}}}",
)
SYLLABLES = ("ba", "ko", "ri", "tem", "sul", "vo", "nax", "pli", "dor", "gu")
Match = Callable[[random.Random, int], str]


def _word(draw: random.Random) -> str:
    return "".join(draw.choice(SYLLABLES) for _ in range(4))


def _words(draw: random.Random, count: int) -> str:
    return f"[{', '.join(_word(draw) for _ in range(count))}]"


FAMILIES: dict[str, tuple[Match, ...]] = {
    "model": (lambda draw, i: f"{{endpoint: chat, model: [model-{i}, 'family-{i}*']}}",),
    "endpoint": (lambda draw, i: "{endpoint: [embeddings, responses, images]}",),
    "header": (lambda draw, i: f"{{endpoint: chat, header: {{x-team: team-{i}}}}}",),
    "keywords": (lambda draw, i: f"{{endpoint: chat, keywords: {{any_of: {_words(draw, 8)}}}}}",),
    "prompt_tokens": (lambda draw, i: f"{{endpoint: chat, prompt_tokens: {{at_least: {40_000 + i}}}}}",),
    "has": (lambda draw, i: f"{{endpoint: chat, has: [images, audio], messages: {{at_least: {2 + i}}}}}",),
}
FAMILIES["mixed"] = tuple(family[0] for family in FAMILIES.values())


def policies_of(family: str, others: int = 197) -> str:
    """A policy file: the matching three, with the others around them."""
    draw = random.Random(7)
    kinds = FAMILIES[family]
    matches = [kinds[i % len(kinds)](draw, i) for i in range(others)]
    listed = [f"{{name: other-{i}, match: {match}, apply: {{rewrite: {{model: other-{i}}}}}}}" for i, match in enumerate(matches)]
    for place, matching in zip((others, others // 2, others // 3), reversed(MATCHING), strict=True):
        listed.insert(place, matching)
    return "version: 1\nupstreams: {default: {url: 'http://127.0.0.1:9/v1'}}\npolicies:\n" + "".join(f"  - {each}\n" for each in listed)


class _Memory:
    """An upstream that has its answer ready."""

    async def send(self, request: Request, connect_s: float | None = None) -> Reply:
        request.body.take_chunks()
        return Reply(200, b"OK", [(b"Content-Type", b"application/json")], Framing.LENGTH, Body.of(b"{}"))

    def close(self) -> None: ...


class Subject:
    """A set of policies, ready to be asked."""

    def __init__(self, text: str, body: bytes) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        self._now = clock.now
        self._generation = build(load_text(text, "many.yaml", {}), Outside(clock, _raise, network=lambda declared, clock: _Memory()))
        self._body = body
        self.matched: tuple[str, ...] = ()

    async def time_us(self, calls: int) -> float:
        """Microseconds of a call."""
        length = b"%d" % len(self._body)
        headers = [(b"Host", b"a"), (b"Content-Type", b"application/json"), (b"X-Lang", b"python"), (b"Content-Length", length)]
        start = time.process_time()
        for _ in range(calls):
            request = Request(b"POST", b"/v1/chat/completions", 1, headers, Framing.LENGTH, len(self._body), Body.of(self._body))
            journal = Journal(self._now)
            reply = await self._generation.service(Call("bench", "chat", request, self._generation.home, journal, Allowance()))
            reply.close()
        self.matched = tuple(name for name in journal.acted())
        return (time.process_time() - start) / calls * 1e6


def _raise(name: str, bug: Exception) -> None:
    raise bug


async def measure(family: str, body: bytes, rounds: int) -> tuple[float, float]:
    """(µs a call with the three alone, with all two hundred)."""
    few, many = Subject(policies_of(family, 0), body), Subject(policies_of(family), body)
    least = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, subject in enumerate((few, many)):
            least[at] = min(least[at], await subject.time_us(CALLS))
    if few.matched != many.matched or len(few.matched) != 3:
        raise SystemExit(f"the same three policies must act: {few.matched} and {many.matched}")
    return least[0], least[1]


async def main(rounds: int) -> int:
    print(f"{'197 others by':16} {'prompt':>6} {'3 alone':>9} {'200':>9} {'times':>6}")
    worst = 0.0
    for family in FAMILIES:
        for name, body in (("1 KB", payloads.chat(1024)), ("32 KB", payloads.chat(32 * 1024, turns=9))):
            few, many = await measure(family, body, rounds)
            worst = max(worst, many / few)
            print(f"{family:16} {name:>6} {few:6.0f} µs {many:6.0f} µs {many / few:6.2f}")
    print(f"worst {worst:.2f}, at most {LIMIT} allowed")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)))
