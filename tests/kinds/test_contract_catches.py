"""The contract is proven on kinds that break it: each is caught by the claim that it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from proxy.core.call import Allowance, Call, Target
from proxy.core.faults import Failure, Fault
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.policy.kind import Floor, Kind
from proxy.policy.spec import Spec
from tests.kinds import contract
from tests.kinds.contract import POLICY, Example, Form


class NoSpec(Spec):
    """Says nothing."""


class Fine:
    """Keeps the contract: notes what it does to a call that names the model `old`."""

    async def __call__(self, call: Call, inner: Service) -> Reply:
        if call.payload.model != "old":
            return await inner(call)
        call.journal.note("fine", POLICY, acted=True)
        return await inner(call.derive(target=Target("openai", "new")))

    def observe(self, call: Call) -> None:
        if call.payload.model == "old":
            call.journal.note("fine", POLICY, shadow=True)


class Meddles(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        call.journal.note("fine", POLICY, acted=True)
        return await inner(call.derive(payload=call.payload.set("seed", 7)))


class ChangesReplies(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        reply = await super().__call__(call, inner)
        reply.headers = [*reply.headers, (b"x-mine", b"1")]
        return reply


class Silent(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        return await inner(call.derive(target=Target("openai", "new")))

    def observe(self, call: Call) -> None:
        pass


class Tells(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        call.journal.note("fine", POLICY, acted=True, prompt=call.payload.last_user())
        return await inner(call)


class TellsObjects(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        call.journal.note("fine", POLICY, acted=True, target=call.target)
        return await inner(call)


class LeavesOpen(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        await inner(call)
        raise Failure(Fault.INVALID, "check", "no")


class LeavesOpenOnceFailed(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        reply = await inner(call)
        return reply if reply.status == 200 else await inner(call)


class DetachesWork(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        async def later() -> None:
            await asyncio.sleep(60)
            with suppress(Failure):
                (await inner(call)).close()

        self.work = asyncio.get_running_loop().create_task(later())
        return await inner(call)


class PrintsMoney(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        return await inner(call.derive(allowance=Allowance(6)))


class Breaks(Fine):
    async def __call__(self, call: Call, inner: Service) -> Reply:
        raise ZeroDivisionError


class Loud(Fine):
    def observe(self, call: Call) -> None:
        call.journal.note("fine", POLICY, acted=True)


class Moves(Fine):
    def observe(self, call: Call) -> None:
        call.target = Target("groq")


class Spends(Fine):
    def observe(self, call: Call) -> None:
        call.allowance.spend()


def example_of(layer: type[Fine]) -> Example:
    kind = Kind("fine", NoSpec, Floor.CALL, enforce=lambda spec, site: layer(), shadow=lambda spec, site: layer().observe)
    return Example(kind, {}, involved={"model": "old"}, uninvolved={"model": "other"})


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("claim", contract.CLAIMS + contract.SHADOW_CLAIMS, ids=lambda claim: claim.__name__)
def test_a_kind_that_keeps_the_contract_passes(claim: Callable[[Example, Form], None], form: Form) -> None:
    claim(example_of(Fine), form)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(
    ("layer", "claim", "says"),
    [
        (Meddles, contract.an_uninvolved_call_goes_through_untouched, "other bytes"),
        (ChangesReplies, contract.an_uninvolved_call_goes_through_untouched, "the reply was changed"),
        (Breaks, contract.an_uninvolved_call_goes_through_untouched, "Breaks broke"),
        (Silent, contract.what_it_did_is_in_the_journal, "silent"),
        (Tells, contract.the_journal_holds_plain_values_and_no_content, "holds what was said"),
        (LeavesOpen, contract.no_body_is_left_open, "not closed"),
        (LeavesOpenOnceFailed, contract.no_body_is_left_open, "a reply 429 of openai was not closed"),
        (DetachesWork, contract.no_body_is_left_open_by_an_app_that_leaves, "after the app had left"),
        (PrintsMoney, contract.no_exchange_is_made_beyond_the_allowance, "exchanges were made"),
        (Silent, contract.in_shadow_what_it_would_do_is_in_the_journal, "silent"),
        (Loud, contract.in_shadow_what_it_would_do_is_in_the_journal, "acted"),
        (Loud, contract.in_shadow_every_call_goes_through_untouched, "acted"),
        (Moves, contract.in_shadow_every_call_goes_through_untouched, "elsewhere"),
        (Spends, contract.in_shadow_every_call_goes_through_untouched, "it took 2 exchanges"),
    ],
)
def test_a_kind_that_breaks_it_is_caught(layer: type[Fine], claim: Callable[[Example, Form], None], says: str, form: Form) -> None:
    with pytest.raises(AssertionError, match=says):
        claim(example_of(layer), form)


def test_an_object_in_the_journal_is_caught() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        contract.the_journal_holds_plain_values_and_no_content(example_of(TellsObjects), Form.JSON)
