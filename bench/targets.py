"""targets -- what Chassis has to reach, as claims about medians of one run.

Ratios and differences only: absolute times belong to the machine, these to the programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Medians = dict[str, dict[str, dict[str, float]]]          # scenario -> subject -> column


@dataclass(frozen=True, slots=True)
class Target:
    """`value` of a run must not be above `limit`."""

    claim: str
    limit: float | Callable[[Medians], float]
    value: Callable[[Medians], float]

    def judge(self, medians: Medians) -> tuple[float, float] | None:
        """(value, limit), None where the run did not measure what it takes."""
        try:
            return self.value(medians), self.limit if isinstance(self.limit, float) else self.limit(medians)
        except KeyError:
            return None


def _cell(scenario: str, subject: str, column: str) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario][subject][column]


def _times(scenario: str, subject: str, other: str) -> Callable[[Medians], float]:
    return _cell(scenario, subject, f"cpu/{other}")


TARGETS = (
    Target("json_1k: CPU of pass-through / Envoy's", 1.0, _times("json_1k", "chassis", "envoy")),
    Target("json_32k: CPU of pass-through / Envoy's", 1.3, _times("json_32k", "chassis", "envoy")),
    Target("sse: CPU of pass-through / Envoy's", 1.0, _times("sse", "chassis", "envoy")),
    Target("sse_steady: CPU of pass-through / Envoy's", 1.0, _times("sse_steady", "chassis", "envoy")),
    Target("rate_100: added p50, against Envoy's (ms)", _cell("rate_100", "envoy", "added p50"), _cell("rate_100", "chassis", "added p50")),
    Target("sse_paced: first event, added p50 (ms)", 0.1, _cell("sse_paced", "chassis", "added first p50")),
    Target("sse_paced: first event, added p99 (ms)", 1.0, _cell("sse_paced", "chassis", "added first p99")),
    Target("sse_paced: each chunk, added p50 (ms)", 0.1, _cell("sse_paced", "chassis", "added chunk p50")),
    Target("sse_paced: each chunk, added p99 (ms)", 1.0, _cell("sse_paced", "chassis", "added chunk p99")),
    Target("json_1k: CPU of rewrite / pass-through", 1.8, _times("json_1k", "chassis-rewrite", "chassis")),
    Target("json_32k: CPU of rewrite / pass-through", 2.0, _times("json_32k", "chassis-rewrite", "chassis")),
    Target("json_1k: what log lines cost (µs a call)", 10.0, _cell("json_1k", "chassis-log", "cpu over chassis")),
    Target("open_streams: KiB a stream above idle", 16.0, _cell("open_streams", "chassis", "per stream")),
    Target("open_streams: idle process (KiB)", 60.0 * 1024, _cell("open_streams", "chassis", "idle")),
    Target("big_body: event loop blocked by 50 MB rewrites (ms)", 50.0, _cell("big_body", "chassis-rewrite", "loop max")),
)
