"""What is not data in a chunked body."""

from __future__ import annotations

from proxy.wire.excess import ALLOWED, Excess


def spend(excess: Excess, *reads: tuple[int, int]) -> bool:
    """Feeds (bytes, bytes of data) reads of one chunk each."""
    for fed, carried in reads:
        excess.fed(fed)
        if carried:
            excess.carried(carried)
        if excess.is_too_much:
            return True
    return False


def test_honest_chunks_of_any_size_are_never_too_much() -> None:
    assert not spend(Excess(), *[(6, 1)] * 100_000)
    assert not spend(Excess(), *[(70_000, 65_536)] * 1000)


def test_extensions_that_dwarf_the_data_are() -> None:
    assert spend(Excess(), *[(70, 1)] * 1000)
    assert spend(Excess(), (ALLOWED + 1, 0))


def test_past_data_does_not_excuse_a_flood() -> None:
    excess = Excess()
    assert not spend(excess, (1_000_000, 1_000_000))

    assert spend(excess, *[(4096, 0)] * 6)


def test_each_body_begins_anew() -> None:
    excess = Excess()
    excess.fed(ALLOWED)
    excess.reset()

    assert not spend(excess, (ALLOWED, 0))
