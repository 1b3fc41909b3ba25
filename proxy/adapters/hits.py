"""hits -- how often each policy matched, acted, or would have acted, and when last: what tells a policy that works from one that sleeps.

A `Recorder` beside the metrics, which count decisions, not calls. A call counts once a policy, whatever number of kinds it has.
Cost: about 0.1 us for a call that no policy matches, about 0.5 us for each policy that does.
"""

from __future__ import annotations

from proxy.core.ports import CallRecord, ExchangeRecord

POLICIES = 4096  # names that are counted: over a thousand reloads of new names, each with a few


class Hit:
    """The counts of one policy, in calls. `would` is in shadow; `overruled`: an earlier policy had set the same already."""

    __slots__ = ("acted", "acted_in", "last_ns", "matched", "overruled", "overruled_in", "would")

    def __init__(self) -> None:
        self.matched = 0
        self.acted = 0
        self.would = 0
        self.overruled = 0
        self.acted_in = 0  # which of the matched calls was counted last, as acted or as would: each counts once
        self.overruled_in = 0
        self.last_ns = 0  # Unix time of the last call that it matched

    def to_json(self) -> dict[str, int]:
        """For the page; times in milliseconds."""
        return {
            "matched": self.matched,
            "acted": self.acted,
            "would": self.would,
            "overruled": self.overruled,
            "last_ms": self.last_ns // 1_000_000,
        }


class Hits:
    """Counts by policy name since the start, over reloads: a policy that is renamed begins anew."""

    __slots__ = ("_by_policy",)

    def __init__(self) -> None:
        self._by_policy: dict[str, Hit] = {}

    def of(self, policy: str) -> Hit:
        """The counts of one; zeros where it has never matched."""
        return self._by_policy.get(policy) or Hit()

    def all(self) -> dict[str, Hit]:
        """Those that ever matched."""
        return self._by_policy

    def call_ended(self, record: CallRecord) -> None:
        """Counts one."""
        journal = record.call.journal
        matched = journal.matched
        if not matched:
            return
        hits = self._by_policy
        now_ns = record.clock.wall_of_ns(record.ended)
        for name in matched:
            hit = hits.get(name)
            if hit is None:
                if len(hits) >= POLICIES:
                    continue
                hit = hits[name] = Hit()
            hit.matched += 1
            hit.last_ns = now_ns
        for entry in journal.entries:
            hit = hits.get(entry.policy)  # type: ignore[arg-type]
            if hit is None:
                continue
            if entry.kind == "shadowed":
                if hit.overruled_in != hit.matched:
                    hit.overruled_in = hit.matched
                    hit.overruled += 1
            elif hit.acted_in != hit.matched:
                if entry.acted:
                    hit.acted_in = hit.matched
                    hit.acted += 1
                elif entry.would_act:
                    hit.acted_in = hit.matched
                    hit.would += 1

    def exchange_ended(self, record: ExchangeRecord) -> None:
        """Nothing: a policy is hit by a call."""
