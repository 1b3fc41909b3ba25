"""sample -- a sticky share of the traffic: the same callers, users or conversations each time, on every replica, after every restart.

Stands beside the other conditions. A draw is the hash of a name and of what the share is taken of, so nothing is remembered:

    draw = first 8 bytes, big-endian, of BLAKE2b-64(name + NUL + key), over 2^64

and a call is in the sample when `after` <= draw < `after` + `share`. Raising a share keeps those that are in. Two samples with one
name draw the same, those with different names independently. Cost: 1 µs, and of a conversation 1 µs for each KB of its first message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from proxy.openai.payload import Payload
from proxy.policy.conditions import BODY, HEAD, Leaf
from proxy.policy.facts import Facts
from proxy.policy.problems import did_you_mean
from proxy.policy.spec import Line, Percent, Spec, Wrong
from proxy.policy.units import share_text

Key = tuple[bytes, ...]
CREDENTIAL_HEADERS = (b"authorization", b"api-key", b"x-api-key")  # the first that is there
CONVERSATION, USER, CREDENTIAL = "conversation", "user", "credential"
KEYS = (CONVERSATION, USER, CREDENTIAL)
KEY_CHARACTERS = 64 * 1024  # of a longer text its length and its ends: 60 µs
STEPS = 10**8  # a share has at most six decimals of a percent
NAMING = ("safety_identifier", "user", "prompt_cache_key")  # they stay the same in a conversation, and tell two apart
_HEADER = re.compile(r"header ([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128})").fullmatch


def _by(value: str) -> str:
    if value in KEYS or _HEADER(value):
        return value
    name = value.removeprefix("header").lstrip(":. ")
    is_name = _HEADER(f"header {name}") is not None and ("-" in name or value.startswith("header"))
    hint = f"did you mean 'header {name}'?" if is_name else did_you_mean(value, KEYS) or "as `header x-user-id`"
    raise Wrong("must be conversation, user, credential, or `header` and its name", hint)


By = Annotated[
    str,
    AfterValidator(_by),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(KEYS)},
                {"type": "string", "title": "`header` and its name", "pattern": "^header [!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"},
            ]
        }
    ),
]


class SampleSpec(Spec):
    """A sticky share of traffic, from 0% to 100%: one that is in stays in, on every replica and after every restart."""

    shorthand: ClassVar[str | None] = "share"
    share: Percent = Field(description="How much is in. Raising it keeps those that are in.", examples=["10%"])
    by: By = Field(
        CONVERSATION,
        description="What stays together: a `conversation` (by its id, else by its first user message and what names its user); a `user` "
        "(`safety_identifier` or `user` of the body); a `credential`; a header's value, as `header x-user-id`. "
        "Where a call has none, it is unknown whether it is in.",
        examples=["conversation", "user", "credential", "header x-user-id"],
    )
    of: Line | None = Field(
        None,
        max_length=128,
        description="The name of the draw: samples with one name take the same ones, those with different names have nothing to do with "
        "each other. By default the name of the policy or signal.",
        examples=["new-model"],
    )
    after: Percent = Field(0.0, description="Where the share begins: `share: 10%` `after: 50%` is from 50% to 60%, beside any other part.")

    @model_validator(mode="after")
    def _fits(self) -> SampleSpec:
        if self.steps[1] > STEPS:
            message = f"goes beyond 100%: {share_text(self.after)} and {share_text(self.share)}"
            raise Wrong(message, f"at most {share_text(1 - self.after)} is left", got=False)
        return self

    @property
    def steps(self) -> tuple[int, int]:
        """The first step that is in, and the first one beyond, of `STEPS`."""
        return round(self.after * STEPS), round((self.after + self.share) * STEPS)


def draw(name: str, key: Iterable[bytes]) -> int:
    """Where a key falls, from 0 to 2**64 - 1: evenly, and for each name anew."""
    digest = blake2b(name.encode(), digest_size=8)
    for part in key:
        digest.update(b"\0")
        digest.update(part)
    return int.from_bytes(digest.digest(), "big")


def _mark(step: int) -> int:
    """The first draw of a step, so that shares that meet in a policy meet here exactly."""
    return (step << 64) // STEPS


class InSample(Leaf):
    """Whether the call is in the share."""

    __slots__ = ("_beyond", "_by", "_first", "_header", "_name", "cost", "needs")
    name = "sample"

    def __init__(self, spec: SampleSpec, owner: str) -> None:
        """`owner`: the policy or signal in which it stands, whose name is that of the draw by default."""
        self._name = spec.of or owner
        self._by = spec.by
        header = _HEADER(spec.by)
        self._header = header[1].lower().encode() if header else b""
        self._first, self._beyond = map(_mark, spec.steps)
        self.needs = BODY if spec.by in (CONVERSATION, USER) else HEAD
        self.cost = 4 if self.needs is HEAD else 12
        begin, end = share_text(spec.after), share_text(spec.after + spec.share)
        part = f"from {begin} to {end}" if spec.after else f"the first {end}"
        self.expected = f"{part} of '{self._name}' by {spec.by}"

    def test(self, facts: Facts) -> bool | None:
        key = self._key(facts)
        if key:
            return self._first <= draw(self._name, key) < self._beyond
        if key is not None:
            facts.cannot(self._missing())
        return None

    def seen(self, facts: Facts) -> str:
        return f"at {100 * draw(self._name, self._key(facts) or ()) / 2**64:.2f}%"

    def why(self, facts: Facts) -> str:
        return super().why(facts) if self._key(facts) is None else self._missing()

    def _missing(self) -> str:
        return f"nothing in the request to sample by {self._by}"

    def _key(self, facts: Facts) -> Key | None:
        """What the draw is of; empty where there is none, None where the body cannot be read."""
        if self._header:
            return _of_header(facts, self._header)
        if self._by == CREDENTIAL:
            return next((found for name in CREDENTIAL_HEADERS if (found := _of_header(facts, name))), ())
        return facts.once(f"sample by {self._by}", lambda: facts.read(_conversation if self._by == CONVERSATION else _user))


def _of_header(facts: Facts, name: bytes) -> Key:
    return tuple(value.encode("utf-8", "surrogateescape") for value in facts.header(name) if value)


def _user(payload: Payload) -> Key:
    for key in ("safety_identifier", "user"):
        value = payload.value(key)
        if isinstance(value, str) and value:
            return (value.encode("utf-8", "surrogatepass"),)
    return ()


def _conversation(payload: Payload) -> Key:
    """What is the same at each turn, hashed once for all draws. A turn that only names the answer before it cannot be told from others."""
    named = payload.value("conversation")
    if isinstance(named, dict):
        named = named.get("id")
    if isinstance(named, str) and named:
        parts = ["conversation", named]
    elif isinstance(payload.value("previous_response_id"), str) or not any(said := payload.opening(KEY_CHARACTERS)):
        return ()
    else:
        parts = [f"{key}:{value}" for key in NAMING if isinstance(value := payload.value(key), str)]
        parts += said
    return (blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest(),)
