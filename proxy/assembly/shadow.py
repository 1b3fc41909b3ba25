"""shadow -- policies in `mode: shadow`: they decide and report, hold nothing, delay nothing, change nothing.

Where a call's body is not held for another reason, they read a copy of it as it streams past, once it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.assembly.hold import content_of, may_be_read
from proxy.assembly.rules import Rule
from proxy.assembly.shelf import Shelf
from proxy.core.call import Call
from proxy.core.faults import Failure
from proxy.core.request import Framing
from proxy.core.service import FaultReport
from proxy.core.stage import Stage
from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.openai.tokens import Tokens
from proxy.policy.facts import Facts, TakesLong
from proxy.policy.kind import Observer

COPY_BYTES = 4 * 1024 * 1024  # of a body that only shadows read: larger ones are journalled, not copied


class Shadows:
    """The shadow rules of one endpoint."""

    __slots__ = ("_keep", "_observers", "_reads_body", "_report", "_rules", "_wall_ns")

    def __init__(
        self, rules: Sequence[Rule], shelf: Shelf, report: FaultReport, keep: Callable[[Call, bytes], None] | None = None
    ) -> None:
        """`keep` is told of each body that only these read."""
        self._rules = tuple(rules)
        self._keep = keep
        self._report = report
        self._wall_ns = shelf.wall_ns
        self._reads_body = any(rule.matches_body or rule.reads_body for rule in rules)
        self._observers: dict[int, list[Observer]] = {
            rule.place: [seen for part in rule.parts if (seen := shelf.observer(rule.name, part)) is not None] for rule in rules
        }

    def __bool__(self) -> bool:
        return bool(self._rules)

    def watch(self, call: Call, facts: Facts, tokens: Tokens | None) -> None:
        """Notes what each would have done, now or when the body has passed."""
        request = call.request
        if call.payload is not None or not self._reads_body or request.framing is Framing.NONE or not may_be_read(request.headers):
            self.observe(call, facts)
            return
        body = request.body
        if body.ended and body.error is None:
            self._read(call, body.peek(), tokens)
        else:
            body.attach(_Copy(self, call, tokens))

    def _read(self, call: Call, data: bytes, tokens: Tokens | None) -> None:
        request = call.request
        payload = Payload(data, Endpoint(call.endpoint), content_of(request.headers)[1])
        if self._keep is not None:
            self._keep(call, data)
        facts = Facts(call.endpoint, request.method, request.target, request.headers, payload, tokens, wall_ns=self._wall_ns)
        self.observe(call.derive(payload=payload), facts)

    def observe(self, call: Call, facts: Facts) -> None:
        """Asks each rule, and lets the observers of those that match note what they would do."""
        for rule in self._rules:
            try:
                if not rule.condition.test(facts):
                    continue
            except TakesLong:
                call.journal.note("shadow_skipped", rule.name, shadow=True, why="reading it would take over a millisecond")
                continue
            except Exception as bug:
                self._broke(call, rule, bug)
                continue
            call.journal.matched += (rule.name,)
            for observer in self._observers[rule.place]:
                try:
                    observer(call)
                except Exception as bug:
                    self._broke(call, rule, bug)

    def _broke(self, call: Call, rule: Rule, bug: Exception) -> None:
        self._report("shadow", bug)
        call.journal.note("layer_fault", rule.name, shadow=True, layer="shadow", why=type(bug).__name__)


class _Copy(Stage):
    """Keeps a copy of a body that passes."""

    __slots__ = ("_call", "_kept", "_shadows", "_size", "_tokens")

    def __init__(self, shadows: Shadows, call: Call, tokens: Tokens | None) -> None:
        self._shadows = shadows
        self._call: Call | None = call
        self._tokens = tokens
        self._kept: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size <= COPY_BYTES:
            self._kept.append(data)
        return data

    def end(self) -> bytes:
        call, self._call = self._call, None
        if call is not None and self._size <= COPY_BYTES:
            self._shadows._read(call, b"".join(self._kept), self._tokens)
        elif call is not None:
            call.journal.note("shadow_skipped", shadow=True, why=f"the body is over {COPY_BYTES >> 20} MiB")
        self._kept = []
        return b""

    def fail(self, failure: Failure) -> bytes:
        self._call = None
        self._kept = []
        return b""
