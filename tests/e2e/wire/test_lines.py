"""Every numbered line of the wire, as data: each case runs direct and through the proxy, and both ends must see the same bytes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.wire import (
    cases_bodies,
    cases_chat,
    cases_encodings,
    cases_endpoints,
    cases_fields,
    cases_flow,
    cases_framing,
    cases_sdk,
    cases_targets,
    cases_tunnels,
    cases_uploads,
)
from tests.e2e.wire.compare import ALLOWED, ALWAYS, differences
from tests.e2e.wire.conftest import MODES, Wire
from tests.e2e.wire.play import Case
from tests.e2e.wire.runs import played, unmet

MODULES = (
    cases_chat,
    cases_endpoints,
    cases_tunnels,
    cases_targets,
    cases_encodings,
    cases_framing,
    cases_uploads,
    cases_bodies,
    cases_fields,
    cases_flow,
    cases_sdk,
)
CASES: list[Case] = [case for module in MODULES for case in module.CASES]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_both_ends_see_what_they_see_without_a_proxy(wire: Wire, case: Case, mode: str) -> None:
    rewrite = mode == "rewrite"
    direct = played(case, wire.upstream.port, wire.upstream)
    through = played(case, wire.port(mode), wire.upstream)

    assert unmet(direct, case, False) == [], "the case itself does not hold without a proxy"
    assert unmet(through, case, rewrite) + differences(direct, through, case, rewrite, wire.upstream.authority) == []
    assert wire.upstream.strays == []


def test_each_line_of_the_wire_has_at_least_three_cases() -> None:
    count = Counter(case.line for case in CASES)

    assert {line: count[line] for line in range(1, 32) if count[line] < 3} == {}


def test_case_names_are_unique_and_their_differences_are_documented() -> None:
    names = Counter(case.id for case in CASES)

    assert [name for name, times in names.items() if times > 1] == []
    assert all(case.differs <= ALLOWED.keys() - ALWAYS for case in CASES)
