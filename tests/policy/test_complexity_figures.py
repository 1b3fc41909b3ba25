"""How good the complexity score is: on prompts that its weights have not seen, and on some that its word lists have not seen either."""

from __future__ import annotations

import pytest

from bench import complexity as tuning
from proxy.policy.complexity import WEIGHTS_FILE


@pytest.fixture(scope="module")
def labelled() -> tuple[tuning.Case, ...]:
    return tuning.cases(*tuning.TUNED)


def test_the_shipped_weights_are_those_that_the_fit_gives(labelled: tuple[tuning.Case, ...]) -> None:
    assert tuning.written(labelled) == WEIGHTS_FILE.read_text("utf-8")


def test_cross_validated_at_least_half_goes_to_the_cheap_model_with_few_complex_ones(labelled: tuple[tuning.Case, ...]) -> None:
    told = tuning.nested(labelled, outer=4, inner=3)
    of_all = tuning.figures(told)
    of_the_experts = tuning.figures((case, below) for case, below in told if case.name.startswith("rtd"))

    assert of_all.cheap >= 0.50
    assert of_all.missed <= 0.05
    assert of_the_experts.cheap >= 0.50
    assert of_the_experts.missed <= 0.05


def test_prompts_that_were_never_fitted_to_keep_the_target() -> None:
    found = tuning.shipped_on(tuning.cases(tuning.HELD_OUT))

    assert found.cheap >= 0.50
    assert found.missed <= 0.08


def test_the_fit_goes_to_the_same_place_from_anywhere(labelled: tuple[tuning.Case, ...]) -> None:
    some = labelled[::4]
    plain = tuning.fit(some)
    far = tuning.fit(some, (3.0, [(-1.0) ** i for i in range(len(plain[1]))]))

    assert far[0] == pytest.approx(plain[0], abs=0.05)
    assert far[1] == pytest.approx(plain[1], abs=0.05)
