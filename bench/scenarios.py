"""scenarios -- what is asked of each subject, as data.

Each answers one question that a person has about a proxy in front of an LLM; the targets (targets.py) refer to them by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STREAM_EVENTS = 64
_FIVE = ("direct", "nginx", "envoy", "aiohttp", "chassis")
_FOUR = _FIVE[1:]
_NINE = (*_FIVE, "chassis-empty", "chassis-rewrite", "chassis-brakes", "chassis-log")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load."""

    name: str
    title: str
    subjects: tuple[str, ...]
    columns: tuple[str, ...]                    # of the printed table, in order (report.COLUMNS)
    kind: str = "load"                          # or `held`: open streams, their memory; `big`: large bodies with a probe beside
    body: str = "1k"
    bench: str = "json 1024"                    # the upstream's order, its x-bench header
    connections: int = 32
    options: tuple[str, ...] = ()               # further ones of the load generator
    expect: tuple[str, ...] = ("--expect-bytes", "1024")
    longer: float = 1.0                         # times --seconds
    step: bool = False                          # the load generator tells the upstream when the next event may leave
    tls: bool = False                           # the upstream speaks TLS
    rounds: int = field(default=99)             # at most


_CPU = ("rate", "cpu", "cpu/envoy", "cpu/nginx", "p50", "p99", "busy", "load busy", "errors")
_SSE_CPU = ("rate", "cpu", "cpu/envoy", "cpu/nginx", "chunk p50", "chunk p99", "events/read", "busy", "load busy", "errors")
_ADDED = ("p50", "p99", "added p50", "added p99", "cpu", "errors")
_CHUNKS = (
    "first p50", "first p99", "added first p50", "added first p99",
    "chunk p50", "chunk p99", "added chunk p50", "added chunk p99", "errors",
)
_EVENTS = ("--expect-events", str(STREAM_EVENTS))

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("json_1k", "1 KB chat request, 1 KB answer, saturated", _NINE, _CPU),
        Scenario("json_32k", "32 KB chat request, 1 KB answer, saturated", (*_FIVE, "chassis-empty", "chassis-rewrite"), _CPU, body="32k"),
        Scenario(
            "json_32k_both", "32 KB both ways, saturated", _FIVE, _CPU,
            body="32k", bench="json 32768", expect=("--expect-bytes", "32768"),
        ),
        Scenario("split_1k", "1 KB, head and body by two writes, saturated", _FIVE, _CPU, options=("--split",)),
        Scenario("tls_1k", "1 KB, upstream over TLS, saturated", _FIVE, _CPU, tls=True),
        Scenario(
            "sse", "SSE of 64 events, 96 at once, saturated, each event on its way alone",
            (*_FIVE, "chassis-empty", "chassis-rewrite", "chassis-brakes"), _SSE_CPU,
            body="1k-stream", bench=f"sse {STREAM_EVENTS} -1", connections=96, expect=_EVENTS, step=True,
        ),
        Scenario(
            "sse_flood", "SSE of 64 events, 96 at once, the upstream as fast as it can", _FIVE, _SSE_CPU,
            body="1k-stream", bench=f"sse {STREAM_EVENTS}", connections=96, expect=_EVENTS,
        ),
        Scenario(
            "sse_steady", "SSE of 64 events, 96 at once, one event each 5 ms", _FIVE, _SSE_CPU,
            body="1k-stream", bench=f"sse {STREAM_EVENTS} 5000", connections=96, expect=_EVENTS, longer=1.5,
        ),
        Scenario(
            "sse_paced", "SSE, 8 at once, one event each 10 ms: how late each is", (*_FIVE, "chassis-rewrite"), _CHUNKS,
            body="1k-stream", bench=f"sse {STREAM_EVENTS} 10000", connections=8, expect=_EVENTS, longer=1.5,
        ),
        Scenario(
            "rate_100", "1 KB, 100 calls/s: what a call waits longer", (*_FIVE, "chassis-rewrite"), _ADDED,
            connections=16, options=("--rate", "100"), longer=2,
        ),
        Scenario(
            "big_body", "50 MB request bodies; a 1 KB call (probe) or GET /livez (loop) each 2 ms beside", (*_FIVE, "chassis-rewrite"),
            ("big p50", "probe p50", "probe p99", "probe max", "loop p99", "loop max", "errors"), kind="big", rounds=3,
        ),
        Scenario(
            "open_streams", "1,000 open slow streams", _FOUR, ("idle", "per stream", "errors"), kind="held",
            body="1k-stream", bench="sse 1000000 1000000", connections=1000, expect=(), rounds=2,
        ),
        Scenario(
            "open_streams_tls", "1,000 open slow streams, upstream over TLS", _FOUR, ("idle", "per stream", "errors"), kind="held",
            body="1k-stream", bench="sse 1000000 1000000", connections=1000, expect=(), tls=True, rounds=2,
        ),
    )
}
