from __future__ import annotations

import pytest

from proxy.policy.branch import Among, Branch, Contains, Globs, Literal, Opaque, Present, Range

CHAT = Among("endpoint", frozenset(("chat",)))


def branch(*tests: Literal) -> Branch:
    out = Branch()
    for test in tests:
        out = out.and_(Branch.of(test))
    return out


def test_tests_of_one_key_are_joined() -> None:
    got = branch(
        Range("n", 2, 9), Range("n", 4, None), CHAT, Among("endpoint", frozenset(("chat", "files"))), Contains("has", frozenset("a"), False)
    )

    assert got.ranges == {"n": (4, 9)}
    assert got.among == {"endpoint": frozenset(("chat",))}
    assert got.none_of == {"has": frozenset("a")}


def test_a_branch_is_made_anew_from_its_tests() -> None:
    tests = (
        CHAT, Range("n", 1, 5), Globs("model", ("a", "b")), Globs("model", ("c*",)), Globs("model", ("d",), False),
        Present("header x", True), Contains("has", frozenset("a")), Contains("has", frozenset("b"), False), Opaque("sample", "10%"),
        Opaque("sample", "5%", False),
    )  # fmt: skip
    got = branch(*tests)

    assert branch(*got.tests()) == got
    assert Branch().and_(got) == got


@pytest.mark.parametrize("positive", [True, False])
def test_a_test_that_is_not_understood_proves_itself_and_denies_its_contrary(positive: bool) -> None:
    one = branch(Opaque("sample", "10%", positive))

    assert one.proves(Opaque("sample", "10%", positive))
    assert not one.proves(Opaque("sample", "10%", not positive))
    assert not one.proves(Opaque("sample", "20%", positive))
    assert one.contradiction() is None
    assert one.and_(Branch.of(Opaque("sample", "10%", not positive))).contradiction() == "`sample` would have to hold and not hold"
    assert not one.surely_holds()


def test_the_fewest_alternatives_that_are_left_are_told() -> None:
    got = branch(Globs("model", ("a", "b*", "c")), Globs("model", ("b1", "c")), Globs("model", ("c",), False))

    assert got.alternatives("model") == ["b1"]
    assert got.alternatives("path") is None


def test_a_header_may_have_several_values() -> None:
    got = branch(Globs("header x", ("a",)), Globs("header x", ("b",)))

    assert got.contradiction() is None
    assert not got.proves(Globs("header x", ("c",), False))
    assert branch(Present("header x", False)).proves(Globs("header x", ("c",), False))
    assert got.proves(Present("header x", True))


@pytest.mark.parametrize(
    ("tests", "holds"),
    [
        ((), True),
        ((CHAT, Contains("has", frozenset(("tools",)))), True),
        ((Globs("model", ("gpt-*",)), Globs("model", ("gpt-4o",), False)), True),
        ((Globs("model", ("*",), False),), False),
        ((Globs("header x", ("*",), False),), True),
        ((Present("header x", False), Present("header y", True)), True),
        ((Range("prompt_tokens", 0, 50), Contains("keywords", frozenset(("long phrase",)))), False),
        ((Among("endpoint", frozenset(("responses",))), Contains("has", frozenset(("seed",)))), False),
    ],
)
def test_a_call_is_claimed_only_where_one_can_be_made(tests: tuple[Literal, ...], holds: bool) -> None:
    assert branch(*tests).surely_holds() is holds
