from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.faults import Refusal
from proxy.kinds.refuse import KIND, RefuseSpec
from tests.kinds.layering import POLICY, Sent, observed, site
from tests.scripted import a_call

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


async def test_it_refuses_before_anything_is_asked() -> None:
    spec, sent, call = RefuseSpec.read({"status": 451, "code": "not_here", "message": "Not here."}), Sent(), a_call(BODY)

    with pytest.raises(Refusal) as caught:
        await KIND.enforce(spec, site(KIND, spec))(call, sent)
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.message) == (451, "not_here", "Not here.")
    assert sent.calls == []


async def test_what_it_decided_is_in_the_journal_without_its_words() -> None:
    spec, call = RefuseSpec.read({"message": "Ask the legal team."}), a_call(BODY)

    with pytest.raises(Refusal):
        await KIND.enforce(spec, site(KIND, spec))(call, Sent())
    (entry,) = call.journal.entries
    assert (entry.kind, entry.policy, entry.acted, entry.shadow) == ("refuse", POLICY, True, False)
    assert entry.what == {"status": 403, "code": "policy_refused"}


def test_in_shadow_it_says_that_it_would_have() -> None:
    (entry,) = observed(KIND, a_call(BODY), status=429)

    assert (entry.acted, entry.shadow, entry.what) == (False, True, {"status": 429, "code": "policy_refused"})


async def test_an_unread_body_is_refused_as_any() -> None:
    spec = RefuseSpec.read({})

    with pytest.raises(Refusal):
        await KIND.enforce(spec, site(KIND, spec))(a_call(BODY, held=False), Sent())


def test_only_the_first_that_matches_refuses_and_no_body_is_held_for_it() -> None:
    spec = RefuseSpec.read({})

    assert len(KIND.fields(spec)) == 1
    assert not KIND.reads_body(spec)


@pytest.mark.parametrize(
    "given",
    [
        {"status": 399},
        {"status": 600},
        {"status": 200},
        {"status": "403"},
        {"code": "Has Spaces"},
        {"code": "a\r\nb"},
        {"code": "a\n"},
        {"code": ""},
        {"message": ""},
        {"message": "x" * 2001},
        {"reason": "x"},
    ],
)
def test_what_no_sdk_would_take_for_an_error_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RefuseSpec.read(given)
