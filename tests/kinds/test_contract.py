"""Every kind of the stack, held to what all kinds promise (`contract.py`). A new kind adds its example here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.assembly.stack import STACK
from proxy.kinds import circuit_breaker, concurrency, degrade, fallback, hedge, instruct, params, race, refuse, retry, rewrite, timeouts
from tests.kinds.contract import CLAIMS, SHADOW_CLAIMS, Example, Form
from tests.scripted import RESET, SILENT, chat

HI = [{"role": "user", "content": "Hi"}]

EXAMPLES = (
    Example(
        degrade.KIND,
        spec={"reply": "The assistant is unavailable right now."},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=(RESET,),
    ),
    Example(
        timeouts.KIND,
        spec={"total": "30s"},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=(SILENT,),
        noted="timeout",
    ),
    Example(
        refuse.KIND,
        spec={"message": "Not today."},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved=None,  # a call that matches is refused
        answers=True,
    ),
    Example(
        rewrite.KIND,
        spec={"model": "gpt-4o-mini"},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o-mini", "messages": HI},
    ),
    Example(
        params.KIND,
        spec={"overrides": {"temperature": 0}, "defaults": {"seed": 7}, "remove": ["top_logprobs"], "max": {"max_tokens": 100}},
        involved={"model": "gpt-4o", "messages": HI, "temperature": 1.5, "top_logprobs": 3, "max_tokens": 4000},
        uninvolved={"model": "gpt-4o", "messages": HI, "temperature": 0, "seed": 1, "max_tokens": 100},
    ),
    Example(
        instruct.KIND,
        spec={"append": "Answer in one sentence."},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": "not a list"},
    ),
    Example(
        concurrency.KIND,
        spec={"limit": 1, "wait": "1s"},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=((0.5, *chat("Hello")),),
        noted="queued",
        crowd=1,
    ),
    Example(
        fallback.KIND,
        spec={"chain": [{"model": "gpt-4o-mini"}, {"upstream": "groq", "model": "llama-3.3-70b-versatile"}]},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=(RESET, chat("Hello")),
    ),
    Example(
        retry.KIND,
        spec={"max_attempts": 3},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=(RESET, chat("Hello")),
    ),
    Example(
        race.KIND,
        spec={"targets": [{"model": "gpt-4o"}, {"upstream": "groq"}]},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI, "store": True},
    ),
    Example(
        hedge.KIND,
        spec={"after": "100ms"},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=((60.0, *chat("late")), chat("Hello")),
    ),
    Example(
        circuit_breaker.KIND,
        spec={"consecutive": 1, "alone": "60s"},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=(RESET,),
        noted="breaker",
        crowd=2,
    ),
    Example(
        concurrency.EXCHANGE,
        spec={"limit": 1, "queue": 0, "per": "upstream"},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=((0.5, *chat("Hello")),),
        noted="shed",
        crowd=1,
    ),
    Example(
        timeouts.EXCHANGE,
        spec={"first_token": "10s", "stream_idle": "10s", "per_try": "30s", "min_rate": {"events": 1}},
        involved={"model": "gpt-4o", "messages": HI},
        uninvolved={"model": "gpt-4o", "messages": HI},
        scripts=(SILENT,),
        noted="timeout",
    ),
)

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.kind.name}-{example.kind.floor.value}")
each_form = pytest.mark.parametrize("form", Form, ids=lambda form: form.value)


def test_every_kind_of_the_stack_has_its_example() -> None:
    assert [example.kind.name for example in EXAMPLES] == [kind.name for kind in STACK]


@each_form
@each_example
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_enforced(claim: Callable[[Example, Form], None], example: Example, form: Form) -> None:
    claim(example, form)


@each_form
@each_example
@pytest.mark.parametrize("claim", SHADOW_CLAIMS, ids=lambda claim: claim.__name__)
def test_shadow(claim: Callable[[Example, Form], None], example: Example, form: Form) -> None:
    if example.kind.shadow is None:
        pytest.skip("it cannot be observed, and `chassis check` says so")
    claim(example, form)
