"""narrowing -- conditions with what is known of a call already taken out of them: its endpoint, and its model.

Stands between the engine and the conditions. Both are few in a process, so what is left of a policy's condition for them is kept: of two
hundred policies that each name another model, a call then tests the few that name its own.
"""

from __future__ import annotations

from proxy.policy.conditions import Condition, EndpointIs, ModelIs
from proxy.policy.match import All


def of_endpoint(condition: Condition, endpoint: str) -> Condition:
    """What is left to ask of calls to an endpoint for which it can be true."""
    return _without(condition, [child for child in conjuncts(condition) if not (isinstance(child, EndpointIs) and child.holds(endpoint))])


def of_model(condition: Condition, model: str) -> Condition | None:
    """What is left to ask of calls that name `model` (empty: none), None where it is false for them."""
    left: list[Condition] = []
    for child in conjuncts(condition):
        if not isinstance(child, ModelIs):
            left.append(child)
        elif not child.holds(model):
            return None
    return _without(condition, left)


def but_model(condition: Condition) -> Condition:
    """What is left to ask of calls that name any model for which it can be true."""
    return _without(condition, [child for child in conjuncts(condition) if not isinstance(child, ModelIs)])


def asks_model(condition: Condition) -> bool:
    """Whether it can only be true for some models."""
    return any(isinstance(child, ModelIs) for child in conjuncts(condition))


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions of which each must hold."""
    return condition.children if isinstance(condition, All) else (condition,)


def _without(condition: Condition, left: list[Condition]) -> Condition:
    if len(left) == 1:
        return left[0]
    return condition if len(left) == len(conjuncts(condition)) else All(condition.name, tuple(left))
