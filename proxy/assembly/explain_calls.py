"""explain_calls -- the policies that kept calls ran under, remembered for an explanation, also when they were replaced.

Cost: nothing until somebody asks; then some milliseconds, between which calls go on. One explanation at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.adapters.recent import Ended, Recent
from proxy.assembly.generation import Generation
from proxy.assembly.load import Policies
from proxy.openai.tokens import Tokens

if TYPE_CHECKING:
    from proxy.assembly.explain import Explanation

GENERATIONS = 8  # of policies that are remembered: who edits more often than that within some hundred calls is trying things out


class CallsExplained:
    """Remembers the policies that kept calls ran under."""

    def __init__(self, recent: Recent) -> None:
        self.recent = recent
        self._known: dict[int, tuple[Policies, Tokens | None]] = {}  # by generation
        self._one_at_a_time = asyncio.Lock()

    def loaded(self, generation: Generation) -> None:
        """These policies are in force. Older ones stay as long as a kept call refers to them."""
        wanted = self.recent.generations()
        self._known = {number: known for number, known in self._known.items() if number in wanted or number == generation.number - 1}
        self._known[generation.number] = (generation.policies, generation.tokens)
        while len(self._known) > GENERATIONS:
            del self._known[min(self._known)]

    @property
    def remembered(self) -> list[int]:
        """The generations whose policies are known."""
        return sorted(self._known)

    async def explain(self, call: Ended) -> Explanation:
        """What was done with it, and why."""
        from proxy.assembly.explain_served import explain_served  # a megabyte that a proxy whom nobody asks does not need

        async with self._one_at_a_time:
            return await explain_served(call, self._known)
