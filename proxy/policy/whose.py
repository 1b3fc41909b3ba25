"""whose -- whose messages a condition on texts reads: the `in` that keywords and regex share.

Stands under the specs and the conditions. Costs nothing at run time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from proxy.openai.message import ROLES

Role = Literal["system", "user", "assistant", "tool", "all"]
IN = "Whose messages: by default the last of the user; `user` means all of the user's, `all` every one."


def roles_of(named: Iterable[str] | None) -> frozenset[str]:
    """The roles that `in` names; none of them for the last user message."""
    wanted = frozenset(named or ())
    return ROLES if "all" in wanted else wanted


def in_words(roles: frozenset[str]) -> str:
    """Where is read, as an explanation says it."""
    return f"in {', '.join(sorted(roles))} messages" if roles else "in the last user message"
