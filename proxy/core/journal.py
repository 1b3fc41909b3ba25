"""journal -- what was decided for one call, by which policy, why and when.

Layers write here and nowhere else; spans, log lines, reply headers and `chassis explain` are made from it at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class Entry:
    """One decision. `at` is loop time in seconds; `what` holds plain values only, never content or secrets."""

    at: float
    kind: str
    policy: str | None
    acted: bool = False
    shadow: bool = False
    what: dict[str, object] = field(default_factory=dict)

    @property
    def would_act(self) -> bool:
        """Whether this is what a policy in shadow would have done: not that it was passed over, could not, or broke."""
        return self.shadow and self.kind not in ("shadow_skipped", "layer_fault") and "skipped" not in self.what


Labels = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Policies, each with its labels and their values."""


class Journal:
    """The entries of one call, in the order in which they were decided."""

    __slots__ = ("_now", "entries", "generation", "labels", "matched", "model")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.entries: list[Entry] = []
        self.model: str | None = None  # that the app named, where its body was read
        self.generation = 0  # of the policies that decided
        self.matched: tuple[str, ...] = ()  # that matched, in shadow too, even where nothing was to do
        self.labels: Labels = ()  # of the policies in force that matched and have some, in file order

    def note(self, kind: str, policy: str | None = None, *, acted: bool = False, shadow: bool = False, **what: object) -> None:
        """Adds a decision.

        `acted`: the call was treated differently because of it, so the app is told in a reply header.
        `shadow`: it is what a policy in shadow would have done.
        """
        self.entries.append(Entry(self._now(), kind, policy, acted, shadow, what))

    def kinds(self) -> list[str]:
        """The kinds noted, in order."""
        return [entry.kind for entry in self.entries]

    def acted(self) -> list[str]:
        """Names of the policies that acted, each once, in the order of their first act."""
        names = (entry.policy for entry in self.entries if entry.acted and entry.policy is not None)
        return list(dict.fromkeys(names))

    def labels_of_acted(self) -> dict[str, str]:
        """The labels of the policies that acted; where two set one, the first in file order has it."""
        if not self.labels:
            return {}
        acted = {entry.policy for entry in self.entries if entry.acted}
        found: dict[str, str] = {}
        for policy, labels in self.labels:
            if policy in acted:
                for name, value in labels:
                    found.setdefault(name, value)
        return found
