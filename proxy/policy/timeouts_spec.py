"""timeouts_spec -- what YAML may say about the time that things may take.

Stands under the kinds that limit it: `timeouts`, and a target of `fallback` that has limits of its own.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from proxy.policy.spec import Seconds, Spec

CONNECT_S = 10.0  # what a connection takes with no policy: a handshake over the widest distance, with two packets lost on the way
FIRST_TOKEN_S = 300.0  # the slowest reasoning models think for some minutes
STREAM_IDLE_S = 120.0  # between two tokens; the pauses of models that reason between tool calls stay below a minute
PER_TRY_S = 600.0  # as long as the official SDKs wait
TOTAL_S = 3600.0  # the longest answers stream for half an hour
MAX_S = 86_400.0


class MinRateSpec(Spec):
    """A stream that drips is ended: fewer events than these in `over`. A number alone is `events`."""

    shorthand: ClassVar[str | None] = "events"
    events: int = Field(
        ge=1, le=1_000_000, description="Events that carry data. Most upstreams send one token an event, some several.", examples=[10]
    )
    over: Seconds = Field(
        30.0, ge=1.0, le=3600.0, description="Counted in windows of this length, one after the other, from the first content on."
    )


class TriesSpec(Spec):
    """How long one try may take. What is left out has a generous limit."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"first_token": "60s", "per_try": "2m"}]})
    connect: Seconds = Field(
        CONNECT_S, ge=0.001, le=MAX_S, description="To a connection, TLS included: a `connect` fault.", examples=["2s"]
    )
    first_token: Seconds | None = Field(
        None,
        ge=0.001,
        le=MAX_S,
        description="Streams: to the first content of a try; a role alone and keepalives are none. By default 5m, never over `per_try`.",
        examples=["30s"],
    )
    stream_idle: Seconds = Field(
        STREAM_IDLE_S,
        ge=0.001,
        le=MAX_S,
        description="Streams: between two events with content; keepalives are none. Time in which the app is slow to read is not counted.",
        examples=["30s"],
    )
    per_try: Seconds | None = Field(
        None,
        ge=0.001,
        le=MAX_S,
        description="One try: to the end of a plain reply, to the first content of a stream. By default 10m.",
        examples=["60s"],
    )
    min_rate: MinRateSpec | None = Field(
        None, description="Ends a stream that drips; by default none does.", examples=[{"events": 10, "over": "30s"}]
    )


class TimeoutsSpec(TriesSpec):
    """How long a call may take. What is left out has a generous limit; without the policy only `connect` has one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"first_token": "30s", "stream_idle": "30s", "per_try": "60s", "total": "180s"}]}
    )
    total: Seconds = Field(
        TOTAL_S,
        ge=0.001,
        le=MAX_S,
        description="All of it from the request on: every try, the waits between, and the bodies to their end.",
        examples=["180s"],
    )
