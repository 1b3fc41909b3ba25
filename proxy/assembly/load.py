"""load -- from files to policies that can run: read, checked with all kinds, compiled. Raises PolicyError with every problem at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy.assembly.rules import Part, Rule
from proxy.assembly.stack import KINDS, STACK
from proxy.policy.document import Loaded, load_files, load_nothing
from proxy.policy.problems import Problem
from proxy.policy.secrets import Env
from proxy.policy.upstreams import Upstream as Declared


@dataclass(slots=True, frozen=True)
class Policies:
    """What was loaded. `home` names the upstream that calls go to by default."""

    loaded: Loaded
    rules: tuple[Rule, ...]
    upstreams: dict[str, Declared]
    home: str
    warnings: tuple[Problem, ...]
