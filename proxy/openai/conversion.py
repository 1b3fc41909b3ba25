"""conversion -- what a request says that another model, or another upstream, would refuse: taken out, or renamed, for whoever falls back.

Only what the providers document is in the tables; a model whose name says nothing is asked as it stands. Pure functions.
Cost: a look-up for each name of a table; 3 µs for each parameter that goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import MISSING, Payload


class Convert(StrEnum):
    """What the next model is taken for."""

    AUTO = "auto"
    REASONING = "reasoning"
    CLASSIC = "classic"
    NONE = "none"


ACCOUNT = ("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store")
"""Settings of an account at OpenAI: they change no answer, and other upstreams refuse several of them."""
SAMPLING = ("frequency_penalty", "logit_bias", "logprobs", "presence_penalty", "temperature", "top_logprobs", "top_p")
"""What models that think before they speak refuse."""
THINKING = ("reasoning", "reasoning_effort", "verbosity")
"""What models that do not think refuse."""
_REASONS = re.compile(r"o[1-9]\d?(-|$)|gpt-[5-9](?!-chat)").match
_MAY_NOT = re.compile(r"gpt-[5-9]\.").match  # by default these answer at once, and then they take the sampling parameters
_CLASSIC = re.compile(r"gpt-(3\.5|4)|chatgpt-4").match
_ENCRYPTED = "reasoning.encrypted_content"


@dataclass(slots=True)
class Converted:
    """A payload for another model, and the names of what it no longer says."""

    payload: Payload
    removed: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)

    def remove(self, *names: str) -> None:
        """Takes parameters out, where they stand."""
        for name in names:
            if self.payload.value(name) is not MISSING:
                self.payload = self.payload.remove(name)
                self.removed.append(name)

    def rename(self, old: str, new: str) -> None:
        """One name for another; where both stand the new one stays as it is."""
        value = self.payload.value(old)
        if value is MISSING:
            return
        self.payload = self.payload.remove(old)
        if self.payload.value(new) is MISSING:
            self.payload = self.payload.set(new, value)
        self.renamed.append(f"{old} to {new}")

    def keep(self, name: str, value: object) -> None:
        """Sets what is left of a value of which a part was taken out."""
        self.payload = self.payload.set(name, value) if value else self.payload.remove(name)


def converted(payload: Payload, model: str | None, convert: Convert, moves: bool) -> Converted:
    """The payload as `model` takes it. `moves`: it is asked at another upstream. Raises Unread."""
    out = Converted(payload)
    if convert is Convert.NONE:
        return out
    if moves:
        out.remove(*ACCOUNT)
    name = (model or "").rpartition("/")[2].lower()
    if convert is Convert.REASONING or (convert is Convert.AUTO and _REASONS(name)):
        _for_reasoning(out, always=convert is Convert.REASONING or not _MAY_NOT(name))
    elif convert is Convert.CLASSIC or (convert is Convert.AUTO and _CLASSIC(name)):
        _for_classic(out, everywhere=convert is Convert.CLASSIC)
    return out


def _for_reasoning(out: Converted, always: bool) -> None:
    if always or _effort(out.payload) not in (None, "none"):
        out.remove(*SAMPLING)
    if out.payload.endpoint is Endpoint.CHAT:
        out.rename("max_tokens", "max_completion_tokens")


def _for_classic(out: Converted, everywhere: bool) -> None:
    out.remove(*THINKING)
    payload = out.payload
    if payload.endpoint is Endpoint.RESPONSES:
        include, text = payload.value("include"), payload.value("text")
        if isinstance(include, list) and _ENCRYPTED in include:
            out.keep("include", [each for each in include if each != _ENCRYPTED])
            out.removed.append(f"include {_ENCRYPTED}")
        if isinstance(text, dict) and "verbosity" in text:
            out.keep("text", {key: value for key, value in text.items() if key != "verbosity"})
            out.removed.append("text.verbosity")
    elif everywhere and payload.endpoint is Endpoint.CHAT:
        out.rename("max_completion_tokens", "max_tokens")


def _effort(payload: Payload) -> object:
    """The effort that a request asks for, None where it asks for none by name."""
    effort = payload.value("reasoning_effort")
    reasoning = payload.value("reasoning")
    if effort is MISSING and isinstance(reasoning, dict):
        effort = reasoning.get("effort")
    return None if effort is MISSING else effort
